"""Studies: which trainings are compared, and the graph that makes and compares them."""
