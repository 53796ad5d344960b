"""The training: what TFX's Trainer and Tuner call, and the one loop that both run."""
