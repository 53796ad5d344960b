from pathlib import Path

import pytest
import transforms
from command_line import lungseg

transform = transforms.transform


@pytest.fixture(scope="session")
def phantom_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phantoms")
    assert lungseg("phantoms", "--output", folder / "images", "--count", 80, "--size", 128).returncode == 0
    arguments = ("--layout", "folder", "--input", folder / "images", "--output", folder / "data", "--size", 128)
    done = lungseg("ingest", *arguments)
    assert done.returncode == 0, done.stderr
    return folder / "data"
