"""What may be wrong with one record by itself."""
