"""What a model is judged by: measures of an image, statistics of a slice, rules."""
