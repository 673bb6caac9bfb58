"""Windows along one axis of a map, and the spans of rows (or columns) that they carry."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from zfkeras import ops
from zfkeras.types import Tensor

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


_PADDINGS: dict[str, Callable[..., tuple[int, int]]] = {
    "valid": lambda *_: (0, 0),
    "same": ops.same_padding,
    "ceil": ops.ceil_padding,
}


@dataclass(frozen=True)
class Window:
    """What a unit of a layer sees of one axis of its input.

    Unit ``i`` sees ``size`` rows from ``i * stride - before`` on. A transposed window is the same
    turned around: there, input row ``i`` is seen by ``size`` units from ``i * stride - before`` on.

    Attributes:
        size: Rows from the first tap to the last, both included.
        stride: Rows from one unit's window to the next one's.
        before: Padding in front of the axis; negative for cropping.
        after: Padding at its end.
        dilation: Rows from one tap to the next.
        transposed: Whether it belongs to a transposed convolution or an upsampling.

    Example:
        >>> pool = Window.sliding(13, taps=3, stride=2, padding="same")
        >>> pool, pool.outputs(13)
        (Window(size=3, stride=2, before=1, after=1, dilation=1, transposed=False), 7)
        >>> pool.below(0, 2), pool.above(4, 5)
        ((-1, 4), (2, 3))
    """

    size: int = 1
    stride: int = 1
    before: float = 0  # of a smooth upsampling it is half a row
    after: int = 0
    dilation: int = 1
    transposed: bool = False

    @classmethod
    def sliding(
        cls, length: int | None, taps: int, stride: int, padding: str, dilation: int = 1
    ) -> "Window":
        """A convolution's or a pool's window, padded for an axis of this length.

        Args:
            length: Rows of the input; only "valid" windows need not know it.
            taps: Rows that it reads.
            stride: Its step.
            padding: "valid", "same" or "ceil".
            dilation: Rows from one tap to the next.
        """
        size = (taps - 1) * dilation + 1
        return cls(size, stride, *_PADDINGS[padding](length, size, stride), dilation)

    def outputs(self, length: int) -> int:
        """Units over an axis of this length."""
        around = int(self.before) + self.after
        if self.transposed:
            return (length - 1) * self.stride + self.size - around
        return (length + around - self.size) // self.stride + 1

    def below(self, start: Tensor, stop: Tensor) -> tuple[Tensor, Tensor]:
        """The rows (half-open, map or not) that units ``start .. stop - 1`` see; ints or arrays."""
        return self._readers(start, stop) if self.transposed else self._seen(start, stop)

    def above(self, start: Tensor, stop: Tensor) -> tuple[Tensor, Tensor]:
        """The units (half-open, map or not) that see any of the rows ``start .. stop - 1``."""
        return self._seen(start, stop) if self.transposed else self._readers(start, stop)

    def _seen(self, start: Tensor, stop: Tensor) -> tuple[Tensor, Tensor]:
        first = start * self.stride - self.before
        return first, (stop - 1) * self.stride - self.before + self.size

    def _readers(self, start: Tensor, stop: Tensor) -> tuple[Tensor, Tensor]:
        first = -((self.size - 1 - self.before - start) // self.stride)
        return first, (stop - 1 + self.before) // self.stride + 1

    def spans(self, spans: Spans) -> Spans:
        """The units of the map that see any of the given rows."""
        return clipped(*self.above(spans.start, spans.stop), self.outputs(spans.length))

    def inside(self, units: Tensor, length: int, of: Any = np) -> Tensor:
        """How many rows of a map of this length each unit covers; `of` is NumPy or TensorFlow."""
        first, end = self.below(units, units + 1)
        return of.minimum(end, length) - of.maximum(first, 0)

    def extent(self, windows: int) -> int:
        """Rows under so many neighbouring windows."""
        return (windows - 1) * self.stride + self.size


class Windows(NamedTuple):
    """A layer's windows along rows and along columns."""

    rows: Window
    columns: Window

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns that a unit sees."""
        return self.rows.size, self.columns.size

    @property
    def strides(self) -> tuple[int, int]:
        """Rows and columns from one unit's window to the next one's."""
        return self.rows.stride, self.columns.stride

    @property
    def before(self) -> tuple[float, float]:
        """Padding at the top and left."""
        return self.rows.before, self.columns.before


HERE = Windows(Window(), Window())
"""Of a layer that works on each place by itself."""
