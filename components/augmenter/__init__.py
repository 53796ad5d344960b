"""Augmentation as a pipeline stage: originals pass through, augmented copies are added and tagged."""
