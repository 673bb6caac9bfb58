"""What an exported model answers: the library's own functions, traced."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import keras
import tensorflow as tf

from zfkeras.analysis.incremental.sweep import Sweep
from zfkeras.data.inputs import picture_shape
from zfkeras.deconvnet.net import DeconvNet
from zfkeras.graph.predictor import Predictor
from zfkeras.saved_model.forward import Forward
from zfkeras.saved_model.occluding import IMAGES_AT_ONCE, Occluder, occlusion_signature
from zfkeras.saved_model.projecting import deconv_signature
from zfkeras.saved_model.signature import Function, Signature, Tensors, rows


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
        output: name of the output that classifies; None: the only one.
        scores: what to make of it, as in `Predictor`.
        fit: how pictures are brought to the net's size.
    """

    labels: Sequence[str]
    layers: list[str]
    occlusion_strides: tuple[int, int]
    occlusion_layer: str
    top: int
    scale: float
    output: str | None = None
    scores: bool | str = True
    fit: str = "crop"


def signatures(model: keras.Model, deconv: DeconvNet, settings: Settings) -> list[Signature]:
    """All that an export answers; a new signature is one more in this list.

    Args:
        model: a Keras classifier of images.
        deconv: its deconvnet.
        settings: what the export fixes.
    """
    shape = picture_shape(model)
    size = shape[:2]
    layers = [settings.occlusion_layer]
    forward = Forward(Predictor(model, layers, settings.output, settings.scores), shape)
    occluder = Occluder(size, settings.occlusion_strides)
    return [
        classify_signature(forward, settings.labels, settings.top),
        deconv_signature(model, deconv, settings.layers, size),
        occlusion_signature(
            forward, settings.labels, occluder, usual_sweep(model, occluder, settings)
        ),
    ]


def usual_sweep(model: keras.Model, occluder: Occluder, settings: Settings) -> Sweep | None:
    """The incremental sweep of the occluder's usual size; None where the plain way is no slower."""
    rows, columns = occluder.centres
    side = occluder.usual
    sweep = Sweep(
        model,
        occluder.size,
        rows,
        columns,
        (side, side),
        settings.occlusion_layer,
        batch_size=IMAGES_AT_ONCE,
        output=settings.output,
    )
    plain = len(rows) * len(columns) * sweep.planner.plain_price()
    return sweep if sweep.planner.price() < plain else None


def of_examples(
    classify: Signature, shape: tuple[int, int, int], read: Callable[[tf.Tensor], tf.Tensor]
) -> Function:
    """`classify` in the form of TensorFlow Serving's ``:classify``, as a function to save.

    Args:
        classify: The signature.
        shape: (height, width, channels) of the images.
        read: Makes images of encoded pictures; a `pictures.reader`.

    Returns:
        A function of serialized tf.Examples [N] whose feature "image/encoded" is a JPEG or PNG.
    """

    def answer(inputs: tf.Tensor) -> Tensors:
        features = {"image/encoded": tf.io.FixedLenFeature([], tf.string)}
        files = tf.io.parse_example(tf.ensure_shape(inputs, (None,)), features)["image/encoded"]
        found = classify.function(tf.ensure_shape(read(files), (None, *shape)))
        (scores,) = (found[name] for name in ("probabilities", "scores") if name in found)
        return {"classes": found["classes"], "scores": scores}

    return tf.function(answer, [rows("inputs", tf.string)], autograph=False)


def classify_signature(forward: Forward, labels: Sequence[str], top: int) -> Signature:
    """The best classes, best first.

    Args:
        forward: The net.
        labels: One name per class.
        top: How many classes.
    """

    def classify(images: tf.Tensor) -> Tensors:
        scores, ids = tf.math.top_k(forward(images)[0], top)
        names = tf.gather(tf.constant(labels), ids)
        return {"classes": names, "class_ids": ids, forward.predictor.scores_name: scores}

    return Signature("classify", classify)
