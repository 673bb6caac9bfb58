"""The signature `occlusion`: what the net answers while each place of an image is hidden."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from zfkeras.analysis.incremental.sweep import Sweep
from zfkeras.analysis.painting import a_fifth, occlude
from zfkeras.saved_model import checks, pictures
from zfkeras.saved_model.forward import Forward
from zfkeras.saved_model.signature import Signature, Tensors, rows

IMAGES_AT_ONCE = 32
"""Occluded copies in memory."""


class Occluder:
    """The occluder that an export offers: the places it goes to, and how large it may be.

    Args:
        size: (height, width) of the images.
        strides: Pixels between the places, (down, across).

    Attributes:
        size: The same.
        centres: Rows and columns of the places.
        smallest: Its side if it is to skip no pixels: between places, or after the last.
        usual: Its side where none is asked for.
    """

    def __init__(self, size: tuple[int, int], strides: tuple[int, int]) -> None:
        axes = list(zip(size, strides, strict=True))
        self.size = size
        self.centres = [np.arange(0, length, step, dtype=np.int32) for length, step in axes]
        after = [2 * (length - (length - 1) // step * step) - 1 for length, step in axes]
        self.smallest = max(*strides, *after)
        self.usual = max(self.smallest, a_fifth(size))


def occlusion_signature(
    forward: Forward, labels: Sequence[str], occluder: Occluder, sweep: Sweep | None
) -> Signature:
    """Hides each place of an image in turn, and watches the best class and the strongest map.

    Args:
        forward: The net.
        labels: One name per class.
        occluder: The occluder.
        sweep: Its incremental sweep for the usual size, where that is faster.
    """
    return Signature(
        "occlusion",
        _Occlusions(forward, labels, occluder, sweep),
        inputs=[rows("patch_size", tf.int32), rows("fill_value", tf.float32)],
        pictures={"heat_map": _importance},
        examples=[
            {
                "patch_size": np.array([occluder.usual], np.int32),
                "fill_value": np.array([128], np.float32),
            }
        ],
    )


class _Occlusions:
    """What `occlusion` answers; the arguments are those of `occlusion_signature`."""

    def __init__(
        self, forward: Forward, labels: Sequence[str], occluder: Occluder, sweep: Sweep | None
    ) -> None:
        self._forward, self._occluder = forward, occluder
        self._sweep: Any = sweep
        self._labels, self._centres = list(labels), occluder.centres
        self._score, self._scores = forward.predictor.score_name, forward.predictor.scores_name

    def __call__(self, images: tf.Tensor, patch_size: tf.Tensor, fill_value: tf.Tensor) -> Tensors:
        """Scores and totals while each place is hidden, and a heat map [N, H, W]."""
        count = tf.shape(images)[0]
        patch, fill = checks.rows(count, patch_size=patch_size, fill_value=fill_value)
        patch = tf.where(patch == -1, self._occluder.usual, patch)
        low, high = self._occluder.smallest, max(self._occluder.size)
        patch = checks.within("patch_size", patch, low, high, "in pixels")
        fill = checks.within("fill_value", fill, 0, 255, "a grey")
        whole, sums = self._forward(images)
        best, channel = (tf.argmax(each, axis=1, output_type=tf.int32) for each in (whole, sums))
        slide = self._slide if self._sweep is None else self._slide_each
        scores, predicted, activations = slide(images, best, channel, patch, fill)
        rows, columns = (tf.tile(c[None], [count, 1]) for c in self._centres)
        return {
            "class": tf.gather(self._labels, best),
            "class_id": best,
            self._score: _pick(whole, best),
            "channel": channel,
            "activation": _pick(sums, channel),
            "patch_size": patch,
            "rows": rows,
            "columns": columns,
            self._scores: scores,
            "activations": activations,
            "predicted": predicted,
            "predicted_classes": tf.gather(self._labels, predicted),
            "heat_map": self._spread(scores, patch),
        }

    def _slide_each(self, *rows: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """`_slide`, image by image: for an occluder of the usual size in the incremental way.

        Not for all at once, or an answer would depend on what else is in the batch.
        """
        grid = [len(centres) for centres in self._centres]

        def look(row: tuple[tf.Tensor, ...]) -> tuple[tf.Tensor, ...]:
            image, best, channel, patch, fill = row
            answers = tf.cond(
                patch == self._occluder.usual,
                lambda: self._slide_usual(image, best, channel, fill),
                lambda: self._slide(*(part[None] for part in row)),
            )
            return tuple(tf.reshape(answer, grid) for answer in answers)

        specs = tuple(tf.TensorSpec(grid, t) for t in (tf.float32, tf.int32, tf.float32))
        return tf.map_fn(look, rows, fn_output_signature=specs, parallel_iterations=1)

    def _slide_usual(
        self, image: tf.Tensor, best: tf.Tensor, channel: tf.Tensor, fill: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        """`_slide` for one image: only what the occluder can change is computed."""
        shown = tf.fill([1, 1, image.shape[-1]], fill)
        outputs, sums = self._sweep.tensors(image, channel, shown)
        scores = self._forward.predictor.scores_of(outputs)
        return scores[:, best], tf.argmax(scores, axis=1, output_type=tf.int32), sums

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
        chunk = -(-places // -(-places // IMAGES_AT_ONCE))  # about even parts of an image
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
            seen, sums = self._forward.some(hidden)
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
            for centres, length in zip(self._centres, self._occluder.size, strict=True)
        )
        total = tf.matmul(down, tf.matmul(values, across), transpose_a=True)
        number = tf.reduce_sum(down, 1)[:, :, None] * tf.reduce_sum(across, 1)[:, None, :]
        return total / number


def _importance(heat: tf.Tensor) -> tf.Tensor:
    """Heat maps [N, H, W] in colours, each from its highest value (dark) to its lowest (bright)."""
    low, high = (f(heat, (1, 2), keepdims=True) for f in (tf.reduce_min, tf.reduce_max))
    return pictures.to_colours(tf.math.divide_no_nan(high - heat, high - low))


def _pick(scores: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
    """One entry of each row."""
    return tf.gather(scores, number, axis=1, batch_dims=1)


def _covers(centres: np.ndarray, length: int, patch: tf.Tensor) -> tf.Tensor:
    """Which pixels of an axis each occluder hides, float32 [N, R, length]."""
    start = (centres - patch[:, None] // 2)[:, :, None]
    pixels = tf.range(length)
    return tf.cast((pixels >= start) & (pixels < start + patch[:, None, None]), tf.float32)
