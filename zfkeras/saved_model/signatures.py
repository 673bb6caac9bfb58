"""What an exported model answers: the library's own functions, traced.

Every input and output has one row per image, and no row depends on another: TensorFlow
Serving may put the requests of several clients into one batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from zfkeras.analysis.painting import occlude
from zfkeras.data.inputs import input_size
from zfkeras.deconvnet.net import DeconvNet
from zfkeras.graph.predictor import Predictor
from zfkeras.graph.receptive_fields import receptive_field
from zfkeras.saved_model import checks, pictures

Tensors = dict[str, tf.Tensor]
_IMAGES_AT_ONCE = 32  # occluded copies in memory


@dataclass(frozen=True)
class Settings:
    """What an export fixes; see `export` for the meaning.

    Attributes:
        labels: one name per class.
        layers: the layers that `deconv` offers.
        occlusion_strides: pixels between the occluder's places, (down, across).
        occlusion_layer: the layer whose strongest feature map `occlusion` watches.
        top: how many classes `classify` names.
        scale: the size of the resized picture relative to the crop.
    """

    labels: Sequence[str]
    layers: list[str]
    occlusion_strides: tuple[int, int]
    occlusion_layer: str
    top: int
    scale: float


class Signatures:
    """The signatures of a model, as functions of tensors.

    Args:
        model: a Keras classifier of images.
        deconv: its deconvnet.
        settings: what the export fixes.
    """

    def __init__(self, model: keras.Model, deconv: DeconvNet, settings: Settings):
        self.size = input_size(model)
        self._deconv, self._settings = deconv, settings
        self._predictor = Predictor(model, [settings.occlusion_layer])
        graph = deconv.graph
        self._maps = [graph.shapes[graph.find(layer)][1:] for layer in settings.layers]
        self._edges = [
            _edges(model, layer, shape, self.size)
            for layer, shape in zip(settings.layers, self._maps, strict=True)
        ]
        self._centres = [
            np.arange(0, length, stride, dtype=np.int32)
            for length, stride in zip(self.size, settings.occlusion_strides, strict=True)
        ]
        # Traced once each, and called by all signatures that need them.
        pixels, unit, occluder = self._specs()
        self._look = tf.function(self._forward, input_signature=[pixels])
        self._project = tf.function(self._projections, input_signature=[pixels, *unit])
        self._occlude = tf.function(self._occlusions, input_signature=[pixels, *occluder])

    def functions(self) -> dict[str, tf.types.experimental.PolymorphicFunction]:
        """All signatures by name, with the names and types of their inputs."""
        image_bytes = _rows("image_bytes", tf.string)
        pixels, unit, occluder = self._specs()
        functions = {
            "classify": tf.function(self.classify, input_signature=[image_bytes]),
            "classify_pixels": tf.function(self.classify_pixels, input_signature=[pixels]),
            "deconv": tf.function(self.deconv, input_signature=[image_bytes, *unit]),
            "deconv_pixels": tf.function(self.deconv_pixels, input_signature=[pixels, *unit]),
            "occlusion": tf.function(self.occlusion, input_signature=[image_bytes, *occluder]),
            "occlusion_pixels": tf.function(
                self.occlusion_pixels, input_signature=[pixels, *occluder]
            ),
        }
        return {"serving_default": functions["classify"], **functions}

    def _specs(self) -> tuple[tf.TensorSpec, list[tf.TensorSpec], list[tf.TensorSpec]]:
        """What the questions ask about: images, units, occluders."""
        pixels = tf.TensorSpec([None, *self.size, 3], tf.float32, name="pixels")
        unit = [_rows("layer", tf.string), _rows("channel", tf.int32)]
        occluder = [_rows("patch_size", tf.int32), _rows("fill_value", tf.float32)]
        return pixels, unit, occluder

    # --- One pair for each question: encoded pictures, and arrays

    def classify(self, image_bytes: tf.Tensor) -> Tensors:
        """The best classes of pictures."""
        return self._classify(self._read(image_bytes))

    def classify_pixels(self, pixels: tf.Tensor) -> Tensors:
        """The best classes of arrays."""
        return self._classify(checks.pixels(pixels, self.size))

    def deconv(self, image_bytes: tf.Tensor, layer: tf.Tensor, channel: tf.Tensor) -> Tensors:
        """Projections of a unit each of pictures, as PNG files."""
        images = self._read(image_bytes)
        answer = self._project(images, layer, channel)
        projection = pictures.to_display(answer.pop("projection"))
        return answer | {
            "projection_bytes": pictures.to_png(projection),
            "input_bytes": pictures.to_png(pictures.to_uint8(images)),
        }

    def deconv_pixels(self, pixels: tf.Tensor, layer: tf.Tensor, channel: tf.Tensor) -> Tensors:
        """Projections of a unit each of arrays, as signed numbers."""
        return self._project(checks.pixels(pixels, self.size), layer, channel)

    def occlusion(
        self, image_bytes: tf.Tensor, patch_size: tf.Tensor, fill_value: tf.Tensor
    ) -> Tensors:
        """Occlusion maps of pictures, with the heat map as a PNG file."""
        images = self._read(image_bytes)
        answer = self._occlude(images, patch_size, fill_value)
        heat_map = pictures.to_colours(answer.pop("heat_map"))
        return answer | {
            "heat_map_bytes": pictures.to_png(heat_map),
            "input_bytes": pictures.to_png(pictures.to_uint8(images)),
        }

    def occlusion_pixels(
        self, pixels: tf.Tensor, patch_size: tf.Tensor, fill_value: tf.Tensor
    ) -> Tensors:
        """Occlusion maps of arrays, with the heat map as numbers."""
        return self._occlude(checks.pixels(pixels, self.size), patch_size, fill_value)

    # --- What they share

    def _read(self, image_bytes: tf.Tensor) -> tf.Tensor:
        image_bytes = tf.ensure_shape(image_bytes, (None,))
        images = pictures.read(image_bytes, self.size, self._settings.scale)
        return tf.ensure_shape(images, (None, *self.size, 3))

    def _forward(self, images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Probabilities [N, classes], and the sum of each map of the occlusion layer [N, maps]."""
        probabilities, (maps,) = self._predictor.tensors(images)
        return probabilities, tf.reduce_sum(maps, axis=(1, 2))

    def _whole(self, images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """What the net answers for any number of images, even none."""
        count = tf.shape(images)[0]
        # oneDNN's convolutions refuse an empty batch: it gets one black image, dropped after.
        spare = [0, tf.cast(count == 0, tf.int32)]
        probabilities, sums = self._look(tf.pad(images, [spare, [0, 0], [0, 0], [0, 0]]))
        return probabilities[:count], sums[:count]

    def _names(self, class_ids: tf.Tensor) -> tf.Tensor:
        return tf.gather(tf.constant(self._settings.labels), class_ids)

    def _classify(self, images: tf.Tensor) -> Tensors:
        probabilities, ids = tf.math.top_k(self._whole(images)[0], self._settings.top)
        return {"classes": self._names(ids), "class_ids": ids, "probabilities": probabilities}

    def _projections(self, images: tf.Tensor, layer: tf.Tensor, channel: tf.Tensor) -> Tensors:
        layer, channel = checks.rows(tf.shape(images)[0], layer=layer, channel=channel)
        ids = checks.layer_ids(layer, self._settings.layers)
        channel = checks.channels(channel, tf.gather([maps[2] for maps in self._maps], ids))
        count = len(self._settings.layers)
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
                images, self._settings.layers[index], channel
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

    def _occlusions(
        self, images: tf.Tensor, patch_size: tf.Tensor, fill_value: tf.Tensor
    ) -> Tensors:
        count = tf.shape(images)[0]
        patch, fill = checks.rows(count, patch_size=patch_size, fill_value=fill_value)
        # Below the strides, pixels would be skipped.
        low, high = max(self._settings.occlusion_strides), max(self.size)
        patch = tf.where(patch == -1, max(low, round(min(self.size) / 5)), patch)
        patch = checks.within("patch_size", patch, low, high, "in pixels")
        fill = checks.within("fill_value", fill, 0, 255, "a grey")
        whole, sums = self._whole(images)
        best, channel = (
            tf.argmax(scores, axis=1, output_type=tf.int32) for scores in (whole, sums)
        )
        probabilities, predicted, activations = self._slide(images, best, channel, patch, fill)
        rows, columns = (tf.tile(c[None], [count, 1]) for c in self._centres)
        return {
            "class": self._names(best),
            "class_id": best,
            "probability": _pick(whole, best),
            "channel": channel,
            "activation": _pick(sums, channel),
            "patch_size": patch,
            "rows": rows,
            "columns": columns,
            "probabilities": probabilities,
            "activations": activations,
            "predicted": predicted,
            "predicted_classes": self._names(predicted),
            "heat_map": self._spread(probabilities, patch),
        }

    def _slide(
        self,
        images: tf.Tensor,
        best: tf.Tensor,
        channel: tf.Tensor,
        patch: tf.Tensor,
        fill: tf.Tensor,
    ) -> tuple[tf.Tensor, ...]:
        """What the net answers for each place of the occluder, all [N, R, S].

        The probability of the `best` class, the predicted class, and the activity of `channel`.
        The places of all images are one list, looked at a chunk after the other, so that
        memory does not grow with images or places.
        """
        down, across = map(len, self._centres)
        places, total = down * across, tf.shape(images)[0] * down * across
        chunk = -(-places // -(-places // _IMAGES_AT_ONCE))  # about even parts of an image
        chunks = -(-total // chunk)
        # The last chunk is filled up with the last place.
        items = tf.reshape(tf.minimum(tf.range(chunks * chunk), total - 1), [-1, chunk])

        def look(item: tf.Tensor) -> tuple[tf.Tensor, ...]:
            image, place = item // places, item % places
            side = tf.gather(patch, image)
            hidden = occlude(
                tf.gather(images, image),
                tf.gather(self._centres[0], place // across),
                tf.gather(self._centres[1], place % across),
                (side, side),
                tf.gather(fill, image)[:, None, None, None],
            )
            seen, sums = self._look(hidden)
            predicted = tf.argmax(seen, axis=1, output_type=tf.int32)
            kept = _pick(seen, tf.gather(best, image))
            return kept, predicted, _pick(sums, tf.gather(channel, image))

        specs = tuple(tf.TensorSpec([chunk], t) for t in (tf.float32, tf.int32, tf.float32))
        answers = tf.map_fn(look, items, fn_output_signature=specs, parallel_iterations=1)
        return tuple(
            tf.reshape(tf.reshape(answer, [-1])[:total], [-1, down, across]) for answer in answers
        )

    def _spread(self, values: tf.Tensor, patch: tf.Tensor) -> tf.Tensor:
        """Gives each pixel the mean of the occluders on it: [N, R, S] to [N, H, W]."""
        down, across = (
            _covers(centres, length, patch)
            for centres, length in zip(self._centres, self.size, strict=True)
        )
        total = tf.matmul(down, tf.matmul(values, across), transpose_a=True)
        number = tf.reduce_sum(down, 1)[:, :, None] * tf.reduce_sum(across, 1)[:, None, :]
        return total / number


def _pick(scores: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
    """One entry of each row."""
    return tf.gather(scores, number, axis=1, batch_dims=1)


def _rows(name: str, dtype: tf.DType) -> tf.TensorSpec:
    return tf.TensorSpec([None], dtype, name=name)


def _covers(centres: np.ndarray, length: int, patch: tf.Tensor) -> tf.Tensor:
    """Which pixels of an axis each occluder hides, float32 [N, R, length].

    The last one counts on to the border: beyond a small one a few pixels are never hidden.
    """
    start = (centres - patch[:, None] // 2)[:, :, None]
    stop = tf.concat([start[:, :-1] + patch[:, None, None], start[:, -1:] * 0 + length], axis=1)
    pixels = tf.range(length)
    return tf.cast((pixels >= start) & (pixels < stop), tf.float32)


def _edges(
    model: keras.Model, layer: str, maps: Sequence[Any], size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """First and last pixel (half-open) that each row, and each column, of a layer sees."""
    field = receptive_field(model, layer)
    down = [field.box((row, 0), size)[0::2] for row in range(maps[0])]
    across = [field.box((0, column), size)[1::2] for column in range(maps[1])]
    return np.array(down, np.int32), np.array(across, np.int32)
