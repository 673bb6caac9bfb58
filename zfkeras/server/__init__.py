"""A local server with TensorFlow Serving's REST contract: predict, status, metadata, versions.

It stands in for TensorFlow Serving where that cannot be installed: the same URLs, JSON and
messages, the same version directories and reload. Production belongs to the real one
(``serving/`` in the repository).
"""

from zfkeras.server.app import create_app
from zfkeras.server.config import ModelConfig, read_config, read_monitoring
from zfkeras.server.limits import Limits
from zfkeras.server.run import Server, serving
from zfkeras.server.versions import Model

__all__ = [
    "Limits",
    "Model",
    "ModelConfig",
    "Server",
    "create_app",
    "read_config",
    "read_monitoring",
    "serving",
]
