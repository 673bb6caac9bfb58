"""Pure tensor functions: pooling with switches, unpooling, local response normalization.

What training needs (`max_pool`, `local_response_normalization`) is written in `keras.ops`, so
that our nets also train on Keras' JAX backend; recording and using switches is TensorFlow's, which
the functions concerned import themselves.
"""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from zfkeras.types import Pair

Tensor = Any  # a backend's tensor or a KerasTensor: neither library has a usable common type


def ceil_padding(size: int, window: int, stride: int) -> Pair:
    """Padding (before, after) with which a valid window covers a whole axis ("ceil mode").

    It is the convention of cuda-convnet and Caffe (method.md): the last window may hang over
    the far edge, but starts inside the axis.

    Example:
        >>> ceil_padding(110, window=3, stride=2), ceil_padding(13, window=3, stride=2)
        ((0, 1), (0, 0))
    """
    steps = max(0, -(-(size - window) // stride))
    if steps * stride >= size:
        steps -= 1
    return 0, max(0, steps * stride + window - size)


def same_padding(size: int, window: int, stride: int) -> Pair:
    """Padding (before, after) of one axis under Keras' ``padding="same"``.

    Example:
        >>> same_padding(110, window=3, stride=2), same_padding(13, window=3, stride=2)
        ((0, 1), (1, 1))
    """
    total = max(0, (-(-size // stride) - 1) * stride + window - size)
    return total // 2, total - total // 2


def max_pool(x: Tensor, pool_size: Pair, strides: Pair, padding: str = "valid") -> Tensor:
    """Max pooling, ``padding`` one of "valid", "same", "ceil"; (N, H, W, C) in and out."""
    if padding == "ceil":
        x, padding = _pad_to_ceil(x, pool_size, strides)
    return keras.ops.max_pool(x, pool_size, strides, padding, data_format="channels_last")


def max_pool_with_argmax(
    x: Tensor, pool_size: Pair, strides: Pair, padding: str = "valid"
) -> tuple[Tensor, Tensor]:
    """Max pooling that also records its switches.

    Args:
        x: Tensor (N, H, W, C); N may be 0.
        pool_size: Window (rows, columns).
        strides: Steps (rows, columns).
        padding: "valid", "same" or "ceil".

    Returns:
        The maxima (N, h, w, C) and the switches, int64 of the same shape: for each maximum its
        flat position ``(row * W + column) * C + channel`` in the *unpadded* map of its image.
        Among equal maxima the first in row-major order is taken (method.md, Unpooling).

    Example:
        >>> x = np.arange(12.0, dtype="float32").reshape(1, 3, 4, 1)
        >>> values, switches = max_pool_with_argmax(x, (2, 2), (2, 2), "ceil")
        >>> switches.numpy()[0, :, :, 0].tolist()
        [[5, 7], [9, 11]]
    """
    import tensorflow as tf

    x = tf.convert_to_tensor(x)
    width = _size(x, 2)
    if padding == "ceil":
        x, padding = _pad_to_ceil(x, pool_size, strides)

    def pool(x: Tensor) -> list[Tensor]:
        padded = tf.nn.max_pool_with_argmax(
            x, pool_size, strides, padding.upper(), output_dtype=tf.int64
        )
        return list(padded)

    def pool_nothing() -> list[Tensor]:  # the kernel refuses an empty batch
        one = tf.zeros(tf.concat([[1], tf.shape(x)[1:]], 0), x.dtype)
        return [result[:0] for result in pool(one)]

    values, switches = tf.cond(tf.shape(x)[0] > 0, lambda: pool(x), pool_nothing)
    return values, _unpad_switches(switches, _size(x, 2), width, _size(x, 3))


def max_unpool(
    values: Tensor, switches: Tensor, output_shape: Pair, overlap: str = "sum"
) -> Tensor:
    """Places each value at the position its switch names, zeros elsewhere (method.md, Unpooling).

    Args:
        values: Tensor (N, h, w, C).
        switches: int64 tensor (N, h, w, C) of `max_pool_with_argmax`.
        output_shape: (H, W) of the map that was pooled.
        overlap: What to do where overlapping windows share a switch: "sum" adds their values
            (the exact adjoint of max pooling), "overwrite" keeps the last window's in
            row-major order.

    Returns:
        Tensor (N, H, W, C), differentiable with respect to `values`.

    Raises:
        ValueError: `overlap` is neither, or the output is smaller than the input.
        tf.errors.InvalidArgumentError: A switch points outside the output.

    Example:
        >>> values = np.float32([[[[1], [2]], [[3], [4]]]])
        >>> switches = np.full((1, 2, 2, 1), 12)  # four windows of a 5x5 map share its centre
        >>> float(max_unpool(values, switches, (5, 5))[0, 2, 2, 0])
        10.0
        >>> float(max_unpool(values, switches, (5, 5), overlap="overwrite")[0, 2, 2, 0])
        4.0
    """
    import tensorflow as tf

    if overlap not in ("sum", "overwrite"):
        raise ValueError(
            "`overlap` says how windows that share a switch combine; it must be 'sum' or "
            f"'overwrite'. Received: overlap={overlap!r}"
        )
    values, switches = tf.convert_to_tensor(values), tf.cast(switches, tf.int64)
    batch, channels = tf.shape(values)[0], _size(values, 3)
    length = output_shape[0] * output_shape[1] * channels
    flat_shape = [batch, tf.reduce_prod(tf.shape(values)[1:])]
    targets = _checked(tf.reshape(switches, flat_shape), length)

    @tf.custom_gradient
    def unpool(flat: Tensor) -> tuple[Tensor, Callable]:
        kept = _keep_last(flat, targets, length) if overlap == "overwrite" else flat

        def adjoint(upstream: Tensor) -> Tensor:
            gathered = tf.gather(upstream, targets, batch_dims=1)
            if overlap == "sum":
                return gathered
            return _keep_last(gathered, targets, length)

        return _add_at(kept, targets, length), adjoint

    placed = unpool(tf.reshape(values, flat_shape))
    return tf.reshape(placed, [batch, *output_shape, channels])


def local_response_normalization(
    x: Tensor, depth_radius: int = 2, bias: float = 2.0, alpha: float = 1e-4, beta: float = 0.75
) -> Tensor:
    """``x / (bias + alpha * sum of the neighbouring channels' squares) ** beta``: method.md.

    The sum goes over `depth_radius` channels on either side at the same position. It is a product
    with a band matrix, which is faster than TensorFlow's own kernel and exists on every backend.
    16-bit inputs are squared in float32, where they can't overflow.

    Args:
        x: Tensor (..., C) of floats.
        depth_radius: Channels summed on either side.
        bias: The paper's k.
        alpha: Weight of each squared neighbour (not divided by their number).
        beta: Exponent.

    Returns:
        Tensor of the shape and dtype of `x`.

    Example:
        >>> a = np.float32([[10, 20, 30, 40, 50, 60]])
        >>> keras.ops.convert_to_numpy(local_response_normalization(a))[0, :3].round(3)
        array([ 5.652, 10.709, 14.867], dtype=float32)
    """
    x = keras.ops.convert_to_tensor(x)
    dtype, channels = keras.backend.standardize_dtype(x.dtype), x.shape[-1]
    wide = keras.ops.cast(x, "float64" if dtype == "float64" else "float32")
    distance = np.abs(np.subtract.outer(np.arange(channels), np.arange(channels)))
    band = keras.ops.cast((distance <= depth_radius) * alpha, wide.dtype)
    squares = keras.ops.reshape(keras.ops.square(wide), (-1, channels))
    scale = keras.ops.reshape(keras.ops.matmul(squares, band) + bias, keras.ops.shape(wide))
    return keras.ops.cast(wide * _negative_power(scale, beta), dtype)


def _negative_power(x: Tensor, exponent: float) -> Tensor:
    if exponent == 0.75:  # the paper's: two square roots cost a fraction of a power
        root = keras.ops.rsqrt(x)
        return root * keras.ops.sqrt(root)
    return keras.ops.power(x, -exponent)


def _pad_to_ceil(x: Tensor, pool_size: Pair, strides: Pair) -> tuple[Tensor, str]:
    """`x` and a Keras padding that together pool in ceil mode; copies `x` only where it must."""
    sizes = [_size(x, 1), _size(x, 2)]
    if not all(isinstance(size, int) for size in sizes):
        return _pad_dynamically(x, sizes, pool_size, strides), "valid"
    axes = list(zip(sizes, pool_size, strides, strict=True))
    ceil = [ceil_padding(*axis) for axis in axes]
    if not any(after for _, after in ceil):
        return x, "valid"
    if ceil == [same_padding(*axis) for axis in axes]:
        return x, "same"
    return keras.ops.pad(x, [(0, 0), *ceil, (0, 0)], constant_values=-np.inf), "valid"


def _pad_dynamically(x: Tensor, sizes: list[Tensor], pool_size: Pair, strides: Pair) -> Tensor:
    import tensorflow as tf

    after = []
    for size, window, stride in zip(sizes, pool_size, strides, strict=True):
        steps = tf.maximum(0, -(-(size - window) // stride))
        steps -= tf.cast(steps * stride >= size, steps.dtype)
        after.append(tf.maximum(0, steps * stride + window - size))
    lowest = tf.constant(-np.inf, x.dtype)
    return tf.pad(x, [[0, 0], [0, after[0]], [0, after[1]], [0, 0]], constant_values=lowest)


def _size(x: Tensor, axis: int) -> Tensor:
    """The size of an axis: an int where it is known, else a scalar tensor."""
    if x.shape[axis] is not None:
        return x.shape[axis]
    return keras.ops.shape(x)[axis]


def _unpad_switches(
    switches: Tensor, padded_width: Tensor, width: Tensor, channels: Tensor
) -> Tensor:
    """Switches over a map padded at its right and bottom, as positions in the unpadded map."""
    import tensorflow as tf

    if isinstance(width, int) and padded_width == width:
        return switches
    row_size = tf.cast(padded_width * channels, tf.int64)
    overhang = tf.cast((padded_width - width) * channels, tf.int64)
    return switches - switches // row_size * overhang


def _checked(targets: Tensor, length: Tensor) -> Tensor:
    """`targets` if all lie in [0, length): the kernel of `_add_at` would abort the process."""
    import tensorflow as tf

    inside = tf.reduce_all((targets >= 0) & (targets < tf.cast(length, tf.int64)))
    check = tf.debugging.Assert(
        inside,
        [
            "`switches` must point into the output map: allowed are 0 to",
            length,
            "- 1. Received:",
            targets,
        ],
        summarize=8,
    )
    with tf.control_dependencies([check] if check is not None else []):
        return tf.identity(targets)


def _add_at(flat: Tensor, targets: Tensor, length: Tensor) -> Tensor:
    """(N, n) values added at their int64 targets in (N, length) zeros.

    The fused kernel is 10x faster than a scatter. It reads the targets alone; the window is only
    checked against the shapes, so each image is passed off as a line pooled with stride 1.
    """
    import tensorflow as tf

    batch = tf.shape(flat)[0]
    if isinstance(length, int) and flat.shape[1] is not None and flat.shape[1] <= length:
        window = length - flat.shape[1] + 1
        as_line = tf.raw_ops.MaxPoolGradWithArgmax(
            input=tf.zeros([batch, 1, length, 1], flat.dtype),
            grad=flat[:, None, :, None],
            argmax=targets[:, None, :, None],
            ksize=[1, 1, window, 1],
            strides=[1, 1, 1, 1],
            padding="VALID",
        )
        return tf.reshape(as_line, [batch, length])
    total = tf.math.unsorted_segment_sum(flat, _over_batch(targets, length), batch * length)
    return tf.reshape(total, [batch, length])


def _keep_last(flat: Tensor, targets: Tensor, length: Tensor) -> Tensor:
    """`flat` with zeros where a later value has the same target: placing by sum then overwrites."""
    import tensorflow as tf

    order = tf.broadcast_to(tf.range(tf.shape(flat)[1])[None], tf.shape(flat))
    segments = _over_batch(targets, length)
    last = tf.math.unsorted_segment_max(order, segments, tf.shape(flat)[0] * length)
    return tf.where(tf.gather(last, segments) == order, flat, 0)


def _over_batch(targets: Tensor, length: Tensor) -> Tensor:
    """Targets within each image as targets within the whole batch."""
    import tensorflow as tf

    images = tf.range(tf.shape(targets, tf.int64)[0])
    return targets + images[:, None] * tf.cast(length, tf.int64)
