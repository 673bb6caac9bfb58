"""Spans along one axis of a map: which rows (or columns) each place of the occluder changes."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.integer]


@dataclass(frozen=True, eq=False)
class Spans:
    """One half-open span per grid line of the occluder, none of them empty.

    Laid end to end, the spans are one axis of the mosaic.

    Attributes:
        start: (G,) first row of each span.
        stop: (G,) row after its last.
        length: Rows of the map.

    Example:
        >>> spans = Spans(np.array([0, 2]), np.array([3, 4]), length=5)
        >>> spans.pixels.tolist(), spans.lines.tolist()
        ([0, 1, 2, 2, 3], [0, 0, 0, 1, 1])
    """

    start: Ints
    stop: Ints
    length: int

    @cached_property
    def sizes(self) -> Ints:
        """(G,) rows of each span."""
        return self.stop - self.start

    @cached_property
    def offsets(self) -> Ints:
        """(G,) where each span begins in the mosaic."""
        return np.cumsum(self.sizes) - self.sizes

    @property
    def total(self) -> int:
        """Rows of the mosaic."""
        return int(self.sizes.sum())

    @cached_property
    def lines(self) -> Ints:
        """(total,) the grid line that each row of the mosaic belongs to."""
        return np.repeat(np.arange(len(self.sizes), dtype=np.int32), self.sizes)

    @cached_property
    def pixels(self) -> Ints:
        """(total,) the row of the map that each row of the mosaic stands for."""
        return (np.arange(self.total) - (self.offsets - self.start)[self.lines]).astype(np.int32)

    def find(self, lines: Ints, pixels: Ints) -> Ints:
        """Where the mosaic keeps these rows of the map for these grid lines, `total` if nowhere."""
        inside = (pixels >= self.start[lines]) & (pixels < self.stop[lines])
        places = self.offsets[lines] + pixels - self.start[lines]
        return np.where(inside, places, self.total).astype(np.int32)

    def take(self, lines: Ints) -> "Spans":
        """The spans of some grid lines."""
        return Spans(self.start[lines], self.stop[lines], self.length)

    def same_as(self, other: "Spans") -> bool:
        """Whether both have the same rows."""
        return np.array_equal(self.start, other.start) and np.array_equal(self.stop, other.stop)


def clipped(start: Ints, stop: Ints, length: int) -> Spans:
    """Spans cut to the map, of at least one row each.

    A span that no window reads could be empty. It costs nothing to keep one row of it (whose
    change will be zero), and spares everything downstream from empty boxes.
    """
    start = np.clip(start, 0, length - 1)
    stop = np.maximum(np.minimum(stop, length), start + 1)
    return Spans(start.astype(np.int32), stop.astype(np.int32), length)


def union(spans: Sequence[Spans]) -> Spans:
    """The smallest spans that hold all the given ones, of maps of equal size."""
    if all(spans[0].same_as(other) for other in spans[1:]):
        return spans[0]
    start = np.minimum.reduce([s.start for s in spans])
    return Spans(start, np.maximum.reduce([s.stop for s in spans]), spans[0].length)


@dataclass(frozen=True)
class Window:
    """A sliding window along one axis.

    Attributes:
        size: Rows from its first tap to its last, both included.
        stride: Its step.
        before: Padding in front of the axis.
        length: Windows, that is rows of the output.
        dilation: Rows from one tap to the next.
    """

    size: int
    stride: int
    before: int
    length: int
    dilation: int = 1

    def spans(self, spans: Spans) -> Spans:
        """The windows that see any of the given rows."""
        first = -((self.size - 1 - self.before - spans.start) // self.stride)
        last = (spans.stop - 1 + self.before) // self.stride
        return clipped(first, last + 1, self.length)

    def origins(self, output: Spans) -> Ints:
        """(G,) the input row, possibly before the map, where the first window of each begins."""
        return output.start * self.stride - self.before

    def extent(self, windows: int) -> int:
        """Input rows under so many neighbouring windows."""
        return (windows - 1) * self.stride + self.size
