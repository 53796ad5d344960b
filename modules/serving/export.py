"""The exported model: a SavedModel that needs neither this project nor TFT nor Keras to be loaded.

serving_default     image_bytes string [N]  -> mask_png string [N], lung_fraction float [N], error string [N]
rest                the same, with mask_bytes for mask_png: JSON holds no bytes, and what is named so TensorFlow Serving
                    encodes in base 64
evaluate            examples string [N]     -> pixel counts and brier, float [N] each; mask_png string [N]
transform_features  examples string [N]     -> what Transform makes of them

A file that cannot be read costs the others of its request nothing: `error` says what is wrong with it and is empty for
the others; its mask is an empty string, and its share of lung 0.
"""

from collections.abc import Callable

import keras
import tensorflow as tf
from tensorflow_transform.saved.saved_transform_io_v2 import SavedModelLoader

from modules.evaluation import overlap
from modules.preprocessing import decode_mask, encoded_size, find_errors, parse_pixels
from schema import features

_CHUNK = 16
"""Images that run through the network at a time; bounds memory whatever the size of the request."""

_THRESHOLD = 0.5
"""Of the probability, above which a pixel is lung."""

_JUDGED = {**dict.fromkeys((*overlap.Counts._fields, "brier"), tf.float32), "mask_png": tf.string}

Tensors = dict[str, tf.Tensor]


def export_model(
    model: keras.Model, transform_graph_dir: str, output_dir: str, *, average_mirrored: bool = False
) -> None:
    """Write `model`, with the transform graph before it and the masks' encoding behind it, as SavedModel.

    Args:
        model: from normalised images [N, size, size, 1] to logits of the same shape.
        transform_graph_dir: the SavedModel that Transform wrote.
        output_dir: where to write.
        average_mirrored: answer with the mean of the probabilities for an image and for its mirror image.
    """
    transform = SavedModelLoader(transform_graph_dir).apply_transform_model
    probabilities = _probabilities_of(model, transform, average_mirrored)

    def serving_default(image_bytes: tf.Tensor) -> Tensors:
        errors = find_errors(image_bytes)
        readable = tf.where(tf.equal(errors, ""))
        files = tf.gather_nd(image_bytes, readable)
        masks, fractions = tf.map_fn(
            _encode_mask,
            (probabilities(files), tf.map_fn(encoded_size, files, fn_output_signature=tf.int32)),
            fn_output_signature=(tf.string, tf.float32),
        )
        total = tf.shape(image_bytes, tf.int64)
        return {
            "mask_png": tf.scatter_nd(readable, masks, total),
            "lung_fraction": tf.scatter_nd(readable, fractions, total),
            "error": errors,
        }

    def rest(image_bytes: tf.Tensor) -> Tensors:
        answer = serving_default(image_bytes)
        return {"mask_bytes": answer.pop("mask_png"), **answer}

    def evaluate(examples: tf.Tensor) -> Tensors:
        records = _parse(examples, (features.IMAGE, features.MASK))
        return dict(
            tf.map_fn(
                _judge_mask,
                (probabilities(records[features.IMAGE]), records[features.MASK]),
                fn_output_signature=_JUDGED,
            )
        )

    def transform_features(examples: tf.Tensor) -> Tensors:
        return dict(transform(_parse(examples, (features.IMAGE, features.MASK, features.IS_AUGMENTED))))

    archive = keras.export.ExportArchive()
    archive.track(model)
    for endpoint in (serving_default, rest, evaluate, transform_features):
        (argument,) = endpoint.__code__.co_varnames[: endpoint.__code__.co_argcount]
        signature = [tf.TensorSpec([None], tf.string, name=argument)]
        archive.add_endpoint(endpoint.__name__, endpoint, input_signature=signature)
    archive.write_out(output_dir, verbose=False)


def _probabilities_of(
    model: keras.Model, transform: Callable[[Tensors], Tensors], average_mirrored: bool
) -> Callable[[tf.Tensor], tf.Tensor]:
    """Make the function from encoded images, string [N], to lung probabilities, float32 [N, size, size, 1]."""
    size = model.input_shape[1]

    def probabilities_of_chunk(encoded: tf.Tensor) -> tf.Tensor:
        pixels = tf.map_fn(
            lambda serialized: parse_pixels(serialized, tf.float16, size),
            transform({features.IMAGE: encoded})[features.IMAGE],
            fn_output_signature=tf.float16,
        )
        images = tf.cast(pixels, tf.float32)
        lung = tf.sigmoid(model(images, training=False))
        if average_mirrored:
            mirrored = tf.sigmoid(model(images[:, :, ::-1], training=False))
            lung = (lung + mirrored[:, :, ::-1]) / 2
        return lung

    @tf.function  # turns the loop into one of the graph; Keras exports endpoints as they stand
    def probabilities(encoded: tf.Tensor) -> tf.Tensor:
        total = tf.shape(encoded)[0]
        chunks = (total + _CHUNK - 1) // _CHUNK
        results = tf.TensorArray(tf.float32, size=chunks, element_shape=[None, size, size, 1], infer_shape=False)
        for index in tf.range(chunks):
            chunk = encoded[index * _CHUNK : tf.minimum(total, (index + 1) * _CHUNK)]
            results = results.write(index, probabilities_of_chunk(chunk))
        return results.concat()

    return probabilities


def _encode_mask(element: tuple[tf.Tensor, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
    probability, size = element
    lung = tf.image.resize(probability, size) > _THRESHOLD
    return _to_png(lung), tf.reduce_mean(tf.cast(lung, tf.float32))


def _judge_mask(element: tuple[tf.Tensor, tf.Tensor]) -> Tensors:
    """Compare at the stored mask's size: what a user of the masks gets, not what the network sees."""
    probability, encoded_mask = element
    truth = decode_mask(encoded_mask) > 0.5
    probability = tf.image.resize(probability, tf.shape(truth)[:2])
    lung = probability > _THRESHOLD
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
