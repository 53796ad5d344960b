"""DoubtfulMasks: masks are ranked by what models say that never saw them, and the worst are drawn."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import threshold_model
from report_artifacts import Inputs, artifact, examples, image_row
from tfx.types import standard_artifacts
from tfx.types.experimental import simple_artifacts

from components.doubtful_masks import executor
from components.doubtful_masks.executor import Executor
from components.doubtful_masks.ranking import rank_masks
from components.doubtful_masks.settings import DoubtfulMasksSettings
from schema.record import Record
from schema.reports.evaluation import Evaluation

MakeRecord = Callable[..., Record]


def test_the_ranking(make_record: MakeRecord) -> None:
    """By the mean over trainings; copies and external sets are no masks of these data."""
    a, b, c = (make_record(name, patient_id=f"p-{name}") for name in "abc")
    copy = make_record("a-copy", patient_id="p-a", is_augmented=True, augmentation="HorizontalFlip")
    tables = [
        pd.DataFrame([image_row(a, dice=0.9), image_row(b, dice=0.8), image_row(copy, dice=0.1)]),
        pd.DataFrame([image_row(a, dice=0.5), image_row(b, dice=0.8), image_row(c, "north", dice=0.2)]),
        pd.DataFrame([image_row(c, dice=float("nan"))]),
    ]
    ranked = rank_masks(tables)
    assert ranked["rank"].tolist() == [1, 2, 3]
    assert ranked["image_id"].tolist() == ["a", "b", "c"]
    assert ranked["patient_id"].tolist() == ["p-a", "p-b", "p-c"]
    assert ranked["dice"].tolist()[:2] == pytest.approx([0.7, 0.8])
    assert ranked["trainings"].tolist() == [2, 2, 1]
    assert ranked["hd95"].tolist() == [0.5] * 3


@pytest.fixture
def inputs(tmp_path: Path, make_record: MakeRecord) -> Inputs:
    """Two folds of three images, each with a model of its own; on image 4 they agree least."""
    made: Inputs = {"evaluations": [], "models": [], "examples": []}
    for fold in (1, 2):
        records = [
            make_record(f"image {number}", patient_id=f"p{number}") for number in range(6) if number % 2 == fold - 1
        ]
        model = tmp_path / f"model-{fold}"
        threshold_model.save(model / "Format-Serving")
        evaluation = Evaluation(
            baseline=None, tolerance=0.01, min_patients=3, confidence=0.95, slices=[], model=str(model),
        )  # fmt: skip
        folder = tmp_path / f"evaluation-{fold}"
        made["evaluations"].append(artifact(standard_artifacts.ModelEvaluation, folder, evaluation))
        rows = [image_row(record, dice=0.4 if record.image_id == "image 4" else 0.9) for record in records]
        pd.DataFrame(rows).to_csv(folder / "images.csv", index=False)
        made["models"].append(artifact(standard_artifacts.Model, model))
        made["examples"].append(examples(tmp_path / f"examples-{fold}", {"test": records}))
    return made


def test_the_list_and_its_page(inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor, "SHOWN", 4)
    masks = artifact(simple_artifacts.File, tmp_path / "masks")
    settings = DoubtfulMasksSettings(pipeline="lungs & more")
    Executor().Do(inputs, {"masks": [masks]}, {"settings": settings.model_dump_json()})
    table = pd.read_csv(tmp_path / "masks" / "doubtful.csv")
    assert table["image_id"].tolist()[0] == "image 4"
    assert len(table) == 6
    assert table["trainings"].tolist() == [1] * 6
    page = (tmp_path / "masks" / "index.html").read_text()
    assert page.count('<figure class="case">') == 4
    assert page.index("image 4") < page.index("image 0")
    assert "image 5" not in page
    assert "lungs &amp; more" in page
    assert page.count('src="data:image/') == 16
    assert "http" not in page
