"""See what a Keras convnet has learned, after Zeiler & Fergus (arXiv 1311.2901).

Names are loaded on first use (PEP 562), so that ``zfkeras --help`` answers before
TensorFlow, which takes seconds, is imported.
"""

import importlib
from typing import Any

from zfkeras.version import __version__

_HOME = {
    "AlexNet": "models.alexnet",
    "Client": "client",
    "Correspondence": "analysis.correspondence",
    "DeconvNet": "deconvnet.net",
    "Faithfulness": "analysis.faithfulness",
    "FeatureEvolution": "analysis.evolution",
    "FilterRMS": "constraints",
    "FilterStatistics": "analysis.filters",
    "Invariance": "analysis.invariance",
    "LocalResponseNormalization": "layers",
    "MaxPoolWithArgmax2D": "layers",
    "MaxUnpool2D": "layers",
    "Occluder": "analysis.occlusion",
    "Occlusion": "analysis.occlusion_result",
    "PixelMean": "layers",
    "Predictor": "graph.predictor",
    "Projection": "deconvnet.net",
    "ReceptiveField": "regions.receptive_field",
    "TopActivations": "analysis.strongest",
    "UnitProjections": "deconvnet.local",
    "ZFNet": "models.zfnet",
    "check_model": "analysis.checks",
    "correspondence": "analysis.correspondence",
    "evaluate": "training.evaluation",
    "explanations": "analysis.explanations",
    "export": "saved_model",
    "faithfulness": "analysis.faithfulness",
    "filter_statistics": "analysis.filters",
    "from_tfds": "data.sources",
    "generated": "data.generated",
    "image_folder": "data.folders",
    "invariance": "analysis.invariance",
    "iterate_units": "deconvnet.net",
    "load_model": "models.loading",
    "occlusion": "analysis.occlusion",
    "project_units": "deconvnet.net",
    "receptive_field": "graph.receptive_fields",
    "recipe": "training.recipes",
    "top_activations": "analysis.top_activations",
    "train": "training.fit",
    "write_atlas": "atlas",
}

__all__ = ["__version__", *_HOME]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'zfkeras' has no attribute {name!r}")
    return getattr(importlib.import_module(f"zfkeras.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
