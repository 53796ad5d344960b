"""Model code runs on Keras 3, which TFX alone does not promise."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(path for folder in ("modules", "components") for path in (ROOT / folder).rglob("*.py"))
LEGACY = re.compile(
    r"tf\.keras|tensorflow\.keras|(?:import|from) tf_keras|from tensorflow import keras|tf\.compat\.v1\.keras"
)


def test_there_are_sources() -> None:
    assert {path.name for path in SOURCES} >= {"unet.py", "trainer.py", "losses.py", "executor.py"}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_uses_the_old_keras(path: Path) -> None:
    assert not LEGACY.search(path.read_text())


def test_the_trainer_runs_on_keras_3() -> None:
    code = """
import modules.training.trainer, keras
from modules.network.settings import ModelSettings
model = modules.training.trainer.unet(ModelSettings())
print(keras.__version__, keras.config.backend(), isinstance(model, keras.Model))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert re.fullmatch(r"3\.\d+\.\S+ tensorflow True\n", done.stdout)
