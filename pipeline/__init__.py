"""The graph, its configuration, the way of image folders into it, and the command line."""

import os
import platform

if platform.machine() == "x86_64":
    # Left to itself TensorFlow takes oneDNN's convolutions only on processors made for neural networks (with VNNI or
    # AMX); on older ones they take half of the time of Eigen's. Read when TensorFlow is loaded, handed to processes.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
