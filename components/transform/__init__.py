"""TFX's Transform, whose records are counted and reconciled with the Augmenter's."""
