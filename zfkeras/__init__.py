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
    "CoarseSearch": "analysis.occlusion_result",
    "Correspondence": "analysis.correspondence",
    "DeconvNet": "deconvnet.net",
    "Evaluation": "training.evaluation",
    "Explanations": "analysis.explanations",
    "Faithfulness": "analysis.faithfulness",
    "FeatureEvolution": "analysis.evolution",
    "FilterRMS": "constraints",
    "FilterStatistics": "analysis.filters",
    "Invariance": "analysis.invariance",
    "LocalResponseNormalization": "layers",
    "MapStatistics": "analysis.map_statistics",
    "MaxPoolWithArgmax2D": "layers",
    "MaxUnpool2D": "layers",
    "Occluder": "analysis.occlusion",
    "Occlusion": "analysis.occlusion_result",
    "PixelMean": "layers",
    "Predictor": "graph.predictor",
    "Projection": "deconvnet.net",
    "ReceptiveField": "regions.receptive_field",
    "Result": "results",
    "Rule": "deconvnet.rules",
    "Settings": "analysis.explanations",
    "Snapshot": "analysis.evolution",
    "TopActivations": "analysis.strongest",
    "UnitProjections": "deconvnet.local",
    "WatchedMap": "analysis.occlusion_result",
    "WatchedScores": "analysis.occlusion_result",
    "Winners": "atlas.projecting",
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
    "load_evolution": "analysis.evolution",
    "load_landmarks": "analysis.landmarks",
    "load_model": "models.loading",
    "load_results": "results",
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
