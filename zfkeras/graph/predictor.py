"""What a net answers to images: scores of classes, and the outputs of any of its layers."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from zfkeras.data.inputs import Floats, check_images
from zfkeras.data.pictures import Images
from zfkeras.graph.heads import UNKNOWN, Head, checked_scores, head_of, reading
from zfkeras.graph.kept import Kept
from zfkeras.graph.walking import Graph, chosen_output, walk
from zfkeras.types import Tensor
from zfkeras.validate import whole_number


class Prediction(NamedTuple):
    """What a net answers.

    Attributes:
        scores: (N, classes) float32, or None if they are not wanted.
        layers: The output (N, …) float32 of each layer asked for.
    """

    scores: Any
    layers: list[Any]


class Predictor:
    """A net that is asked for scores and layers, traced once for each size of image.

    A softmax is taken of the scores only where they are logits: two or more numbers from a layer
    without activation. A net that ends in a softmax, in sigmoids or in another activation answers
    as it does, and so does one with a single output, which may be a regression.

    Args:
        model: Keras model from (N, H, W, C) images to (N, classes) scores, Functional or
            Sequential; for scores alone any will do, if `scores` says how to take them.
        layers: Names of the layers to read.
        output: Name of the output to take the scores from, if the model has several.
        scores: True: as described. "softmax" or "sigmoid": the outputs are logits, take these.
            "raw": as they are. False: no scores, and nothing that only they need is computed.
        softmax: Older than `scores`: True is "softmax", False is "raw".

    Attributes:
        graph: The model's steps; None where it can't be walked.
        classes: How many scores it gives; None where that is not known.
        score_name: What a score is: "probability", or "score".

    Raises:
        ValueError: The model has no such layer or output, or several outputs of which none is
            named; it can't be walked; its outputs are no scores of classes, or it can't be told
            what they mean.

    Example:
        >>> tiny = keras.Sequential([keras.Input((8, 6, 3)), keras.layers.Conv2D(2, 3, name="c"),
        ...                          keras.layers.Flatten(), keras.layers.Dense(4)])
        >>> predictor = Predictor(tiny, ["c"])
        >>> scores, (maps,) = predictor(np.zeros((5, 8, 6, 3)), batch_size=2)
        >>> predictor.score_name, scores.shape, maps.shape
        ('probability', (5, 4), (5, 6, 4, 2))
    """

    def __init__(
        self,
        model: keras.Model,
        layers: Sequence[str] = (),
        output: str | None = None,
        scores: bool | str = True,
        softmax: bool | None = None,
    ) -> None:
        scores = checked_scores(scores, softmax)
        self._model, self._output = model, output
        self.graph = _walked(model, layers, scores)
        self._scores = self._wanted_output() if scores is not False else None
        self._layers = [self.graph.find(layer) for layer in layers] if self.graph else []
        self.classes, self.score_name = self._count_classes(), "score"
        if scores is not False:
            head = head_of(self.graph, output) if self.graph else Head(UNKNOWN)
            self._reading = reading(head, self.classes, scores)
            self.score_name = self._reading.score_name
        self._traced: dict[tuple[int, ...], Callable] = {}

    @classmethod
    def of(
        cls,
        model: keras.Model,
        layers: Sequence[str] = (),
        output: str | None = None,
        scores: bool | str = True,
        softmax: bool | None = None,
    ) -> "Predictor":
        """The kept one for these arguments, whose graphs are made once for a model."""
        scores = checked_scores(scores, softmax)
        wanted = tuple(layers), output, scores
        return _KEPT.get(model, wanted, lambda: cls(model, *wanted))

    def __call__(self, images: Images, batch_size: int = 64) -> Prediction:
        """Scores and layers of images, in batches.

        Args:
            images: (N, H, W, C), or a picture, a folder or a `tf.data.Dataset`.
            batch_size: Images in memory at a time.

        Raises:
            ValueError: The images don't fit the model, or it doesn't tell classes of them.
        """
        images = check_images(self._model, images)
        size = images.shape[1:]
        if size not in self._traced:
            traced = tf.function(self.tensors, autograph=False)
            # Concrete: TensorFlow warns of functions that are traced for one model after another.
            self._traced[size] = traced.get_concrete_function(tf.TensorSpec((None, *size)))
        scores, *layers = in_batches(self._traced[size], images, batch_size)
        return Prediction(scores, layers)

    def tensors(self, images: Tensor) -> Prediction:
        """Scores and layers of one batch, all in float32; traceable."""
        scores, layers = self._forward(images)
        layers = [tf.cast(layer, tf.float32) for layer in layers]
        return Prediction(None if scores is None else self.scores_of(scores), layers)

    def scores_of(self, outputs: Tensor) -> Tensor:
        """The scores (N, classes) in float32 that the model's own outputs stand for."""
        return self.activate(_by_class(tf.cast(outputs, tf.float32)))

    @property
    def scores_name(self) -> str:
        """What several scores are: "probabilities", or "scores"."""
        return {"probability": "probabilities"}.get(self.score_name, "scores")

    def class_names(self, names: Sequence[str] | None) -> tuple[str, ...] | None:
        """A name for each score. A single probability is that of the second of two classes.

        Raises:
            ValueError: There are more names, or fewer.
        """
        if names is None or self.classes in (None, len(names)):
            return None if names is None else tuple(names)
        if self.classes == 1 and len(names) == 2 and self.score_name == "probability":
            return (names[1],)
        raise ValueError(
            f"The labels do not fit the model. Expected {self.classes} names, one for each of its "
            f"{self.classes} classes. Received: {len(names)} labels, labels={list(names[:3])}…"
        )

    def activate(self, scores: Tensor) -> Tensor:
        """What the model's own outputs (…, classes) are to be: probabilities, or as they are."""
        return self._reading(scores)

    def _forward(self, images: Tensor) -> tuple[Tensor | None, list[Tensor]]:
        if self.graph is None:
            outputs = self._model(images, training=False)
            return chosen_output(self._model.name, _by_name(outputs), self._output), []
        wanted = self._layers if self._scores is None else [self._scores, *self._layers]
        images = tf.cast(images, self.graph.dtype)
        values = self.graph.run(images, self.graph.steps_to(*wanted))
        layers = [values[i] for i in self._layers]
        return None if self._scores is None else values[self._scores], layers

    def _wanted_output(self) -> int | None:
        return None if self.graph is None else self.graph.output(self._output)

    def _count_classes(self) -> int | None:
        """How many scores there are; None if that is not known before images are seen."""
        if self.graph is None or self._scores is None:
            return None
        _, *shape = self.graph.shapes[self._scores]
        return shape[-1] if shape else 1


_KEPT: Kept[Predictor] = Kept()


def in_batches(
    function: Callable[[Tensor], Any], images: Floats, batch_size: int
) -> list[Floats | None]:
    """What a function answers to images, flat and joined over batches; None stays None."""
    batch_size = whole_number("batch_size", batch_size)
    batches = [
        tf.nest.flatten(function(tf.constant(images[start : start + batch_size])))
        for start in range(0, len(images), batch_size)
    ]
    return [
        None if parts[0] is None else np.concatenate(parts) for parts in zip(*batches, strict=True)
    ]


def _walked(model: keras.Model, layers: Sequence[str], scores: bool | str) -> Graph | None:
    """The model's graph; None if it can't be walked and need not be."""
    try:
        return walk(model)
    except ValueError as error:
        if layers or scores is False:
            raise
        if scores is True:
            raise ValueError(
                "Cannot tell what this model's outputs mean. Expected a built Functional or "
                "Sequential model, or softmax=True or False (scores='softmax', 'sigmoid' or "
                f"'raw'). Received: model={model.name!r}"
            ) from error
        return None


def _by_name(outputs: Any) -> dict[str, Tensor]:
    """The outputs of a model that can't be walked, by their keys or numbers."""
    return {
        "/".join(map(str, key)): tensor for key, tensor in keras.tree.flatten_with_path(outputs)
    }


def _by_class(scores: Tensor) -> Tensor:
    """Scores (N,), (N, classes) or (N, 1, 1, classes) as (N, classes).

    Raises:
        ValueError: They are scores of more than one place, such as a segmentation's.
    """
    if scores.shape.rank == 1:
        return scores[:, None]
    if scores.shape.rank is None or any(size not in (1, None) for size in scores.shape[1:-1]):
        raise ValueError(
            "The model does not classify. Expected outputs of shape (N, classes), or of one place, "
            f"(N, 1, 1, classes). Received: model.output_shape={tuple(scores.shape)}"
        )
    between = list(range(1, scores.shape.rank - 1))
    return tf.squeeze(scores, between) if between else scores
