"""Readers of image, mask and volume files."""
