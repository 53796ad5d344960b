"""Holds statistics of examples against the schema, and against those of the data that the serving model learned."""
