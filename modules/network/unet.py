"""The U-Net (Ronneberger et al., 2015, arXiv 1505.04597) and its residual sister, in Keras 3 alone.

>>> unet(ModelSettings(image_size=64, filters=8, levels=3)).output_shape
(None, 64, 64, 1)

Layers are named by their place (`down1_conv2`, `up0_norm1`), so that weights can be moved between networks that differ
in precision, in the synchronisation of replicas or in their coarser heads (`copy_weights`).
"""

from dataclasses import dataclass

import keras
from keras import layers

from modules.network.settings import ModelSettings

_COARSER_HEADS = 2
"""At most so many levels beside the finest one are supervised."""
_CHANNELS_A_GROUP = 8


def unet(settings: ModelSettings, *, synchronized: bool = False, coarser_heads: bool = False) -> keras.Model:
    """Build the network, in the dtype policy that is set when it is called.

    Args:
        settings: input size, shape and options.
        synchronized: takes the batch's statistics over all replicas if `settings.normalization` says so. Keras can do
            so on the TensorFlow backend.
        coarser_heads: adds the outputs that deep supervision judges.

    Returns:
        A model from normalised grey images, float [batch, size, size, 1], to logits of "lung", float32 of the same
        shape. With coarser heads, a list of them, if there are coarser levels: the finest first, then those of half the
        size, a quarter ...
    """
    block = _Block(settings, synchronized and settings.normalization == "sync_batch")
    image = keras.Input((settings.image_size, settings.image_size, 1), name="image")
    widths = [settings.filters * 2**level for level in range(settings.levels + 1)]

    x, skips = image, []
    for level, width in enumerate(widths[:-1]):
        skip = block(x, width, f"down{level}")
        skips.append(skip)
        x = layers.MaxPooling2D(name=f"down{level}_pool")(skip)
    x = block(x, widths[-1], "bottom")
    if settings.dropout:
        x = layers.SpatialDropout2D(settings.dropout, name="bottom_dropout")(x)

    decoded = []
    for level in reversed(range(settings.levels)):
        x = layers.Conv2DTranspose(widths[level], 2, strides=2, name=f"up{level}_conv0")(x)
        x = layers.Concatenate(name=f"up{level}_join")([skips[level], x])
        x = block(x, widths[level], f"up{level}")
        decoded.append(x)

    finest = _head(decoded[-1], "logits")
    if not coarser_heads:
        return keras.Model(image, finest, name=settings.architecture)
    coarser = [_head(x, f"logits{level}") for level, x in enumerate(decoded[-2 : -2 - _COARSER_HEADS : -1], 1)]
    return keras.Model(image, [finest, *coarser], name=settings.architecture)


def copy_weights(source: keras.Model, target: keras.Model) -> None:
    """Give each layer of `target` the weights of the layer of that name in `source`, which may have more layers."""
    for layer in target.layers:
        layer.set_weights(source.get_layer(layer.name).get_weights())


def _head(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    # Logits in float32 also under mixed precision: the loss needs their range.
    return layers.Conv2D(1, 1, dtype="float32", name=name)(x)


@dataclass(frozen=True)
class _Block:
    """Two times convolution, normalisation, ReLU; the residual one adds its input before the last ReLU."""

    settings: ModelSettings
    synchronized: bool

    def __call__(self, x: keras.KerasTensor, width: int, name: str) -> keras.KerasTensor:
        shortcut = x
        for number in (1, 2):
            # The normalisation's offset takes the place of a bias.
            x = _convolution(width, 3, f"{name}_conv{number}")(x)
            x = self._normalization(width, f"{name}_norm{number}")(x)
            if number == 2 and self.settings.architecture == "resunet":
                if shortcut.shape[-1] != width:
                    shortcut = _convolution(width, 1, f"{name}_shortcut")(shortcut)
                x = layers.Add(name=f"{name}_add")([shortcut, x])
            x = layers.ReLU(name=f"{name}_relu{number}")(x)
        return x

    def _normalization(self, width: int, name: str) -> keras.Layer:
        if self.settings.normalization == "group":
            groups = width // _CHANNELS_A_GROUP if width % _CHANNELS_A_GROUP == 0 else 1
            return layers.GroupNormalization(groups, name=name)
        # Statistics follow within tens of steps: at Keras' default of 0.99 the first epochs of a small data set would
        # be validated with stale ones.
        return layers.BatchNormalization(momentum=0.9, synchronized=self.synchronized, name=name)


def _convolution(width: int, side: int, name: str) -> keras.Layer:
    return layers.Conv2D(width, side, padding="same", use_bias=False, kernel_initializer="he_normal", name=name)
