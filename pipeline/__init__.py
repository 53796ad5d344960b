"""The graph, its configuration, the way of image folders into it, and the command line."""
