"""The tensors of the sweep: all changed boxes of a map side by side, as one picture."""

from collections.abc import Callable
from functools import cached_property
from typing import NamedTuple

import tensorflow as tf

from zfkeras.types import Tensor


class Frame(NamedTuple):
    """Where a mosaic's pixels lie in their map: int32 (U,) rows and (V,) columns."""

    rows: Tensor
    columns: Tensor


class Mosaic:
    """The changed boxes of one map for all places of the occluder, tiling a picture (U, V, C).

    It is kept as the change, as the values, or both; each is made from the other on demand.

    Args:
        clean: (1, H, W, C), the map of the whole image.
        frame: Where the mosaic's pixels lie in it.
        change: (U, V, C), what the occluder adds.
        values: (U, V, C), the occluded map.
        clean_boxes: (U, V, C), the clean map in the same boxes, where it is at hand.
    """

    def __init__(
        self,
        clean: Tensor,
        frame: Frame,
        change: Tensor = None,
        values: Tensor = None,
        clean_boxes: Tensor = None,
    ) -> None:
        self.clean = clean
        self.frame = frame
        self._given = change, values
        self._clean_boxes = clean_boxes

    @cached_property
    def clean_boxes(self) -> Tensor:
        """(U, V, C): the boxes as they are in the whole image.

        They wait for the occluded ones, or all layers' would be cut out at the very start.
        """
        if self._clean_boxes is not None:
            return self._clean_boxes
        with tf.control_dependencies([x for x in self._given if x is not None]):
            clean = tf.identity(self.clean)
        return tf.gather(pixels(clean), outer(*self.frame, self.clean.shape[2]))

    @cached_property
    def change(self) -> Tensor:
        """(U, V, C): what the occluder adds to the boxes."""
        change, values = self._given
        return values - self.clean_boxes if change is None else change

    @cached_property
    def values(self) -> Tensor:
        """(U, V, C): the boxes of the occluded images."""
        change, values = self._given
        return self.clean_boxes + change if values is None else values

    @cached_property
    def padded_change(self) -> Tensor:
        """((U + 1)(V + 1), C): the change as a list of pixels, zeros in the last row and column."""
        return pixels(tf.pad(self.change, [[0, 1], [0, 1], [0, 0]]))

    def select(self, found: Frame) -> Tensor:
        """The change at some rows and columns of the mosaic; zero at row U and column V."""
        return tf.gather(self.padded_change, outer(*found, tf.shape(self.change)[1] + 1))

    def change_boxes(self, rows: "Boxes", columns: "Boxes") -> Tensor:
        """(I, J, h, w, C): the change in the boxes of two groups, zero where nothing changes."""
        index = product(rows.found, columns.found, tf.shape(self.change)[1] + 1)
        return tf.gather(self.padded_change, index)

    @cached_property
    def all_pixels(self) -> Tensor:
        """(H W + U V, C): the clean map, then the values, as a list of pixels."""
        return tf.concat([pixels(self.clean), pixels(self.values)], 0)

    def value_boxes(self, rows: "Boxes", columns: "Boxes") -> Tensor:
        """(I, J, h, w, C): the occluded map in the boxes of two groups."""
        _, height, width, _ = self.clean.shape
        size = tf.shape(self.values)[:2]
        changed = cross(rows.found < size[0], columns.found < size[1], tf.logical_and)
        index = tf.where(
            changed,
            height * width + product(rows.found, columns.found, size[1]),
            product(rows.pixels, columns.pixels, width),
        )
        return tf.gather(self.all_pixels, index)

    def whole(self, rows: "Boxes", columns: "Boxes") -> Tensor:
        """(I J, H, W, C): the whole maps; the boxes are those of all places, of the map's size."""
        boxes = self.value_boxes(rows, columns)
        return tf.reshape(boxes, [-1, *self.clean.shape[1:]])


class Boxes(NamedTuple):
    """Boxes of one size along one axis, for the grid lines of a group.

    Attributes:
        found: int32 (I, h), the rows of the mosaic; its number of rows where it has none.
        pixels: int32 (I, h), the rows of the map.
    """

    found: Tensor
    pixels: Tensor


def pixels(picture: Tensor) -> Tensor:
    """A picture's pixels as a list (…, C)."""
    return tf.reshape(picture, [-1, picture.shape[-1]])


def outer(rows: Tensor, columns: Tensor, width: Tensor) -> Tensor:
    """(U, V): numbers of the pixels at all pairs of a row and a column of a picture."""
    return rows[:, None] * width + columns[None]


def product(rows: Tensor, columns: Tensor, width: Tensor) -> Tensor:
    """(I, J, h, w): the same for boxes of rows (I, h) and columns (J, w)."""
    return cross(rows * width, columns, tf.add)


def cross(rows: Tensor, columns: Tensor, combine: Callable) -> Tensor:
    """(I, J, h, w): (I, h) and (J, w) combined, all with all."""
    return combine(rows[:, None, :, None], columns[None, :, None, :])


def box_sums(change: Tensor, lines: Frame, places: tuple[Tensor, Tensor]) -> Tensor:
    """(I J, C): sums of a mosaic (U, V, C) over the box of each of I x J places.

    Args:
        change: The mosaic.
        lines: The grid lines that its rows and columns belong to.
        places: I and J.
    """
    down = tf.math.unsorted_segment_sum(change, lines.rows, places[0])
    across = tf.math.unsorted_segment_sum(tf.transpose(down, [1, 0, 2]), lines.columns, places[1])
    return tf.reshape(tf.transpose(across, [1, 0, 2]), [-1, change.shape[-1]])


class Slices(NamedTuple):
    """How a mosaic goes through a sliding window along one axis.

    Attributes:
        boxes: The boxes of each group.
        back: int32 (U, 6): where the results are (see `slide`).
    """

    boxes: tuple[Boxes, ...]
    back: Tensor


def slide(
    cut: Callable[[Boxes, Boxes], Tensor],
    layer: Callable[[Tensor, int, int], Tensor],
    rows: Slices,
    columns: Slices,
) -> Tensor:
    """Cuts a mosaic into boxes, runs a layer on each pair of groups, makes the output's mosaic.

    The results of all pairs are joined in one list of pixels. A pixel's place in it is a sum of
    six products of a number of its row and one of its column (`back_rows`, `back_columns`).

    Args:
        cut: Cuts the boxes (I, J, h, w, C) of a pair of groups.
        layer: Runs on boxes (I J, h, w, C), given the numbers of the two groups.
        rows: Groups of rows.
        columns: Groups of columns.
    """
    results = []
    for i, down in enumerate(rows.boxes):
        for j, across in enumerate(columns.boxes):
            boxes = cut(down, across)
            shape = tf.concat([[-1], tf.shape(boxes)[2:4], [boxes.shape[-1]]], 0)
            batch = tf.ensure_shape(tf.reshape(boxes, shape), [None, None, None, boxes.shape[-1]])
            results.append(pixels(layer(batch, i, j)))
    places = tf.matmul(rows.back, columns.back, transpose_b=True)
    return tf.gather(tf.concat(results, 0) if len(results) > 1 else results[0], places)


def as_picture(layer: Callable[..., Tensor], *mosaics: Tensor) -> Tensor:
    """Runs a layer on mosaics (U, V, C) as on a batch of one picture."""
    return layer(*(mosaic[None] for mosaic in mosaics))[0]
