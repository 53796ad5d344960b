"""Images that are nearly the same: how alike two are, and which pairs to compare."""
