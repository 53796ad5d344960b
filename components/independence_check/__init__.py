"""Makes sure that external test sets hold nothing that is trained on."""
