"""The exported model: a SavedModel that needs neither this project nor TFT nor Keras to be loaded.

serving_default     image_bytes string [N]  -> mask_png string [N], lung_fraction float [N], expected_dice float [N],
                    expected_dice_of_sides float [N, 2], review bool [N], review_reason string [N], error string [N]
rest                the same, with mask_bytes for mask_png: JSON holds no bytes, and what is named so TensorFlow Serving
                    encodes in base 64
evaluate            examples string [N]     -> pixel counts and brier, float [N] each; mask_png string [N];
                    expected_dice float [N], expected_dice_of_sides float [N, 2], review bool [N]
transform_features  examples string [N]     -> what Transform makes of them

`expected_dice` is what the Dice of the mask would probably be, `expected_dice_of_sides` that of what lies at the left
and at the right of the image, parted in the middle of the mask; `review` is whether somebody should look at it, and
`review_reason` why. A file that cannot be read costs the others of its request nothing: `error` says what is wrong with
it and is empty for the others; its mask is an empty string, its share of lung and its expected Dice are 0, and it is
to be reviewed.
"""

import inspect
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import keras
import tensorflow as tf
from tensorflow_transform.saved.saved_transform_io_v2 import SavedModelLoader

from modules.evaluation import overlap
from modules.preprocessing.decode import decode_mask, encoded_size, find_errors
from modules.preprocessing.transform import parse_pixels
from modules.quality.cues import THRESHOLD
from modules.quality.estimator import QualityEstimator
from modules.serving.parts import keep_largest_parts
from schema import features

_CHUNK = 16
"""Images that run through the network at a time; bounds memory whatever the size of the request."""

_JUDGED = {**dict.fromkeys((*overlap.Counts._fields, "brier"), tf.float32), "mask_png": tf.string}
_UNLIKE = "is unlike the images that the model was trained on"
_DOUBTFUL = "has a mask whose expected Dice is low"

Tensors = dict[str, tf.Tensor]


class _Answers(NamedTuple):
    """What the network says of images.

    Attributes:
        lung: Probabilities, float32 [N, size, size, 1].
        expected_dice: Of the masks, 0-1, float32 [N].
        expected_dice_of_sides: Of what lies at the left and at the right of the image, float32 [N, 2].
        is_known: Whether an image is of the kind that was trained on, bool [N].
    """

    lung: tf.Tensor
    expected_dice: tf.Tensor
    expected_dice_of_sides: tf.Tensor
    is_known: tf.Tensor


def export_model(
    model: keras.Model,
    transform_graph_dir: str,
    output_dir: str,
    *,
    quality: QualityEstimator | None = None,
    average_mirrored: bool = False,
    threshold: float = THRESHOLD,
    largest_parts: int = 0,
    review_below: float = 0.0,
) -> None:
    """Write `model`, with the transform graph before it and the masks' encoding behind it, as SavedModel.

    Args:
        model: from normalised images [N, size, size, 1] to logits of the same shape.
        transform_graph_dir: the SavedModel that Transform wrote.
        output_dir: where to write.
        quality: tells how good the masks are; None where nobody knows: it finds nothing wrong with any.
        average_mirrored: answer with the mean of the probabilities for an image and for its mirror image.
        threshold: probability above which a pixel is lung.
        largest_parts: how many connected parts of a mask are kept, the largest first; 0: all.
        review_below: expected Dice below which a mask is to be reviewed.
    """
    transform = SavedModelLoader(transform_graph_dir).apply_transform_model
    quality = quality or QualityEstimator(model.input_shape[1])
    segment = partial(lung_probabilities, model, average_mirrored, threshold, largest_parts)
    ask = _ask(transform, segment, quality, model.input_shape[1])

    def serving_default(image_bytes: tf.Tensor) -> Tensors:
        errors = find_errors(image_bytes)
        readable = tf.where(tf.equal(errors, ""))
        files = tf.gather_nd(image_bytes, readable)
        answers = ask(files)
        masks, fractions = tf.map_fn(
            _encode_mask,
            (answers.lung, tf.map_fn(encoded_size, files, fn_output_signature=tf.int32)),
            fn_output_signature=(tf.string, tf.float32),
        )
        total = tf.shape(image_bytes, tf.int64)
        doubts = _find_doubts(answers, review_below)
        reasons = tf.tensor_scatter_nd_update(tf.fill(total, "cannot be read"), readable, doubts)
        return {
            "mask_png": tf.scatter_nd(readable, masks, total),
            "lung_fraction": tf.scatter_nd(readable, fractions, total),
            "expected_dice": tf.scatter_nd(readable, answers.expected_dice, total),
            "expected_dice_of_sides": tf.scatter_nd(
                readable, answers.expected_dice_of_sides, tf.concat([total, [2]], 0)
            ),
            "review": tf.not_equal(reasons, ""),
            "review_reason": reasons,
            "error": errors,
        }

    def rest(image_bytes: tf.Tensor) -> Tensors:
        answer = serving_default(image_bytes)
        return {"mask_bytes": answer.pop("mask_png"), **answer}

    def evaluate(examples: tf.Tensor) -> Tensors:
        records = _parse(examples, (features.IMAGE, features.MASK))
        answers = ask(records[features.IMAGE])
        judged = tf.map_fn(_judge_mask, (answers.lung, records[features.MASK]), fn_output_signature=_JUDGED)
        review = tf.not_equal(_find_doubts(answers, review_below), "")
        return {
            **judged,
            "expected_dice": answers.expected_dice,
            "expected_dice_of_sides": answers.expected_dice_of_sides,
            "review": review,
        }

    def transform_features(examples: tf.Tensor) -> Tensors:
        return dict(transform(_parse(examples, (features.IMAGE, features.MASK, features.IS_AUGMENTED))))

    # Not by Keras's ExportArchive, which would have each endpoint traced three times.
    exported = tf.Module()
    exported.weights = [variable.value for variable in (*model.variables, *quality.variables)]
    signatures = {
        endpoint.__name__: tf.function(endpoint, autograph=False).get_concrete_function(
            tf.TensorSpec([None], tf.string, name=next(iter(inspect.signature(endpoint).parameters)))
        )
        for endpoint in (serving_default, rest, evaluate, transform_features)
    }
    tf.saved_model.save(exported, output_dir, signatures)


def lung_probabilities(
    model: keras.Model, average_mirrored: bool, threshold: float, largest_parts: int, images: tf.Tensor
) -> tf.Tensor:
    """Let the network answer, as the exported model does.

    Args:
        model: From normalised images to logits.
        average_mirrored: As for `export_model`.
        threshold: Likewise.
        largest_parts: Likewise.
        images: Normalised, float32 [N, size, size, 1].

    Returns:
        Probabilities of lung, float32 [N, size, size, 1], whose odds are scaled so that `threshold` becomes 0.5: what
        comes after takes that for every model's.
    """
    lung = tf.sigmoid(model(images, training=False))
    if average_mirrored:
        mirrored = tf.sigmoid(model(images[:, :, ::-1], training=False))
        lung = (lung + mirrored[:, :, ::-1]) / 2
    lung, other = lung * (1 - threshold), (1 - lung) * threshold
    lung /= lung + other
    return keep_largest_parts(lung, largest_parts) if largest_parts else lung


def _ask(
    transform: Callable[[Tensors], Tensors],
    segment: Callable[[tf.Tensor], tf.Tensor],
    quality: QualityEstimator,
    size: int,
) -> Callable[[tf.Tensor], _Answers]:
    """Make the function from encoded images, string [N], to what the network says of them."""

    @tf.autograph.experimental.do_not_convert
    def ask_chunk(encoded: tf.Tensor) -> _Answers:
        pixels = tf.map_fn(
            lambda serialized: parse_pixels(serialized, tf.float16, size),
            transform({features.IMAGE: encoded})[features.IMAGE],
            fn_output_signature=tf.float16,
        )
        images = tf.cast(pixels, tf.float32)
        lung = segment(images)
        return _Answers(lung, *quality(images, lung))

    @tf.function  # turns the loop into one of the graph; Keras exports endpoints as they stand
    def ask(encoded: tf.Tensor) -> _Answers:
        total = tf.shape(encoded)[0]
        chunks = (total + _CHUNK - 1) // _CHUNK
        shapes = _Answers([None, size, size, 1], [None], [None, 2], [None])
        types = _Answers(tf.float32, tf.float32, tf.float32, tf.bool)
        results = [
            tf.TensorArray(dtype, size=chunks, element_shape=shape, infer_shape=False)
            for dtype, shape in zip(types, shapes, strict=True)
        ]
        for index in tf.range(chunks):
            chunk = encoded[index * _CHUNK : tf.minimum(total, (index + 1) * _CHUNK)]
            answers = ask_chunk(chunk)
            results = [result.write(index, answer) for result, answer in zip(results, answers, strict=True)]
        return _Answers(*[result.concat() for result in results])

    return ask


def _find_doubts(answers: _Answers, review_below: float) -> tf.Tensor:
    """Say why masks are to be reviewed, string [N]; empty for those that are not."""
    doubtful = tf.where(answers.expected_dice < review_below, _DOUBTFUL, "")
    return tf.where(answers.is_known, doubtful, _UNLIKE)


def _encode_mask(element: tuple[tf.Tensor, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
    probability, size = element
    lung = tf.image.resize(probability, size) > THRESHOLD
    return _to_png(lung), tf.reduce_mean(tf.cast(lung, tf.float32))


def _judge_mask(element: tuple[tf.Tensor, tf.Tensor]) -> Tensors:
    """Compare at the stored mask's size: what a user of the masks gets, not what the network sees."""
    probability, encoded_mask = element
    truth = decode_mask(encoded_mask) > 0.5
    probability = tf.image.resize(probability, tf.shape(truth)[:2])
    lung = probability > THRESHOLD
    counts = overlap.count(truth[tf.newaxis], lung[tf.newaxis])
    return {
        **{name: tf.squeeze(pixels, 0) for name, pixels in counts._asdict().items()},
        "brier": tf.reduce_mean(tf.square(probability - tf.cast(truth, tf.float32))),
        "mask_png": _to_png(lung),
    }


def _to_png(lung: tf.Tensor) -> tf.Tensor:
    # The lowest level of compression: two levels of grey are small anyway, and it takes a quarter of the time.
    return tf.io.encode_png(tf.cast(lung, tf.uint8) * 255, compression=1)


def _parse(examples: tf.Tensor, names: tuple[str, ...]) -> Tensors:
    types = dict.fromkeys(names, tf.string) | {features.IS_AUGMENTED: tf.int64}
    return dict(tf.io.parse_example(examples, {name: tf.io.FixedLenFeature([], types[name]) for name in names}))
