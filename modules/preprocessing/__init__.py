"""From the stored record to what the network sees; the same graph serves training, evaluation and serving."""
