"""A short training on some real radiographs; whoever has none, skips."""

import shutil
from pathlib import Path

import pytest
from command_line import lungseg, run_pipeline

pytestmark = pytest.mark.e2e

IMAGES = Path(__file__).parents[3] / "shared/data/shenzhen"


@pytest.mark.skipif(not IMAGES.is_dir(), reason=f"no radiographs in {IMAGES}")
def test_learns_from_real_images(tmp_path: Path) -> None:
    for folder in ("images", "masks"):
        (tmp_path / "subset" / folder).mkdir(parents=True)
        for file in sorted((IMAGES / folder).iterdir())[::7]:
            shutil.copy(file, tmp_path / "subset" / folder)
    ingest = ("--layout", "shenzhen", "--input", tmp_path / "subset", "--output", tmp_path / "data", "--size", 256)
    done = lungseg("ingest", *ingest)
    assert done.returncode == 0, done.stderr

    settings = (
        "model.image_size=64",
        "model.filters=8",
        "model.levels=3",
        "train.epochs=5",
        "train.patience=5",
        "evaluate.min_patients=3",
    )
    overrides = [part for setting in settings for part in ("--set", setting)]
    rules = "evaluate.rules=[{metric: dice_mean, at_least: 0.8}]"
    outcome = run_pipeline(tmp_path / "root", tmp_path / "data", "--config", "cpu", *overrides, "--set", rules)

    assert outcome.code == 0, outcome.output
    slices = {slice_["slice"]: slice_["metrics"]["dice_mean"]["value"] for slice_ in outcome.result["slices"]}
    assert "source:shenzhen" in slices
    assert {"finding:normal", "finding:tuberculosis"} & set(slices)
    assert slices["is_augmented:0"] > 0.85
