"""The same graph on Kubeflow Pipelines: compiled, started, scheduled."""
