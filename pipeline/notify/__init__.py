"""Tells a webhook what becomes of a run."""
