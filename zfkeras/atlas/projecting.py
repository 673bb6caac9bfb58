"""The winners of a search, projected: as many maps at a time as fit into memory."""

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zfkeras.analysis.top_result import TopActivations
from zfkeras.data.stream import Stream
from zfkeras.deconvnet.local import UnitProjections, cut_patches
from zfkeras.deconvnet.net import DeconvNet
from zfkeras.results import Result

BYTES_A_PART = 2**29  # of images and pictures; one part is projected while another is drawn
BYTES_HELD = 2**27  # of images that further parts may want
OUTSIDE = 128  # what patches show beyond the image's border


@dataclass(frozen=True, eq=False, repr=False)
class Winners(Result):
    """The strongest units of M feature maps: U of them, in the order of maps, then of ranks.

    Only units above zero count: maps that never fire have none.

    Attributes:
        layer: Name of the layer.
        origin: Stands for the search and the way they were projected.
        maps: (M,) int64: the feature maps.
        units: (U, 2) int64: (map, rank), rank 0 being the strongest.
        keys: (U,) int64: number of the image in the data set.
        values: (U,) float32: the activation.
        boxes: (U, 4) int64: (top, left, bottom, right) of the part of the image that the unit
            sees and that is shown: it may hang over the border. Fields larger than the image are
            clipped to it, and shown in a frame of the whole image.
        scales: (U,) float32: largest magnitude of each projection.
        patches: (U, h, w, C) uint8: the image there, grey beyond its border and
            where the unit sees nothing; None if not kept.
        projections: (U, h, w, C) float16: the projection divided by its scale; None if not kept.
    """

    _compressed = False

    layer: str
    origin: str
    maps: NDArray[np.int64]
    units: NDArray[np.int64]
    keys: NDArray[np.int64]
    values: NDArray[np.float32]
    boxes: NDArray[np.int64]
    scales: NDArray[np.float32]
    patches: NDArray[np.uint8] | None
    projections: NDArray[np.float16] | None


def parts(
    top: TopActivations, maps: Iterable[int], image_bytes: int, bytes_a_part: int = BYTES_A_PART
) -> list[list[int]]:
    """Groups maps so that the images of each group, and what is made of them, fit into memory.

    Args:
        top: The search.
        maps: Feature maps.
        image_bytes: Size of an image; a unit's pictures count as one more.
        bytes_a_part: What a group may take.
    """
    groups: list[list[int]] = []
    held: set[int] = set()
    units = 0
    for channel in maps:
        images = held | set(top.keys[channel].tolist())
        units += top.keys.shape[1]
        if not groups or (len(images) + units) * image_bytes > bytes_a_part:
            groups.append([])
            images, units = set(top.keys[channel].tolist()), top.keys.shape[1]
        held = images
        groups[-1].append(channel)
    return groups


def origin(deconv: DeconvNet, top: TopActivations, maps: list[int]) -> str:
    """Stands for what `project` returns: of equal origin, equal winners."""
    facts = [top.origin, top.seen.tolist(), maps, top.keys.shape[1], *deconv.unusual_choices]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def winning(top: TopActivations, maps: list[int]) -> NDArray[np.int64]:
    """(U, 2): map and rank of the units that fire: their activation is above zero."""
    found = np.argwhere(top.values[maps] > 0)
    found[:, 0] = np.asarray(maps, np.int64)[found[:, 0]]
    return found


class Photographs:
    """Images of a data set by key; those read last are held, so as not to be read again.

    Args:
        row: The data set.
        taken: Is told of each image that was read, with its key.
    """

    def __init__(self, row: Stream, taken: Callable[[int, NDArray], Any]) -> None:
        self._row, self._taken = row, taken
        self._held: dict[int, NDArray] = {}

    def pick(self, keys: NDArray[np.int64]) -> NDArray:
        """Images (n, H, W, C), in the order of their keys."""
        new = [key for key in keys.tolist() if key not in self._held]
        pictures = self._row.pick(new)[0] if new else ()
        # Copies, or one of them would hold the memory of all that were read with it.
        read = {key: picture.copy() for key, picture in zip(new, pictures, strict=True)}
        for key, picture in read.items():
            self._taken(key, picture)
        found = self._held | read
        images = np.stack([found[key] for key in keys.tolist()])
        most = max(1, BYTES_HELD // images[0].nbytes)
        self._held = {key: found[key] for key in list(found)[-most:]}
        return images


def project(
    deconv: DeconvNet,
    photographs: Photographs,
    top: TopActivations,
    maps: list[int],
    done: Callable[[int], Any] = int,
    batch_size: int = 64,
) -> Winners:
    """Projects the winners of some maps.

    Args:
        deconv: The deconvnet.
        photographs: The images that were searched.
        top: What was found in the layer.
        maps: Feature maps of it.
        done: Is told how many more units are done, now and then.
        batch_size: Units at a time.
    """
    units = winning(top, maps)
    keys, positions = top.keys[*units.T], top.positions[*units.T]
    arrays = _NOTHING
    if len(units):
        wanted, index = np.unique(keys, return_inverse=True)
        asked = np.column_stack([index.reshape(-1), positions, units[:, 0]])
        images = photographs.pick(wanted)
        arrays = _projected(deconv, images, top.layer, asked, batch_size, done)
    return Winners(
        top.layer, origin(deconv, top, maps), np.asarray(maps, np.int64), units, keys, **arrays
    )


def _projected(
    deconv: DeconvNet,
    images: NDArray,
    layer: str,
    units: NDArray,
    batch_size: int,
    done: Callable[[int], Any],
) -> dict[str, NDArray]:
    """What `Winners` keeps of some units, in their order."""
    found: dict[str, NDArray] = {}
    seen = to_bytes(images)
    for chosen, part in deconv.iterate_units(images, layer, units, batch_size):
        for name, some in _shown(part, seen).items():
            if name not in found:
                found[name] = np.empty((len(units), *some.shape[1:]), some.dtype)
            found[name][chosen] = some
        done(len(chosen))
    return found


_NOTHING: dict[str, NDArray] = {
    "values": np.zeros(0, np.float32),
    "boxes": np.zeros((0, 4), np.int64),
    "scales": np.zeros(0, np.float32),
    "patches": np.zeros((0, 1, 1, 3), np.uint8),
    "projections": np.zeros((0, 1, 1, 3), np.float16),
}


def _shown(part: UnitProjections, images: NDArray[np.uint8]) -> dict[str, NDArray]:
    """What `Winners` keeps of some units of these images."""
    height, width = part.image_size
    pixels, boxes = part.pixels, part.boxes
    frames = boxes
    if pixels.shape[1] > height or pixels.shape[2] > width:  # mostly beyond the border
        pixels, frames = part.paste(), np.tile([0, 0, height, width], (len(part), 1))
        boxes = part.clipped_boxes
    scales = np.abs(pixels).max((1, 2, 3))
    shares = pixels / np.where(scales > 0, scales, 1)[:, None, None, None]
    patches = np.asarray(cut_patches(images, part.units[:, 0], frames, OUTSIDE))
    if frames is not boxes:
        patches = np.where(_inside(boxes, height, width), patches, np.uint8(OUTSIDE))
    return {
        "values": part.values,
        "boxes": boxes,
        "scales": scales,
        "patches": patches,
        "projections": shares.astype(np.float16),
    }


def _inside(boxes: NDArray, height: int, width: int) -> NDArray[np.bool_]:
    """(U, H, W, 1): which pixels are in each box."""
    top, left, bottom, right = (edge[:, None] for edge in boxes.T)
    rows, columns = np.arange(height), np.arange(width)
    down, across = (top <= rows) & (rows < bottom), (left <= columns) & (columns < right)
    return (down[:, :, None] & across[:, None])[..., None]


def to_bytes(images: NDArray) -> NDArray[np.uint8]:
    """Pixels 0..255 of any type as uint8."""
    return np.rint(np.clip(images, 0, 255)).astype(np.uint8)
