"""What a URL asks, by TensorFlow Serving's patterns."""

import re
from dataclasses import dataclass
from urllib.parse import unquote

from starlette.types import Scope

from zfkeras.server.errors import ServingError

METHODS = ("predict", "classify", "regress")
_MODEL = r"/v1/models/(?P<name>[^/:]+)(?:/versions/(?P<version>[0-9]+)|/labels/(?P<label>[^/:]+))?"
_ASK = re.compile(rf"(?i:{_MODEL}):(?P<method>predict|classify|regress)")
_LOOK = re.compile(rf"(?i:{_MODEL}(?:/(?P<method>metadata))?)")
_DIGITS = 19  # of the largest version there is


@dataclass(frozen=True)
class Asked:
    """What a URL asks.

    Attributes:
        name: of the model.
        method: "predict", "classify", "regress", "metadata" or "status".
        version, label: which version; None: any.
    """

    name: str
    method: str
    version: int | None
    label: str | None


def of(scope: Scope) -> str:
    """The path as sent, with the query: TensorFlow Serving matches its patterns on both."""
    path = scope.get("raw_path") or scope["path"].encode()
    query = scope["query_string"]
    return (path + (b"?" + query if query else b"")).decode("latin-1")


def parse(method: str, path: str) -> Asked:
    """What a request asks.

    Raises:
        ServingError: nothing that there is.
    """
    pattern = {"POST": _ASK, "GET": _LOOK}.get(method)
    if pattern and (match := pattern.fullmatch(path)):
        return _asked(match)
    if method == "GET" and path.lower() == "/v1/models":
        raise ServingError("Missing model name in request.")
    raise ServingError(f"Malformed request: {method} {path}")


def _asked(match: re.Match[str]) -> Asked:
    version = match["version"] and match["version"].lstrip("0")[: _DIGITS + 1]
    return Asked(
        name=unquote(match["name"]),
        method=(match["method"] or "status").lower(),
        version=int(version or 0) if match["version"] else None,
        label=unquote(match["label"]) if match["label"] else None,
    )
