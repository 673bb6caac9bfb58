"""The web application: TensorFlow Serving's REST API."""

import asyncio
import json
import logging
import time
from collections.abc import Iterable
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from zfkeras.server import answers, paths
from zfkeras.server.access import Access
from zfkeras.server.body import read_body
from zfkeras.server.errors import ServingError
from zfkeras.server.limits import Job, Limits, Queue, Room, timed_out
from zfkeras.server.metrics import Metrics
from zfkeras.server.page import index_page
from zfkeras.server.versions import Model

_log = logging.getLogger(__name__)
_READING = 1e-8  # seconds a byte of JSON, about


def create_app(
    models: Iterable[Model],
    limits: Limits | None = None,
    access: Access | None = None,
    metrics_path: str | None = None,
) -> ASGIApp:
    """Builds the application; polling the models is the caller's business.

    Args:
        models: the models to serve.
        limits: what it bears.
        access: who may ask.
        metrics_path: where Prometheus finds metrics; None: nowhere.

    Returns:
        An ASGI application.
    """
    return _App(list(models), limits or Limits(), access or Access(), metrics_path)


class _App:
    """The application; the arguments are those of `create_app`."""

    def __init__(
        self, models: list[Model], limits: Limits, access: Access, metrics_path: str | None
    ) -> None:
        self._models = {model.config.name: model for model in models}
        self._limits, self._access, self._metrics_path = limits, access, metrics_path
        self._metrics = Metrics()
        self._room = Room(limits.bodies)
        self._reading = Queue("documents to read", limits.connections, threads=1)
        self._queues = {
            name: Queue(f"model {name}", limits.queue, limits.threads) for name in self._models
        }  # fmt: skip

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request of an ASGI server."""
        request = Request(scope, receive)
        response = await self._response(request)
        response.headers.update(self._access.headers)
        try:
            async with asyncio.timeout(self._limits.timeout):
                await response(scope, receive, send)
        except TimeoutError:
            _log.warning("A client did not read its answer to %s", request.url.path)

    async def _response(self, request: Request) -> Response:
        try:
            return await self._answer(request)
        except ServingError as error:
            return _refusal(error)
        except Exception:
            _log.exception("%s %s failed", request.method, request.url.path)
            return _refusal(ServingError("Internal error; the server's log has it", "INTERNAL"))

    async def _answer(self, request: Request) -> Response:
        path = paths.of(request.scope)
        if request.method == "OPTIONS" and path.lower().startswith("/v1/"):
            origin = request.headers.get("origin", "")
            return Response(None, 200 if origin.startswith(("http://", "https://")) else 400)
        self._access.check(request.headers)
        if path == "/" and request.method == "GET":
            return HTMLResponse(index_page(self._models.values()))
        if path == self._metrics_path and request.method in ("GET", "POST"):
            return Response(self._metrics.text(), media_type="text/plain")
        if not path.lower().startswith("/v1/"):
            return _json({"error": f"Not found: {path}"}, 404)
        asked = paths.parse(request.method, path)
        if asked.version is not None and asked.version >= 2**63:
            return Response(None, 400)  # as TensorFlow Serving does: it makes no error of it
        if asked.method in paths.METHODS:
            return await self._counted(request, asked)
        show = answers.metadata if asked.method == "metadata" else answers.status
        return _json(show(self._models, asked))

    async def _counted(self, request: Request, asked: paths.Asked) -> Response:
        """The answer of a model, with its status and time among the metrics."""
        started, status = time.monotonic(), "INTERNAL"
        try:
            response = await self._ask(request, asked)
            status = "OK"
            return response
        except ServingError as error:
            status = error.code
            raise
        finally:
            if asked.name in self._models:
                seconds = time.monotonic() - started
                self._metrics.request(asked.name, asked.method, status, seconds)

    async def _ask(self, request: Request, asked: paths.Asked) -> Response:
        with self._room.holding() as take:
            body = await read_body(request, self._limits, take)
            job = Job(self._limits.timeout)
            work = asyncio.ensure_future(self._work(job, asked, body))
            return _json(await _while_wanted(request, job, work))

    async def _work(self, job: Job, asked: paths.Asked, body: bytes) -> bytes:
        """Reads, then asks: two queues, so that a long document holds up no model."""
        read = self._reading.submit(
            lambda: answers.read(self._models, asked, body, job), lambda: _READING * len(body)
        )
        call = await asyncio.wrap_future(read)

        def run() -> bytes:
            job.check()
            started = time.monotonic()
            answer = call.answer(job)
            self._metrics.run(asked.name, asked.method, time.monotonic() - started)
            return answer

        return await asyncio.wrap_future(self._queues[asked.name].submit(run, call.cost))


async def _while_wanted(request: Request, job: Job, work: "asyncio.Future[bytes]") -> bytes:
    """The result of some work, which ends when time is up or the client has gone."""
    gone = asyncio.ensure_future(_until_gone(request))
    both: list[asyncio.Future[Any]] = [work, gone]
    try:
        done, _ = await asyncio.wait(both, timeout=job.left(), return_when="FIRST_COMPLETED")
        if work in done:
            return work.result()
        error = ServingError("The client has gone", "CANCELLED") if done else timed_out()
        job.stop(error)
        raise error
    except asyncio.CancelledError:
        job.stop(ServingError("The server ends", "UNAVAILABLE"))
        raise
    finally:
        work.cancel()
        gone.cancel()


async def _until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _refusal(error: ServingError) -> Response:
    response = _json({"error": error.message}, error.http_status)
    if error.retry_after is not None:
        response.headers["Retry-After"] = str(error.retry_after)
    if error.closes:
        response.headers["Connection"] = "close"
    return response


def _json(content: object, status: int = 200) -> Response:
    if not isinstance(content, bytes):
        content = json.dumps(content, indent=1).encode()
    return Response(content, status, media_type="application/json")
