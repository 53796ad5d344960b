"""The ways in which input may be laid out, one module each, and the registry that names them."""
