"""Finds out whether a run would make the model that serves once more."""
