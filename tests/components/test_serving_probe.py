"""The ServingProbe: a real export passes, each way in which an export can fail is found, and no failure stops it."""

import json
import logging
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import keras
import numpy as np
import pytest
import tensorflow as tf
from tfx import types
from pictures import decode_picture
from tfx.types import artifact_utils, channel, standard_artifacts

from components import base
from components.code_version import code_version
from components.serving_probe import executor, probe, training_graph
from components.serving_probe.component import ServingProbe
from components.serving_probe.requests import broken, variants, write_requests
from components.serving_probe.settings import ProbeSettings
from modules.network.settings import ModelSettings
from modules.network.unet import unet
from modules.network.weights import read_settings, write_weights
from modules.serving.export import export_model
from schema.record import Record, encode
from schema.reports.probe import ProbeCheck, ProbeResult

MakeRecord = Callable[..., Record]
Run = Callable[..., types.Artifact]

SETTINGS = ModelSettings(image_size=16, filters=4, levels=1, threshold=0.47, largest_parts=8)
CHECKS = [
    "loads",
    "signature serving_default", "signature rest", "signature evaluate", "signature transform_features",
    "evaluate", "transform_features",
    "serves stored PNG", "serves 16-bit PNG", "serves JPEG", "serves PNG of half the size", "serves PNG of one row",
    "serves colour JPEG", "serves colour PNG", "serves wide PNG",
    "batch", "empty batch", "mask format", "mask size", "mask pixels", "lung_fraction", "expected_dice",
    "refuses a truncated PNG", "refuses an empty file", "refuses random bytes", "serves on",
    "latency", "training graph",
]  # fmt: skip


@pytest.fixture(scope="module")
def records(make_record: MakeRecord) -> list[bytes]:
    """Ten originals of noise, of two sizes, each followed by a copy."""
    draw = np.random.default_rng(5)
    made = []
    for index in range(10):
        shape = (24, 32) if index % 2 else (40, 20)
        mask = np.zeros(shape, np.uint8)
        mask[4:12, 3:15] = 255
        changes = {"image": draw.integers(0, 256, shape, np.uint8), "mask": mask}
        made.append(encode(make_record(f"r{index}", **changes)))
        made.append(encode(make_record(f"r{index}-copy", is_augmented=True, augmentation="Affine", **changes)))
    return made


@pytest.fixture(scope="module")
def originals(records: list[bytes]) -> list[bytes]:
    """What is to be sent: the first eight."""
    return records[0:16:2]


@pytest.fixture(scope="module")
def exported(transform: Callable[..., Path], records: list[bytes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A U-Net as the Trainer exports it, in a Model artifact's folder."""
    folder = tmp_path_factory.mktemp("model")
    transform(records, folder / "graph", SETTINGS.image_size)
    keras.utils.set_random_seed(1)
    network = unet(SETTINGS)
    served = folder / "Format-Serving"
    graph = str(folder / "graph" / "transform_fn")
    export_model(network, graph, str(served), average_mirrored=True, threshold=0.47, largest_parts=8)
    write_weights(network, SETTINGS, served)
    return folder


@pytest.fixture
def run(tmp_path: Path, records: list[bytes], caplog: pytest.LogCaptureFixture) -> Run:
    """Calls the executor as TFX does: the folder of the output is there already."""
    caplog.set_level(logging.INFO, "lungseg.probe")

    def do(model_folder: Path, sent: Sequence[bytes] = records) -> types.Artifact:
        examples, model = standard_artifacts.Examples(), standard_artifacts.Model()
        blessing = standard_artifacts.InfraBlessing()
        examples.split_names = artifact_utils.encode_split_names(["test"])
        examples.uri, model.uri, blessing.uri = str(tmp_path / "in"), str(model_folder), str(tmp_path / "out")
        Path(blessing.uri).mkdir()
        write_shards(tmp_path / "in" / "Split-test", sent)
        inputs: dict[str, list[types.Artifact]] = {"model": [model], "examples": [examples]}
        executor.Executor().Do(inputs, {"infra_blessing": [blessing]}, {"settings": ProbeSettings().model_dump_json()})
        return blessing

    return do


def write_shards(folder: Path, records: Sequence[bytes]) -> None:
    """The first shard as Beam writes it for the Augmenter, the second one as ExampleGen does."""
    folder.mkdir(parents=True)
    for name, compression, part in (("a", "", records[:6]), ("b.gz", "GZIP", records[6:])):
        with tf.io.TFRecordWriter(str(folder / f"data_tfrecord-{name}"), compression) as writer:
            for serialized in part:
                writer.write(serialized)


def failed_of(checks: Sequence[ProbeCheck]) -> dict[str, str]:
    return {check.check: check.detail for check in checks if not check.passed}


def test_an_export_passes(run: Run, exported: Path, caplog: pytest.LogCaptureFixture) -> None:
    blessing = run(exported)
    assert blessing.get_int_custom_property("blessed") == 1
    assert sorted(path.name for path in Path(blessing.uri).iterdir()) == ["INFRA_BLESSED", "probe.json"]
    result = ProbeResult.read(blessing.uri)
    assert failed_of(result.checks) == {}
    assert result.blessed is True
    assert [check.check for check in result.checks] == CHECKS
    details = {check.check: check.detail for check in result.checks}
    assert details["serves stored PNG"] == "20 x 40, 32 x 24"
    assert details["serves PNG of one row"] == "20 x 1"
    assert details["serves PNG of half the size"] == "10 x 20"
    assert details["evaluate"] == "8 records"
    assert details["mask pixels"] == "15 masks"
    pixels = 4 * (20 * 40 + 32 * 24)
    assert re.fullmatch(f"[0-6] of {pixels} pixels differ", details["training graph"])
    assert [latency.images for latency in result.latency] == [1, 8]
    for latency in result.latency:
        assert 0 < latency.median_ms <= latency.p95_ms
    (line,) = [record.getMessage() for record in caplog.records]
    assert line == f"28 checks passed, one image in {result.latency[0].median_ms:.0f} ms"


def test_an_export_without_weights_does_not(
    run: Run, exported: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(exported / "Format-Serving", tmp_path / "model" / "Format-Serving")
    shutil.rmtree(tmp_path / "model" / "Format-Serving" / "assets.extra")
    blessing = run(tmp_path / "model")
    assert blessing.get_int_custom_property("blessed") == 0
    assert sorted(path.name for path in Path(blessing.uri).iterdir()) == ["INFRA_NOT_BLESSED", "probe.json"]
    result = ProbeResult.read(blessing.uri)
    detail = "no weights lie beside the model (assets.extra/weights.npz) to compare it with"
    assert failed_of(result.checks) == {"training graph": detail}
    assert result.blessed is False
    assert [record.getMessage() for record in caplog.records] == [f"not blessed: training graph: {detail}"]


@pytest.fixture(scope="module")
def answered(exported: Path, originals: list[bytes]) -> tuple[list[bytes], list[bytes]]:
    """Transformed images and served masks of the originals."""
    loaded = tf.saved_model.load(str(exported / "Format-Serving"))
    images = loaded.signatures["transform_features"](examples=tf.constant(originals))["image"]
    sent = tf.constant(
        [
            tf.train.Example.FromString(serialized).features.feature["image"].bytes_list.value[0]
            for serialized in originals
        ]
    )
    masks = loaded.signatures["serving_default"](image_bytes=sent)["mask_png"]
    return images.numpy().tolist(), masks.numpy().tolist()


@pytest.fixture
def copied(exported: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported / "Format-Serving", tmp_path / "copied"))


def test_the_same_weights_give_the_same_masks(copied: Path, answered: tuple[list[bytes], list[bytes]]) -> None:
    passed, detail = training_graph.compare(copied, *answered)
    assert passed, detail
    shares = [np.mean(tf.io.decode_png(mask).numpy() == 255) for mask in answered[1]]
    assert 0.05 < np.mean(shares) < 0.95, "both kinds of pixels are there to differ"


def test_other_weights_are_found_out(copied: Path, answered: tuple[list[bytes], list[bytes]]) -> None:
    network = unet(SETTINGS)
    network.set_weights([weight + 0.2 for weight in network.get_weights()])
    write_weights(network, SETTINGS, copied)
    passed, detail = training_graph.compare(copied, *answered)
    assert not passed
    assert re.fullmatch(r"\d{2,} of 6272 pixels differ", detail)


def test_an_answer_without_mirroring_is_found_out(copied: Path, answered: tuple[list[bytes], list[bytes]]) -> None:
    settings = SETTINGS.model_copy(update={"average_mirrored": False})
    keras.utils.set_random_seed(1)
    write_weights(unet(settings), settings, copied)
    assert training_graph.compare(copied, *answered)[0] is False


def test_an_answer_with_stray_parts_is_found_out(copied: Path, answered: tuple[list[bytes], list[bytes]]) -> None:
    settings = SETTINGS.model_copy(update={"largest_parts": 1})
    keras.utils.set_random_seed(1)
    write_weights(unet(settings), settings, copied)
    assert training_graph.compare(copied, *answered)[0] is False


def test_up_to_a_thousandth_of_the_pixels_may_differ(copied: Path, answered: tuple[list[bytes], list[bytes]]) -> None:
    images, masks = answered

    def with_changes(count: int) -> tuple[bool, str]:
        pixels = tf.io.decode_png(masks[0]).numpy()
        pixels.reshape(-1)[:count] = 255 - pixels.reshape(-1)[:count]
        return training_graph.compare(copied, images, [tf.io.encode_png(pixels).numpy(), *masks[1:]])

    base = int(training_graph.compare(copied, images, masks)[1].split()[0])
    assert base == 0
    assert with_changes(6) == (True, "6 of 6272 pixels differ")
    assert with_changes(7) == (False, "7 of 6272 pixels differ")


def test_nothing_to_compare(copied: Path) -> None:
    expected = (False, "0 masks and 0 transformed images came back, so nothing can be compared")
    assert training_graph.compare(copied, [], []) == expected
    assert read_settings(copied) == SETTINGS


class Bad(tf.Module):
    """Answers everything, in wrong ways: masks of one size, with a pixel of 7, and a share that is not theirs."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = tf.Variable(0, trainable=False)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def serve(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        total = tf.shape(image_bytes)[0]
        # Another mask for a request of many.
        lung = tf.where(total > 1, 0, 255)
        pixels = tf.cast(tf.concat([tf.fill([24, 31, 1], lung), tf.fill([24, 1, 1], 7)], 1), tf.uint8)
        return {
            "mask_png": tf.repeat(tf.io.encode_png(pixels), total),
            "lung_fraction": tf.fill([total], 0.25),
            "expected_dice": tf.fill([total], 0.5),
            "expected_dice_of_sides": tf.fill([total, 2], 1.25),
            "review": tf.fill([total], True),
            "review_reason": tf.fill([total], ""),
            "error": tf.fill([total], ""),
        }

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="records")])
    def evaluate(self, records: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"loss": tf.constant(1.0)}


@pytest.fixture(scope="module")
def bad(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bad") / "model"
    model = Bad()
    signatures = {"serving_default": model.serve, "evaluate": model.evaluate}
    tf.saved_model.save(model, str(folder), signatures=signatures)
    return folder


def test_what_a_bad_model_does_wrong(bad: Path, originals: list[bytes]) -> None:
    failed = failed_of(executor.probe(bad, originals).checks)
    assert failed.pop("evaluate").startswith("TypeError: ")
    assert failed == {
        "signature rest": "there is no signature rest",
        "signature evaluate": "takes records string [N] instead of examples string [N]",
        "signature transform_features": "there is no signature transform_features",
        "transform_features": "there is no signature transform_features",
        "batch": "15 images: 11160 of 11520 pixels differ",
        "mask size": "32 x 24 pixels for an image of 20 x 40",
        "mask pixels": "a mask holds 7, not only 0 and 255",
        "lung_fraction": "is 0.250000 for a mask with 0.968750",
        "expected_dice": "is 1.25, no number from 0 to 1",
        "refuses a truncated PNG": "answered with a mask",
        "refuses an empty file": "answered with a mask",
        "refuses random bytes": "answered with a mask",
        "training graph": "no weights lie beside the model (assets.extra/weights.npz) to compare it with",
    }


class Loose(tf.Module):
    """Signatures with wrong types, ranks and lengths; refuses every image."""

    @tf.function(input_signature=[tf.TensorSpec([], tf.string, name="image_bytes")])
    def serve(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        with tf.control_dependencies([tf.debugging.Assert(tf.strings.length(image_bytes) < 0, ["never"])]):
            return {"mask_png": tf.identity(image_bytes)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def evaluate(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"loss": tf.constant(1.0)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def transform_features(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"image": examples[1:]}


def test_what_loose_signatures_do_wrong(tmp_path: Path, originals: list[bytes]) -> None:
    model = Loose()
    signatures = {
        "serving_default": model.serve,
        "evaluate": model.evaluate,
        "transform_features": model.transform_features,
    }
    tf.saved_model.save(model, str(tmp_path), signatures=signatures)
    result = executor.probe(tmp_path, originals)
    failed = failed_of(result.checks)
    assert failed["signature serving_default"] == "takes image_bytes string [] instead of image_bytes string [N]"
    assert failed["signature evaluate"] == "gives no value an example: loss"
    assert failed["evaluate"] == "gives loss [] for 8"
    assert failed["transform_features"] == "gives image [7] for 8"
    assert failed["serves JPEG"].startswith("InvalidArgumentError: ")
    assert failed["batch"] == failed["mask size"] == failed["serves on"] == "no image was answered"
    assert failed["latency"] == "no stored image was answered"
    assert result.latency == []


class Alone(Bad):
    """Answers one image at a time."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def serve(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        with tf.control_dependencies([tf.debugging.assert_less(tf.shape(image_bytes)[0], 2, "too many")]):
            return dict(super().serve(image_bytes))


def test_what_fails_with_many_images_alone_is_said_of_that_check(tmp_path: Path, originals: list[bytes]) -> None:
    model = Alone()
    tf.saved_model.save(model, str(tmp_path), signatures={"serving_default": model.serve})
    failed = failed_of(executor.probe(tmp_path, originals).checks)
    assert failed["batch"].startswith("InvalidArgumentError: ")
    assert failed["latency"].startswith("InvalidArgumentError: ")
    assert "process" not in failed


def test_what_cannot_be_loaded(tmp_path: Path, originals: list[bytes]) -> None:
    (tmp_path / "saved_model.pb").write_bytes(b"damaged")
    result = executor.probe(tmp_path, originals)
    assert [check.check for check in result.checks] == ["loads", "training graph"]
    assert len(failed_of(result.checks)) == 2
    assert "\n" not in failed_of(result.checks)["loads"]


def test_without_the_refusal_the_project_could_be_imported(
    tmp_path: Path, exported: Path, originals: list[bytes]
) -> None:
    """So the check `loads`, which passes above, proves that the packages are out of reach."""
    source = Path(probe.__file__).read_text()
    assert source.count("    sys.meta_path[:] = [_Without(sys.meta_path)]\n") == 1
    script = tmp_path / "open.py"
    script.write_text(source.replace("    sys.meta_path[:] = [_Without(sys.meta_path)]\n", "    pass\n"))
    write_requests(originals[:1], tmp_path / "requests")
    arguments = [exported / "Format-Serving", tmp_path / "requests", tmp_path / "answer.json"]
    subprocess.run([sys.executable, "-I", script, *arguments], check=True, capture_output=True, cwd=tmp_path)
    answer = json.loads((tmp_path / "answer.json").read_text())
    (row,) = answer["checks"]
    assert row["passed"] is False
    assert row["detail"].startswith("can be imported, so that nothing is proved: albumentations, apache_beam, ")
    assert {"schema", "modules", "components", "pipeline", "keras", "tfx"} <= set(re.findall(r"\w+", row["detail"]))


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts a program in the place of the one that tries the model out."""

    def write(program: str) -> None:
        (tmp_path / "script.py").write_text(program)
        monkeypatch.setattr(executor, "_SCRIPT", tmp_path / "script.py")

    return write


@pytest.mark.parametrize(
    ("program", "detail"),
    [
        ("import os, sys; print('a\\nb', file=sys.stderr); sys.stderr.flush(); os.abort()", "crashed (SIGABRT): b"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "crashed (SIGSEGV): it wrote no error"),
    ],
)
def test_a_process_that_crashes_blesses_nothing(
    run: Run,
    exported: Path,
    script: Callable[[str], None],
    caplog: pytest.LogCaptureFixture,
    program: str,
    detail: str,
) -> None:
    script(program)
    blessing = run(exported)
    assert blessing.get_int_custom_property("blessed") == 0
    check = ProbeCheck(check="process", passed=False, detail=detail)
    assert ProbeResult.read(blessing.uri) == ProbeResult(blessed=False, checks=[check], latency=[])
    assert sorted(path.name for path in Path(blessing.uri).iterdir()) == ["INFRA_NOT_BLESSED", "probe.json"]
    assert [record.getMessage() for record in caplog.records] == [f"not blessed: process: {detail}"]


KILLED = (
    "the process that tries the model out was killed ({}), perhaps for lack of memory: start again, with more memory "
    "where that does not help"
)
ENDED = "the process that tries the model out ended early; start again when this is mended: "


@pytest.mark.parametrize(
    ("program", "timeout", "message"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", 300, KILLED.format("SIGKILL")),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", 300, KILLED.format("SIGTERM")),
        (
            "import pathlib; pathlib.Path('/dev/full').write_text('answer')",
            300,
            f"{ENDED}OSError: [Errno 28] No space left on device",
        ),
        ("import tensorflow_of_nobody", 300, f"{ENDED}ModuleNotFoundError: No module named 'tensorflow_of_nobody'"),
        ("import sys; sys.exit(3)", 300, f"{ENDED}it wrote no error"),
        (
            "import time; time.sleep(60)",
            2,
            "the model gave no answer within 2 s: start again when the machine has less to do; where that does not "
            "help, look at the model, which may hang",
        ),
    ],
)
def test_what_may_lie_in_the_machine_is_no_judgement(
    run: Run,
    exported: Path,
    script: Callable[[str], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    program: str,
    timeout: float,
    message: str,
) -> None:
    script(program)
    monkeypatch.setattr(executor, "_TIMEOUT_SECONDS", timeout)
    with pytest.raises(executor.ProbeError, match=f"^{re.escape(message)}$"):
        run(exported)
    assert not list((tmp_path / "out").iterdir())


def test_a_process_that_cannot_be_started_is_no_judgement(
    run: Run, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "none"))
    with pytest.raises(FileNotFoundError):
        run(exported)
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("lack", [MemoryError(), tf.errors.ResourceExhaustedError(None, None, "OOM when allocating")])
def test_lack_of_memory_is_no_judgement(
    exported: Path, tmp_path: Path, originals: list[bytes], monkeypatch: pytest.MonkeyPatch, lack: Exception
) -> None:
    def fail(*_: object) -> None:
        raise lack

    write_requests(originals[:1], tmp_path / "requests")
    with monkeypatch.context() as replaced:
        replaced.setattr(tf.saved_model, "load", fail)
        replaced.setattr(probe, "REFUSED", ())
        tried = probe.Probe(str(exported / "Format-Serving"), tmp_path / "requests")
        with pytest.raises(SystemExit, match=rf"^loads: {type(lack).__name__}: "):
            tried.run()
    monkeypatch.setattr(executor, "compare", fail)
    with pytest.raises(executor.ProbeError, match=r"^memory does not suffice to compare "):
        executor.probe(exported / "Format-Serving", originals[:1])


LISTS = """
import json, os, pathlib, sys
sent = sorted(str(path) for path in pathlib.Path(sys.argv[2]).rglob("*") if path.is_file())
pathlib.Path(os.environ["SEEN"]).write_text(json.dumps([sent, os.listdir(), sys.flags.isolated]))
pathlib.Path(sys.argv[3]).write_text(json.dumps({"checks": [{"check": "none", "passed": False, "detail": ""}]}))
"""


def test_the_first_originals_are_sent_from_an_empty_folder(
    run: Run,
    exported: Path,
    originals: list[bytes],
    script: Callable[[str], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    script(LISTS)
    monkeypatch.setenv("SEEN", str(tmp_path / "seen"))
    asked: list[Sequence[bytes]] = []

    def write(sent: Sequence[bytes], to: Path) -> None:
        asked.append(sent)
        write_requests(sent, to)

    monkeypatch.setattr(executor, "write_requests", write)
    run(exported)
    assert asked == [originals]
    sent, here, isolated = json.loads((tmp_path / "seen").read_text())
    assert (here, isolated) == ([], 1)
    assert [Path(path).parent.name for path in sent] == ["broken"] * 3 + ["records"] * 8 + ["stored"] * 8 + [
        "variants"
    ] * 7


def test_a_split_without_originals(run: Run, exported: Path, records: list[bytes], tmp_path: Path) -> None:
    expected = "split 'test' has no originals to send to the model: it needs patients, so add more of them"
    with pytest.raises(RuntimeError, match=f"^{re.escape(expected)}$"):
        run(exported, records[1::2])
    assert not list((tmp_path / "out").iterdir())


def test_variants_are_what_they_are_called() -> None:
    image = np.random.default_rng(1).integers(0, 256, (24, 32), np.uint8)
    decoded = {kind: decode_picture(file) for kind, file in variants(image).items()}
    assert {kind: (pixels.shape, pixels.dtype.name) for kind, pixels in decoded.items()} == {
        "PNG of half the size": ((12, 16), "uint8"),
        "wide PNG": ((24, 44), "uint8"),
        "PNG of one row": ((1, 32), "uint8"),
        "16-bit PNG": ((24, 32), "uint16"),
        "colour PNG": ((24, 32, 3), "uint8"),
        "JPEG": ((24, 32), "uint8"),
        "colour JPEG": ((24, 32, 3), "uint8"),
    }
    assert np.array_equal(decoded["16-bit PNG"], image.astype(np.uint16) * 16)


def test_what_is_broken_is_broken() -> None:
    png = cv2.imencode(".png", np.random.default_rng(1).integers(0, 256, (24, 32), np.uint8))[1].tobytes()
    files = broken(png)
    assert files["a truncated PNG"].startswith(b"\x89PNG")
    for file in files.values():
        with pytest.raises(tf.errors.InvalidArgumentError):
            tf.io.decode_image(file)


def test_the_component_is_wired() -> None:
    model = channel.OutputChannel(standard_artifacts.Model, None, "model")
    examples = channel.OutputChannel(standard_artifacts.Examples, None, "examples")
    component = ServingProbe(model=model, examples=examples)
    assert component.id == "ServingProbe"
    assert component.inputs == {"model": model, "examples": examples}
    outputs = {key: output.type for key, output in component.outputs.items()}
    assert outputs == {"infra_blessing": standard_artifacts.InfraBlessing}
    version = code_version("components.serving_probe.executor")
    assert component.exec_properties == {"settings": base.write_settings(ProbeSettings()), "code_version": version}
