"""The signature `occlusion`: what the net answers while each place of an image is hidden."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from zfkeras.analysis.painting import a_fifth, occlude
from zfkeras.saved_model import checks, pictures
from zfkeras.saved_model.forward import Forward
from zfkeras.saved_model.signature import Signature, Tensors, rows

_IMAGES_AT_ONCE = 32  # occluded copies in memory


def occlusion_signature(
    forward: Forward, labels: Sequence[str], strides: tuple[int, int], size: tuple[int, int]
) -> Signature:
    """Hides each place of an image in turn, and watches the best class and the strongest map.

    Args:
        forward: The net.
        labels: One name per class.
        strides: Pixels between the occluder's places, (down, across).
        size: (height, width) of the images.
    """
    patch = max(_smallest(strides, size), a_fifth(size))
    return Signature(
        "occlusion",
        _Occlusions(forward, labels, strides, size),
        inputs=[rows("patch_size", tf.int32), rows("fill_value", tf.float32)],
        pictures={"heat_map": _importance},
        examples=[
            {"patch_size": np.array([patch], np.int32), "fill_value": np.array([128], np.float32)}
        ],
    )


class _Occlusions:
    """What `occlusion` answers; the arguments are those of `occlusion_signature`."""

    def __init__(
        self,
        forward: Forward,
        labels: Sequence[str],
        strides: tuple[int, int],
        size: tuple[int, int],
    ) -> None:
        self._forward, self._strides, self._size = forward, strides, size
        self._labels = list(labels)
        self._score, self._scores = forward.predictor.score_name, forward.predictor.scores_name
        self._centres = [
            np.arange(0, length, stride, dtype=np.int32)
            for length, stride in zip(size, strides, strict=True)
        ]

    def __call__(self, images: tf.Tensor, patch_size: tf.Tensor, fill_value: tf.Tensor) -> Tensors:
        """Scores and totals while each place is hidden, and a heat map [N, H, W]."""
        count = tf.shape(images)[0]
        patch, fill = checks.rows(count, patch_size=patch_size, fill_value=fill_value)
        low, high = _smallest(self._strides, self._size), max(self._size)
        patch = tf.where(patch == -1, max(low, a_fifth(self._size)), patch)
        patch = checks.within("patch_size", patch, low, high, "in pixels")
        fill = checks.within("fill_value", fill, 0, 255, "a grey")
        whole, sums = self._forward(images)
        best, channel = (tf.argmax(each, axis=1, output_type=tf.int32) for each in (whole, sums))
        scores, predicted, activations = self._slide(images, best, channel, patch, fill)
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
            for centres, length in zip(self._centres, self._size, strict=True)
        )
        total = tf.matmul(down, tf.matmul(values, across), transpose_a=True)
        number = tf.reduce_sum(down, 1)[:, :, None] * tf.reduce_sum(across, 1)[:, None, :]
        return total / number


def _importance(heat: tf.Tensor) -> tf.Tensor:
    """Heat maps [N, H, W] in colours, each from its highest value (dark) to its lowest (bright)."""
    low, high = (f(heat, (1, 2), keepdims=True) for f in (tf.reduce_min, tf.reduce_max))
    return pictures.to_colours(tf.math.divide_no_nan(high - heat, high - low))


def _smallest(strides: tuple[int, int], size: tuple[int, int]) -> int:
    """The side of the smallest occluder that skips no pixels: between places, or after the last."""
    after = [2 * (n - (n - 1) // s * s) - 1 for n, s in zip(size, strides, strict=True)]
    return max(*strides, *after)


def _pick(scores: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
    """One entry of each row."""
    return tf.gather(scores, number, axis=1, batch_dims=1)


def _covers(centres: np.ndarray, length: int, patch: tf.Tensor) -> tf.Tensor:
    """Which pixels of an axis each occluder hides, float32 [N, R, length]."""
    start = (centres - patch[:, None] // 2)[:, :, None]
    pixels = tf.range(length)
    return tf.cast((pixels >= start) & (pixels < start + patch[:, None, None]), tf.float32)
