"""What TFX's standard components call by dotted path: preprocessing, the network, training, export, evaluation."""
