"""How the units that are chosen in a batch of images go down: all at once, in turn or on crops."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from zfkeras.deconvnet.arguments import Position, check_inside
from zfkeras.deconvnet.backward_pass import BackwardPass, strongest
from zfkeras.deconvnet.local.units import pasted, projector_for
from zfkeras.types import Tensor


@dataclass(frozen=True)
class Chosen:
    """The units to project from: values and channels (N, C), positions (N, C, 2)."""

    values: np.ndarray
    positions: np.ndarray
    channels: np.ndarray


Part = tuple[
    Chosen, slice | np.ndarray, np.ndarray
]  # some of the chosen units' pixels, and which they are


def one_each(
    way: BackwardPass, images: Tensor, wanted: Tensor, position: Position, _: int
) -> Iterator[Part]:
    """One unit for each image, up and down in one graph: the pools needn't run twice."""
    channels = tf.fill([len(images)], -1 if isinstance(wanted, int) else wanted[0])
    project_one = way.traced_project_one(tuple(images.shape[1:]), whole=position == "all")
    pixels, *chosen = (x.numpy() for x in project_one(images, channels))
    yield Chosen(*(x[:, None] for x in chosen)), slice(None), pixels


def several(
    way: BackwardPass, images: Tensor, wanted: Tensor, position: Position, batch_size: int
) -> Iterator[Part]:
    """Several units for each image, which goes up once."""
    size = tuple(images.shape[1:])
    maps, kept = way.traced_up(size)(images)
    chosen = _choose(maps, wanted, position, way.layer)
    down = way.traced_down(size, whole=position == "all")
    image = np.indices(chosen.channels.shape)[0]
    units = np.ravel_multi_index(np.moveaxis(chosen.positions, 2, 0), maps.shape[2:])
    rows = [x.reshape(-1).astype("int32") for x in (image, chosen.channels, units)]
    for first in range(0, units.size, batch_size):
        tile = slice(first, first + batch_size)
        yield chosen, tile, down(maps, kept, *(tf.constant(x[tile]) for x in rows)).numpy()


def on_crops(
    way: BackwardPass, images: Tensor, wanted: Tensor, position: Position, batch_size: int
) -> Iterator[Part]:
    """The same, each unit on the part of the image that it can see."""
    size = tuple(images.shape[1:])
    projector = projector_for(way, size)
    state = projector.up(images)
    chosen = _choose(state[0], wanted, position, way.layer)
    image = np.indices(chosen.channels.shape)[0]
    units = np.dstack([image, chosen.positions, chosen.channels]).reshape(-1, 4)
    for found in projector.down(state, units, batch_size):
        yield chosen, found.index, pasted(found.pixels, found.origins, size)


def _choose(maps: Tensor, wanted: int | list[int], position: Position, layer: str) -> Chosen:
    height, width = maps.shape[2:]
    if isinstance(position, str):
        peaks, units = (x.numpy() for x in strongest(maps))
    else:
        row, column = check_inside(position, (height, width), layer)
        peaks = maps[:, :, row, column].numpy()
        units = np.full(peaks.shape, row * width + column)
    if isinstance(wanted, int):  # ties: the lower channel first
        channels = np.argsort(-peaks, axis=1, kind="stable")[:, :wanted]
    else:
        channels = np.tile(wanted, (len(peaks), 1))
    values, units = (np.take_along_axis(x, channels, 1) for x in (peaks, units))
    return Chosen(values, np.stack(np.divmod(units, width), 2), channels)
