"""The network: its settings, its layers and its weights."""
