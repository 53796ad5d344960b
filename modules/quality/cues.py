"""What an image and its mask tell of the mask's quality, in Keras 3 alone, so that it runs inside the exported model.

>>> cues(images, lung, image_atlas, lung_atlas).shape
(8, 18)
"""

from typing import Any, Final

from keras import ops

NAMES: Final = (
    "soft_dice",
    "doubt",
    "lung_atlas",
    "area",
    "balance",
    "centre_x",
    "centre_y",
    "spread_x",
    "spread_y",
    "taper",
    "darkness",
    "image_atlas",
    "image_atlas_upside_down",
    "rows",
    "columns",
    "symmetry",
    "level",
    "contrast",
    "sharpness",
)
"""Of one image, in this order.

`soft_dice`: of the probabilities with their own mask, as log odds. `doubt`: how much is undecided, beside the mask's
area; a logarithm. `lung_atlas`: Dice with the mean mask, as log odds. `area`: share of the image. `balance`: what one
half of the image has more than the other. `centre_`, `spread_`, `taper`: mean, deviation and skewness of the mask's
pixels. `darkness`: by how much the mask is darker than the rest. `image_atlas`, `rows`, `columns`: correlation with the
mean image, upright and upside down, and of their profiles. `symmetry`: with the image's own mirror image. `level`,
`contrast`, `sharpness`: of the grey values.
"""
OF_THE_MASK: Final = 3
"""The first cues tell of the mask alone, in another hospital as well; the others tell kinds of images apart."""
OF_A_SIDE: Final = 2
"""Of these, the first are known of one side of a mask as well."""

THRESHOLD: Final = 0.5
"""Of the probability, above which a pixel is lung."""
_COARSE: Final = 32
"""Side to which images and masks are reduced, about, where their shapes are compared, pixels."""
_SMALL: Final = 1e-6
_LEAST_AREA: Final = 0.01
_LEAST_SHARE: Final = 0.001


def cues(images: Any, lung: Any, image_atlas: Any, lung_atlas: Any) -> Any:
    """Compute the cues of images.

    Args:
        images: Normalised, float32 [N, size, size, 1].
        lung: Probabilities of lung that the network gives for them, of the same shape.
        image_atlas: Mean of normalised training images as `reduce` gives them, float32 [side, side].
        lung_atlas: Mean of their masks, likewise.

    Returns:
        float32 [N, len(NAMES)].
    """
    images, lung = ops.squeeze(images, -1), ops.squeeze(lung, -1)
    mask = ops.cast(lung > THRESHOLD, "float32")
    coarse, coarse_mask = reduce(images), reduce(mask)
    inside = _mean(mask)
    return ops.stack(
        [
            *_certainty(lung),
            _log_odds(2 * _mean(coarse_mask * lung_atlas) / (inside + ops.mean(lung_atlas) + _SMALL)),
            inside,
            *_shape(coarse_mask),
            _mean(images * (1 - mask)) / (1 - inside + _SMALL) - _mean(images * mask) / (inside + _LEAST_AREA),
            _correlate(coarse, image_atlas[None]),
            _correlate(coarse, image_atlas[None, ::-1]),
            _correlate(ops.mean(coarse, 2), ops.mean(image_atlas[None], 2)),
            _correlate(ops.mean(coarse, 1), ops.mean(image_atlas[None], 1)),
            _correlate(coarse, coarse[:, :, ::-1]),
            _mean(images),
            _deviation(images),
            ops.log(_sharpness(images) / (_deviation(images) + _SMALL) + _SMALL),
        ],
        axis=1,
    )


def cues_of_sides(lung: Any) -> Any:
    """Compute those cues that are known of one side of a mask, of its left and its right half.

    Args:
        lung: Probabilities of lung, float32 [N, size, size, 1].

    Returns:
        float32 [N, 2, OF_A_SIDE], of what lies at the left and at the right of the image.
    """
    lung = ops.squeeze(lung, -1)
    return ops.stack([ops.stack(_certainty(lung * side), axis=1) for side in sides(lung > THRESHOLD)], axis=1)


def sides(mask: Any) -> tuple[Any, Any]:
    """Part images in the middle of their masks, or in their own where a mask is empty.

    Args:
        mask: bool [N, size, size].

    Returns:
        Where an image's left and right are, 1 or 0, float32 [N, 1, size] each.
    """
    columns = ops.mean(ops.cast(mask, "float32"), 1) + _SMALL
    place = ops.linspace(0.0, 1.0, columns.shape[1])
    middle = ops.sum(columns * place, 1) / ops.sum(columns, 1)
    left = ops.cast(place <= middle[:, None], "float32")[:, None]
    return left, 1 - left


def reduced_side(size: int) -> int:
    """Return the side that `reduce` brings images of a side to, pixels."""
    return size // _factor(size)


def reduce(pixels: Any) -> Any:
    """Average [N, size, size] over squares to [N, side, side]; small images stay as they are."""
    factor = _factor(pixels.shape[1])
    return ops.squeeze(ops.average_pool(pixels[..., None], factor, factor), -1)


def _factor(size: int) -> int:
    return max(1, size // _COARSE)


def _certainty(lung: Any) -> list[Any]:
    """Return `soft_dice` and `doubt` of probabilities [N, size, size]."""
    mask = ops.cast(lung > THRESHOLD, "float32")
    inside = _mean(mask)
    return [
        _log_odds(2 * _mean(lung * mask) / (_mean(lung) + inside + _SMALL)),
        ops.log(_mean(4 * lung * (1 - lung)) / (inside + _LEAST_AREA) + _LEAST_AREA),
    ]


def _shape(mask: Any) -> list[Any]:
    """Return balance, centre, spread and taper of masks [N, side, side]."""
    side = mask.shape[1]
    total = _mean(mask) + _SMALL
    place = ops.linspace(-1.0, 1.0, side)
    columns, rows = ops.mean(mask, 1) / total[:, None], ops.mean(mask, 2) / total[:, None]
    centres = [ops.mean(profile * place, 1) for profile in (columns, rows)]
    spreads = [
        ops.sqrt(ops.mean(profile * (place - centre[:, None]) ** 2, 1) + _SMALL)
        for profile, centre in zip((columns, rows), centres, strict=True)
    ]
    # Lungs taper to the top.
    taper = ops.mean(rows * (place - centres[1][:, None]) ** 3, 1) / (spreads[1] ** 3 + _SMALL)
    balance = ops.abs(ops.mean(columns * ops.sign(place), 1))
    return [balance, *centres, *spreads, taper]


def _sharpness(images: Any) -> Any:
    """Return how far pixels are from the mean of their neighbours, across and along, on average."""
    across = images[:, 1:-1, 2:] + images[:, 1:-1, :-2] - 2 * images[:, 1:-1, 1:-1]
    along = images[:, 2:, 1:-1] + images[:, :-2, 1:-1] - 2 * images[:, 1:-1, 1:-1]
    return _mean(ops.abs(across) + ops.abs(along)) / 4


def _correlate(first: Any, second: Any) -> Any:
    """Pearson's correlation, image by image."""
    axes = tuple(range(1, len(first.shape)))
    first = first - ops.mean(first, axes, keepdims=True)
    second = second - ops.mean(second, axes, keepdims=True)
    scale = ops.sqrt(_mean(first**2) * _mean(second**2)) + _SMALL
    return _mean(first * second) / scale


def _log_odds(share: Any) -> Any:
    share = ops.clip(share, _LEAST_SHARE, 1 - _LEAST_SHARE)
    return ops.log(share / (1 - share))


def _deviation(images: Any) -> Any:
    return ops.sqrt(ops.maximum(_mean(images**2) - _mean(images) ** 2, 0.0))


def _mean(values: Any) -> Any:
    return ops.mean(values, tuple(range(1, len(values.shape))))
