"""Receptive fields: which pixels can influence a unit (method.md, Receptive fields)."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from zfkeras.regions.windows import Window, Windows

Box = tuple[int, int, int, int]
Pair = tuple[float, float]


@dataclass(frozen=True)
class ReceptiveField:
    """The pixels that can influence the units of a layer; pairs are (rows, columns).

    Unit ``i`` of an axis sees ``size`` pixels around ``start + i * jump``. The default is
    the field of the pixels themselves.

    Attributes:
        size: Pixels seen.
        jump: Pixels between the centres of neighbouring units.
        start: Centre of the first unit, in pixels; half a pixel where `size` is even.

    Example:
        >>> conv1 = ReceptiveField().through(window=(7, 7), strides=(2, 2), before=(1, 1))
        >>> conv1
        ReceptiveField(size=(7, 7), jump=(2, 2), start=(2.0, 2.0))
        >>> conv1.box((0, 109), image_size=(224, 224))
        (0, 217, 6, 224)
    """

    size: Pair = (1, 1)
    jump: Pair = (1, 1)
    start: Pair = (0.0, 0.0)

    def over(self, windows: Windows) -> "ReceptiveField":
        """The field of a layer with these windows, along rows and columns, on top of this one.

        Under a transposed window neighbouring units see unequal fields; this one holds every
        unit's.
        """
        axes = zip(self.size, self.jump, self.start, windows, strict=True)
        return _from_axes(_carried(*axis) for axis in axes)

    def through(
        self, window: Sequence[int], strides: Sequence[int], before: Sequence[float] = (0, 0)
    ) -> "ReceptiveField":
        """The field of a convolution or pooling on top of this layer.

        Args:
            window: Kernel or pool size, dilation included.
            strides: Steps.
            before: Padding at the top and left; negative for cropping.
        """
        return self.over(Windows(*map(Window, window, strides, before)))

    def back_through(
        self, window: Sequence[int], strides: Sequence[int], before: Sequence[float] = (0, 0)
    ) -> "ReceptiveField":
        """The field of a transposed convolution or an upsampling on top of this layer."""
        axes = zip(window, strides, before, strict=True)
        return self.over(Windows(*(Window(k, s, pad, transposed=True) for k, s, pad in axes)))

    def union(self, other: "ReceptiveField") -> "ReceptiveField":
        """The smallest field that holds both: of branches that meet in one layer.

        Raises:
            ValueError: The two fields move by different steps.

        Example:
            >>> ReceptiveField((3, 3)).union(ReceptiveField((1, 5))).size
            (3, 5)
        """
        if self.jump != other.jump:
            raise ValueError(
                "Branches that meet must have the same jump, or units that lie beside one another "
                f"don't look at the same place. Received: jump={self.jump} and jump={other.jump}"
            )
        low = [min(a, b) for a, b in zip(self._ends(-1), other._ends(-1), strict=True)]
        high = [max(a, b) for a, b in zip(self._ends(1), other._ends(1), strict=True)]
        axes = zip(low, high, self.jump, strict=True)
        return _from_axes(
            (last - first + 1, jump, (first + last) / 2) for first, last, jump in axes
        )

    def centre(self, position: Sequence[int]) -> tuple[float, float]:
        """The (row, column) in pixels of the middle of what a unit sees, inside the image or not.

        Example:
            >>> ReceptiveField((7, 7), (2, 2), (2.0, 2.0)).centre((0, 109))
            (2.0, 220.0)
        """
        row, column = (
            s + int(p) * j for s, p, j in zip(self.start, position, self.jump, strict=True)
        )
        return row, column

    def box(self, position: Sequence[int], image_size: Sequence[int]) -> Box:
        """The part of an image that the unit at `position` sees.

        Args:
            position: (row, column) of the unit in its map.
            image_size: (height, width) of the image.

        Returns:
            Half-open pixel box (top, left, bottom, right), clipped to the image.
        """
        edges = []
        for centre, size, length in zip(self.centre(position), self.size, image_size, strict=True):
            half = (size - 1) / 2
            first, last = math.floor(centre - half), math.ceil(centre + half)
            edges.append((_clip(first, length), _clip(last + 1, length)))
        (top, bottom), (left, right) = edges
        return top, left, bottom, right

    def _ends(self, side: int) -> list[float]:
        return [c + side * (r - 1) / 2 for c, r in zip(self.start, self.size, strict=True)]


def _carried(size: float, jump: float, start: float, window: Window) -> tuple[float, float, float]:
    """Size, jump and start of a field along one axis, over a window."""
    middle = (window.size - 1) / 2 - window.before
    if window.transposed:
        step = jump / window.stride
        return size + (window.size - 1) * step, step, start - middle * step
    return size + (window.size - 1) * jump, jump * window.stride, start + middle * jump


def _from_axes(axes: Iterable[tuple[float, float, float]]) -> ReceptiveField:
    size, jump, start = zip(*axes, strict=True)
    return ReceptiveField(_whole(size), _whole(jump), start)


def _whole(pair: tuple) -> Pair:
    """Whole numbers as ints, so that the usual field prints as in the paper."""
    rows, columns = (int(x) if float(x).is_integer() else x for x in pair)
    return rows, columns


def _clip(edge: int, length: int) -> int:
    return min(max(edge, 0), length)
