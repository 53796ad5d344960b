"""Synthetic chest radiographs with exact lung masks, for trying the pipeline without any patient's image.

    >>> image, lungs = phantom(seed=1, patient=1, image=1, size=256)
    >>> image.shape, image.dtype.name, np.unique(lungs).tolist()
    ((256, 256), 'uint8', [0, 255])

Shapes are given in body coordinates: x from the midline towards the patient's left (the image's right), y from the
top down; before the pose the image is one unit wide and high. Layers hold X-ray attenuation: they add up as tissue
does along a ray, and a film curve turns the sum into grey values.
"""

import csv
import itertools
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from components.threads import OrderedPool, count_cpus
from pipeline.errors import UserError

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]
Points = NDArray[np.float64]

COLUMNS: Final = ("image", "patient_id", "source", "finding", "view", "sex", "age")
SMALLEST: Final = 64  # pixels a side; in smaller images the two lungs would run into one another

_DESCRIPTION = "synthetic chest radiograph, drawn by a program, no patient's image"
_README = """Synthetic chest radiographs ("phantoms"), drawn by a program from random numbers.

They are no patient's images; sources, patients, sex and age in metadata.csv are made up. They serve to try out
software, never to judge a model. The masks (255 in the lungs, 0 elsewhere) are the shapes the lungs were drawn with.
"""
_PARTS: Final = ("images", "masks")
_SHIFT = 4  # fractional bits of the coordinates that OpenCV draws with
_COARSE = 256  # pixels a side of the grid on which soft tissue is computed: it is blurred anyway


def _points(text: str) -> Points:
    return np.array([pair.split(",") for pair in text.split()], np.float64)


# Shapes at the patient's left. The body: neck, shoulder, arm, up to the armpit and down the flank.
_BODY = _points(
    "0,-.4 .12,-.4 .105,-.1 .115,0 .165,.05 .28,.078 .42,.1 .52,.16 .6,.3 .66,.7 .7,1.5 .6,1.5 .56,.7 .49,.48 .435,.42 "
    ".42,.5 .41,.6 .405,.75 .45,1.5 0,1.5"
)
_MEDIAL_RIGHT = _points(".08,.7 .095,.63 .088,.55 .068,.46 .07,.38 .058,.29 .05,.2")
_MEDIAL_LEFT = _points(".17,.705 .155,.635 .115,.54 .078,.455 .07,.385 .078,.315 .055,.25 .05,.19")  # heart, aorta
_WALL = _points(".085,.128 .14,.12 .225,.175 .29,.28 .33,.41 .353,.55 .362,.68 .362,.785")
_BASE = _points(".362,.785 .325,.725 .25,.685 .16,.675 0,0")  # its ends are those of the other two
_CLAVICLE = _points(".03,.215 .1,.195 .19,.155 .28,.125 .385,.1 .42,.105")
_HUMERUS = _points(".42,.14 .455,.2 .53,.36 .6,.65 .63,1")
_VERTEBRA = _points("-.036,-.024 -.031,0 -.036,.024 .036,.024 .031,0 .036,-.024")
_RIB_BEHIND = _points(".1,0 .35,-.12 .72,.12 .93,.5 1,1 1,1.3")  # x: share of the chest's half; y: of the rib's drop
_RIB_IN_FRONT = _points("1,-.03 1,0 .94,.055 .75,.095 .5,.12 .36,.118")  # y: from where the rib turns forward
_CIRCLE = np.stack([f(np.linspace(0, 2 * np.pi, 32, endpoint=False)) / 2 for f in (np.cos, np.sin)], axis=1)
_SIDES = ((-1, 1), (1, 1))  # factors on x and y for the patient's right and left


class _Site(NamedTuple):
    """How one fictitious hospital takes radiographs."""

    source: str
    exposure: float  # factor on attenuation
    gamma: float  # of the film curve; above 1 darkens the lungs
    white: float  # grey value (0-255) that no attenuation exceeds
    noise: float  # standard deviation, grey values
    marker: float  # left edge of the burned-in marker, share of the width


_SITES = (_Site("phantom-a", 1.05, 1.15, 246, 1.8, 0.03), _Site("phantom-b", 0.9, 0.85, 230, 3.2, 0.79))


class _Patient(NamedTuple):
    """What all images of one patient share."""

    site: _Site
    images: int
    sex: str
    age: int  # years
    build: float  # width of the chest, about 1
    lungs: list[list[Points]]  # right and left; of each the borders medial (going up), lateral (down) and base
    vessels: list[Points]  # for each generation of branches its segments, [n, 2, 2]
    opacities: Points  # [0-3, 5]: x, y, width, height, attenuation


class _Canvas(NamedTuple):
    """Draws shapes under a pose [2, 3] from body coordinates to shares of the side, with values 0-1."""

    pose: Points
    size: int  # pixels a side

    def place(self, shape: Points, size: int) -> NDArray[np.int32]:
        shares = shape @ self.pose[:, :2].T + self.pose[:, 2]
        return np.rint((shares * size - 0.5) * (1 << _SHIFT)).astype(np.int32)

    def fill(self, shapes: Sequence[Points], cores: Sequence[Points] = (), core: int = 255, fine: int = 1) -> Floats:
        """Draw filled shapes; over them the cores hold core / 255. A drawing `fine` times larger is averaged down."""
        layer = np.zeros((self.size * fine, self.size * fine), np.uint8)
        line = cv2.LINE_AA if fine == 1 else cv2.LINE_8  # averaging smooths better than OpenCV, which spills over
        for shape, value in [(shape, 255) for shape in shapes] + [(shape, core) for shape in cores]:
            cv2.fillPoly(layer, [self.place(shape, len(layer))], value, line, _SHIFT)
        return np.float32(1 / 255) * cv2.resize(layer, (self.size, self.size), interpolation=cv2.INTER_AREA)

    def bones(self, paths: Sequence[Points], width: float, marrow: int) -> Floats:
        """Smooth strokes with bright rims; inside they hold marrow / 255."""
        outer, inner = ([_band(_curve(path), share * width) for path in paths] for share in (1, 0.6))
        return self.fill(outer, inner, marrow)

    def vessels(self, generations: Sequence[Points]) -> Floats:
        layer = np.zeros((self.size, self.size), np.uint8)
        for number, segments in reversed(list(enumerate(generations))):
            lines, width = list(self.place(segments, self.size)), max(1, round(self.size * 0.011 * 0.71**number))
            cv2.polylines(layer, lines, False, 220 - 30 * number, width, cv2.LINE_AA, _SHIFT)
        return np.float32(1 / 255) * layer


def write_phantoms(
    output: Path, count: int, seed: int, size: int = 512, progress: Callable[[int], None] = lambda _: None
) -> None:
    """Write an image folder of phantoms: `images/`, `masks/`, `metadata.csv` and `README.txt`.

    Every byte follows from `seed` and `size`; a larger `count` adds images and changes none. `progress` is told the
    number of images written so far.

    Raises:
        UserError: A number is out of range, or `output` holds something already. Nothing is written then.
    """
    for name, value, least in (("count", count, 1), ("seed", seed, 0), ("size", size, SMALLEST)):
        if value < least:
            raise UserError(f"{name} is {value}: choose {least} or more")
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UserError(f"'{output}' exists and is not an empty folder: name another folder, or remove this one")
    try:
        _write(output.resolve(), count, seed, size, progress)
    except OSError as error:
        raise UserError(f"cannot write to '{output}': {error.strerror}") from error


def _write(target: Path, count: int, seed: int, size: int, progress: Callable[[int], None]) -> None:
    """Draw into a folder beside the target, which takes its name at the end."""
    text, rows = PngInfo(), [list(COLUMNS)]
    text.add_text("Description", _DESCRIPTION)
    target.parent.mkdir(parents=True, exist_ok=True)
    # Beside the target, so that the rename at the end stays on one file system.
    with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as scratch:
        folder = Path(scratch) / target.name
        for part in _PARTS:
            (folder / part).mkdir(parents=True)
        patients = ((number, _patient(seed, number)) for number in itertools.count(1))
        shots = ((number, who, image) for number, who in patients for image in range(1, who.images + 1))

        def draw(place: int, shot: tuple[int, _Patient, int]) -> list[str]:
            """Write one, and return its row."""
            number, who, image = shot
            name = f"phantom-{place:04d}"
            for part, pixels in zip(_PARTS, phantom(seed, number, image, size), strict=True):
                Image.fromarray(pixels).save(folder / part / f"{name}.png", pnginfo=text, compress_level=1)
            return [name, f"phantom-p{number:03d}", who.site.source, "synthetic", "PA", who.sex, str(who.age)]

        with OrderedPool(count_cpus()) as pool:
            for row in pool.map(draw, range(1, count + 1), itertools.islice(shots, count)):
                rows.append(row)
                progress(len(rows) - 1)
        with (folder / "metadata.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)
        (folder / "README.txt").write_text(_README, encoding="utf-8")
        folder.rename(target)


def phantom(seed: int, patient: int, image: int, size: int = 512) -> tuple[Pixels, Pixels]:
    """One radiograph and its lung mask (255 in the lungs, 0 elsewhere), both uint8 [size, size].

    The patient's number decides on anatomy and hospital; that of the image (1 or more) on pose, exposure and noise.
    """
    who, rng = _patient(seed, patient), np.random.default_rng((seed, patient, image))
    angle, scale = np.deg2rad(rng.uniform(-6, 6)), rng.uniform(0.92, 1.04)
    turn = scale * np.array([(np.cos(angle), -np.sin(angle)), (np.sin(angle), np.cos(angle))])
    pose = np.column_stack([turn, 0.5 + rng.uniform(-0.025, 0.025, 2) - turn @ (0, 0.47)])
    canvas, outlines = _Canvas(pose, size), [np.concatenate(lung) for lung in who.lungs]
    tissue, air = (cv2.resize(layer, (size, size)) for layer in _soft(who, _Canvas(pose, _COARSE), rng))
    lungs, vessels = canvas.fill(outlines, fine=4), 0.15 * _blur(canvas.vessels(who.vessels), 0.0015)
    attenuation = tissue + _bones(who, canvas) - lungs * (air - vessels)
    return _expose(attenuation, who.site, rng), np.where(lungs >= 1 / 2, np.uint8(255), np.uint8(0))


def _patient(seed: int, number: int) -> _Patient:
    rng = np.random.default_rng((seed, number, 0))  # images count from 1
    build, length, heart = rng.uniform(0.9, 1.06), rng.uniform(0.86, 1.04), rng.uniform(0.85, 1.3)
    lower = length - rng.uniform(-0.02, 0.05)  # the liver lifts the right dome
    low, high = (0.1, 0.25, 0.03, 0.03, 0.1), (0.27, 0.65, 0.16, 0.16, 0.4)
    opacities = rng.uniform(low, high, (int(rng.choice(4, p=(0.6, 0.2, 0.1, 0.1))), 5))
    opacities[:, 0] *= rng.choice((-1, 1), len(opacities))
    right = _lung(rng, _MEDIAL_RIGHT, _BASE, (-1.03 * build, lower), heart)
    left = _lung(rng, _MEDIAL_LEFT, _BASE[[0, 1, 2, 4]], (0.98 * build, length), heart)
    images, sex = 1 + int(rng.random() < 1 / 4), str(rng.choice(("female", "male")))
    site, age = _SITES[rng.integers(2)], int(rng.integers(18, 90))
    return _Patient(site, images, sex, age, build, [right, left], _vessels(rng), opacities)


def _lung(rng: Generator, medial: Points, base: Points, stretch: tuple[float, float], heart: float) -> list[Points]:
    """Return a lung's borders, stretched in x and y from the top, and notched by a heart of this width (about 1)."""
    below_hilum, top = medial[:, 1:] > 1 / 2, np.array((0, 0.125))
    border = np.concatenate([np.where(below_hilum, medial * (heart, 1), medial), _WALL])
    border += rng.normal(0, 0.0035, border.shape)
    floor = base + rng.normal(0, 0.006, base.shape)
    floor[[0, -1]] = border[[-1, 0]]
    curve, apex = _curve((border - top) * stretch + top), 10 * len(medial)
    return [curve[:apex], curve[apex:], _curve((floor - top) * stretch + top)]


def _vessels(rng: Generator) -> list[Points]:
    """Two trees that spread from the hila; each branch forks in two."""
    fan, generations = np.linspace(-1.35, 1.5, 9), []
    angle = np.concatenate([np.pi - fan, fan])
    start = np.stack([np.sign(np.cos(angle)) * 0.07, 0.42 + 0.05 * np.sin(angle)], axis=1)
    for number in range(6):
        angle += rng.normal(0, 0.12, angle.shape)
        reach = 0.07 * 0.85**number * rng.uniform(0.6, 1.3, (len(angle), 1))
        end = start + reach * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        generations.append(np.stack([start, end], axis=1))
        start, fork = np.repeat(end, 2, axis=0), np.tile((-1, 1), len(angle))
        angle = np.repeat(angle, 2) + fork * rng.uniform(0.1, 0.5, fork.shape)
    return generations


def _soft(patient: _Patient, canvas: _Canvas, rng: Generator) -> tuple[Floats, Floats]:
    """Attenuation of all that is soft if the lungs held no air, and what is missing for it; float32 [size, size]."""
    coarse, fine = (_blur(rng.standard_normal((canvas.size,) * 2, np.float32), sigma) for sigma in (0.02, 0.008))
    body = canvas.fill([_curve(_BODY * side * (patient.build, 1)) for side in _SIDES])
    down = np.linspace(0, 1, canvas.size, dtype=np.float32)[:, None]
    tissue = _blur(body, 0.006) * (0.1 + (0.42 + 0.3 * down) * _blur(body, 0.05))
    right, left = patient.lungs
    layers = [
        (np.concatenate([right[0], left[0][::-1]]), 0.012, 0.22),  # mediastinum
        (np.concatenate([right[2], left[2][::-1], [(0.42, 1.5), (-0.42, 1.5)]]), 0.02, 0.45),  # abdomen
        (_CIRCLE * (0.24, 0.26) + (0.04, 0.6), 0.03, 0.15),  # heart
        (_CIRCLE * (0.1, 0.07) + (0.17, 0.83), 0.008, -0.2),  # gas in the stomach
        (_CIRCLE * (0.085, 2.2) + (0, 0.4), 0.012, 0.2),  # along the spine
        (_CIRCLE * (0.04, 0.42) + (0, 0.15), 0.006, -0.3),  # trachea
        *((_CIRCLE * (0.04, 0.11) + (x, 0.42), 0.015, 0.25) for x in (-0.085, 0.085)),  # hila
        *((_CIRCLE * (0.24, 0.22) + (x, 0.62), 0.012, 0.13) for x in (-0.21, 0.21) if patient.sex == "female"),
    ]
    for shape, sigma, weight in layers:
        tissue += weight * _blur(canvas.fill([shape]), sigma)
    air = 0.2 + 0.24 * _blur(canvas.fill([np.concatenate(lung) for lung in patient.lungs]), 0.03)
    for row in patient.opacities:
        air -= float(row[4]) * _blur(canvas.fill([_CIRCLE * row[2:4] + row[:2]]), 0.02)
    return tissue * (1 + 0.8 * coarse), air * (1 + 0.35 * fine)


def _bones(patient: _Patient, canvas: _Canvas) -> Floats:
    """Attenuation of the skeleton, float32 [size, size]."""
    behind, front = [], []
    for side, (_, wall, _) in zip(_SIDES, patient.lungs, strict=True):
        for number in range(9):
            y, drop = 0.115 + 0.062 * number, 0.055 + 0.011 * number
            x = 0.006 + float(np.interp(y + drop, wall[:, 1], np.abs(wall[:, 0])))
            behind.append((_RIB_BEHIND * (x, drop) + (0, y)) * side)
            front.append((_RIB_IN_FRONT * (x, 1) + (0, y + drop)) * side)
    clavicles, arms = ([bone * side * (patient.build, 1) for side in _SIDES] for bone in (_CLAVICLE, _HUMERUS))
    centres = [np.array((0, 0.058 * number - 0.076)) for number in range(21)]
    spine, marrow = ([size * _VERTEBRA + centre for centre in centres] for size in (1, 0.85))
    bones = 0.13 * canvas.bones(behind, 0.026, 165) + 0.06 * canvas.bones(front, 0.028, 190)
    bones += 0.2 * canvas.bones(clavicles, 0.026, 150) + 0.2 * canvas.bones(arms, 0.06, 160)
    return bones + 0.2 * canvas.fill(spine, marrow, 170)


def _expose(attenuation: Floats, site: _Site, rng: Generator) -> Pixels:
    """Develop the radiograph: film curve, vignetting, noise that grows with attenuation, and the marker."""
    size = len(attenuation)
    dose, gamma = site.exposure * rng.uniform(0.88, 1.12), site.gamma * rng.uniform(0.92, 1.08)
    film = (1 - np.exp(-1.75 * dose * _blur(np.maximum(attenuation, 0), 0.0014))) ** gamma
    off = np.linspace(-1, 1, size, dtype=np.float32) ** 2
    grey = 6 + (site.white - 6) * film * (1 - 0.05 * (off + off[:, None]))
    grey += site.noise * (0.4 + film) * rng.standard_normal((size, size), np.float32)
    place, scale = (round(site.marker * size), round(0.05 * size)), 0.45 * size / 512
    cv2.putText(grey, "SYNTHETIC", place, cv2.FONT_HERSHEY_SIMPLEX, scale, 235, max(1, size // 512), cv2.LINE_AA)
    return np.clip(np.rint(grey), 0, 255).astype(np.uint8)


def _curve(points: Points) -> Points:
    """Return a smooth open curve through the points (Catmull-Rom), ten steps from each to the next."""
    ends = 2 * points[[0, -1]] - points[[1, -2]]
    padded = np.concatenate([ends[:1], points, ends[1:]])[:, None]
    before, start, end, after = padded[:-3], padded[1:-2], padded[2:-1], padded[3:]
    t = np.linspace(0, 1, 10, endpoint=False)[:, None]
    bend = 2 * before - 5 * start + 4 * end - after + t * (3 * (start - end) + after - before)
    return np.concatenate([(start + t / 2 * (end - before + t * bend)).reshape(-1, 2), points[-1:]])


def _band(path: Points, width: float) -> Points:
    """Return the outline of a stroke along the path."""
    along = np.gradient(path, axis=0)
    across = along[:, ::-1] * (-1, 1) / np.linalg.norm(along, axis=1, keepdims=True) * width / 2
    return np.concatenate([path + across, (path - across)[::-1]])


def _blur(layer: Floats, sigma: float) -> Floats:
    """Gaussian blur; sigma as a share of the image's side."""
    return cv2.GaussianBlur(layer, (0, 0), sigma * len(layer)).astype(np.float32, copy=False)
