"""Saliency, SmoothGrad, Grad-CAM, Grad-CAM++ and Score-CAM for any Functional or Sequential model.

The maps are tf-keras-vis'. On Keras 3 it fails on
Sequential and nested models; here it is handed a flat copy that ends in logits, so that it works
on both, and never on the user's own model.
"""

import importlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from zfkeras.data.inputs import Floats
from zfkeras.graph.copies import FlatCopy, copied_path
from zfkeras.graph.feature_layers import convolutions, default_layer
from zfkeras.graph.walking import walk
from zfkeras.validate import choice

_TOOLS = {  # tf-keras-vis' modules and classes
    "saliency": ("saliency", "Saliency"),
    "smoothgrad": ("saliency", "Saliency"),
    "gradcam": ("gradcam", "Gradcam"),
    "gradcam++": ("gradcam_plus_plus", "GradcamPlusPlus"),
    "scorecam": ("scorecam", "Scorecam"),
}
BASELINES = tuple(_TOOLS)


class Baseline:
    """One of tf-keras-vis' methods, made ready for a model.

    Args:
        flat: A copy of a classifier up to its logits.
        method: "saliency", "smoothgrad", "gradcam", "gradcam++" or "scorecam".
        layer: For the last three: the layer whose maps are weighted; default: the last
            convolution.
        samples: Noisy images of SmoothGrad.
        noise: Their noise's standard deviation over the image's range.
        maps: Score-CAM tries only so many of the layer's maps, those that vary most.
        seed: Of SmoothGrad's noise.
        batch_size: Of Score-CAM's forward passes.

    Raises:
        ValueError: An unknown method or layer.
    """

    def __init__(
        self,
        flat: FlatCopy,
        method: str,
        layer: str | None = None,
        samples: int = 20,
        noise: float = 0.2,
        maps: int = 64,
        seed: int = 0,
        batch_size: int = 32,
    ) -> None:
        choice("method", method, BASELINES)
        self._copy = flat
        self._seed = seed
        self._tool = _tool(method)(self._copy.model, clone=False)
        self._options: dict[str, Any] = {"normalize_map": False}
        if method == "smoothgrad":
            self._options |= {"smooth_samples": samples, "smooth_noise": noise}
        if "cam" in method:
            weighed, depth = self._find(layer)
            self._options = {"normalize_cam": False, "penultimate_layer": weighed.name}
        if method == "scorecam":
            self._options |= {"max_N": min(maps, depth), "batch_size": batch_size}

    def __call__(self, images: Floats, classes: NDArray[np.int64]) -> Floats:
        """Heat maps (N, H, W) for one class of each image, as they are: not scaled."""
        score = importlib.import_module("tf_keras_vis.utils.scores").CategoricalScore
        self._copy.refresh()
        with _quiet(), _seeded(self._seed):
            # One by one: Score-CAM picks its maps over the batch and holds an image for each.
            found = [
                np.asarray(self._tool(score([int(number)]), image[None], **self._options))[0]
                for image, number in zip(images, classes, strict=True)
            ]
        return np.stack(found).astype(np.float32)

    def _find(self, layer: str | None) -> tuple[keras.Layer, int]:
        """The convolution of the copy whose maps a CAM weighs, and how many there are."""
        model = self._copy.model
        path = default_layer(model) if layer is None else copied_path(layer)
        if path not in convolutions(model):
            raise ValueError(
                "A CAM needs a convolution to weigh the maps of, by default the last of more than "
                f"one place. Received: model={model.name!r}, layer={layer!r}"
            )
        graph = walk(model)
        step = next(step for step in graph.steps if step.path == path)
        return step.operation, int(graph.shapes[step.outputs[0]][-1] or 1)


def _tool(method: str) -> Any:
    """tf-keras-vis' class, imported when it is needed."""
    module, name = _TOOLS[method]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it imports names that SciPy and Keras gave up
        return getattr(importlib.import_module(f"tf_keras_vis.{module}"), name)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Keras' progress bars, which Score-CAM would show."""
    shown = keras.utils.is_interactive_logging_enabled()
    keras.utils.disable_interactive_logging()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        if shown:
            keras.utils.enable_interactive_logging()


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """SmoothGrad draws from NumPy's global generator: seeds it, and puts it back as it was."""
    state = np.random.get_state()  # noqa: NPY002
    np.random.seed(seed)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(state)  # noqa: NPY002
