"""The README's programs, as they stand there, make the mask that the model makes: in Python, over the wire, in Java.

TensorFlow Serving itself is not at hand. What stands in for it takes its messages as its own protocols and its
description of the REST API define them, checks them against the signatures, and answers with the model.
"""

import base64
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
import tensorflow as tf
from maven import UnavailableError, fetch_jars
from numpy.typing import NDArray
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from modules.serving import export

README = Path(export.__file__).with_name("README.md").read_text()
POM = Path(__file__).parent / "java/pom.xml"


def programs(language: str) -> list[str]:
    """The README's blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


@pytest.fixture
def place(exported: Path, scene: Callable[..., Any], to_png: Callable[[NDArray[Any]], bytes], tmp_path: Path) -> Path:
    """Where the README's programs are run: with a serving folder and an image."""
    (tmp_path / "run/serving").mkdir(parents=True)
    (tmp_path / "run/serving/1").symlink_to(exported)
    (tmp_path / "chest.png").write_bytes(to_png(scene(1, 57, 33).image))
    return tmp_path


@pytest.fixture
def expected(signatures: SimpleNamespace, place: Path) -> bytes:
    """The mask."""
    answer = signatures.serving_default(image_bytes=tf.constant([(place / "chest.png").read_bytes()]))
    return bytes(answer["mask_png"].numpy()[0])


def run(place: Path, *command: str) -> bytes:
    """Runs a program that is not told where this project is; returns the mask that it wrote."""
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return (place / "mask.png").read_bytes()


def test_from_tensorflow(place: Path, expected: bytes) -> None:
    assert run(place, sys.executable, "-I", "-c", programs("python")[0]) == expected


class Rest(BaseHTTPRequestHandler):
    """Answers as TensorFlow Serving's REST API: row format, base 64 for bytes."""

    model: SimpleNamespace

    def do_POST(self) -> None:
        assert self.path == "/v1/models/lungseg:predict"
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert request.keys() == {"signature_name", "instances"}
        signature = getattr(self.model, request["signature_name"])
        # An instance of a signature of one input may be the value itself; an object with nothing but b64 is bytes.
        [name] = signature.structured_input_signature[1]
        images = [base64.b64decode(instance["b64"], validate=True) for instance in request["instances"]]
        columns = {
            key: [to_json(key, value) for value in tensor.numpy().tolist()]
            for key, tensor in signature(**{name: tf.constant(images)}).items()
        }
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        body = json.dumps({"predictions": rows}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        pass


def to_json(key: str, value: Any) -> Any:
    """Strings are bytes where the output's name ends so; others have to be text."""
    if not isinstance(value, bytes):
        return value
    return {"b64": base64.b64encode(value).decode()} if key.endswith("_bytes") else value.decode()


@pytest.fixture
def rest(signatures: SimpleNamespace) -> Iterator[int]:
    """The port of what answers REST."""
    handler = type("Handler", (Rest,), {"model": signatures})
    with ThreadingHTTPServer(("localhost", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def test_over_rest(place: Path, expected: bytes, rest: int) -> None:
    [program] = programs("sh")
    program = program.replace("localhost:8501", f"localhost:{rest}").replace("python -c", f"{sys.executable} -c")
    assert run(place, "bash", "-euo", "pipefail", "-c", program) == expected
    [answer] = json.loads((place / "answer.json").read_bytes())["predictions"]
    told = {"lung_fraction", "expected_dice", "expected_dice_of_sides", "review", "review_reason", "error"}
    assert answer.keys() == {"mask_bytes", *told}
    assert answer["error"] == ""


class Predictor(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Answers as TensorFlow Serving's gRPC API."""

    def __init__(self, model: SimpleNamespace) -> None:
        self.model = model

    def Predict(self, request: Any, context: Any) -> Any:  # noqa: N802
        assert request.model_spec.name == "lungseg"
        signature = getattr(self.model, request.model_spec.signature_name)
        taken = signature.structured_input_signature[1]
        assert request.inputs.keys() == taken.keys()
        for name, spec in taken.items():
            assert tf.as_dtype(request.inputs[name].dtype) == spec.dtype
            assert spec.shape.is_compatible_with(request.inputs[name].tensor_shape)
        inputs = {name: tf.constant(tf.make_ndarray(tensor)) for name, tensor in request.inputs.items()}
        response = predict_pb2.PredictResponse(model_spec=request.model_spec)
        for name, tensor in signature(**inputs).items():
            response.outputs[name].CopyFrom(tf.make_tensor_proto(tensor))
        return response


@pytest.fixture
def grpc_port(signatures: SimpleNamespace) -> Iterator[int]:
    """The port of what answers gRPC."""
    server = grpc.server(ThreadPoolExecutor(1))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Predictor(signatures), server)
    port = server.add_insecure_port("localhost:0")
    server.start()
    yield port
    server.stop(None)


def test_over_grpc(place: Path, expected: bytes, grpc_port: int) -> None:
    program = programs("python")[1].replace("localhost:8500", f"localhost:{grpc_port}")
    assert run(place, sys.executable, "-I", "-c", program) == expected


@pytest.mark.nightly
def test_from_java(place: Path, expected: bytes) -> None:
    if shutil.which("javac") is None:
        pytest.skip("no javac on PATH: `make system-packages` installs it")
    try:
        jars = fetch_jars(POM, place / "jars")
    except UnavailableError as error:
        pytest.skip(str(error))
    [program] = programs("java")
    (place / "Segment.java").write_text(program)
    assert run(place, "java", "-cp", f"{jars}/*", "Segment.java") == expected
