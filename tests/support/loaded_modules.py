"""What a command imports: without the libraries that take seconds, it answers at once on any machine.

>>> output, modules = run_and_list_modules("--help")
>>> assert modules.isdisjoint(SLOW_TO_IMPORT)
"""

import subprocess
import sys
from typing import Final

SLOW_TO_IMPORT: Final = frozenset({
    "albumentations",
    "apache_beam",
    "cv2",
    "imagecodecs",
    "jinja2",
    "keras",
    "keras_tuner",
    "kfp",
    "kfp_server_api",
    "matplotlib",
    "ml_metadata",
    "nibabel",
    "numpy",
    "pandas",
    "pyarrow",
    "pydicom",
    "scipy",
    "tensorflow",
    "tensorflow_data_validation",
    "tensorflow_metadata",
    "tensorflow_model_analysis",
    "tensorflow_transform",
    "tfx",
})  # fmt: skip
"""Libraries that take a notable part of a second, or several, each."""

_PROGRAM: Final = """
import sys
from pipeline import cli
sys.argv[0] = "lungseg"
try:
    cli.main()
finally:
    print(*{name.partition(".")[0] for name in sys.modules})
"""


def run_and_list_modules(*arguments: object) -> tuple[str, frozenset[str]]:
    """Run a command in a process of its own.

    Args:
        arguments: of the command line, without the program's name.

    Returns:
        What it printed, and the names of the top-level modules that it had imported by its end.

    Raises:
        CalledProcessError: it ended with another exit code than 0.
    """
    command = [sys.executable, "-c", _PROGRAM, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    output, _, modules = done.stdout.rstrip("\n").rpartition("\n")
    return output, frozenset(modules.split())
