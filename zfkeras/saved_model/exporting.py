"""`export`: a Keras classifier to a SavedModel that classifies and explains."""

import json
import os
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from zfkeras import warmup
from zfkeras.analysis.painting import rectangle
from zfkeras.data.inputs import fixed_size, picture_shape
from zfkeras.deconvnet.net import DeconvNet
from zfkeras.deconvnet.rules import Rules
from zfkeras.deprecation import renamed
from zfkeras.fitting import TESTED, check_fit
from zfkeras.graph.feature_layers import default_layer
from zfkeras.graph.heads import checked_scores
from zfkeras.graph.predictor import Predictor
from zfkeras.saved_model import pictures
from zfkeras.saved_model.publishing import publish, staged
from zfkeras.saved_model.signature import Signature
from zfkeras.saved_model.signatures import Settings, of_examples, signatures
from zfkeras.types import Json
from zfkeras.version import __version__
from zfkeras.warmup import Example

# What TensorFlow Serving cannot run: Python, and XLA (off there unless a flag turns it on).
_FORBIDDEN_OPS = ("PyFunc", "PyFuncStateless", "EagerPyFunc", "XlaLaunch")
_GRID = 14  # places a side, by default: 196 forward passes an image


@renamed(directory="folder", labels="class_names")
def export(
    model: keras.Model,
    folder: str | os.PathLike[str],
    class_names: Sequence[str] | None = None,
    layers: Sequence[str] | None = None,
    occlusion_strides: int | tuple[int, int] | None = None,
    occlusion_layer: str | None = None,
    top: int = 5,
    scale: float = TESTED,
    rule: str = "deconvnet",
    rules: Rules | None = None,
    output: str | None = None,
    scores: bool | str = True,
    softmax: bool | None = None,
    image_size: tuple[int, int] | None = None,
    fit: str = "crop",
) -> Path:
    """Writes the next version of a served model: DIRECTORY/VERSION, a SavedModel.

    It answers `classify` (also the default), `deconv` and `occlusion` for encoded pictures
    (`image_bytes`, JPEG or PNG of any size), and each as `…_pixels` for arrays. What it answers
    is what the library computes (saved_models/README.md lists inputs and outputs).

    The version is written beside the others, loaded again and asked each question once; only
    then does it get its number, in one step. If anything fails, nothing is left behind.

    Args:
        model: a net of images (N, H, W, 3), RGB 0..255, or (N, H, W, 1), grey, that ends in
            logits, probabilities or other scores (N, classes).
        folder: holds one directory per version; it is made if need be. Its name should be
            the model's, as in ``saved_models/zfnet``.
        class_names: one name per class; default: those of the weights that a net of ours was made
            with, else their numbers. Where the model gives one
            probability, that of the second of two classes, both may be named.
        layers: what `deconv` offers; default: all layers with kernels and feature
            maps that can be projected; a warning names the others.
        occlusion_strides: pixels between the occluder's places, or (down, across); default: a
            grid of about 14 x 14 places.
        occlusion_layer: the layer whose strongest feature map `occlusion` watches too; default:
            the last of `layers`.
        top: how many classes `classify` names, at most all.
        scale: pictures are resized to cover `scale` times the input before their centre is cut
            out, as `zfkeras evaluate` does.
        rule: of the deconvnet: "deconvnet", "guided" or "gradient".
        rules: your own reverse rules, as for `DeconvNet`.
        output: name of the output that classifies, if the model has several.
        scores: what to make of it, as in `Predictor`: True, "softmax", "sigmoid" or "raw". What
            are no probabilities then is answered as `scores`, not as `probabilities`.
        softmax: older than `scores`: True is "softmax", False "raw".
        image_size: (height, width) of the images, where the model leaves it open.
        fit: how pictures are brought to the net's size: "crop", "stretch" or "pad", as in
            `zfkeras.image.fit`.

    Returns:
        The path of the new version.

    Raises:
        ValueError: model, class names, layers, strides, `top` or `scale` do not fit.
        OSError: the folder cannot be written.

    Example:
        >>> tiny = keras.Sequential([keras.Input((9, 8, 3)), keras.layers.Conv2D(2, 3, name="c"),
        ...     keras.layers.ReLU(), keras.layers.Flatten(), keras.layers.Dense(3)])
        >>> folder = tempfile.TemporaryDirectory()
        >>> export(tiny, folder.name, ["cat", "dog", "fish"]).name
        '1'
        >>> folder.cleanup()
    """
    directory = Path(folder)
    class_names = class_names or getattr(model, "class_names", None)
    scores = checked_scores(scores, softmax)
    model = fixed_size(model, image_size)
    predictor, shape = Predictor(model, (), output, scores), picture_shape(model)
    classes, deconv = _classes(predictor, shape), DeconvNet(model, rule=rule, rules=rules)
    asked = [layers] if isinstance(layers, str) else layers
    names = _with_kernels(deconv) if asked is None else list(asked)
    usual = names[-1] if asked else default_layer(model, output)
    watched = [name for name in [occlusion_layer or usual] if name]
    _check_layers(watched, _with_maps(deconv))
    settings = Settings(
        labels=_labels(class_names, predictor),
        layers=_layers(deconv, names, required=asked is not None),
        occlusion_strides=_strides(occlusion_strides, shape[:2]),
        occlusion_layer=watched[0],
        top=_top(top, classes),
        scale=_scale(scale),
        output=output,
        scores=scores,
        fit=fit,
    )
    check_fit(fit)
    answered = signatures(model, deconv, settings)
    with staged(directory) as staging:
        _save(model, answered, settings, _metadata(predictor, model, settings), staging)
        warmup.write(staging, directory.name, _requests(answered, shape))
        _check_ops(staging)
        _replay(staging)
        return publish(staging, directory)


# --- What to export


def _top(top: int, classes: int) -> int:
    if top < 1:
        raise ValueError(f"At least one class must be named. Received: top={top}")
    return min(top, classes)


def _scale(scale: float) -> float:
    if not 1 <= scale <= 4:
        raise ValueError(f"The scale must lie in 1..4. Received: scale={scale}")
    return float(scale)


def _classes(predictor: Predictor, shape: tuple[int, int, int]) -> int:
    """How many scores there are; they are asked for, as their form may not suit."""
    images = tf.TensorSpec([None, *shape])
    ask = tf.function(predictor.tensors, input_signature=[images], autograph=False)
    return ask.get_concrete_function().structured_outputs.scores.shape[1]


def _labels(labels: Sequence[str] | None, predictor: Predictor) -> list[str]:
    if labels is None:
        return [str(number) for number in range(predictor.classes or 0)]
    names = [labels] if isinstance(labels, str) else list(labels)
    wrong = [name for name in names if not isinstance(name, str) or "\n" in name]
    if wrong:
        raise ValueError(
            "The labels do not fit the model. Expected each to be a string of one line. "
            f"Received: {len(names)} labels, among them {wrong[0]!r}"
        )
    return list(predictor.class_names(names) or ())


def _layers(deconv: DeconvNet, names: Sequence[str], required: bool) -> list[str]:
    """Those of some layers that can be projected; all of them, if they are `required`."""
    maps = _with_maps(deconv)
    _check_layers(names, maps)
    reasons = {name: deconv.why_not(name) for name in names}
    barred = [name for name, reason in reasons.items() if reason]
    able = [name for name in names if name not in barred]
    if barred and (required or not able):
        offered = [name for name in maps if not deconv.why_not(name)]
        raise ValueError(
            f"Layer '{barred[0]}' can't be exported: {reasons[barred[0]]} Expected layers that can "
            f"be projected, here {', '.join(offered) or 'none'}, or another rule= or rules=. "
            f"Received: layers={list(names)}"
        )
    if barred:
        warnings.warn(
            f"The export offers {', '.join(able)}, but not {', '.join(barred)}: "
            f"{reasons[barred[0]].partition(';')[0]}. Another rule= (--rule) or rules= may.",
            stacklevel=4,
        )
    return able


def _with_maps(deconv: DeconvNet) -> list[str]:
    graph = deconv.graph
    return [name for name in deconv.layers if len(graph.shapes[graph.find(name)]) == 4]


def _with_kernels(deconv: DeconvNet) -> list[str]:
    """The layers whose feature maps kernels make."""
    maps = _with_maps(deconv)
    return [
        step.path
        for step in deconv.graph.steps
        if step.path in maps
        and any("kernel" in weight.name for weight in getattr(step.operation, "weights", []))
    ]


def _check_layers(names: Sequence[str], maps: Sequence[str]) -> None:
    if not names or not set(names) <= set(maps):
        raise ValueError(
            f"The layers cannot be exported. Expected one or more of those with feature maps: "
            f"{', '.join(maps)}. Received: layers={list(names)}"
        )


def _strides(strides: int | tuple[int, int] | None, size: tuple[int, int]) -> tuple[int, int]:
    if strides is None:
        strides = (-(-size[0] // _GRID), -(-size[1] // _GRID))
    pair = rectangle("occlusion_strides", strides)
    if max(pair) > max(size):
        raise ValueError(
            f"The strides step over the image of {size[0]} x {size[1]} pixels. "
            f"Received: occlusion_strides={strides}"
        )
    return pair


# --- Writing it


def _save(
    model: keras.Model,
    answered: Sequence[Signature],
    settings: Settings,
    metadata: Json,
    path: Path,
) -> None:
    root = tf.Module()
    # Only the plain variables: Keras 3.15 writes each twice if the model itself is tracked
    # (keras-team/keras#23553), and an optimizer's slots have no place in a served file.
    root.weights = [variable.value for variable in model.variables]
    with tempfile.TemporaryDirectory() as folder:
        files = {"labels.txt": "\n".join(settings.labels) + "\n", "zfkeras.json": ""}
        files["zfkeras.json"] = json.dumps(metadata, indent=1)
        for name, text in files.items():
            (Path(folder) / name).write_text(text, encoding="utf-8")
        root.files = [tf.saved_model.Asset(str(Path(folder) / name)) for name in files]
        functions: Json = {}
        shape = picture_shape(model)
        read = pictures.reader(shape, settings.scale, settings.fit)
        for signature in answered:
            functions |= signature.served(shape, read)
        functions["serving_default"] = functions[answered[0].name]
        functions["classify_examples"] = of_examples(answered[0], shape, read)
        tf.saved_model.save(root, str(path), signatures=functions)


def _metadata(predictor: Predictor, model: keras.Model, settings: Settings) -> Json:
    """What a client may want to know before it asks."""
    return {
        "zfkeras": __version__,
        "tensorflow": tf.__version__,
        "model": model.name,
        "parameters": model.count_params(),
        "input_size": list(picture_shape(model)[:2]),
        "channels": picture_shape(model)[2],
        "scale": settings.scale,
        "fit": settings.fit,
        "classes": len(settings.labels),
        "score_name": predictor.score_name,
        "layers": settings.layers,
        "occlusion_strides": list(settings.occlusion_strides),
        "occlusion_layer": settings.occlusion_layer,
    }


def _requests(answered: Sequence[Signature], shape: tuple[int, int, int]) -> list[Example]:
    """Requests of one image: every example of each signature, and one for arrays.

    One image each: with batching on, a server may allow no more.
    """
    grey = tf.fill(shape, tf.constant(128, tf.uint8))
    image = {"image_bytes": np.array([tf.io.encode_png(grey).numpy()], object)}
    array = {"pixels": np.full((1, *shape), 128, np.float32)}
    example = tf.train.Example()
    example.features.feature["image/encoded"].bytes_list.value.extend(image["image_bytes"])
    examples = {"inputs": np.array([example.SerializeToString()], object)}
    requests: list[Example] = [("serving_default", image), ("classify_examples", examples)]
    for signature in answered:
        requests += [(signature.name, {**image, **example}) for example in signature.examples]
        requests.append((f"{signature.name}_pixels", {**array, **signature.examples[0]}))
    return requests


# --- Checking it


def _check_ops(path: Path) -> None:
    saved = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
    graph = saved.meta_graphs[0].graph_def
    nodes = [*graph.node, *(n for function in graph.library.function for n in function.node_def)]
    found = {node.op for node in nodes}.intersection(_FORBIDDEN_OPS)
    xla = any(function.attr["_XlaMustCompile"].b for function in graph.library.function)
    if found or xla:
        raise ValueError(
            "The model cannot be served: TensorFlow Serving runs neither Python functions nor "
            f"XLA. Received: a model with {', '.join(found) or 'jit_compile=True'}"
        )


def _replay(path: Path) -> None:
    """Loads the file as a server would and asks each signature once."""
    loaded = tf.saved_model.load(str(path))
    for signature, inputs in warmup.read(path):
        loaded.signatures[signature](**{name: tf.constant(v) for name, v in inputs.items()})
