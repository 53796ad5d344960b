"""Judges a model on test sets: slices, intervals, comparison with a baseline, rules."""
