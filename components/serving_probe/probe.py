"""Tries an exported model out: `python -I probe.py MODEL_DIR REQUESTS_DIR ANSWER_FILE`.

Runs as a script of its own, where only TensorFlow can be imported. It reads files from the requests' folder:

    stored/*    images as they are stored
    variants/*  images of other kinds, each named by its kind
    records/*   the records that the stored images are from
    broken/*    what must be refused, each named by its kind

and writes JSON: `checks`, a list of {"check", "passed", "detail"}; `latency`, one of {"images", "median_ms", "p95_ms"};
`masks`, the answers to the stored images, and `images`, what `transform_features` makes of the records, in base64.
"""

import base64
import importlib.abc
import importlib.util
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.machinery import ModuleSpec
from itertools import chain
from pathlib import Path
from types import ModuleType
from typing import Any, Final

REFUSED: Final = frozenset(
    {
        "schema", "modules", "components", "pipeline", "keras", "tf_keras", "tensorflow_transform", "tfx", "tfx_bsl",
        "apache_beam", "albumentations", "cv2",
    }
)  # fmt: skip
"""Packages that the model must do without."""


class _Without(importlib.abc.MetaPathFinder):
    """Finds nothing of the refused packages, as if they were not installed.

    An error in their place would stop TensorFlow, which looks for Keras and does without.
    """

    def __init__(self, finders: Sequence[Any]) -> None:
        self._finders = tuple(finders)

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name.partition(".")[0] in REFUSED:
            return None
        return next((spec for finder in self._finders if (spec := finder.find_spec(name, path, target))), None)


if __name__ == "__main__":
    sys.meta_path[:] = [_Without(sys.meta_path)]

import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

SERVE, REST, EVALUATE, TRANSFORM = "serving_default", "rest", "evaluate", "transform_features"
STORED = "stored PNG"
MAX_DIFFERENCE = 0.001
"""Share of the pixels that may differ: sums in another order may tip what lies at the threshold."""

_SAID = {
    "lung_fraction": "float32 [N]", "expected_dice": "float32 [N]", "expected_dice_of_sides": "float32 [N, 2]",
    "review": "bool [N]", "review_reason": "string [N]", "error": "string [N]",
}  # fmt: skip
"""Outputs beside the mask."""
_FRACTION_ERROR = 1e-5
_LACKS = (MemoryError, tf.errors.ResourceExhaustedError)
"""What the machine lacks, from which nothing follows for the model: without an answer the probe is made again."""
_LATENCY_BATCHES = (1, 8)
_LATENCY_SECONDS = 1.5
_LATENCY_REQUESTS = (3, 30)
"""At least and at most so many of each size."""
_GREY_8_BIT = b"\x08\x00"
"""Bit depth and colour type in a PNG's header (ISO/IEC 15948, 11.2.2)."""


class Failed(Exception):  # noqa: N818  # not an error of the program
    """What a check found wrong."""


@dataclass(frozen=True)
class Served:
    """An image, and what came back: its mask as PNG, the outputs beside it, and what is wrong with the image."""

    image: bytes
    mask: bytes
    fraction: float
    expected_dice: float
    expected_dice_of_sides: list[float]
    review: bool
    review_reason: str
    error: str

    def lung(self) -> Any:
        """Decode the mask; uint8 [height, width]."""
        return tf.io.decode_png(self.mask, channels=1).numpy()[..., 0]


class Probe:
    """One model under test; `run` gives the answer."""

    def __init__(self, model_dir: str, requests: Path) -> None:
        self._model_dir = model_dir
        self._stored = list(_read(requests / "stored").values())
        self._variants = _read(requests / "variants")
        self._records = list(_read(requests / "records").values())
        self._broken = _read(requests / "broken")
        self._model: Any = None
        self._served: dict[str, list[Served]] = {}
        self._images: list[bytes] = []
        self._rows: list[dict[str, str | bool]] = []
        self._latency: list[dict[str, float]] = []

    def run(self) -> dict[str, Any]:
        """Make all checks, the latency last; if the model does not load, that is the only check."""
        self._check("loads", self._load)
        if self._model:
            self._check_signatures()
            for kind, files in {
                STORED: self._stored,
                **{kind: [file] for kind, file in self._variants.items()},
            }.items():
                self._check(f"serves {kind}", partial(self._serve_each, kind, files))
            self._check("batch", self._serve_together)
            self._check("empty batch", self._serve_none)
            self._check("mask format", partial(self._for_each_mask, _check_format))
            self._check("mask size", partial(self._for_each_mask, _check_size))
            self._check("mask pixels", partial(self._for_each_mask, _check_pixels))
            self._check("lung_fraction", partial(self._for_each_mask, _check_fraction))
            self._check("expected_dice", partial(self._for_each_mask, _check_quality))
            for kind, file in self._broken.items():
                self._check(f"refuses {kind}", partial(self._refuse, file))
            self._check("serves on", self._serve_again)
            self._check("latency", self._measure_latency)
        return {
            "checks": self._rows,
            "latency": self._latency,
            "masks": [_to_text(served.mask) for served in self._served.get(STORED, [])],
            "images": [_to_text(image) for image in self._images],
        }

    def _check(self, name: str, work: Callable[[], str]) -> None:
        passed = False
        try:
            detail, passed = work(), True
        except Failed as error:
            detail = str(error)
        except Exception as error:
            detail = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
            if isinstance(error, _LACKS):
                sys.exit(f"{name}: {detail}")
            # Whatever else the model raises is its own failure, and no reason to leave out the other checks.
        self._rows.append({"check": name, "passed": passed, "detail": detail})

    def _load(self) -> str:
        present = sorted(name for name in REFUSED if importlib.util.find_spec(name))
        if present:
            raise Failed(f"can be imported, so that nothing is proved: {', '.join(present)}")
        start = time.monotonic()
        self._model = tf.saved_model.load(self._model_dir)
        return f"in {time.monotonic() - start:.1f} s, without {', '.join(sorted(REFUSED))}"

    def _check_signatures(self) -> None:
        for name, mask in ((SERVE, "mask_png"), (REST, "mask_bytes")):
            outputs = {mask: "string [N]", **_SAID}
            self._check(f"signature {name}", partial(self._signature, name, "image_bytes", outputs))
        for name in (EVALUATE, TRANSFORM):
            self._check(f"signature {name}", partial(self._signature, name, "examples", None))
        self._check(EVALUATE, self._evaluate)
        self._check(TRANSFORM, self._transform)

    def _function(self, name: str) -> Any:
        if name not in self._model.signatures:
            raise Failed(f"there is no signature {name}")
        return self._model.signatures[name]

    def _signature(self, name: str, argument: str, outputs: dict[str, str] | None) -> str:
        function = self._function(name)
        taken = {key: _describe(spec) for key, spec in function.structured_input_signature[1].items()}
        wanted = {argument: "string [N]"}
        if taken != wanted:
            raise Failed(f"takes {_list(taken)} instead of {_list(wanted)}")
        given = {key: _describe(spec) for key, spec in function.structured_outputs.items()}
        if outputs is not None and given != outputs:
            raise Failed(f"gives {_list(given)} instead of {_list(outputs)}")
        loose = [key for key, spec in function.structured_outputs.items() if spec.shape.rank in (None, 0)]
        if loose or not given:
            raise Failed(f"gives no value an example: {', '.join(loose) or 'nothing at all'}")
        return f"{_list(taken)} -> {_list(given)}"

    def _evaluate(self) -> str:
        answer = self._function(EVALUATE)(examples=tf.constant(self._records))
        _check_lengths(answer, len(self._records))
        broken = [name for name, value in answer.items() if value.dtype.is_floating and not np.all(np.isfinite(value))]
        if broken:
            raise Failed(f"not finite: {', '.join(broken)}")
        return f"{len(self._records)} records"

    def _transform(self) -> str:
        answer = self._function(TRANSFORM)(examples=tf.constant(self._records))
        _check_lengths(answer, len(self._records))
        if "image" not in answer:
            raise Failed("gives no image")
        self._images = answer["image"].numpy().tolist()
        return f"{len(self._records)} records"

    def _serve(self, files: Sequence[bytes]) -> list[Served]:
        answers = self._ask(files)
        for served in answers:
            if served.error:
                raise Failed(f"refuses an image, which '{served.error}'")
        return answers

    def _ask(self, files: Sequence[bytes]) -> list[Served]:
        answer = self._function(SERVE)(image_bytes=tf.constant(files, tf.string))
        _check_lengths(answer, len(files))
        columns = [answer[name].numpy().tolist() for name in ("mask_png", *_SAID)]
        return [
            Served(image, mask, fraction, dice, of_sides, review, reason.decode(), error.decode())
            for image, mask, fraction, dice, of_sides, review, reason, error in zip(files, *columns, strict=True)
        ]

    def _serve_each(self, kind: str, files: Sequence[bytes]) -> str:
        self._served[kind] = [served for file in files for served in self._serve([file])]
        return ", ".join(sorted({"{1} x {0}".format(*_size(file)) for file in files}))

    def _serve_together(self) -> str:
        alone = self._all_served()
        together = self._serve([served.image for served in alone])
        return _compare(alone, together, f"{len(alone)} images")

    def _serve_none(self) -> str:
        self._serve([])
        return "no image, no mask"

    def _for_each_mask(self, check: Callable[[Served], None]) -> str:
        for served in self._all_served():
            check(served)
        return f"{len(self._all_served())} masks"

    def _refuse(self, file: bytes) -> str:
        before = self._all_served()[0]
        beside, refused = self._ask([before.image, file])
        if refused.mask or not refused.error:
            raise Failed("answered with a mask")
        if beside.error:
            raise Failed(f"with it, refuses an image, which '{beside.error}'")
        return _compare([before], [beside], f"'{refused.error}'; an image beside it")

    def _serve_again(self) -> str:
        before = self._all_served()[:1]
        return _compare(before, self._serve([before[0].image]), "after what was refused")

    def _all_served(self) -> list[Served]:
        served = list(chain.from_iterable(self._served.values()))
        if not served:
            raise Failed("no image was answered")
        return served

    def _measure_latency(self) -> str:
        if STORED not in self._served:
            raise Failed("no stored image was answered")
        self._latency = [{"images": images, **self._measure(images)} for images in _LATENCY_BATCHES]
        return ", ".join(f"{of_size['images']} images in {of_size['median_ms']} ms" for of_size in self._latency)

    def _measure(self, images: int) -> dict[str, float]:
        files = [self._stored[index % len(self._stored)] for index in range(images)]
        self._serve(files)  # the first of a size may be slower
        least, most = _LATENCY_REQUESTS
        seconds: list[float] = []
        while len(seconds) < least or (len(seconds) < most and sum(seconds) < _LATENCY_SECONDS):
            start = time.perf_counter()
            self._serve(files)
            seconds.append(time.perf_counter() - start)
        median, p95 = np.percentile(np.multiply(seconds, 1000), [50, 95])
        return {"median_ms": round(float(median), 2), "p95_ms": round(float(p95), 2)}


def _check_format(served: Served) -> None:
    if not served.mask.startswith(b"\x89PNG") or served.mask[24:26] != _GREY_8_BIT:
        raise Failed("a mask is no 8-bit grey PNG")


def _check_size(served: Served) -> None:
    size, mask_size = _size(served.image), served.lung().shape
    if mask_size != size:
        raise Failed("{1} x {0} pixels for an image of {3} x {2}".format(*mask_size, *size))


def _check_pixels(served: Served) -> None:
    stray = np.setdiff1d(served.lung(), (0, 255))
    if stray.size:
        raise Failed(f"a mask holds {stray[0]}, not only 0 and 255")


def _check_fraction(served: Served) -> None:
    share = float(np.mean(served.lung() == 255))
    if not abs(served.fraction - share) <= _FRACTION_ERROR:
        raise Failed(f"is {served.fraction:.6f} for a mask with {share:.6f}")


def _check_quality(served: Served) -> None:
    for number in (served.expected_dice, *served.expected_dice_of_sides):
        if not 0 <= number <= 1:
            raise Failed(f"is {number}, no number from 0 to 1")
    if served.review != bool(served.review_reason):
        raise Failed(f"review is {served.review}, with the reason '{served.review_reason}'")


def _check_lengths(answer: dict[str, Any], length: int) -> None:
    for name, value in answer.items():
        if value.shape[:1] != [length]:
            raise Failed(f"gives {name} {value.shape.as_list()} for {length}")


def _compare(first: Sequence[Served], second: Sequence[Served], what: str) -> str:
    total = differing = 0
    for served, served_again in zip(first, second, strict=True):
        lung, lung_again = served.lung(), served_again.lung()
        if lung.shape != lung_again.shape:
            raise Failed(f"{what}: a mask has another size")
        total += lung.size
        differing += int(np.count_nonzero(lung != lung_again))
    detail = f"{what}: {differing} of {total} pixels differ"
    if differing > MAX_DIFFERENCE * total:
        raise Failed(detail)
    return detail


def _describe(spec: Any) -> str:
    dimensions = spec.shape.as_list() if spec.shape.rank is not None else ["..."]
    named = ["N" if index == 0 and size is None else str(size or "?") for index, size in enumerate(dimensions)]
    return f"{spec.dtype.name} [{', '.join(named)}]"


def _list(described: dict[str, str]) -> str:
    return ", ".join(f"{name} {text}" for name, text in sorted(described.items()))


def _size(file: bytes) -> tuple[int, int]:
    height, width, _ = tf.io.decode_image(file, channels=1, expand_animations=False).shape
    return height, width


def _read(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def _to_text(data: bytes) -> str:
    return base64.b64encode(data).decode()


if __name__ == "__main__":
    model_dir, requests_dir, answer_file = sys.argv[1:]
    Path(answer_file).write_text(json.dumps(Probe(model_dir, Path(requests_dir)).run()))
