"""Brings the records of the newest spans together and splits them by patient."""
