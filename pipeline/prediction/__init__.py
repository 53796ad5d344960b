"""Segments radiographs and CT volumes with an exported model, and measures what it finds."""
