"""Two ways to project many units: on crops where that is known to be right, or on whole images."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from zfkeras.deconvnet.backward_pass import BackwardPass
from zfkeras.deconvnet.local.groups import groups
from zfkeras.deconvnet.local.local_backward_pass import LocalBackwardPass, NotLocal
from zfkeras.graph.walking import IMAGES
from zfkeras.types import Tensor

Size = tuple[int, int, int]
UNITS = 2**14  # that are sorted into groups at a time


@dataclass(frozen=True)
class PartialProjection:
    """What came down for a batch of B units.

    Attributes:
        index: Which units they are, (B,).
        values: Their activations, (B,).
        pixels: A piece of the projection that holds all of it, (B, h, w, C).
        origins: (row, column) of the piece in the image, (B, 2).
    """

    index: np.ndarray
    values: np.ndarray
    pixels: np.ndarray
    origins: np.ndarray


class CropProjector:
    """Each unit on the crops that it can see."""

    why_whole = ""

    def __init__(self, way: BackwardPass, size: Size) -> None:
        """Raises `NotLocal` if something on the way reaches beyond a moving window."""
        self._pass = LocalBackwardPass(way, size)
        self._geometry = self._pass.geometry
        self.map_size = self._geometry.sizes[way.target]
        self.bytes_per_image = self._pass.bytes_per_image

    def boxes(self, positions: np.ndarray) -> np.ndarray:
        """The pixels (top, left, bottom, right) that units at `positions` see, border or not."""
        ends = [self._geometry.intervals(axis, positions[:, axis])[IMAGES] for axis in (0, 1)]
        (top, bottom), (left, right) = ends
        return np.stack([top, left, bottom, right], 1)

    def up(self, images: np.ndarray) -> tuple:
        """Takes images up, once for all units."""
        return self._pass.up(images)

    def down(self, state: tuple, units: np.ndarray, batch_size: int) -> Iterator[PartialProjection]:
        """Projects units, (image, row, column, channel) each, in an order of its own."""
        maps, tables = state
        values = tf.gather_nd(maps, units[:, [0, 3, 1, 2]]).numpy()
        dead, alive = np.flatnonzero(values == 0), np.flatnonzero(values)
        for first in range(0, len(dead), batch_size):
            yield self._nothing(dead[first : first + batch_size], units)
        for first in range(0, len(alive), UNITS):
            part = alive[first : first + UNITS]
            yield from self._groups_down(tables, values, units, part, batch_size)

    def _groups_down(
        self,
        tables: Tensor,
        values: np.ndarray,
        units: np.ndarray,
        alive: np.ndarray,
        batch_size: int,
    ) -> Iterator[PartialProjection]:
        """Projects those of the units that are `alive`, by groups with boxes of one size."""
        origins, sizes = self._pass.boxes(units[alive, 1:3])
        pixels_at = self._pass.values.index(IMAGES)
        for group in groups(sizes, self._pass.work):
            largest = sizes[:, group].max(1).astype("int32")
            for first in range(0, len(group), batch_size):
                some = group[first : first + batch_size]
                index, corners = alive[some], origins[:, some]
                image, channel = units[index][:, [0, 3]].T.astype("int32")
                pixels = self._pass.down(
                    tables, values[index], image, channel, corners.astype("int32"), largest
                )
                yield PartialProjection(
                    index, values[index], np.asarray(memoryview(pixels)), corners[pixels_at]
                )

    def _nothing(self, index: np.ndarray, units: np.ndarray) -> PartialProjection:
        """A pixel of the projections of units that are zero, which are zero everywhere."""
        pixels = np.zeros((len(index), 1, 1, self._pass.depths[IMAGES]), "float32")
        origins = self.boxes(units[index, 1:3])[:, :2]
        return PartialProjection(index, np.zeros(len(index), "float32"), pixels, origins)


class ImageProjector:
    """Each unit as `DeconvNet.project` projects it."""

    def __init__(self, way: BackwardPass, size: Size, why: str) -> None:
        """`why` says what keeps the projections from being computed on crops."""
        self._way, self._size, self.why_whole = way, size, why
        maps, kept = way.traced_up(size).structured_outputs
        self.map_size = tuple(maps.shape[2:])
        self.bytes_per_image = 4 * sum(np.prod(kept[i].shape[1:]) for i in way.read)

    def boxes(self, positions: np.ndarray) -> np.ndarray:
        """The whole image, for each unit."""
        return np.tile([0, 0, *self._size[:2]], (len(positions), 1))

    def up(self, images: np.ndarray) -> tuple:
        """Takes images up, once for all units."""
        return self._way.traced_up(self._size)(tf.constant(images))

    def down(self, state: tuple, units: np.ndarray, batch_size: int) -> Iterator[PartialProjection]:
        """Projects units, (image, row, column, channel) each."""
        maps, kept = state
        down = self._way.traced_down(self._size, whole=False)
        flat = units[:, 1] * self.map_size[1] + units[:, 2]
        rows = [x.astype("int32") for x in (units[:, 0], units[:, 3], flat)]
        values = tf.gather_nd(maps, units[:, [0, 3, 1, 2]]).numpy()
        for first in range(0, len(units), batch_size):
            part = slice(first, first + batch_size)
            pixels = down(maps, kept, *(tf.constant(x[part]) for x in rows)).numpy()
            index = np.arange(len(units))[part]
            yield PartialProjection(index, values[part], pixels, np.zeros((len(index), 2), int))


def projector_of(way: BackwardPass, size: Size) -> CropProjector | ImageProjector:
    """On crops if everything on the way is known to be local, else on whole images."""
    try:
        return CropProjector(way, size)
    except NotLocal as error:
        return ImageProjector(way, size, str(error))
