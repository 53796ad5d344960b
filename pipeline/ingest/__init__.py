"""Ingestion: images or volumes with masks to sharded TFRecords, one folder a span, as a Beam pipeline.

`layouts` knows how input may be laid out, `listing` finds samples in it, `samples` and `volumes` read them (`images`,
`masks`, `dicom`, `nifti`), `shards` writes them, `summary` tells what became of them, and `ingest` runs all that.
"""
