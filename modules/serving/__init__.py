"""The exported model: its graph, its files, and the folder that it is served from."""
