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
    "DeconvNet": "deconvnet",
    "FilterRMS": "constraints",
    "LocalResponseNormalization": "layers",
    "MaxPoolWithArgmax2D": "layers",
    "MaxUnpool2D": "layers",
    "Occlusion": "analysis.occlusion",
    "PixelMean": "layers",
    "Projection": "deconvnet",
    "ReceptiveField": "geometry",
    "ZFNet": "models.zfnet",
    "export": "saved_model",
    "load_model": "models.loading",
    "occlusion": "analysis.occlusion",
    "receptive_field": "graph",
}

__all__ = ["__version__", *_HOME]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'zfkeras' has no attribute {name!r}")
    return getattr(importlib.import_module(f"zfkeras.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
