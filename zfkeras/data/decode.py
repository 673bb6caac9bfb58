"""Encoded pictures to pixels, in the graph: whatever a JPEG or PNG holds, but never a bomb."""

import tensorflow as tf

from zfkeras.types import Tensor

# About 8000 x 8000: 200 MB decoded. A few hundred bytes can claim far more than that.
MAX_PIXELS = 2**26

_PNG = b"\x89PNG\r\n\x1a\n"


def encoded_size(contents: tf.Tensor) -> tf.Tensor:
    """Reads height and width from the header of an encoded JPEG or PNG; nothing is decoded.

    Args:
        contents: string scalar, the file's bytes.

    Returns:
        int32 (2,): height, width.

    Raises:
        tf.errors.InvalidArgumentError: when executed on anything but a JPEG or PNG.

    >>> encoded_size(tf.io.encode_png(tf.zeros((5, 7, 3), tf.uint8))).numpy().tolist()
    [5, 7]
    """
    is_jpeg = tf.io.is_jpeg(contents)
    is_png = tf.strings.substr(contents, 0, 8) == _PNG
    known = tf.debugging.Assert(
        is_jpeg | (is_png & (tf.strings.length(contents) > 24)),
        ["Not a JPEG or PNG picture. Received bytes:", tf.strings.length(contents)],
    )
    with tf.control_dependencies([known]):
        return tf.cond(
            is_jpeg,
            lambda: tf.image.extract_jpeg_shape(contents)[:2],
            lambda: _png_size(contents),
        )


def _png_size(contents: tf.Tensor) -> tf.Tensor:
    # IHDR is always first: width and height are big-endian at bytes 16 and 20.
    header = tf.strings.substr(contents, 16, 8)
    width_height = tf.io.decode_raw(header, tf.int32, little_endian=False)
    return tf.ensure_shape(tf.reverse(width_height, [0]), (2,))


def decode(
    contents: tf.Tensor, window: tf.Tensor | None = None, max_pixels: int = MAX_PIXELS
) -> tf.Tensor:
    """Decodes a JPEG or PNG to RGB, whatever it holds: grey, CMYK, palette, alpha, 16 bits.

    Transparency is dropped and EXIF orientation is not applied (ImageNet's files are used so).
    The header's size is checked before any pixel is decoded.

    Args:
        contents: string scalar, the file's bytes.
        window: int32 (4,) top, left, height, width to cut out, or None for the whole picture. A
            JPEG is then only decoded where it must be.
        max_pixels: largest height * width to decode.

    Returns:
        uint8 (H, W, 3).

    Raises:
        tf.errors.InvalidArgumentError: when executed on a file that is no JPEG or PNG, is
            damaged, or is too large.

    >>> decode(tf.io.encode_jpeg(tf.zeros((5, 7, 1), tf.uint8))).shape
    TensorShape([5, 7, 3])
    """
    with tf.control_dependencies([_check_size(encoded_size(contents), max_pixels)]):
        contents = tf.identity(contents)
    if window is None:
        return tf.io.decode_image(contents, channels=3, expand_animations=False)
    return tf.cond(
        tf.io.is_jpeg(contents),
        lambda: tf.image.decode_and_crop_jpeg(contents, window, channels=3),
        lambda: cut(tf.io.decode_png(contents, channels=3), window),
    )


def _check_size(size: tf.Tensor, max_pixels: int) -> Tensor:
    height, width = tf.unstack(tf.cast(size, tf.int64))
    return tf.debugging.Assert(
        (height > 0) & (width > 0) & (height <= max_pixels // tf.maximum(width, 1)),
        [f"A picture must have 1 to {max_pixels} pixels. Received height, width:", height, width],
    )


def cut(image: tf.Tensor, window: tf.Tensor) -> tf.Tensor:
    """Cuts the window (top, left, height, width) out of an image (H, W, C).

    >>> cut(tf.reshape(tf.range(12), (3, 4, 1)), [1, 2, 2, 1])[..., 0].numpy().tolist()
    [[6], [10]]
    """
    top, left, height, width = tf.unstack(window)
    return tf.slice(image, [top, left, 0], [height, width, -1])
