"""Clients of TensorFlow Serving's REST API for models that `zfkeras.export` wrote.

They need neither TensorFlow nor a particular server: TensorFlow Serving and ``zfkeras serve``
answer them alike.
"""

from zfkeras.client.client import AsyncClient, Client
from zfkeras.client.errors import RequestRefused, ServerError, ServerTimeout, UnexpectedAnswer
from zfkeras.client.results import Classification, Deconvolution, OcclusionMap

__all__ = [
    "AsyncClient",
    "Classification",
    "Client",
    "Deconvolution",
    "OcclusionMap",
    "RequestRefused",
    "ServerError",
    "ServerTimeout",
    "UnexpectedAnswer",
]
