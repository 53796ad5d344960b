"""What holds for all tests."""

from hypothesis import settings

import pipeline  # noqa: F401  # sets up TensorFlow, which nobody has loaded yet

# How long an example takes depends on what else the machine does.
settings.register_profile("untimed", settings(), deadline=None)
settings.load_profile("untimed")
