"""The net inside an exported graph: scores, and the totals of a layer's maps."""

import tensorflow as tf

from zfkeras.graph.predictor import Predictor


class Forward:
    """A net that is asked for scores and for the total of each map of a layer, traced once.

    Args:
        predictor: Gives scores and one layer of feature maps.
        shape: (height, width, channels) of the images.
    """

    def __init__(self, predictor: Predictor, shape: tuple[int, int, int]) -> None:
        self.predictor = predictor
        pixels = tf.TensorSpec([None, *shape], tf.float32)
        self.some = tf.function(self._some, input_signature=[pixels], autograph=False)

    def __call__(self, images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Scores [N, classes] and totals [N, maps] of any number of images, even none."""
        count = tf.shape(images)[0]
        # oneDNN's convolutions refuse an empty batch: it gets one black image, dropped after.
        spare = [0, tf.cast(count == 0, tf.int32)]
        scores, totals = self.some(tf.pad(images, [spare, [0, 0], [0, 0], [0, 0]]))
        return scores[:count], totals[:count]

    def _some(self, images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The same for one image or more."""
        scores, (maps,) = self.predictor.tensors(images)
        return scores, tf.reduce_sum(maps, axis=(1, 2))
