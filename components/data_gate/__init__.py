"""Stops a run where its data are not fit to train on."""
