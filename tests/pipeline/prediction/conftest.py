"""Models that call lung what is brighter than half, by what they were trained on."""

import shutil
from pathlib import Path
from typing import Any

import hospital_files
import pytest
import threshold_model
from predicting import Segment, inputs_of

from pipeline.prediction.predict import Prediction, predict


@pytest.fixture(scope="session")
def silent_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nothing tells what it was trained on."""
    return threshold_model.save(tmp_path_factory.mktemp("models") / "silent")


@pytest.fixture(scope="session")
def models(silent_model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Models of version 3, by what they were trained on."""
    folder = tmp_path_factory.mktemp("trained")
    views = {"radiographs": {"PA": 2, "AP": 1}, "CT": {"axial": 3}, "both": {"PA": 2, "axial": 1}}
    for name, counts in views.items():
        shutil.copytree(silent_model, folder / name / "3")
        hospital_files.write_statistics(folder / name / "3", counts)
    return {"silent": silent_model, **{name: folder / name for name in views}}


@pytest.fixture
def segment(models: dict[str, Path], tmp_path: Path) -> Segment:
    """Segments paths into the folder `out`."""

    def call(*paths: Path, model: str = "both", recursive: bool = False, **options: Any) -> Prediction:
        return predict(models[model], tmp_path / "out", inputs_of(*paths, recursive=recursive), **options)

    return call
