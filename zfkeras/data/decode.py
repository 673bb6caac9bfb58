"""Encoded pictures to pixels in TensorFlow: the policy of `zfkeras.reading`, but never a bomb.

JPEG and PNG are decoded in the graph, as an exported model must; what else Pillow knows is made
a PNG first (`portable`), which data sets do.
"""

import tensorflow as tf

from zfkeras import reading
from zfkeras.data.headers import is_png, is_transparent, orientation, stored_size
from zfkeras.reading import MAX_PIXELS

# As libjpeg's own and Pillow's; TensorFlow's default is coarser (docs/experiments.md).
_DCT = "INTEGER_ACCURATE"


def portable(contents: tf.Tensor) -> tf.Tensor:
    """Makes any file that `zfkeras.reading` knows one that `decode` knows: a JPEG or PNG.

    Other files go through Python, so that an exported graph can't hold this.

    Args:
        contents: string scalar, the file's bytes.

    Raises:
        tf.errors.InvalidArgumentError: when executed on what is no picture.

    >>> plain = tf.io.encode_png(tf.zeros((5, 7, 3), tf.uint8))
    >>> bool(portable(plain) == plain)
    True
    """

    known = tf.io.is_jpeg(contents) | is_png(contents)
    if tf.executing_eagerly():
        return contents if known else _converted(contents)
    convert = lambda: tf.numpy_function(reading.portable, [contents], tf.string)  # noqa: E731
    return tf.cond(known, lambda: contents, lambda: tf.ensure_shape(convert(), ()))


def _converted(contents: tf.Tensor) -> tf.Tensor:
    try:
        return tf.constant(reading.portable(contents.numpy()))
    except ValueError as error:  # the same that TensorFlow makes of it in a graph
        raise tf.errors.InvalidArgumentError(None, None, str(error)) from error


def pixels(picture: tf.Tensor) -> tf.Tensor:
    """A picture of a data set, encoded in any format (string scalar) or an image, as an image.

    >>> pixels(tf.io.encode_png(tf.zeros((5, 7, 3), tf.uint8))).shape
    TensorShape([5, 7, 3])
    """
    return decode(portable(picture)) if picture.dtype == tf.string else picture


def encoded_size(contents: tf.Tensor) -> tf.Tensor:
    """Reads height and width of an encoded JPEG or PNG as it is to be seen; nothing is decoded.

    Args:
        contents: string scalar, the file's bytes.

    Returns:
        int32 (2,): height, width.

    Raises:
        tf.errors.InvalidArgumentError: when executed on anything but a JPEG or PNG.

    >>> encoded_size(tf.io.encode_png(tf.zeros((5, 7, 3), tf.uint8))).numpy().tolist()
    [5, 7]
    """
    contents = _known(contents)
    size = stored_size(contents)
    return tf.where(orientation(contents) > 4, tf.reverse(size, [0]), size)


def _known(contents: tf.Tensor) -> tf.Tensor:
    known = tf.debugging.Assert(
        tf.io.is_jpeg(contents) | (is_png(contents) & (tf.strings.length(contents) > 24)),
        ["Not a JPEG or PNG picture. Received bytes:", tf.strings.length(contents)],
    )
    with tf.control_dependencies([known]):
        return tf.identity(contents)


def decode(
    contents: tf.Tensor, window: tf.Tensor | None = None, max_pixels: int = MAX_PIXELS
) -> tf.Tensor:
    """Decodes a JPEG or PNG to RGB, whatever it holds: grey, CMYK, palette, alpha, 16 bits.

    As `zfkeras.reading.load` does: the EXIF orientation is applied, what is transparent shows
    white. The header's size is checked before any pixel is decoded.

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
    contents = _known(contents)
    size, turn = stored_size(contents), orientation(contents)
    with tf.control_dependencies([_check_size(size, max_pixels)]):
        contents = tf.identity(contents)
    if window is not None:
        window = _stored_window(window, size, turn)
    image = tf.cond(
        is_png(contents), lambda: _png(contents, window), lambda: _jpeg(contents, window)
    )
    return tf.cond(turn == 1, lambda: image, lambda: _turned(image, turn))


def _jpeg(contents: tf.Tensor, window: tf.Tensor | None) -> tf.Tensor:
    if window is None:
        return tf.image.decode_jpeg(contents, channels=3, dct_method=_DCT)
    return tf.image.decode_and_crop_jpeg(contents, window, channels=3, dct_method=_DCT)


def _png(contents: tf.Tensor, window: tf.Tensor | None) -> tf.Tensor:
    def part(channels: int) -> tf.Tensor:
        image = tf.io.decode_png(contents, channels=channels)
        return image if window is None else cut(image, window)

    return tf.cond(is_transparent(contents), lambda: _over_white(part(4)), lambda: part(3))


def _over_white(image: tf.Tensor) -> tf.Tensor:
    """Lays RGBA over white; rounds as Pillow does."""
    colours, alpha = tf.split(tf.cast(image, tf.int32), [3, 1], -1)
    mixed = colours * alpha + 255 * (255 - alpha)
    return tf.cast((2 * mixed + 255) // 510, tf.uint8)


def _check_size(size: tf.Tensor, max_pixels: int) -> tf.Operation:
    height, width = tf.unstack(tf.cast(size, tf.int64))
    return tf.debugging.Assert(
        (height > 0) & (width > 0) & (height <= max_pixels // tf.maximum(width, 1)),
        [f"A picture must have 1 to {max_pixels} pixels. Received height, width:", height, width],
    )


# === EXIF orientation: a transposition of 5 to 8, then mirrors ===


def _mirrors(turn: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Whether top and bottom, and whether left and right change places."""
    return tf.gather(_UPSIDE_DOWN, turn), tf.gather(_LEFT_RIGHT, turn)


_UPSIDE_DOWN = [number in (3, 4, 7, 8) for number in range(9)]
_LEFT_RIGHT = [number in (2, 3, 6, 7) for number in range(9)]


def _turned(image: tf.Tensor, turn: tf.Tensor) -> tf.Tensor:
    vertical, horizontal = _mirrors(turn)
    image = tf.cond(turn > 4, lambda: tf.transpose(image, (1, 0, 2)), lambda: image)
    image = tf.cond(vertical, lambda: tf.reverse(image, [0]), lambda: image)
    return tf.cond(horizontal, lambda: tf.reverse(image, [1]), lambda: image)


def _stored_window(window: tf.Tensor, stored: tf.Tensor, turn: tf.Tensor) -> tf.Tensor:
    """The window of the stored pixels that is seen as `window` after turning."""
    corner, size = window[:2], window[2:]
    shown = tf.where(turn > 4, tf.reverse(stored, [0]), stored)
    corner = tf.where(tf.stack(_mirrors(turn)), shown - corner - size, corner)
    turned = tf.concat([tf.reverse(corner, [0]), tf.reverse(size, [0])], 0)
    return tf.where(turn > 4, turned, tf.concat([corner, size], 0))


def cut(image: tf.Tensor, window: tf.Tensor) -> tf.Tensor:
    """Cuts the window (top, left, height, width) out of an image (H, W, C).

    >>> cut(tf.reshape(tf.range(12), (3, 4, 1)), [1, 2, 2, 1])[..., 0].numpy().tolist()
    [[6], [10]]
    """
    top, left, height, width = tf.unstack(window)
    part = tf.slice(image, [top, left, 0], [height, width, -1])
    return tf.ensure_shape(part, (None, None, image.shape[-1]))
