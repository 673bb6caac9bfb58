"""Top-1 and top-5 accuracy of a classifier, plain or over ten crops (method.md, Testing)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from zfkeras.data.batches import evaluation_batches
from zfkeras.data.inputs import picture_shape
from zfkeras.data.sources import Source
from zfkeras.deprecation import renamed
from zfkeras.fitting import TESTED
from zfkeras.graph.predictor import Predictor
from zfkeras.results import Result
from zfkeras.validate import whole_number


@dataclass(frozen=True, eq=False, repr=False)
class Evaluation(Result):
    """What a model said of labelled pictures.

    Attributes:
        probabilities: float32 (N, C), after the softmax and the mean over crops.
        labels: int64 (N,), the truth.

    >>> e = Evaluation(np.array([[0.7, 0.3], [0.6, 0.4]], "float32"), np.array([0, 1]))
    >>> e.accuracy, e.top(2)
    (0.5, 1.0)
    """

    probabilities: np.ndarray
    labels: np.ndarray

    @property
    def accuracy(self) -> float:
        """Share of pictures whose true class is the most probable one."""
        return self.top(1)

    @property
    def loss(self) -> float:
        """Mean cross-entropy, in nats."""
        chosen = np.take_along_axis(self.probabilities, self.labels[:, None], 1)
        return float(-np.log(np.maximum(chosen, np.finfo(np.float32).tiny)).mean())

    def top(self, k: int) -> float:
        """Share of pictures whose true class is among the `k` most probable ones.

        Equal probabilities are ranked by class, so that a net that says the same of every class
        gets what guessing one class gets.
        """
        order = np.argsort(-self.probabilities, axis=1, kind="stable")[:, :k]
        return float((order == self.labels[:, None]).any(1).mean())


@renamed(source="dataset")
def evaluate(
    model: keras.Model,
    dataset: Source,
    ten_crop: bool = False,
    scale: float = TESTED,
    batch_size: int = 64,
    progress: bool = False,
    output: str | None = None,
    scores: bool | str = True,
) -> Evaluation:
    """Classifies all pictures of a data set.

    Args:
        model: classifier of images (N, H, W, 3), RGB 0..255, with logits or probabilities out, one
            for each class; of two classes one for the second will do.
        dataset: pictures whose classes are the model's.
        ten_crop: whether to average the probabilities over the four corners and the centre, each
            also mirrored, instead of looking at the centre only.
        scale: pictures are resized to cover `scale` times the model's input before cropping.
        batch_size: crops to classify at a time (at least 10 are with `ten_crop`).
        progress: whether to show a progress bar.
        output: name of the output that classifies, if the model has several.
        scores: what to make of it, as in `Predictor`: True, "softmax", "sigmoid" or "raw".

    Returns:
        Evaluation with probabilities in the order of the data set.

    Raises:
        ValueError: if the model's outputs are no classes of the data set, or not finite.
    """
    classify = Classifier(model, 10 if ten_crop else 1, output, scores)
    return classify(dataset, scale, batch_size, progress)


class Classifier:
    """A model compiled to classify whole sources, again and again.

    Args:
        model: as in `evaluate`.
        crops: 1 or 10.
        output: as in `evaluate`.
        scores: as in `evaluate`.
    """

    def __init__(
        self,
        model: keras.Model,
        crops: int = 1,
        output: str | None = None,
        scores: bool | str = True,
    ) -> None:
        self._predictor = Predictor(model, (), output, scores)
        self._crops = crops
        self._shape = picture_shape(model)
        self._classify = tf.function(
            self._probabilities, input_signature=[tf.TensorSpec((None, *self._shape))]
        )

    def __call__(
        self, source: Source, scale: float = TESTED, batch_size: int = 64, progress: bool = False
    ) -> Evaluation:
        """Classifies all pictures of a source; see `evaluate`."""
        check_classes(self._shape_for(source), source)
        whole_number("batch_size", batch_size)
        pictures = max(1, batch_size // self._crops)
        height, width, channels = self._shape
        batches = evaluation_batches(
            source, (height, width), pictures, scale, self._crops == 10, channels
        )
        steps = math.ceil(source.cardinality / pictures)
        probabilities, labels = [], []
        for images, truth in tqdm(batches, "evaluating", steps, disable=not progress):
            probabilities.append(self._classify(tf.reshape(images, (-1, *self._shape))).numpy())
            labels.append(truth.numpy())
        everything = np.concatenate(probabilities)
        _check_finite(everything)
        return Evaluation(everything, np.concatenate(labels))

    def _shape_for(self, source: Source) -> tuple[int | None, ...]:
        """The shape of the scores; a probability of one of two classes tells that of both."""
        is_binary = self._predictor.classes == 1 and len(source.class_names) == 2
        is_both = is_binary and self._predictor.score_name == "probability"
        return None, 2 if is_both else self._predictor.classes

    def _probabilities(self, images: tf.Tensor) -> tf.Tensor:
        scores = self._predictor.tensors(images).scores
        if scores.shape[-1] == 1:  # of the second class
            scores = tf.concat([1 - scores, scores], 1)
        return tf.reduce_mean(tf.reshape(scores, (-1, self._crops, scores.shape[-1])), 1)


def _check_finite(probabilities: np.ndarray) -> None:
    bad = int((~np.isfinite(probabilities).all(1)).sum())
    if bad:
        raise ValueError(
            "The model's outputs must be finite numbers. "
            f"Received: nan or inf for {bad} of {len(probabilities)} pictures"
        )


def check_classes(shape: Sequence[int | None], source: Source) -> None:
    """Raises ValueError unless a model's output has one score for each class of the source."""
    if not isinstance(shape, tuple) or shape[1:] != (len(source.class_names),):
        raise ValueError(
            f"The model must have one output for each of the {len(source.class_names)} classes "
            f"of {source.name}. Received: model.output_shape={shape}"
        )
