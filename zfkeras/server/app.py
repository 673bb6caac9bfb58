"""The web application: TensorFlow Serving's REST API for predict, status and metadata."""

import json
import re
import zlib
from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from tensorflow.core.framework import types_pb2

from zfkeras.server import json_request, json_response
from zfkeras.server.errors import ServingError
from zfkeras.server.page import index_page
from zfkeras.server.servable import Servable
from zfkeras.server.versions import Model
from zfkeras.types import Json

_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
_MODEL = r"/v1/models/(?P<name>[^/:]+)(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?"
_PREDICT = re.compile(rf"(?i:{_MODEL}):predict")
_STATUS = re.compile(rf"(?i:{_MODEL}(?P<metadata>/metadata)?)")
_MAX_INFLATED = 100 << 20
_GZIP = 31  # zlib's window bits for a gzip container


def create_app(models: Iterable[Model]) -> Starlette:
    """Builds the application; polling the models is the caller's business.

    Args:
        models: the models to serve.

    Returns:
        An ASGI application.
    """
    by_name = {model.config.name: model for model in models}

    async def index(_: Request) -> Response:
        return HTMLResponse(index_page(by_name.values()))

    async def dispatch(request: Request) -> Response:
        try:
            return await _answer(by_name, request)
        except ServingError as error:
            return _json({"error": error.message}, error.http_status)

    every_path = Route("/{path:path}", dispatch, methods=_METHODS)
    return Starlette(routes=[Route("/", index, methods=["GET"]), every_path])


async def _answer(models: dict[str, Model], request: Request) -> Response:
    path = _path(request)
    if not path.lower().startswith("/v1/"):
        return Response("Not found", 404)
    if request.method == "POST" and (match := _PREDICT.fullmatch(path)):
        body = _inflate(await request.body(), request.headers.get("content-encoding", ""))
        # TensorFlow would block the event loop, and with it every status request.
        return await run_in_threadpool(_predict, models, match, body)
    if request.method == "GET" and (match := _STATUS.fullmatch(path)):
        return (_metadata if match["metadata"] else _status)(models, match)
    if request.method == "GET" and path.lower() == "/v1/models":
        raise ServingError("Missing model name in request.")
    raise ServingError(f"Malformed request: {request.method} {path}")


def _path(request: Request) -> str:
    """The path as sent, with the query: TensorFlow Serving matches its patterns on both."""
    path = request.scope.get("raw_path") or request.url.path.encode()
    query = request.scope["query_string"]
    return (path + (b"?" + query if query else b"")).decode("latin-1")


def _inflate(body: bytes, encoding: str) -> bytes:
    if "gzip" not in encoding:
        return body
    inflater = zlib.decompressobj(_GZIP)
    try:
        inflated = inflater.decompress(body, _MAX_INFLATED)
    except zlib.error:
        return b""  # which the parser reports as an empty document, as TensorFlow Serving does
    return inflated if inflater.eof else b""


def _model(models: dict[str, Model], match: re.Match[str]) -> Model:
    name = unquote(match["name"])
    if name not in models:
        version = match["version"]
        what = f"Specific({name}, {version})" if version else f"Latest({name})"
        raise ServingError(f"Servable not found for request: {what}", "NOT_FOUND")
    return models[name]


def _servable(models: dict[str, Model], match: re.Match[str]) -> tuple[int, Servable]:
    version = int(match["version"]) if match["version"] else None
    label = unquote(match["label"]) if match["label"] else None
    return _model(models, match).servable(version, label)


def _predict(models: dict[str, Model], match: re.Match[str], body: bytes) -> Response:
    document = json_request.parse(body)
    signature = json_request.signature_name(document)
    _, servable = _servable(models, match)
    inputs = json_request.tensors(document, servable.inputs(signature))
    outputs = servable.predict(signature, inputs)
    return _json(json_response.render(outputs, row="instances" in document))


def _status(models: dict[str, Model], match: re.Match[str]) -> Response:
    name = unquote(match["name"])
    states = models[name].states() if name in models else {}
    if not states:
        raise ServingError(f"Could not find any versions of model {name}", "NOT_FOUND")
    if match["version"]:
        version = int(match["version"])
        if version not in states:
            raise ServingError(f"Could not find version {version} of model {name}", "NOT_FOUND")
        states = {version: states[version]}
    return _json(
        {
            "model_version_status": [
                {
                    "version": str(version),
                    "state": state.state,
                    "status": {
                        "error_code": state.error_code,
                        "error_message": state.error_message,
                    },
                }
                for version, state in states.items()
            ]
        }
    )


def _metadata(models: dict[str, Model], match: re.Match[str]) -> Response:
    version, servable = _servable(models, match)
    signatures = {name: _signature(d) for name, d in servable.signature_defs.items()}
    spec = {"name": unquote(match["name"]), "signature_name": "", "version": str(version)}
    metadata = {"signature_def": {"signature_def": signatures}}
    return _json({"model_spec": spec, "metadata": metadata})


def _signature(definition: Any) -> Json:
    return {
        "inputs": {name: _tensor(info) for name, info in definition.inputs.items()},
        "outputs": {name: _tensor(info) for name, info in definition.outputs.items()},
        "method_name": definition.method_name,
        "defaults": {},
    }


def _tensor(info: Any) -> Json:
    shape = info.tensor_shape
    return {
        "dtype": types_pb2.DataType.Name(info.dtype),
        "tensor_shape": {
            "dim": [{"size": str(dim.size), "name": dim.name} for dim in shape.dim],
            "unknown_rank": shape.unknown_rank,
        },
        "name": info.name,
    }


def _json(content: object, status: int = 200) -> Response:
    body = content if isinstance(content, bytes) else json.dumps(content, indent=1).encode()
    return Response(body, status, media_type="application/json")
