"""The arithmetic of the GPU benchmark, and what it says where there is no GPU."""

import argparse
import json
from pathlib import Path
from typing import Any

import bench_gpu
import keras
import pytest
from gpu.networks import forward_flops, network
from gpu.process import trouble
from gpu.rows import Clock, Row

GIB = "Out of memory while trying to allocate 9 GiB"


def row(**changes: Any) -> Row:
    values = {
        "network": "best",
        "loop": "product",
        "precision": "bfloat16",
        "compiled": True,
        "devices": 1,
        "backend": "tensorflow",
        "gpu": True,
        "seconds": 1.0,
        "steps": 1,
        "burst": 2,
    }
    return Row(**{**values, **changes})


def test_operations_of_convolutions() -> None:
    image = keras.Input((8, 6, 3))
    x = keras.layers.Conv2D(5, 3, strides=2, padding="same")(image)
    x = keras.layers.ReLU()(x)
    x = keras.layers.Conv2DTranspose(7, 2, strides=2)(x)
    first, second = 4 * 3 * (3 * 3 * 3 * 5), 4 * 3 * (2 * 2 * 5 * 7)
    assert forward_flops(keras.Model(image, x)) == 2 * (first + second)


def test_the_network_that_nvidia_measures() -> None:
    model = network("nvidia", tiny=False).build(1)
    shapes = {layer.name: layer.output.shape[1:] for layer in model.layers}
    assert (388, 388, 1) in shapes.values()
    assert (28, 28, 1024) in shapes.values()
    assert model.output_shape == (None, 572, 572, 1)
    assert model.count_params() == pytest.approx(34.5e6, rel=0.01)


@pytest.mark.parametrize(
    ("gpu", "precision", "peak"),
    [
        ("NVIDIA H200", "bfloat16", 989e12),
        ("NVIDIA H200 NVL", "bfloat16", 835e12),
        ("NVIDIA H100 80GB HBM3", "float32", 494e12),
        ("NVIDIA A100-SXM4-40GB", "float16", 312e12),
        ("Tesla V100-SXM2-16GB", "bfloat16", None),
        ("NVIDIA L40", "bfloat16", None),
        ("", "float32", None),
    ],
)
def test_peaks_go_by_name(gpu: str, precision: str, peak: float | None) -> None:
    assert bench_gpu.peak_of(gpu, precision) == peak


def test_share_of_the_peak_and_scaling() -> None:
    alone = {"images_per_s": 100.0, "flops": 10**12, "losses": []}
    all_four = {"images_per_s": 300.0, "flops": 10**12, "losses": []}
    torch = {"images_per_s": 200.0, "flops": 0, "losses": []}
    done: list[tuple[Row, dict[str, Any]]] = []
    for measured, figures in ((row(), alone), (row(devices=4), all_four), (row(loop="torch"), torch)):
        done.append((measured, figures))
        bench_gpu.derive(done, "NVIDIA H200")
    assert alone["of_peak"] == pytest.approx(100 / 989)
    assert all_four["of_peak"] == pytest.approx(300 / 4 / 989)
    assert all_four["scaling"] == pytest.approx(0.75)
    assert torch["of_peak"] == pytest.approx(200 / 989)
    assert "scaling" not in alone


def test_losses_are_compared_after_200_steps() -> None:
    def figures(end: float, rate: float) -> dict[str, Any]:
        return {"images_per_s": rate, "losses": [1.0] * 180 + [end] * 20 + [9.0] * 5}

    done = [
        (row(precision="float32"), figures(0.5, 10)),
        (row(), figures(0.51, 19)),
        (row(loop="bare"), figures(1, 20)),
    ]
    summary = bench_gpu.summarize(done, "tensorflow", ["NVIDIA H200"])
    assert summary["curves"] == {"bfloat16": 0.02}
    assert summary["mixed_gain"] == {"best": 1.9}
    assert summary["vs_bare"] == {"best": 0.95}
    assert "losses" not in summary["rows"][0]
    diverged = [done[0], (row(precision="float16"), figures(float("nan"), 19))]
    assert bench_gpu.summarize(diverged, "tensorflow", ["NVIDIA H200"])["curves"] == {"float16": None}


def test_rows_on_two_gpus_begin_with_what_tells_most() -> None:
    options = argparse.Namespace(curves=False, batch=None)
    rows = bench_gpu.plan("tensorflow", 2, options)
    assert [(row.network, row.devices) for row in rows[:3]] == [("nvidia", 1), ("nvidia", 2), ("gpu", 1)]
    of_product = {(row.network, row.precision, row.compiled, row.devices) for row in rows if row.loop == "product"}
    assert len(of_product) == 3 * 3 * 2 * 2
    under_jax = bench_gpu.plan("jax", 1, options)
    assert len(under_jax) == len(set(under_jax))
    assert {row.loop for row in under_jax} <= {"bare", "torch"}


def test_the_first_two_bursts_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([10.0, 20.0, 20.5, 21.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(times))
    clock = Clock(row())
    assert [clock.add([0.1, 0.2]) for _ in range(4)] == [False, False, False, True]
    assert clock.steps_a_second == 4


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (RuntimeError(f"RESOURCE_EXHAUSTED: {GIB}"), "the device's memory is too small"),
        (MemoryError(), "the device's memory is too small"),
        (ValueError("two\nlines"), "ValueError: two lines"),
    ],
)
def test_trouble_is_one_line(error: Exception, line: str) -> None:
    assert trouble(error) == line
    assert bench_gpu.line_of(row(), {"error": line}).endswith(f"  {line}")


def test_rows_go_on_after_one_that_took_its_process_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([[{"error": "ended with code -6: "}], [{"images_per_s": 1.0}]])
    monkeypatch.setattr(bench_gpu, "ask", lambda *_: next(answers))
    measured = [
        figures for _, figures in bench_gpu.measure([row(), row(precision="float32")], ["GPU"], "tensorflow", 8)
    ]
    assert measured == [{"error": "ended with code -6: "}, {"images_per_s": 1.0}]


def test_what_there_is_no_time_for_is_named() -> None:
    ((_, figures),) = bench_gpu.measure([row()], ["GPU"], "tensorflow", minutes=0.1)
    assert figures == {"error": "left out: the 0.1 minutes are over"}


def test_a_process_says_what_is_wrong_in_one_line() -> None:
    order = {"rows": [{**json.loads(json.dumps(vars(row()))), "network": "none.such"}]}
    (said,) = bench_gpu.ask(order, "tensorflow", 60)
    assert said["error"].startswith("FileNotFoundError")
    (said,) = bench_gpu.ask({}, "tensorflow", 60)
    assert said["error"] == "ended with code 1: KeyError: 'rows'"


def no_gpu(monkeypatch: pytest.MonkeyPatch, driver: Path) -> None:
    monkeypatch.setattr(bench_gpu, "ask", lambda *_: [{"gpus": []}])
    monkeypatch.setattr(bench_gpu, "BACKENDS", ("tensorflow",))
    monkeypatch.setattr(bench_gpu, "DRIVER", driver)
    monkeypatch.setattr("sys.argv", ["bench_gpu.py", "--require-gpu"])
    monkeypatch.delenv("KERAS_BACKEND", raising=False)


def test_a_gpu_is_required(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    no_gpu(monkeypatch, tmp_path / "none")
    assert bench_gpu.main() == 2
    assert capsys.readouterr() == ("", "bench-gpu: no GPU: tensorflow sees no GPU\n")


def test_a_driver_that_does_not_fit(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    driver = tmp_path / "version"
    driver.write_text("NVRM version: 470.57\nGCC version: 9\n")
    no_gpu(monkeypatch, driver)
    assert bench_gpu.main() == 2
    assert capsys.readouterr().err == (
        "bench-gpu: no GPU: tensorflow sees no GPU; its driver (NVRM version: 470.57) does not fit their CUDA, or CUDA "
        "is not installed: compare with requirements-gpu.txt\n"
    )


def test_a_backend_that_is_not_there(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    monkeypatch.setattr(bench_gpu, "BACKENDS", ("tensorflow",))
    monkeypatch.setattr("sys.argv", ["bench_gpu.py"])
    assert bench_gpu.main() == 2
    assert capsys.readouterr().err == (
        "bench-gpu: this runs under tensorflow or jax, and tensorflow is installed; KERAS_BACKEND is torch\n"
    )
