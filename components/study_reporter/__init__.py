"""The report on a study: one page that says what its arms are worth, and how sure that is."""
