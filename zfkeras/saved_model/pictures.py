"""Pictures inside the exported graph: encoded bytes to pixels and back."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from zfkeras.data.decode import decode
from zfkeras.data.preprocess import fitted, in_channels
from zfkeras.image import colour_map

# Of one picture in a request, before it is decoded: as float32 for resizing it takes 400 MB.
MAX_PIXELS = 2**25


def reader(shape: tuple[int, int, int], scale: float, fit: str) -> Callable[[tf.Tensor], tf.Tensor]:
    """`read` with these settings, traced once for all signatures: decoding is a large graph."""
    spec = tf.TensorSpec([None], tf.string)
    return tf.function(
        lambda image_bytes: read(image_bytes, shape, scale, fit), [spec], autograph=False
    )


def read(
    image_bytes: tf.Tensor, shape: tuple[int, int, int], scale: float, fit: str = "crop"
) -> tf.Tensor:
    """Decodes JPEG or PNG files and brings them to a size, as evaluation does.

    Args:
        image_bytes: string [N].
        shape: (height, width, channels) of the images.
        scale: where they are cropped, they are resized to cover `scale` times that first.
        fit: how they are brought to it: "crop", "stretch" or "pad".

    Returns:
        float32 [N, height, width, channels].
    """

    def one(data: tf.Tensor) -> tf.Tensor:
        picture = decode(data, max_pixels=MAX_PIXELS)
        return in_channels(fitted(picture, size, fit, scale), shape[2])

    size, spec = shape[:2], tf.TensorSpec(shape, tf.float32)
    # Two at a time: a request of many large pictures must not take memory for all of them.
    return tf.map_fn(one, image_bytes, fn_output_signature=spec, parallel_iterations=2)


def to_png(pictures: tf.Tensor) -> tf.Tensor:
    """Encodes uint8 [N, H, W, 1 or 3] as PNG files, string [N]."""
    spec = tf.TensorSpec((), tf.string)
    return tf.map_fn(tf.io.encode_png, pictures, fn_output_signature=spec)


def to_uint8(pixels: tf.Tensor) -> tf.Tensor:
    """Rounds pixels 0..255 to uint8."""
    return tf.cast(tf.round(tf.clip_by_value(pixels, 0.0, 255.0)), tf.uint8)


def to_display(projections: tf.Tensor) -> tf.Tensor:
    """Shows signed projections [N, H, W, C] around mid-grey: `zfkeras.image.to_display`."""
    largest = tf.reduce_max(tf.abs(projections), axis=(1, 2, 3), keepdims=True)
    scaled = tf.math.divide_no_nan(projections, largest)
    return tf.cast(tf.round(255 * (0.5 + scaled / 2)), tf.uint8)


def to_colours(values: tf.Tensor) -> tf.Tensor:
    """Colours numbers 0..1 as `zfkeras.image.colour_map` does, uint8 [..., 3]."""
    table = tf.constant(colour_map(np.linspace(0, 1, 256), low=0.0, high=1.0))
    return tf.gather(table, tf.cast(tf.round(255 * tf.clip_by_value(values, 0.0, 1.0)), tf.int32))
