"""Adjoints of convolutions (method.md, Filtering) where something beats TensorFlow's own."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from zfkeras.regions.windows import Windows
from zfkeras.types import Tensor

Size = tuple[int, int]


def suits_phases(windows: Windows, depth: int) -> bool:
    """Whether `transpose_by_phases` pays: for the few channels of an image."""
    (rows, columns), few = windows.strides, 16
    return rows == columns > 1 and depth * rows * columns <= few


def one_filter_adjoint(
    kernel: Tensor, maps: Tensor, channels: Tensor, windows: Windows, size: Size
) -> Tensor:
    """A single map needs a single filter: its patches times that filter, one small product."""
    (height, width), (rows, columns) = size, windows.size
    spread = _spread(maps[..., None], windows.strides)
    margins = [[w.size - 1 - w.before, 0] for w in windows]
    for axis, target in enumerate((height + rows - 1, width + columns - 1)):
        margins[axis][1] = target - margins[axis][0] - spread.shape[1 + axis]
    patches = tf.image.extract_patches(
        tf.pad(spread, [[0, 0], *margins, [0, 0]]),
        [1, rows, columns, 1],
        strides=[1, 1, 1, 1],
        rates=[1, 1, 1, 1],
        padding="VALID",
    )
    flipped = tf.transpose(kernel[::-1, ::-1], [3, 0, 1, 2])
    filters = tf.reshape(tf.gather(flipped, channels), [-1, rows * columns, kernel.shape[2]])
    product = tf.matmul(tf.reshape(patches, [-1, height * width, rows * columns]), filters)
    return tf.reshape(product, [-1, height, width, kernel.shape[2]])


def _spread(maps: Tensor, strides: Sequence[int]) -> Tensor:
    """Maps with stride - 1 zeros between neighbouring units."""
    _, height, width, depth = maps.shape
    rows, columns = strides
    gaps = [[0, 0], [0, 0], [0, rows - 1], [0, 0], [0, columns - 1], [0, 0]]
    cells = tf.pad(maps[:, :, None, :, None], gaps)
    wide = tf.reshape(cells, [-1, height * rows, width * columns, depth])
    return wide[:, : (height - 1) * rows + 1, : (width - 1) * columns + 1]


def phase_adjoint(kernel: Tensor, signal: Tensor, windows: Windows, size: Size) -> Tensor:
    """The adjoint of a strided convolution over an image; see `transpose_by_phases`."""
    return _cut(transpose_by_phases(kernel, signal, windows.rows.stride), windows, size)


def transpose_by_phases(kernel: Tensor, signal: Tensor, stride: int) -> Tensor:
    """A full transposed convolution as one plain convolution that makes all phases at once.

    Pixels that lie a stride apart are served by the same taps of the kernel. For the few channels
    of an image this is about 2.7 times as fast on a CPU as `tf.nn.conv2d_transpose`; for deep
    layers it is slower.
    """
    rows, columns, depth, maps = kernel.shape
    taps = [-(-size // stride) for size in (rows, columns)]
    margins = [[0, n * stride - size] for n, size in zip(taps, (rows, columns), strict=True)]
    kernel = tf.pad(kernel, [*margins, [0, 0], [0, 0]])
    phases = tf.reshape(kernel, [taps[0], stride, taps[1], stride, depth, maps])[::-1, :, ::-1]
    filters = tf.reshape(
        tf.transpose(phases, [0, 2, 5, 1, 3, 4]), [*taps, maps, stride * stride * depth]
    )
    around = [[0, 0], *([n - 1, n - 1] for n in taps), [0, 0]]
    return _interleave(tf.nn.conv2d(signal, filters, 1, around), stride)


def _interleave(phases: Tensor, stride: int) -> Tensor:
    """`tf.nn.depth_to_space`, in a third of its time on a CPU."""
    _, _, _, depth = phases.shape
    count, height, width, _ = tf.unstack(tf.shape(phases))
    rows = tf.reshape(phases, [count, height, width, stride, depth // stride])
    pixels = tf.reshape(
        tf.transpose(rows, [0, 1, 3, 2, 4]),
        [count, height * stride, width * stride, depth // stride**2],
    )
    return tf.ensure_shape(pixels, [None, *(n and n * stride for n in phases.shape[1:3]), None])


def plain_adjoint(
    kernel: Tensor, signal: Tensor, windows: Windows, size: Size, depth: int
) -> Tensor:
    """The adjoint of a convolution over maps of `depth` channels; see `transpose`."""
    return _cut(transpose(kernel, signal, windows.strides, depth), windows, size)


def transpose(kernel: Tensor, signal: Tensor, strides: Sequence[int], depth: int) -> Tensor:
    """The full transposed convolution: all that the windows reach, padding or not.

    TensorFlow sums in another order where it takes padding into account. Without it a crop of the
    signal gives to the bit what the whole gives, for 2 % more time on the whole.
    """
    groups = depth // kernel.shape[2]
    if groups > 1:  # TensorFlow has no adjoint of grouped convolutions for every CPU
        parts = zip(tf.split(kernel, groups, 3), tf.split(signal, groups, 3), strict=True)
        return tf.concat([transpose(k, x, strides, kernel.shape[2]) for k, x in parts], 3)
    rows, columns = (
        ((signal.shape[axis] or tf.shape(signal)[axis]) - 1) * strides[axis - 1]
        + kernel.shape[axis - 1]
        for axis in (1, 2)
    )
    return tf.raw_ops.Conv2DBackpropInput(
        input_sizes=tf.stack([tf.shape(signal)[0], rows, columns, depth]),
        filter=kernel,
        out_backprop=signal,
        strides=[1, *strides, 1],
        padding="VALID",
    )


def transpose_constant(
    kernel: np.ndarray, signal: Tensor, strides: Sequence[int], depth: int
) -> Tensor:
    """`transpose` with weights that never change, to the bit; faster for small signals.

    oneDNN rearranges the weights of an adjoint at every call, but those of a plain convolution
    once if they are constant. A single unit's signal takes but one product.
    """
    grouped = kernel.shape[2] != depth
    if not grouped and tuple(signal.shape[1:3]) == (1, 1):
        filters = kernel.reshape(-1, kernel.shape[3]).T
        return tf.reshape(tf.matmul(signal[:, 0, 0], filters), [-1, *kernel.shape[:3]])
    if not grouped and tuple(strides) == (1, 1):
        around = [[0, 0], *([n - 1, n - 1] for n in kernel.shape[:2]), [0, 0]]
        return tf.nn.conv2d(signal, kernel[::-1, ::-1].swapaxes(2, 3), 1, around)
    return transpose(tf.constant(kernel), signal, strides, depth)


def _cut(full: Tensor, windows: Windows, size: Size) -> Tensor:
    """The input's part of a full transposed convolution, zeros where no window reached."""
    before = [int(w.before) for w in windows]
    if tuple(full.shape[1:3]) == size and before == [0, 0]:
        return full
    ends = [first + length for first, length in zip(before, size, strict=True)]
    missing = [[0, max(0, end - full.shape[1 + axis])] for axis, end in enumerate(ends)]
    full = tf.pad(full, [[0, 0], *missing, [0, 0]])
    return full[:, before[0] : ends[0], before[1] : ends[1]]
