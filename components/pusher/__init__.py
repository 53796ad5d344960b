"""Puts a model that passed both judgements into the serving folder."""
