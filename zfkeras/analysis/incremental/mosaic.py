"""The changed boxes of a map for all places of the occluder: a list of pixels and its layout."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from zfkeras.regions.windows import Ints, Spans
from zfkeras.types import Tensor

Area = tuple[Spans, Spans]
"""The boxes of one map: spans of rows and of columns, whose products they are."""


class Boxes(NamedTuple):
    """Boxes of one size along one axis, for the grid lines of a group.

    Attributes:
        found: int32 (I, h), the rows of the mosaic; its number of rows where it has none.
        pixels: int32 (I, h), the rows of the map.
    """

    found: Ints
    pixels: Ints


@dataclass(frozen=True, eq=False)
class Layout:
    """Where a mosaic has the pixels of its boxes; for the grid lines of one task.

    Side by side, the boxes of all places tile a picture of U x V pixels. The mosaic lists them in
    the order in which its layer makes them, perhaps with some in between that are in no box: to
    sort them would move every pixel once more.

    Attributes:
        area: The boxes.
        length: M, the entries of the list.
        order: int32 (U + 1, V + 1), the entry of each pixel of the picture; M, where there is
            nothing, in the last row and column.
    """

    area: Area
    length: int
    order: Ints

    @classmethod
    def of(cls, area: Area, order: Ints, length: int) -> "Layout":
        """A layout from the entries (U, V) of the pixels."""
        padded = np.full((order.shape[0] + 1, order.shape[1] + 1), length, np.int32)
        padded[:-1, :-1] = order
        return cls(area, length, padded)

    @classmethod
    def row_by_row(cls, area: Area) -> "Layout":
        """The pixels in the picture's order."""
        rows, columns = (spans.total for spans in area)
        return cls.of(area, np.arange(rows * columns).reshape(rows, columns), rows * columns)

    def listed(self, values: NDArray, other: float) -> NDArray:
        """(M,): what is given for each pixel of the picture (U, V); `other` for the rest."""
        found = np.full(self.length, other, values.dtype)
        found[self.order[:-1, :-1]] = values
        return found

    @cached_property
    def pixels(self) -> Ints:
        """int32 (M,): which pixel of the map each is, row by row."""
        rows, columns = self.area
        return self.listed(rows.pixels[:, None] * columns.length + columns.pixels, 0)

    @cached_property
    def places(self) -> Ints:
        """int32 (M,): which place of the occluder each belongs to; -1: to none."""
        rows, columns = self.area
        across = np.int32(len(columns.sizes))
        return self.listed(rows.lines[:, None] * across + columns.lines, -1)

    def seen_from(self, other: "Layout") -> Ints:
        """The entry here of each entry of another layout, of the same grid lines and map."""
        rows, columns = (
            spans.find(out.lines, out.pixels)
            for spans, out in zip(self.area, other.area, strict=True)
        )
        return other.listed(self.order[np.ix_(rows, columns)], self.length)

    def change_boxes(self, rows: Boxes, columns: Boxes) -> Ints:
        """int32 (I J, h, w): the entries in the boxes of two groups."""
        return _crossed(self.order[_outer(rows.found, columns.found)])

    def value_boxes(self, rows: Boxes, columns: Boxes) -> Ints:
        """int32 (I J, h, w): the same in the map's pixels with the list behind them."""
        down, across = (spans.length for spans in self.area)
        entries = self.change_boxes(rows, columns)
        by_row, by_column = _outer(rows.pixels, columns.pixels)
        pixels = _crossed(by_row * np.int32(across) + by_column)
        return np.where(entries < self.length, entries + np.int32(down * across), pixels)


def _outer(rows: Ints, columns: Ints) -> tuple[Ints, Ints]:
    """(I, 1, h, 1) and (1, J, 1, w): all with all."""
    return rows[:, None, :, None], columns[None, :, None, :]


def _crossed(boxes: Ints) -> Ints:
    """(I J, h, w) of (I, J, h, w)."""
    return boxes.reshape(-1, *boxes.shape[2:])


class Mosaic:
    """The pixels of the changed boxes, (M, C), as the change, as the values, or as both.

    Each is made from the other on demand.

    Args:
        clean: (1, H, W, C), the map of the whole image.
        pixels: int32 (M,), which of its pixels they are.
        change: (M, C), what the occluder adds.
        values: (M, C), the occluded map.
        clean_pixels: (M, C), the clean map there, where it is at hand.
    """

    def __init__(
        self,
        clean: Tensor,
        pixels: Tensor,
        change: Tensor = None,
        values: Tensor = None,
        clean_pixels: Tensor = None,
    ) -> None:
        self.clean, self.pixels = clean, pixels
        self._given = change, values
        self._clean_pixels = clean_pixels

    @cached_property
    def clean_pixels(self) -> Tensor:
        """(M, C): the boxes as they are in the whole image.

        In a graph they wait for the occluded ones, or all layers' would be cut out at the start.
        """
        if self._clean_pixels is not None:
            return self._clean_pixels
        with tf.control_dependencies([x for x in self._given if x is not None]):
            clean = tf.identity(self.clean)
        return tf.gather(as_list(clean), self.pixels)

    @cached_property
    def change(self) -> Tensor:
        """(M, C): what the occluder adds to the boxes."""
        change, values = self._given
        return values - self.clean_pixels if change is None else change

    @cached_property
    def values(self) -> Tensor:
        """(M, C): the boxes of the occluded images."""
        change, values = self._given
        return self.clean_pixels + change if values is None else values

    @cached_property
    def _padded_change(self) -> Tensor:
        return tf.pad(self.change, [[0, 1], [0, 0]])

    @cached_property
    def _all_pixels(self) -> Tensor:
        return tf.concat([as_list(self.clean), self.values], 0)

    def change_at(self, entries: Tensor) -> Tensor:
        """(…, C): the change at some entries, zero at entry M."""
        return tf.gather(self._padded_change, entries)

    def values_at(self, numbers: Tensor) -> Tensor:
        """(…, C): the occluded map, by number in the clean pixels with the list behind them."""
        return tf.gather(self._all_pixels, numbers)


def as_list(maps: Tensor) -> Tensor:
    """The pixels of maps (…, C) as a list (n, C)."""
    return tf.reshape(maps, [-1, maps.shape[-1]])


def place_sums(change: Tensor, places: Tensor, count: Tensor) -> Tensor:
    """(count, C): the sums of a list (M, C) over the pixels of each place."""
    return tf.math.unsorted_segment_sum(change, places, count)
