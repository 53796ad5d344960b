"""Ingestion: images or volumes with masks to sharded TFRecords, one folder a span, as a Beam pipeline.

`layouts` knows how input may be laid out, `beam` lists it and deals it out, `samples` and `volumes` read it by means of
`formats`, `shard_writer` writes records, `storage` reads and writes files, and `ingest` runs all that.
"""
