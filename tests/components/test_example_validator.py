"""The ExampleValidator: what breaks the schema is told, drift is told apart from noise, whoever serves."""

import logging
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
from tfx import types
from hypothesis import given
from hypothesis import strategies as st
from pictures import decode_picture, read_picture
from scipy.stats import chi2
from tensorflow_data_validation import generate_statistics_from_dataframe, validate_statistics
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2
from tfx.types import artifact_utils, channel, standard_artifacts

from components.code_version import code_version
from components.drift_chart import to_png
from components.example_validator import executor
from components.example_validator.anomalies import PROTO_FILE, list_anomalies
from components.example_validator.component import ExampleValidator
from components.example_validator.drift import raise_thresholds, read_drift
from components.example_validator.noise import jensen_shannon_noise, l_infinity_noise
from components.example_validator.settings import DriftSettings
from modules.serving.saved_model import STATISTICS_FILE
from schema import features
from schema.record import Record
from schema.reports.statistics import Anomaly, AnomalyReport, Distribution, DriftReport, FeatureDrift

IMAGES = Path(__file__).parents[3] / "shared/data/shenzhen"

Validate = Callable[..., types.Artifact]

SETTINGS = DriftSettings()


def records(number: int, seed: int = 0, **changes: Any) -> pd.DataFrame:
    """A row a record of one hospital, with the features that statistics are taken over."""
    draw = np.random.default_rng(seed)
    columns = {
        "source": ["clinic"] * number,
        "finding": draw.choice(["normal", "tuberculosis"], number),
        "view": ["PA"] * number,
        "sex": draw.choice(["female", "male"], number),
        "age": draw.uniform(18, 90, number),
        "pixel_spacing": [-1.0] * number,
        "width": draw.integers(2000, 3000, number),
        "height": draw.integers(2000, 3000, number),
        "mean_intensity": draw.normal(0.6, 0.05, number),
        "std_intensity": draw.normal(0.24, 0.02, number),
        "lung_fraction": draw.uniform(0.15, 0.35, number),
        "is_augmented": [0] * number,
        "augmentation": ["none"] * number,
    }
    assert set(columns) == set(features.STATISTICS)
    return pd.DataFrame(columns | changes)


def serialize(table: pd.DataFrame) -> bytes:
    return bytes(generate_statistics_from_dataframe(table).SerializeToString())


@pytest.fixture
def baseline(tmp_path: Path) -> Callable[[bytes | None], types.Artifact]:
    """Makes the model that serves, version 3, with the statistics of its training data."""

    def make(statistics: bytes | None) -> types.Artifact:
        model = standard_artifacts.Model()
        model.uri = str(tmp_path / "model")
        model.set_int_custom_property("version", 3)
        path = Path(model.uri, "Format-Serving", STATISTICS_FILE)
        path.parent.mkdir(parents=True)
        if statistics is not None:
            path.write_bytes(statistics)
        return model

    return make


@pytest.fixture
def validate(tmp_path: Path) -> Validate:
    """Calls the executor as TFX does: the folder of the output is there already."""

    def do(
        splits: Mapping[str, pd.DataFrame],
        model: types.Artifact | None = None,
        settings: DriftSettings = SETTINGS,
    ) -> types.Artifact:
        statistics, schema = standard_artifacts.ExampleStatistics(), standard_artifacts.Schema()
        anomalies = standard_artifacts.ExampleAnomalies()
        for name, artifact in {"statistics": statistics, "schema": schema, "anomalies": anomalies}.items():
            artifact.uri = str(tmp_path / name)
            Path(artifact.uri).mkdir()
        shutil.copy(features.SCHEMA_FILE, schema.uri)
        statistics.split_names, statistics.span = artifact_utils.encode_split_names(list(splits)), 5
        for split, table in splits.items():
            folder = Path(statistics.uri, f"Split-{split}")
            folder.mkdir()
            (folder / "FeatureStats.pb").write_bytes(serialize(table))
        inputs = {"statistics": [statistics], "schema": [schema], "baseline_model": [model] if model else []}
        executor.Executor().Do(inputs, {"anomalies": [anomalies]}, {"settings": settings.model_dump_json()})
        return anomalies

    return do


def drift_of(anomalies: types.Artifact) -> DriftReport:
    return DriftReport.read(anomalies.uri)


def anomalies_of(anomalies: types.Artifact) -> list[Anomaly]:
    return AnomalyReport.read(anomalies.uri).anomalies


def names(drift: DriftReport) -> list[str]:
    return [feature.feature for feature in drift.drifted]


def test_what_breaks_the_schema_is_an_error(validate: Validate, caplog: pytest.LogCaptureFixture) -> None:
    bad = records(20, sex=["female"] * 19 + ["x"], lung_fraction=np.linspace(0.2, 1.5, 20))
    anomalies = validate({"train": records(30), "eval": bad})
    assert anomalies.split_names == '["train", "eval"]'
    assert anomalies.span == 5
    written = anomalies_pb2.Anomalies.FromString(Path(anomalies.uri, "Split-eval", PROTO_FILE).read_bytes())
    assert set(written.anomaly_info) == {"lung_fraction", "sex"}
    lungs, sex = anomalies_of(anomalies)
    assert lungs == Anomaly(
        split="eval", feature="lung_fraction", severity="error", is_drift=False,
        text="Unexpectedly high value: 1.5>1(upto six significant digits)",
    )  # fmt: skip
    assert (sex.feature, sex.severity, sex.is_drift) == ("sex", "error", False)
    assert str(sex) == "split 'eval', sex: Examples contain values missing from the schema: x (~5%)."
    assert [record.getMessage() for record in caplog.records if record.name == "lungseg.validator"] == [
        str(lungs),
        str(sex),
    ]


def test_an_anomaly_is_one_line_and_that_of_the_whole_split_comes_first() -> None:
    anomalies = anomalies_pb2.Anomalies()
    anomalies.anomaly_info["age"].severity = anomalies_pb2.AnomalyInfo.WARNING
    anomalies.anomaly_info["age"].description = "Out of range:\n 200."
    anomalies.dataset_anomaly_info.severity = anomalies_pb2.AnomalyInfo.ERROR
    anomalies.dataset_anomaly_info.short_description = "Too few examples"
    of_all, age = list_anomalies("train", anomalies)
    assert age == Anomaly(split="train", feature="age", severity="warning", is_drift=False, text="Out of range: 200.")
    assert (of_all.feature, of_all.severity, str(of_all)) == ("", "error", "split 'train': Too few examples")


def test_without_a_model_that_serves_nothing_is_compared(validate: Validate, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "lungseg.drift")
    anomalies = validate({"train": records(30)})
    assert anomalies_of(anomalies) == []
    reason = "there was no model to compare with"
    assert drift_of(anomalies) == DriftReport(baseline=None, severity="warning", new_examples=30, reason=reason)
    assert not Path(anomalies.uri, "drift.png").exists()
    assert caplog.messages[-1] == f"no drift looked for: {reason}"


def test_a_version_without_statistics_is_named(
    validate: Validate, baseline: Callable[[bytes | None], types.Artifact]
) -> None:
    drift = drift_of(validate({"train": records(30)}, baseline(None)))
    assert (drift.baseline, drift.features) == (3, ())
    assert drift.reason == "version 3 was pushed without statistics of its training data"


def test_damaged_statistics_are_told_of_in_a_line_and_nothing_is_left(
    validate: Validate, baseline: Callable[[bytes | None], types.Artifact], tmp_path: Path
) -> None:
    expected = (
        r"^'assets\.extra/statistics/FeatureStats\.pb' of version 3 in the serving folder is damaged: "
        r"remove it, and drift is not looked for until the next version$"
    )
    with pytest.raises(ValueError, match=expected):
        validate({"train": records(30)}, baseline(b"\xff"))
    assert list((tmp_path / "anomalies").iterdir()) == []


def test_more_of_the_same_is_no_drift(
    validate: Validate, baseline: Callable[[bytes | None], types.Artifact], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "lungseg.drift")
    anomalies = validate({"train": records(60, seed=1), "eval": records(9)}, baseline(serialize(records(300))))
    drift = drift_of(anomalies)
    assert (drift.baseline, drift.baseline_examples, drift.new_examples) == (3, 300, 60)
    assert names(drift) == []
    assert len(drift.features) == 11, "is_augmented and augmentation are the same for all originals"
    assert anomalies_of(anomalies) == []
    assert caplog.messages[-1] == "none since version 3 (11 features)"
    assert read_picture(f"{anomalies.uri}/drift.png", cv2.IMREAD_COLOR).std() > 10


@pytest.fixture
def darker(validate: Validate, baseline: Callable[[bytes | None], types.Artifact]) -> Validate:
    """Validates data of which half are darker, and a third are of another hospital."""

    def do(**settings: Any) -> types.Artifact:
        new = records(60, seed=1)
        new.loc[:29, "mean_intensity"] -= 0.2
        new.loc[:19, "source"] = "elsewhere"
        return validate({"train": new, "eval": new}, baseline(serialize(records(300))), DriftSettings(**settings))

    return do


def test_drift_is_a_warning(darker: Validate, caplog: pytest.LogCaptureFixture) -> None:
    anomalies = darker()
    drift = drift_of(anomalies)
    assert names(drift) == ["source", "mean_intensity"]
    source, intensity, *others = drift.features
    assert source.kind == "infinity_norm"
    assert source.distance == pytest.approx(1 / 3)
    assert source.baseline == Distribution(shares=(1,), values=("clinic",))
    assert source.new == Distribution(shares=(2 / 3, 1 / 3), values=("clinic", "elsewhere"))
    assert intensity.kind == "jensen_shannon_divergence"
    assert len(intensity.new.edges) == 11
    assert sum(intensity.new.shares) == pytest.approx(1)
    assert all(other.distance <= other.threshold for other in others)
    assert all(feature.threshold >= feature.noise for feature in drift.features)
    raised = anomalies_of(anomalies)
    summaries = [(anomaly.split, anomaly.feature, anomaly.severity, anomaly.is_drift) for anomaly in raised]
    assert summaries == [("train", "mean_intensity", "warning", True), ("train", "source", "warning", True)]
    warnings = [record for record in caplog.records if record.name.startswith("lungseg")]
    assert [record.name for record in warnings] == ["lungseg.drift"] * 2, "each is told once"
    assert warnings[0].getMessage() == (
        "source has drifted since version 3 was trained: largest change of a share 0.33, may be "
        f"{source.threshold:.2f} (60 images against 300)"
    )


def test_drift_can_be_an_error(darker: Validate) -> None:
    assert {anomaly.severity for anomaly in anomalies_of(darker(severity="error"))} == {"error"}


def test_a_feature_that_breaks_the_schema_and_drifts_is_an_error(
    validate: Validate, baseline: Callable[[bytes | None], types.Artifact]
) -> None:
    new = records(60, mean_intensity=np.linspace(0.9, 1.4, 60))
    (anomaly,) = anomalies_of(validate({"train": new}, baseline(serialize(records(300)))))
    assert (anomaly.feature, anomaly.severity, anomaly.is_drift) == ("mean_intensity", "error", False)


def test_what_an_earlier_release_did_not_know_is_not_compared(
    validate: Validate, baseline: Callable[[bytes | None], types.Artifact]
) -> None:
    before = serialize(records(300).drop(columns="pixel_spacing"))
    anomalies = validate({"train": records(60, seed=1)}, baseline(before))
    assert "pixel_spacing" not in [feature.feature for feature in drift_of(anomalies).features]
    assert anomalies_of(anomalies) == []


@pytest.mark.parametrize("degrees", [1, 2, 9, 18])
@pytest.mark.parametrize("significance", [0.1, 0.01, 0.001])
def test_the_noise_of_a_divergence_follows_chi_squared(degrees: int, significance: float) -> None:
    expected = (1 / 42 + 1 / 350) / (8 * np.log(2)) * chi2.ppf(1 - significance, degrees)
    assert jensen_shannon_noise(degrees, (42, 350), significance) == pytest.approx(expected, rel=0.04)


def test_a_feature_of_one_value_has_the_noise_of_two() -> None:
    assert jensen_shannon_noise(0, (42, 350), 0.01) == jensen_shannon_noise(1, (42, 350), 0.01)


def test_the_noise_of_two_proportions() -> None:
    # 30 of 60 and 150 of 300: a standard error of 0.5 * sqrt(1/60 + 1/300), and 2.8070 of them at 0.5 % (two sides,
    # two categories).
    noise = l_infinity_noise([(30, 150), (30, 150)], (60, 300), 0.01)
    assert noise == pytest.approx(0.5 * np.sqrt(1 / 60 + 1 / 300) * 2.80703, rel=1e-4)
    assert l_infinity_noise([(60, 300)], (60, 300), 0.01) == 0


@given(st.lists(st.integers(1, 500), min_size=1, max_size=9), st.integers(10, 500))
def test_noise_falls_with_the_number_of_examples(counts: list[int], number: int) -> None:
    total = sum(counts)
    few = l_infinity_noise([(n / total * number, n) for n in counts], (number, total), 0.01)
    many = l_infinity_noise([(n / total * 2 * number, n) for n in counts], (2 * number, total), 0.01)
    assert many <= few


@pytest.mark.parametrize(("new", "before"), [(42, 350), (283, 283)])
def test_two_samples_of_one_population_seldom_seem_to_drift(new: int, before: int) -> None:
    schema = schema_pb2.Schema()
    feature = schema.feature.add(name=features.MEAN_INTENSITY, type=schema_pb2.FLOAT)
    feature.drift_comparator.jensen_shannon_divergence.threshold = 0
    draw = np.random.default_rng(11)
    drifts: list[FeatureDrift] = []
    for _ in range(100):
        later, earlier = (
            generate_statistics_from_dataframe(pd.DataFrame({features.MEAN_INTENSITY: draw.normal(0.6, 0.05, number)}))
            for number in (new, before)
        )
        both = earlier.datasets[0], later.datasets[0]
        raised = raise_thresholds(schema, *both, 0.05)
        anomalies = validate_statistics(later, raised, previous_statistics=earlier)
        drifts += read_drift(anomalies, *both, 0.05)
    assert sum(drift.drifted for drift in drifts) <= 8
    nearest = max(drift.distance / drift.threshold for drift in drifts)
    assert nearest > 0.7, "and not because the threshold is out of reach"


def fingerprints(files: list[Path], brightness: float = 1, gamma: float = 1) -> pd.DataFrame:
    """Of real images, as they are or darker, as of another scanner."""
    values = (255 * (np.arange(256) / 255) ** gamma * brightness).round().astype(np.uint8)
    made = []
    for path in files:
        image, mask = (read_picture(IMAGES / kind / path.name, cv2.IMREAD_GRAYSCALE) for kind in ("images", "masks"))
        lungs = np.asarray((mask > 127) * 255, np.uint8)
        made.append(Record(values[image], lungs, path.stem, path.stem, "clinic", 512, 512).fingerprint())
    return pd.DataFrame(made)


@pytest.fixture(scope="module")
def scanned() -> tuple[list[Path], bytes]:
    """63 radiographs of a hospital, and the statistics of its 503 others."""
    if not IMAGES.is_dir():
        pytest.skip(f"no radiographs in {IMAGES}")
    files = sorted((IMAGES / "images").iterdir())
    before = fingerprints([file for number, file in enumerate(files) if number % 9])
    return files[::9], serialize(records(len(before), seed=1).assign(**before))


@pytest.mark.parametrize(
    ("change", "is_found"),
    [({}, False), ({"gamma": 1.6}, True), ({"brightness": 0.8}, True)],
    ids=["the same scanner", "gamma 1.6", "darker by a fifth"],
)
def test_a_scanner_that_makes_half_of_real_images_darker_is_found(
    validate: Validate,
    baseline: Callable[[bytes | None], types.Artifact],
    scanned: tuple[list[Path], bytes],
    change: dict[str, float],
    is_found: bool,
) -> None:
    files, before = scanned
    new = pd.concat([fingerprints(files[::2]), fingerprints(files[1::2], **change)], ignore_index=True)
    drifted = names(drift_of(validate({"train": records(len(new)).assign(**new)}, baseline(before))))
    assert ("mean_intensity" in drifted) == bool(drifted) == is_found


def made(shares: tuple[float, ...], **of: Any) -> FeatureDrift:
    both = {"baseline": Distribution(shares=shares, **of), "new": Distribution(shares=shares, **of)}
    return FeatureDrift(feature="made", kind="infinity_norm", distance=0, threshold=1, noise=0, drifted=False, **both)


@pytest.mark.parametrize(
    "feature",
    [
        made((1.0,), edges=(-1.0, -1.0)),
        made((0.0, 1.0), edges=(0.0, 0.5, 1.0)),
        made((1.0,), values=("$a_b$ {x} <i>",)),
        made((1.0,), values=("肺" * 40,)),
        made((0.1,) * 10, values=tuple("abcdefghij")),
    ],
    ids=["one value", "an empty bucket", "no formula", "long", "many"],
)
def test_whatever_is_compared_can_be_drawn(feature: FeatureDrift) -> None:
    drift = DriftReport(baseline=3, severity="error", new_examples=2, baseline_examples=3, features=(feature,))
    picture = decode_picture(to_png(drift), cv2.IMREAD_GRAYSCALE)
    assert picture.min() < 100


def test_the_component_is_wired() -> None:
    statistics = channel.OutputChannel(standard_artifacts.ExampleStatistics, None, "statistics")
    schema = channel.OutputChannel(standard_artifacts.Schema, None, "schema")
    model = channel.OutputChannel(standard_artifacts.Model, None, "model")
    needed = {"statistics": statistics, "schema": schema}
    validator = ExampleValidator(**needed, baseline_model=model, settings=SETTINGS)
    assert validator.id == "ExampleValidator"
    assert validator.inputs == {**needed, "baseline_model": model}
    assert {key: output.type for key, output in validator.outputs.items()} == {
        "anomalies": standard_artifacts.ExampleAnomalies
    }
    assert validator.exec_properties == {
        "settings": '{"severity": "warning", "significance": 0.005}',
        "code_version": code_version("components.example_validator.executor"),
    }
    assert ExampleValidator(**needed, settings=SETTINGS).inputs == needed
