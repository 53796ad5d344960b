"""Compares the arms of a study on the images that all of their models were measured on."""
