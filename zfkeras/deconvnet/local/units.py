"""Exact projections of many single units, each on the crop that it can see."""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from tqdm import tqdm

from zfkeras.data.inputs import Floats
from zfkeras.data.pictures import Images, pictures
from zfkeras.deconvnet.arguments import (
    check_pixels,
    check_projections,
    check_units,
)
from zfkeras.deconvnet.backward_pass import BackwardPass
from zfkeras.deconvnet.local.patches import cut_patches
from zfkeras.deconvnet.local.projectors import (
    CropProjector,
    ImageProjector,
    PartialProjection,
    projector_of,
)
from zfkeras.results import Result
from zfkeras.validate import whole_number

BYTES_KEPT = 256 * 2**20  # of the forward passes of the images in work


@dataclass(frozen=True, eq=False, repr=False)
class UnitProjections(Result):
    """Projections of U single units, each on the crop of the image that it can see.

    Attributes:
        pixels: (U, h, w, C) float32, signed: the unit's receptive field. What hangs over the
            image's border is zero.
        boxes: (U, 4) int64: (top, left, bottom, right) of the crop in its image, half-open; it may
            hang over the border (below 0, or beyond the image).
        values: (U,) float32: the activation each projection starts from.
        units: (U, 4) int64: (image, row, column, channel), as asked for.
        image_size: (H, W) of the images.
        layer: Name of the layer.
        is_local: Whether the projections were computed on crops. Otherwise something on the way
            reaches beyond a moving window (a dense layer, a global pool, a rule of your own), so
            they were computed on whole images, which the crops then hold.
        why_whole: What that is; "" if they are local.
    """

    pixels: np.ndarray
    boxes: np.ndarray
    values: np.ndarray
    units: np.ndarray
    image_size: tuple[int, int]
    layer: str
    is_local: bool
    why_whole: str = ""

    def __len__(self) -> int:
        return len(self.units)

    @property
    def clipped_boxes(self) -> np.ndarray:
        """The boxes clipped to the image, (U, 4)."""
        return np.clip(self.boxes, 0, self.image_size * 2)

    def tight_boxes(self) -> np.ndarray:
        """Boxes of the pixels that the switches let the signal reach, (U, 4).

        They lie within the clipped boxes and hold every pixel that isn't zero. A unit
        whose projection is zero everywhere keeps its clipped box.
        """
        reached = (self.pixels != 0).any(3)
        (top, bottom), (left, right) = (_extent(reached.any(axis)) for axis in (2, 1))
        tight = np.stack([top, left, bottom, right], 1) + np.tile(self.boxes[:, :2], 2)
        return np.where(reached.any((1, 2))[:, None], tight, self.clipped_boxes)

    def patches(
        self,
        images: Sequence[ArrayLike] | NDArray,
        tight: bool = False,
        fill_value: float | None = None,
    ) -> list[np.ndarray] | np.ndarray:
        """What the units see of the images they were projected for.

        Args:
            images: (N, H, W, C), as given to `project_units`; in any range and dtype.
            tight: Whether to cut the `tight_boxes` instead of the whole receptive field.
            fill_value: What to put where the receptive field hangs over the border, so that all
                patches lie as their `pixels` do; None clips the patches.

        Returns:
            A list of U arrays (h, w, C), or with `fill_value` (and not `tight`) one array
            (U, h, w, C).
        """
        boxes = self.tight_boxes() if tight else self.boxes
        return cut_patches(images, self.units[:, 0], boxes, fill_value)

    def paste(self) -> np.ndarray:
        """The projections in whole images: (U, H, W, C), as `DeconvNet.project` has them."""
        return pasted(self.pixels, self.boxes[:, :2], (*self.image_size, self.pixels.shape[3]))


def projector_for(way: BackwardPass, size: tuple[Any, ...]) -> CropProjector | ImageProjector:
    """What projects single units of images (H, W, C), made once for a way."""
    height, width, channels = size
    return way.once(("local", size), lambda: projector_of(way, (height, width, channels)))


class UnitJob:
    """The units to project, checked, and how."""

    def __init__(
        self, way: BackwardPass, images: Images, units: ArrayLike, batch_size: int
    ) -> None:
        whole_number("batch_size", batch_size)
        *sizes, channels = way.graph.image_shape
        self.images = pictures(images, (sizes[0], sizes[1]), channels)
        self.graph, self.layer, self.batch_size = way.graph, way.layer, batch_size
        self.size = check_pixels(self.images[:0], way.graph).shape[1:]
        self.projector = projector_for(way, self.size)
        self.units = check_units(
            units, (len(self.images), *self.projector.map_size, way.depth), way.layer
        )

    def project(self, progress: bool = False) -> UnitProjections:
        """All at once, in the order of the units."""
        result = self._empty(self.units)
        with tqdm(total=len(result), unit="unit", disable=not progress) as bar:
            for found in self._run():
                self._store(found, result, found.index)
                bar.update(len(found.index))
        return result

    def iterate(self, progress: bool = False) -> Iterator[tuple[np.ndarray, UnitProjections]]:
        """Part by part, with the indices of each part's units."""
        with tqdm(total=len(self.units), unit="unit", disable=not progress) as bar:
            for found in self._run():
                part = self._empty(self.units[found.index])
                self._store(found, part, np.arange(len(part)))
                yield found.index, part
                bar.update(len(part))

    def _empty(self, units: np.ndarray) -> UnitProjections:
        """A result to be filled."""
        boxes = self.projector.boxes(units[:, 1:3])
        top, left, bottom, right = self.projector.boxes(np.zeros((1, 2), int))[0]
        return UnitProjections(
            np.zeros((len(units), bottom - top, right - left, self.size[2]), "float32"),
            boxes,
            np.zeros(len(units), "float32"),
            units,
            self.size[:2],
            self.layer,
            not self.projector.why_whole,
            self.projector.why_whole,
        )

    def _run(self) -> Iterator[PartialProjection]:
        """Takes as many images up at a time as memory allows, and their units down."""
        asked, image = np.unique(self.units[:, 0], return_inverse=True)
        count = max(1, min(self.batch_size, BYTES_KEPT // max(1, self.projector.bytes_per_image)))
        for first in range(0, len(asked), count):
            chosen = np.flatnonzero((image >= first) & (image < first + count))
            images = check_pixels(self.images[asked[first : first + count]], self.graph)
            units = self.units[chosen]
            units[:, 0] = image[chosen] - first
            for found in self.projector.down(self.projector.up(images), units, self.batch_size):
                check_projections(found.pixels, self.layer)
                yield dataclasses.replace(found, index=chosen[found.index])

    def _store(self, found: PartialProjection, result: UnitProjections, rows: np.ndarray) -> None:
        """Writes what came down into the given rows of a result."""
        result.values[rows] = found.values
        crops = [result.pixels[row] for row in rows]
        _copy(found.pixels, found.origins, crops, result.boxes[rows], result.image_size)


def pasted(pieces: Floats, origins: np.ndarray, size: tuple[int, ...]) -> Floats:
    """Pieces (B, h, w, C) that lie at their origins (row, column) in images (B, H, W, C)."""
    height, width, _ = size
    whole = np.zeros((len(pieces), *size), "float32")
    _copy(pieces, origins, whole, np.tile([0, 0, height, width], (len(pieces), 1)), (height, width))
    return whole


def _copy(
    pieces: Floats,
    origins: np.ndarray,
    crops: Sequence[NDArray] | NDArray,
    boxes: np.ndarray,
    image_size: tuple[int, int],
) -> None:
    """Copies pieces of pixels into crops as far as both are inside the image.

    Args:
        pieces: (B, h, w, C).
        origins: (row, column) of each in its image.
        crops: B arrays (h, w, C).
        boxes: (top, left, bottom, right) of each in its image.
        image_size: (H, W).
    """
    starts = np.maximum(np.maximum(origins, boxes[:, :2]), 0)
    ends = np.minimum(np.minimum(origins + pieces.shape[1:3], boxes[:, 2:]), image_size)
    ends = np.maximum(ends, starts)  # nothing, where a unit sees only padding
    source = np.concatenate([starts - origins, ends - origins], 1)
    target = np.concatenate([starts, ends], 1) - np.tile(boxes[:, :2], 2)
    for piece, crop, (a, b, c, d), (e, f, g, h) in zip(pieces, crops, source, target, strict=True):
        crop[e:g, f:h] = piece[a:c, b:d]


def _extent(reached: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first and one past the last True of each row of (U, n)."""
    return reached.argmax(1), reached.shape[1] - reached[:, ::-1].argmax(1)
