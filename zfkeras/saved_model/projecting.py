"""The signature `deconv`: projections of a unit of any layer that an export offers."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from zfkeras.deconvnet.net import DeconvNet
from zfkeras.graph.receptive_fields import field_or_reason
from zfkeras.saved_model import checks, pictures
from zfkeras.saved_model.signature import Signature, Tensors, rows


def deconv_signature(
    model: keras.Model, deconv: DeconvNet, layers: Sequence[str], size: tuple[int, int]
) -> Signature:
    """Projects the strongest unit of a map of a layer; each image has a layer and a map.

    Args:
        model: The model.
        deconv: Its deconvnet.
        layers: The layers that may be asked for.
        size: (height, width) of the images.
    """
    return Signature(
        "deconv",
        _Projections(model, deconv, layers, size),
        inputs=[rows("layer", tf.string), rows("channel", tf.int32)],
        pictures={"projection": pictures.to_display},
        examples=[
            {"layer": np.array([name.encode()], object), "channel": np.array([-1], np.int32)}
            for name in layers
        ],
    )


class _Projections:
    """What `deconv` answers; the arguments are those of `deconv_signature`."""

    def __init__(
        self, model: keras.Model, deconv: DeconvNet, layers: Sequence[str], size: tuple[int, int]
    ) -> None:
        self._deconv, self._layers = deconv, layers
        graph = deconv.graph
        self._maps = [graph.shapes[graph.find(layer)][1:] for layer in layers]
        self._edges = [
            _edges(model, layer, shape, size)
            for layer, shape in zip(layers, self._maps, strict=True)
        ]

    def __call__(self, images: tf.Tensor, layer: tf.Tensor, channel: tf.Tensor) -> Tensors:
        """Projections [N, H, W, C], and which unit each is of."""
        layer, channel = checks.rows(tf.shape(images)[0], layer=layer, channel=channel)
        ids = checks.layer_ids(layer, self._layers)
        channel = checks.channels(channel, tf.gather([maps[2] for maps in self._maps], ids))
        count = len(self._layers)
        rows = tf.dynamic_partition(tf.range(tf.size(ids)), ids, count)
        parts = [
            self._project_rows(index, tf.gather(images, some), tf.gather(channel, some))
            for index, some in enumerate(rows)
        ]
        projection, value, position, channel, box = (
            tf.dynamic_stitch(rows, list(same)) for same in zip(*parts, strict=True)
        )
        return {
            "projection": projection,
            "value": value,
            "row": position[:, 0],
            "column": position[:, 1],
            "channel": channel,
            "box": box,
        }

    def _project_rows(
        self, index: int, images: tf.Tensor, channel: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        """Projects from one layer; only where some row of the batch asks for it."""

        def project() -> tuple[tf.Tensor, ...]:
            pixels, values, positions, channels = self._deconv.project_tensors(
                images, self._layers[index], channel
            )
            return pixels, values, positions, channels, self._boxes(index, positions)

        def nothing() -> tuple[tf.Tensor, ...]:
            pair, four = tf.zeros([0, 2], tf.int32), tf.zeros([0, 4], tf.int32)
            return images, tf.zeros([0]), pair, channel, four

        return tf.cond(tf.size(channel) > 0, project, nothing)

    def _boxes(self, index: int, positions: tf.Tensor) -> tf.Tensor:
        """Receptive fields (top, left, bottom, right) of units at (row, column)."""
        down, across = (
            tf.gather(tf.constant(edges), positions[:, axis])
            for axis, edges in enumerate(self._edges[index])
        )
        return tf.stack([down[:, 0], across[:, 0], down[:, 1], across[:, 1]], axis=1)


def _edges(
    model: keras.Model, layer: str, maps: Sequence[Any], size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """First and last pixel (half-open) that each row, and each column, of a layer sees."""
    field, _ = field_or_reason(model, layer)
    if field is None:  # nobody knows: it may be all of the image
        down, across = ([(0, size[axis])] * maps[axis] for axis in (0, 1))
        return np.array(down, np.int32), np.array(across, np.int32)
    down = [field.box((row, 0), size)[0::2] for row in range(maps[0])]
    across = [field.box((0, column), size)[1::2] for column in range(maps[1])]
    return np.array(down, np.int32), np.array(across, np.int32)
