"""What the headers of JPEG and PNG files say, read in the graph; nothing is decoded."""

from collections.abc import Callable

import tensorflow as tf

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG_APP0, _JPEG_APP1, _JPEG_FILL = 0xE0, 0xE1, 0xFF
# An honest file has few parts before its pixels; a crafted one must not keep us walking.
_MOST_PARTS = 256


def is_png(contents: tf.Tensor) -> tf.Tensor:
    """Whether a file begins as a PNG does.

    >>> bool(is_png(tf.constant(b"GIF89a")))
    False
    """
    return tf.strings.substr(contents, 0, 8) == _PNG


def stored_size(contents: tf.Tensor) -> tf.Tensor:
    """The (height, width) of a JPEG's or PNG's pixels as the file has them, int32 (2,)."""
    return tf.cond(
        is_png(contents),
        # IHDR is always first: width and height are big-endian at bytes 16 and 20.
        lambda: tf.stack([_number(contents, 20, 4), _number(contents, 16, 4)]),
        lambda: tf.image.extract_jpeg_shape(contents)[:2],
    )


def is_transparent(contents: tf.Tensor) -> tf.Tensor:
    """Whether a PNG has an alpha channel or transparent colours.

    >>> [bool(is_transparent(tf.io.encode_png(tf.zeros((2, 3, n), tf.uint8)))) for n in (3, 4)]
    [False, True]
    """
    alpha = tf.bitwise.bitwise_and(_bytes(contents, 25, 1)[0], 4) > 0  # of the colour type
    return alpha | (_png_chunk(contents, b"tRNS") >= 0)


def orientation(contents: tf.Tensor) -> tf.Tensor:
    """The EXIF orientation of a JPEG or PNG, 1 to 8; 1, which is upright, where none is told.

    Args:
        contents: string scalar, the file's bytes.

    Returns:
        int32 ().

    >>> int(orientation(tf.io.encode_png(tf.zeros((2, 3, 3), tf.uint8))))
    1
    """
    start = tf.cond(
        is_png(contents),
        lambda: _png_chunk(contents, b"eXIf"),
        lambda: _jpeg_exif(contents),
    )
    return tf.cond(start < 0, lambda: 1, lambda: _orientation_tag(contents, start))


def _orientation_tag(contents: tf.Tensor, start: tf.Tensor) -> tf.Tensor:
    """The orientation in the first directory of EXIF data, which are a small TIFF file."""
    little = tf.strings.substr(contents, start, 2) == b"II"
    number = lambda at, count: _number(contents, at, count, little)  # noqa: E731
    # Wherever a broken file points to, what is not in it reads as zeros.
    directory = start + tf.clip_by_value(number(start + 4, 4), 0, tf.strings.length(contents))
    entries = tf.maximum(number(directory, 2), 1)
    table = tf.reshape(_bytes(contents, directory + 2, 12 * entries), (-1, 12))
    pairs = tf.reshape(table, (-1, 6, 2))
    words = tf.where(
        little, pairs[..., 0] + 256 * pairs[..., 1], 256 * pairs[..., 0] + pairs[..., 1]
    )
    # An entry: tag, type (3 is 16 bits), count in two words, the value in its first word.
    found = tf.boolean_mask(words[:, 4], (words[:, 0] == 0x0112) & (words[:, 1] == 3))
    value = tf.concat([found, [1]], 0)[0]
    return tf.where((value >= 1) & (value <= 8), value, 1)


def _jpeg_exif(contents: tf.Tensor) -> tf.Tensor:
    """Where a JPEG's EXIF data begin, -1 if it has none."""

    def look(at: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        mark, kind, high, low = tf.unstack(_bytes(contents, at, 4))
        is_exif = (kind == _JPEG_APP1) & (_text(contents, at + 4, 6) == b"Exif\0\0")
        # What applications add comes first; after it a JPEG has nothing but its picture.
        ends = (mark != 0xFF) | ((kind < _JPEG_APP0) & (kind >= 0xC0))
        step = tf.where(kind == _JPEG_FILL, 1, 2 + tf.maximum(256 * high + low, 2))
        return is_exif & ~ends, ends, step

    return _walked(contents, 2, look, 10)


def _png_chunk(contents: tf.Tensor, name: bytes) -> tf.Tensor:
    """Where the data of a PNG's first chunk of that name begin, -1 if none is before the pixels."""

    def look(at: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        kind, length = _text(contents, at + 4, 4), _number(contents, at, 4)
        ends = (kind == b"IDAT") | (tf.strings.length(kind) < 4)
        return kind == name, ends, 12 + tf.clip_by_value(length, 0, tf.strings.length(contents))

    return _walked(contents, 8, look, 8)


def _walked(
    contents: tf.Tensor,
    first: int,
    look: Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor, tf.Tensor]],
    header: int,
) -> tf.Tensor:
    """Goes from part to part; `look` says of one whether it is it or the last, and its length."""

    def step(at: tf.Tensor, found: tf.Tensor, _: tf.Tensor) -> tuple[tf.Tensor, ...]:
        is_it, ends, length = look(at)
        found = tf.where(is_it, at + header, found)
        return tf.minimum(at + length, tf.strings.length(contents)), found, ~(is_it | ends)

    start = (tf.constant(first), tf.constant(-1), tf.constant(True))
    goes_on = lambda _at, _found, on: on  # noqa: E731
    return tf.while_loop(goes_on, step, start, maximum_iterations=_MOST_PARTS)[1]


def _text(contents: tf.Tensor, at: tf.Tensor, count: int) -> tf.Tensor:
    return tf.strings.substr(contents, tf.minimum(at, tf.strings.length(contents)), count)


def _bytes(contents: tf.Tensor, at: tf.Tensor | int, count: tf.Tensor | int) -> tf.Tensor:
    """Bytes as int32 (count,); zeros where the file has ended."""
    text = tf.strings.substr(contents, tf.minimum(at, tf.strings.length(contents)), count)
    return tf.cast(tf.io.decode_raw(text, tf.uint8, fixed_length=count), tf.int32)


def _number(
    contents: tf.Tensor, at: tf.Tensor | int, count: int, little: tf.Tensor | bool = False
) -> tf.Tensor:
    """An unsigned number of `count` bytes, as int32: 2 ** 31 and above come out negative."""
    parts = _bytes(contents, at, count)
    places = tf.constant([256**place for place in range(count)])
    return tf.reduce_sum(places * tf.where(little, parts, tf.reverse(parts, [0])))
