"""What a component leaves behind."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from tfx import types
from tfx.dsl.io import fileio

SECONDS: Final = "seconds"
"""Custom property of an artifact: how long the component that made it took, as the runner measured it."""


@contextmanager
def all_or_nothing(*artifacts: types.Artifact) -> Iterator[None]:
    """Empties the folders of artifacts where the block fails, so that half of one is never taken for the whole.

    The folders themselves stay: TFX removes them, and where it finds none its own error hides the component's.
    """
    try:
        yield
    except BaseException:
        for artifact in artifacts:
            if fileio.exists(artifact.uri):
                fileio.rmtree(artifact.uri)
            fileio.makedirs(artifact.uri)
        raise
