"""A question that an exported model answers, of encoded pictures and of arrays.

Every input and output has one row per image, and no row depends on another: TensorFlow
Serving may put the requests of several clients into one batch.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import tensorflow as tf

from zfkeras.saved_model import checks, pictures

Tensors = dict[str, tf.Tensor]
Function = Any  # a tf.function, whose type has no importable name


@dataclass(frozen=True)
class Signature:
    """One question. To add one to every export is to add one to `signatures.signatures`.

    Attributes:
        name: NAME asks about encoded pictures, NAME_pixels about arrays.
        function: (float32 pixels [N, H, W, C], *inputs) -> tensors by name, each with N rows.
        inputs: What it asks besides the images, all [N]; see `rows`.
        pictures: Outputs that NAME answers as PNG files, called …_bytes, beside what the net saw,
            `input_bytes`; with what turns each into uint8 pixels.
        examples: Values of the inputs for one image, to try it with.
    """

    name: str
    function: Callable[..., Tensors]
    inputs: Sequence[tf.TensorSpec] = ()
    pictures: Mapping[str, Callable[[tf.Tensor], tf.Tensor]] = field(default_factory=dict)
    examples: Sequence[Mapping[str, Any]] = ({},)

    def served(
        self, shape: tuple[int, int, int], read: Callable[[tf.Tensor], tf.Tensor]
    ) -> dict[str, Function]:
        """Both ways to ask, by name, for a net of images of a shape (height, width, channels).

        Args:
            shape: Of the images.
            read: Makes images of encoded pictures; a `pictures.reader`.
        """
        pixels = tf.TensorSpec([None, *shape], tf.float32, name="pixels")
        traced = _traced(self.function, pixels, *self.inputs)

        def of_pictures(image_bytes: tf.Tensor, *values: tf.Tensor) -> Tensors:
            images = tf.ensure_shape(read(tf.ensure_shape(image_bytes, (None,))), (None, *shape))
            return self._as_files(traced(images, *values), images)

        def of_pixels(pixels: tf.Tensor, *values: tf.Tensor) -> Tensors:
            return traced(checks.pixels(pixels, shape), *values)

        encoded = rows("image_bytes", tf.string)
        return {
            self.name: _traced(of_pictures, encoded, *self.inputs),
            f"{self.name}_pixels": _traced(of_pixels, pixels, *self.inputs),
        }

    def _as_files(self, answer: Tensors, images: tf.Tensor) -> Tensors:
        """The answer with its pictures as PNG files."""
        for name, shown in self.pictures.items():
            answer[f"{name}_bytes"] = pictures.to_png(shown(answer.pop(name)))
        if self.pictures:
            answer["input_bytes"] = pictures.to_png(pictures.to_uint8(images))
        return answer


def rows(name: str, dtype: tf.DType) -> tf.TensorSpec:
    """An input with one value for each image."""
    return tf.TensorSpec([None], dtype, name=name)


def _traced(function: Callable[..., Tensors], *inputs: tf.TensorSpec) -> Function:
    """A graph to save. AutoGraph would take as long again: nothing here branches in Python."""
    return tf.function(function, input_signature=inputs, autograph=False)
