"""Finds masks that are perhaps wrong: those that models which never saw them do not agree with."""
