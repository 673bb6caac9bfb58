"""A batch of units on their way down, each within the boxes that its signal can reach."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from zfkeras.deconvnet.local.boxes import UnitBoxes
from zfkeras.graph.walking import Step
from zfkeras.regions.windows import Windows
from zfkeras.types import Tensor

Box = tuple[Tensor, Tensor]  # each unit's (row, column): int32 (B, 2), and the size of all: (2,)
OUTSIDE, SOMEWHERE = 0, 1  # rows of a table: what pools see outside the map; a value of the map


def as_table(maps: Tensor) -> Tensor:
    """Maps (N, H, W, C) as the rows (1 + N * H * W, C) that crops are gathered from.

    The row in front stands for what is outside the map: to a max pool, less than anything.
    """
    rows = tf.reshape(maps, [-1, maps.shape[-1]])
    return tf.pad(rows, [[1, 0], [0, 0]], constant_values=maps.dtype.min)


@dataclass(frozen=True, eq=False)
class Crops:
    """Where the signals of a batch of B units are.

    Attributes:
        geometry: The boxes of their layer's units.
        depths: Channels of each value.
        tables: The values that rules read, by `as_table`.
        boxes: The box of each value; it may hang over the map.
        kernels: The convolutions' weights, where they are constants.
        image: int32 (B,): each unit's image.
    """

    geometry: UnitBoxes
    depths: Mapping[int, int]
    tables: Mapping[int, Tensor]
    boxes: Mapping[int, Box]
    kernels: Mapping[Step, np.ndarray]
    image: Tensor

    def gather(self, i: int, box: Box, outside: int) -> Tensor:
        """Crops (B, h, w, C) of value `i`; row `outside` of its table where there is no map."""
        height, width = self.geometry.sizes[i]
        rows, columns = self._places(box)
        flat = (self.image[:, None] * height + rows)[:, :, None] * width + columns[:, None] + 1
        return tf.gather(
            self.tables[i], tf.where(_inside(rows, columns, (height, width)), flat, outside)
        )

    def blank(self, i: int, box: Box) -> Tensor:
        """The shape of a crop of value `i`, without rows."""
        blank = tf.zeros(tf.concat([[0], box[1], [self.depths[i]]], 0))
        return tf.ensure_shape(blank, [None, None, None, self.depths[i]])

    def under(self, windows: Windows, box: Box) -> Box:
        """The box that a box of units sees through a layer's windows."""
        origins, size = box
        first = origins * windows.strides - tf.constant(windows.before)
        return first, (size - 1) * windows.strides + tf.constant(windows.size)

    def move(self, signal: Tensor, box: Box, i: int) -> Tensor:
        """A signal in `box` as one in the box of value `i`; zeros where there is none."""
        signal = tf.ensure_shape(signal, [None, None, None, self.depths[i]])
        (origins, size), (targets, target_size) = box, self.boxes[i]
        shifts = targets - origins
        rows, columns = self._places((shifts, target_size))
        return tf.cond(
            tf.reduce_all(shifts == shifts[:1]),
            lambda: _slice(signal, shifts[0], size, target_size),
            lambda: _pick(signal, rows, columns),
        )

    def mask(self, signal: Tensor, i: int) -> Tensor:
        """Zeros where the boxes of value `i` hang over its map."""
        return _where(_inside(*self._places(self.boxes[i]), self.geometry.sizes[i]), signal)

    def covered(self, step: Step, windows: Windows) -> Tensor:
        """Positions of the input's map that each of the output's windows covers, (B, h, w, 1)."""
        (out,), (below,) = step.outputs, step.inputs
        axes = zip(self._places(self.boxes[out]), windows, self.geometry.sizes[below], strict=True)
        rows, columns = (
            tf.maximum(window.inside(places, length, tf), 1) for places, window, length in axes
        )
        return (rows[:, :, None] * columns[:, None])[..., None]

    def _places(self, box: Box) -> tuple[Tensor, Tensor]:
        """Rows (B, h) and columns (B, w) of the map that each unit's box covers."""
        origins, size = box
        rows, columns = (origins[:, axis, None] + tf.range(size[axis]) for axis in (0, 1))
        return rows, columns


def _slice(signal: Tensor, shift: Tensor, size: Tensor, target: Tensor) -> Tensor:
    """The `target` rows and columns of a signal from `shift` on; zeros where there is none."""
    begin, end = tf.maximum(shift, 0), tf.minimum(shift + target, size)
    signal = signal[:, begin[0] : end[0], begin[1] : end[1]]
    margins = tf.maximum(tf.stack([-shift, shift + target - size], 1), 0)
    return tf.pad(signal, tf.pad(margins, [[1, 1], [0, 0]]))


def _pick(signal: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Other rows (B, h) and columns (B, w) of each unit's signal; zeros where there is none."""
    size = tf.shape(signal)[1:3]  # it may be larger than its box
    inside = _inside(rows, columns, size)
    rows, columns = (
        tf.clip_by_value(places, 0, size[axis] - 1) for axis, places in enumerate((rows, columns))
    )
    first = tf.range(tf.shape(rows)[0])[:, None] * size[0]
    places = (first + rows)[:, :, None] * size[1] + columns[:, None]
    return _where(inside, tf.gather(tf.reshape(signal, [-1, signal.shape[-1]]), places))


def _where(inside: Tensor, signal: Tensor) -> Tensor:
    """The signal at places (B, h, w) that are `inside`, zeros elsewhere; often that's all."""
    return tf.cond(
        tf.reduce_all(inside),
        lambda: signal,
        lambda: signal * tf.cast(inside, signal.dtype)[..., None],
    )


def _inside(rows: Tensor, columns: Tensor, size: Tensor) -> Tensor:
    """Which of the places (B, h, w) that rows (B, h) and columns (B, w) make are in a map."""
    in_rows, in_columns = (rows >= 0) & (rows < size[0]), (columns >= 0) & (columns < size[1])
    return in_rows[:, :, None] & in_columns[:, None]
