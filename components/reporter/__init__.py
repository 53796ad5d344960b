"""The report on a run: one page from which the decision to serve a model, or not to, can be defended."""
