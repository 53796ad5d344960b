"""The U-Net (Ronneberger et al., 2015, arXiv 1505.04597), with batch normalisation, in Keras 3 alone.

>>> unet(ModelSettings(image_size=64, filters=8, levels=3)).output_shape
(None, 64, 64, 1)
"""

import keras
from keras import layers

from modules.settings import ModelSettings


def unet(settings: ModelSettings, *, synchronized: bool = False) -> keras.Model:
    """Builds the network.

    Args:
        settings: input size, width and depth.
        synchronized: takes the batch's statistics over all replicas instead of each one's share. Keras can do so
            on the TensorFlow backend.

    Returns:
        A model from normalised grey images, float [batch, size, size, 1], to logits of "lung", float32 of
        the same shape.
    """
    image = keras.Input((settings.image_size, settings.image_size, 1), name="image")
    widths = [settings.filters * 2**level for level in range(settings.levels + 1)]

    x, skips = image, []
    for width in widths[:-1]:
        skip = _block(x, width, synchronized)
        skips.append(skip)
        x = layers.MaxPooling2D()(skip)
    x = _block(x, widths[-1], synchronized)
    for width, skip in zip(reversed(widths[:-1]), reversed(skips), strict=True):
        x = layers.Conv2DTranspose(width, 2, strides=2)(x)
        x = _block(layers.Concatenate()([skip, x]), width, synchronized)

    # Logits in float32 also under mixed precision: the loss needs their range.
    logits = layers.Conv2D(1, 1, dtype="float32", name="logits")(x)
    return keras.Model(image, logits, name="unet")


def _block(x: keras.KerasTensor, width: int, synchronized: bool) -> keras.KerasTensor:
    """Two times convolution, batch normalisation, ReLU."""
    for _ in range(2):
        # The normalisation's offset takes the place of a bias. Its statistics follow within tens of steps:
        # at Keras' default of 0.99 the first epochs of a small data set would be validated with stale ones.
        x = layers.Conv2D(width, 3, padding="same", use_bias=False, kernel_initializer="he_normal")(x)
        x = layers.BatchNormalization(momentum=0.9, synchronized=synchronized)(x)
        x = layers.ReLU()(x)
    return x
