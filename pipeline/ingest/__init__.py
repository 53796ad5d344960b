"""Ingestion: image folders to sharded TFRecords, one folder a span.

`layouts` finds images and masks, `images` and `masks` read them, `ingest` writes the span.
"""
