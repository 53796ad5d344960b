"""How good a mask is without its truth: cues, copies under stress to learn from, and the estimator in the model."""
