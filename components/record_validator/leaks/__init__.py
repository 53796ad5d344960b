"""Images, ids and patients that several data sets share though they must not."""
