"""A batch of units on their way down, each within the boxes that its signal can reach."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from zfkeras.deconvnet.local.boxes import Reach, Window
from zfkeras.graph.walking import Step

Tensor = Any
Box = tuple[Tensor, Tensor]  # low and high (exclusive) of (rows, columns): int32 (2,) each
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
        reach: The geometry of their layer.
        depths: Channels of each value.
        tables: The values that rules read, by `as_table`.
        boxes: The box of each value, counted from ``jump * position``.
        image: int32 (B,): each unit's image.
        position: int32 (B, 2): its (row, column).
    """

    reach: Reach
    depths: Mapping[int, int]
    tables: Mapping[int, Tensor]
    boxes: Mapping[int, Box]
    image: Tensor
    position: Tensor

    def gather(self, i: int, box: Box, outside: int) -> Tensor:
        """Crops (B, h, w, C) of value `i`; row `outside` of its table where there is no map."""
        height, width = self.reach.sizes[i]
        rows, columns = self._places(i, box)
        flat = (self.image[:, None] * height + rows)[:, :, None] * width + columns[:, None] + 1
        return tf.gather(self.tables[i], tf.where(self._inside(i, rows, columns), flat, outside))

    def blank(self, i: int, box: Box) -> Tensor:
        """The shape of a crop of value `i`, without rows."""
        low, high = box
        blank = tf.zeros(tf.concat([[0], high - low, [self.depths[i]]], 0))
        return tf.ensure_shape(blank, [None, None, None, self.depths[i]])

    def under(self, window: Window, box: Box) -> Box:
        """The box that a box of units sees through a window."""
        low, high = box
        first = low * window.strides - tf.constant(window.before)
        return first, (high - 1 - low) * window.strides + first + tf.constant(window.size)

    def fit(self, signal: Tensor, box: Box, i: int) -> Tensor:
        """A signal in `box` as one in the box of value `i`."""
        (low, high), (target_low, target_high) = box, self.boxes[i]
        begin = tf.maximum(target_low - low, 0)
        end = tf.minimum(target_high, high) - low
        signal = signal[:, begin[0] : end[0], begin[1] : end[1]]
        margins = tf.maximum(tf.stack([low - target_low, target_high - high], 1), 0)
        return tf.pad(signal, tf.pad(margins, [[1, 1], [0, 0]]))

    def mask(self, signal: Tensor, i: int) -> Tensor:
        """Zeros where the box of value `i` hangs over its map."""
        inside = self._inside(i, *self._places(i, self.boxes[i]))
        return tf.cond(
            tf.reduce_all(inside),
            lambda: signal,
            lambda: signal * tf.cast(inside, signal.dtype)[..., None],
        )

    def covered(self, step: Step, window: Window) -> Tensor:
        """Positions of the input's map that each of the output's windows covers, (B, h, w, 1)."""
        (out,), (below,) = step.outputs, step.inputs
        counts = []
        for axis, places in enumerate(self._places(out, self.boxes[out])):
            first = places * window.strides[axis] - window.before[axis]
            last = tf.minimum(first + window.size[axis], self.reach.sizes[below][axis])
            counts.append(tf.maximum(last - tf.maximum(first, 0), 1))
        rows, columns = counts
        return (rows[:, :, None] * columns[:, None])[..., None]

    def _places(self, i: int, box: Box) -> tuple[Tensor, Tensor]:
        """Rows (B, h) and columns (B, w) of the map of value `i` that each unit's box covers."""
        (low, high), jumps = box, self.reach.jumps[i]
        rows, columns = (
            self.position[:, axis, None] * jumps[axis] + tf.range(low[axis], high[axis])
            for axis in (0, 1)
        )
        return rows, columns

    def _inside(self, i: int, rows: Tensor, columns: Tensor) -> Tensor:
        height, width = self.reach.sizes[i]
        in_rows, in_columns = (rows >= 0) & (rows < height), (columns >= 0) & (columns < width)
        return in_rows[:, :, None] & in_columns[:, None]
