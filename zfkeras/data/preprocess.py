"""From encoded pictures to crops: the papers' preprocessing as pure TensorFlow functions.

Everything here is traceable, takes one picture at a time and draws nothing but from the seed
it is given (a pair of integers, as in `tf.random.stateless_uniform`), so that a pipeline built
from it can be replayed. Pictures are RGB, 0..255.
"""

import math
from dataclasses import dataclass

import tensorflow as tf

from zfkeras.data.decode import cut, decode, encoded_size, pixels, portable
from zfkeras.fitting import LONGEST, PADDING, TESTED, check_fit
from zfkeras.reading import GREY
from zfkeras.types import Pair, Tensor

CROPS = ("centre", "random", "ten")

# Standard deviations (0..255) and directions of ImageNet's RGB principal components.
_COLOUR_DEVIATIONS = (55.46, 4.794, 1.148)
_COLOUR_DIRECTIONS = (
    (-0.5675, 0.7192, 0.4009),
    (-0.5808, -0.0045, -0.8140),
    (-0.5836, -0.6948, 0.4203),
)


@dataclass(frozen=True)
class Augmentation:
    """How a training example is cut from a picture (method.md, Preparation of pictures).

    Attributes:
        image_size: (height, width) of the example.
        scale: (lowest, highest) size of the resized picture relative to the example; the papers
            cut 224 from 256: (8/7, 8/7). VGG's scale jitter is a range.
        crop: "random" anywhere, "ten" one of corners and centre (Zeiler & Fergus), "centre".
        flip: whether every second example is mirrored.
        colour: strength of Krizhevsky's colour noise; he used 0.1, 0 is none.
        channels: 1 for an example in grey.

    >>> Augmentation((128, 128), scale=(1.1, 1.6)).crop
    'random'
    """

    image_size: tuple[int, int]
    scale: tuple[float, float] = (TESTED, TESTED)
    crop: str = "random"
    flip: bool = True
    colour: float = 0.0
    channels: int = 3

    def __post_init__(self) -> None:
        if len(self.image_size) != 2 or min(self.image_size) < 1:
            raise ValueError(
                "The image size must be a pair of positive integers (height, width). "
                f"Received: image_size={self.image_size}"
            )
        if len(self.scale) != 2 or not 1 <= self.scale[0] <= self.scale[1]:
            raise ValueError(
                "The scale must be a pair (lowest, highest) with 1 <= lowest <= highest: the "
                f"picture has to cover the crop. Received: scale={self.scale}"
            )
        if self.crop not in CROPS:
            raise ValueError(
                f"An unknown way to crop. Allowed: {', '.join(CROPS)}. Received: crop={self.crop!r}"
            )
        if self.colour < 0:
            raise ValueError(
                "The colour noise's strength can't be negative. Allowed: 0 (none) and above. "
                f"Received: colour={self.colour}"
            )


def resize(image: tf.Tensor, size: Tensor | Pair) -> tf.Tensor:
    """Resizes an image (H, W, C) to `size` (height, width): bilinear, antialiased; float32.

    >>> resize(tf.zeros((5, 7, 3)), (3, 4)).shape
    TensorShape([3, 4, 3])
    """
    return tf.image.resize(image, size, antialias=True)


def resize_to_cover(image: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    """Resizes an image, keeping its shape, to the smallest that covers `size`.

    For a square `size` that is "smallest side to `size`" (method.md, Preparation of pictures).

    Args:
        image: (H, W, C).
        size: (height, width) to cover.

    Returns:
        float32 (H', W', C) with H' >= height, W' >= width and equality in one of them.

    >>> resize_to_cover(tf.zeros((50, 75, 3)), (32, 32)).shape
    TensorShape([32, 48, 3])
    """
    return resize(image, _covering(tf.shape(image)[:2], size))


def _covering(source: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    scale = tf.reduce_max(tf.cast(size, tf.float64) / tf.cast(source, tf.float64))
    return tf.cast(tf.round(tf.cast(source, tf.float64) * scale), tf.int32)


def crop_offsets(height: Tensor, width: Tensor, size: tuple[int, int]) -> tf.Tensor:
    """Top-left corners of the five crops of `size`, in the order TL, TR, BL, BR, centre.

    Args:
        height: of the image.
        width: of the image.
        size: (height, width) of the crops.

    Returns:
        int32 (5, 2); the centre's offsets are rounded down (method.md, Testing).

    >>> crop_offsets(256, 256, (224, 224)).numpy().tolist()
    [[0, 0], [0, 32], [32, 0], [32, 32], [16, 16]]
    """
    down, right = height - size[0], width - size[1]
    corners = [(0, 0), (0, right), (down, 0), (down, right), (down // 2, right // 2)]
    return tf.cast(tf.stack([tf.stack(corner) for corner in corners]), tf.int32)


def centre_crop(image: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    """Cuts the central `size` (height, width) out of an image (H, W, C).

    >>> centre_crop(tf.reshape(tf.range(5), (1, 5, 1)), (1, 2))[0, :, 0].numpy().tolist()
    [1, 2]
    """
    shape = tf.shape(image)
    offset = crop_offsets(shape[0], shape[1], size)[4]
    return _sized(cut(image, tf.concat([offset, size], 0)), size)


def ten_crop(image: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    """Cuts the ten crops of the papers' test (method.md, Testing).

    Args:
        image: (H, W, C), at least as large as `size`.
        size: (height, width) of a crop.

    Returns:
        (10, height, width, C): TL, TR, BL, BR, centre, then the same five mirrored.

    >>> ten_crop(tf.zeros((256, 300, 3)), (224, 224)).shape
    TensorShape([10, 224, 224, 3])
    """
    shape = tf.shape(image)
    offsets = tf.unstack(crop_offsets(shape[0], shape[1], size))
    crops = tf.stack([_sized(cut(image, tf.concat([o, size], 0)), size) for o in offsets])
    return tf.concat([crops, tf.reverse(crops, [2])], 0)


def _sized(image: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    return tf.ensure_shape(image, (*size, image.shape[-1]))


def in_channels(image: tf.Tensor, channels: int) -> tf.Tensor:
    """An image (..., 1 or 3) in RGB, or in grey: the mean `zfkeras.reading.GREY` of the colours.

    >>> in_channels(tf.constant([[[1000.0, 0.0, 0.0]]]), 1).numpy().round().tolist()
    [[[299.0]]]
    """
    if image.shape[-1] == channels:
        return image
    if image.shape[-1] == 1:
        return tf.repeat(image, channels, -1)
    return tf.tensordot(tf.cast(image, tf.float32), tf.constant(GREY, tf.float32)[:, None], 1)


def evaluation_picture(
    picture: tf.Tensor, size: tuple[int, int], scale: float = TESTED
) -> tf.Tensor:
    """Decodes and resizes a picture so that test crops of `size` can be cut from it.

    Args:
        picture: encoded bytes (string scalar) or an image (H, W, 3).
        size: (height, width) of the crops.
        scale: the resized picture covers `scale * size`.

    Returns:
        float32 (H', W', 3).

    >>> evaluation_picture(tf.zeros((50, 75, 3), tf.uint8), (28, 28)).shape
    TensorShape([32, 48, 3])
    """
    return resize_to_cover(_not_too_long(pixels(picture)), scaled(size, scale))


def _not_too_long(image: tf.Tensor) -> tf.Tensor:
    """The middle of a long and thin picture: `zfkeras.fitting.not_too_long`."""
    source = tf.shape(image)[:2]
    most = tf.minimum(source, LONGEST * tf.reduce_min(source))
    return cut(image, tf.concat([(source - most) // 2, most], 0))


def fitted(
    picture: tf.Tensor, size: tuple[int, int], how: str = "crop", scale: float = TESTED
) -> tf.Tensor:
    """Brings an image to a size: `zfkeras.image.fit` in TensorFlow.

    Args:
        picture: encoded bytes (string scalar) or an image (H, W, C).
        size: (height, width).
        how: "crop", "stretch" or "pad".
        scale: what "crop" covers, relative to `size`.

    Returns:
        float32 (height, width, C).

    >>> fitted(tf.zeros((50, 75, 3), tf.uint8), (28, 30), "pad").shape
    TensorShape([28, 30, 3])
    """
    if check_fit(how, scale) == "crop":
        return centre_crop(evaluation_picture(picture, size, scale), size)
    image = pixels(picture)
    if how == "stretch":
        return resize(image, size)
    source = tf.cast(tf.shape(image)[:2], tf.float64)
    ratio = tf.reduce_min(tf.cast(size, tf.float64) / source)
    inner = tf.maximum(tf.cast(tf.round(source * ratio), tf.int32), 1)
    before = (tf.constant(size) - inner) // 2
    margins = tf.stack([before, tf.constant(size) - inner - before], 1)
    padded = tf.pad(resize(image, inner), [*tf.unstack(margins), (0, 0)], constant_values=PADDING)
    return _sized(padded, size)


def scaled(size: tuple[int, int], scale: float) -> tuple[int, int]:
    """Multiplies a (height, width) by `scale`, rounding to whole pixels.

    >>> scaled((224, 224), 8 / 7)
    (256, 256)
    """
    return round(size[0] * scale), round(size[1] * scale)


def training_example(picture: tf.Tensor, augmentation: Augmentation, seed: tf.Tensor) -> tf.Tensor:
    """Cuts one augmented training example out of a picture.

    The paper resizes the picture and then crops. Here the crop is cut first, in the picture's own
    pixels, and only it is decoded and resized: the same views, up to rounding to whole pixels,
    for a fraction of the work.

    Args:
        picture: encoded bytes (string scalar) or an image (H, W, 3).
        augmentation: what to draw from.
        seed: integer (2,).

    Returns:
        float32 (height, width, channels), 0..255; a function of the arguments only.

    >>> example = training_example(tf.zeros((50, 75, 3)), Augmentation((28, 32)), (1, 2))
    >>> example.shape
    TensorShape([28, 32, 3])
    """
    # Independent draws: which view, where, mirrored or not, and colour.
    seeds = tf.unstack(tf.random.split(seed, 4))
    encoded = picture.dtype == tf.string
    picture = portable(picture) if encoded else picture
    source = encoded_size(picture) if encoded else tf.shape(picture)[:2]
    window = _window(source, augmentation, seeds[0], seeds[1])
    image = decode(picture, window) if encoded else cut(picture, window)
    image = _sized(resize(image, augmentation.image_size), augmentation.image_size)
    if augmentation.flip:
        mirrored = tf.random.stateless_uniform((), seeds[2]) < 0.5
        image = tf.cond(mirrored, lambda: tf.reverse(image, [1]), lambda: image)
    if augmentation.colour:
        image = colour_noise(image, augmentation.colour, seeds[3])
    return in_channels(image, augmentation.channels)


def _window(
    source: tf.Tensor, augmentation: Augmentation, scale_seed: tf.Tensor, place_seed: tf.Tensor
) -> tf.Tensor:
    """Draws the (top, left, height, width) of a crop, in the picture's own pixels."""
    low, high = augmentation.scale
    scale = tf.random.stateless_uniform((), scale_seed, low, math.nextafter(high, math.inf))
    size = tf.cast(augmentation.image_size, tf.float32)
    source_size = tf.cast(source, tf.float32)
    ratio = tf.reduce_min(source_size / (size * scale))
    window = tf.clip_by_value(tf.cast(tf.round(size * ratio), tf.int32), 1, source)
    return tf.concat([_place(source, window, augmentation.crop, place_seed), window], 0)


def _place(source: tf.Tensor, window: tf.Tensor, crop: str, seed: tf.Tensor) -> tf.Tensor:
    height, width = tf.unstack(source)
    if crop == "random":
        free = source - window + 1
        return tf.random.stateless_uniform((2,), seed, maxval=2**30, dtype=tf.int32) % free
    which = 4
    if crop == "ten":
        which = tf.random.stateless_uniform((), seed, maxval=5, dtype=tf.int32)
    return tf.gather(crop_offsets(height, width, tuple(tf.unstack(window))), which)


def colour_noise(image: tf.Tensor, strength: float, seed: tf.Tensor) -> tf.Tensor:
    """Shifts an image along ImageNet's principal colours (method.md, Preparation of pictures).

    Args:
        image: (H, W, 3), 0..255.
        strength: standard deviation of the shift, in those of the components; the paper's is 0.1.
        seed: integer (2,).

    Returns:
        float32 (H, W, 3), not clipped.

    >>> colour_noise(tf.zeros((1, 1, 3)), 0.0, (1, 2)).numpy().tolist()
    [[[0.0, 0.0, 0.0]]]
    """
    alphas = tf.random.stateless_normal((3,), seed, stddev=strength)
    shift = tf.linalg.matvec(tf.constant(_COLOUR_DIRECTIONS), alphas * _COLOUR_DEVIATIONS)
    return tf.cast(image, tf.float32) + shift
