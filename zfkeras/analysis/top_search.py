"""Finding strong units inside the graph, so that feature maps never leave it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from zfkeras.graph.kept import Kept
from zfkeras.graph.walking import Graph, Step, walk
from zfkeras.types import Tensor


@dataclass(frozen=True)
class Found:
    """What a batch of B images does to the C maps of a layer.

    Attributes:
        peaks: (B, C) float32: each image's strongest activation; -inf for padding.
        maps, images: (n,) which map and which image of the batch each candidate is of.
        positions: (n, 2) int32: the candidate's (row, column).
    """

    peaks: np.ndarray
    maps: np.ndarray
    images: np.ndarray
    positions: np.ndarray


class Searcher:
    """A model up to its deepest layer asked for, compiled to find strong units in batches.

    Only the spatial maximum of every map is always computed (2 % of a forward pass). Where it is,
    is looked up for the candidates alone: those that can enter the k strongest so far. After N
    images that has been about k (1 + ln(N / k)) for each map.

    Args:
        model: Functional or Sequential Keras model of one image input.
        layers: Names of layers with feature maps (N, h, w, C) or dense output (N, C).
        k: Number of units wanted for each map.

    Under a `tf.distribute` strategy each replica takes a batch of its own.
    """

    def __init__(self, model: keras.Model, layers: Sequence[str], k: int) -> None:
        self.graph: Graph = walk(model)
        self.layers = tuple(layers)
        self.k = k
        self.values = {layer: self.graph.find(layer) for layer in layers}
        self.maps = {layer: self._count_maps(layer) for layer in layers}
        needed = {s for value in self.values.values() for s in self.graph.steps_to(value)}
        self.steps: tuple[Step, ...] = tuple(s for s in self.graph.steps if s in needed)
        self.strategy = tf.distribute.get_strategy()
        self._traced = tf.function(self._on_replicas, autograph=False)

    @classmethod
    def of(cls, model: keras.Model, layers: Sequence[str], k: int) -> "Searcher":
        """The model's searcher, with its graph, from the last call with the same arguments."""
        key = (tuple(layers), k, tf.distribute.get_strategy())
        return _KEPT.get(model, key, lambda: cls(model, layers, k))

    @property
    def replicas(self) -> int:
        """How many batches are taken at a time."""
        return self.strategy.num_replicas_in_sync

    def _count_maps(self, layer: str) -> int:
        shape = self.graph.shapes[self.values[layer]]
        if len(shape) not in (2, 4) or shape[-1] is None:
            raise ValueError(
                f"Layer '{layer}' has no feature maps (N, h, w, C) and is not dense (N, C) either. "
                f"Received: layers with output shape {shape}"
            )
        return shape[-1]

    def __call__(
        self, batches: Sequence[tuple], weakest: dict[str, tuple[np.ndarray, np.ndarray]]
    ) -> list[dict[str, Found]]:
        """Searches one batch per replica.

        Args:
            batches: `replicas` pairs (images (B, H, W, C), keys (B,); -1 is padding).
            weakest: of each layer the values and keys (C,) that a candidate must beat.

        Returns:
            What was found in each batch, by layer.
        """
        spread = self.strategy.experimental_distribute_values_from_function(
            lambda context: batches[context.replica_id_in_sync_group]
        )
        found = self._traced(spread, {layer: weakest[layer] for layer in self.layers})
        return [
            {layer: Found(*(part[i].numpy() for part in parts)) for layer, parts in found.items()}
            for i in range(len(batches))
        ]

    def _on_replicas(self, spread: tuple, weakest: Tensor) -> dict[str, tuple]:
        found = self.strategy.run(self._search, args=(spread, weakest))
        return tf.nest.map_structure(self.strategy.experimental_local_results, found)

    def _search(self, batch: Tensor, weakest: Tensor) -> dict[str, tuple]:
        images, keys = batch
        # A ReLU fused into its convolution makes 0 of NaN, so that it would not be seen later.
        is_sound = tf.reduce_all(tf.math.is_finite(tf.cast(images, tf.float32)), [1, 2, 3])
        values = self.graph.run(tf.cast(images, self.graph.dtype), self.steps)
        return {
            layer: _strong(values[value], keys, is_sound, weakest[layer], self.k)
            for layer, value in self.values.items()
        }


def _strong(
    maps: Tensor, keys: Tensor, is_sound: Tensor, weakest: tuple[Tensor, Tensor], k: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The fields of `Found`; NaN for images that are not sound."""
    blocks = _in_blocks(maps[:, None, None] if len(maps.shape) == 2 else maps)
    # Not max_pool2d, which is no faster here and passes over NaN.
    block_peaks = tf.reduce_max(blocks, 2)
    peaks = tf.cast(tf.reduce_max(block_peaks, 1), tf.float32)
    peaks = tf.where(is_sound[:, None], peaks, np.nan)
    peaks = tf.where(keys[:, None] >= 0, peaks, -np.inf)
    best, image = tf.math.top_k(tf.transpose(peaks), min(k, keys.shape[0]))  # of equals the first
    value, key = (bound[:, None] for bound in weakest)
    enters = (best > value) | ((best == value) & (tf.gather(keys, image) < key))
    pairs = tf.where(enters)
    channel, image = tf.cast(pairs[:, 0], tf.int32), tf.gather_nd(image, pairs)
    unit = _first_maximum(blocks, block_peaks, image, channel)
    width = tf.shape(maps)[2] if len(maps.shape) == 4 else 1
    return peaks, channel, image, tf.stack([unit // width, unit % width], 1)


def _in_blocks(maps: Tensor) -> Tensor:
    """Maps (B, H, W, C) as (B, blocks, units, C), a block being a few whole rows.

    With the maxima of about sqrt(H) blocks at hand, a maximum is found among those and then in
    one block: picking values out of the interleaved channels is slow, so it has to be few.
    """
    height = maps.shape[1] or 1  # row by row if unknown
    rows = max(n for n in range(1, math.isqrt(height) + 1) if height % n == 0)
    size = tf.shape(maps)
    return tf.reshape(maps, [size[0], size[1] // rows, rows * size[2], maps.shape[3]])


def _first_maximum(blocks: Tensor, block_peaks: Tensor, image: Tensor, channel: Tensor) -> Tensor:
    """(n,) flat position of the maximum of one map each: the first among equals."""
    size = tf.shape(blocks)
    block = tf.argmax(_picked(block_peaks, image, channel), 1, tf.int32)
    rows = tf.reshape(blocks, [-1, size[2], size[3]])
    unit = tf.argmax(_picked(rows, image * size[1] + block, channel), 1, tf.int32)
    return block * size[2] + unit


def _picked(values: Tensor, row: Tensor, channel: Tensor) -> Tensor:
    """(n, U) of values (R, U, C): those of one row and channel each."""
    _, units, channels = tf.unstack(tf.shape(values, tf.int64))
    first = tf.cast(row, tf.int64) * units * channels + tf.cast(channel, tf.int64)
    return tf.gather(tf.reshape(values, [-1]), first[:, None] + tf.range(units) * channels)


_KEPT: Kept[Searcher] = Kept(most=4)
