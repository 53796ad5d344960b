"""Finds the model that was blessed last, which a new one has to stand comparison with."""
