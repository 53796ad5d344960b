"""What one station tells another: a model for each file that is written by one and read by another.

Import from the modules themselves: this package imports none of them, so that nobody depends on reports that he does
not use.
"""
