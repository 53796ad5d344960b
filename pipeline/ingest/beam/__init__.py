"""The Beam stages of the ingest: listing files, writing shards, summing up."""
