"""Decodes every record, puts bad ones into quarantine with a reason, and finds leaks between data sets."""
