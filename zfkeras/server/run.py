"""Running the server: polling in the background, uvicorn in front."""

import contextlib
import math
import socket
import threading
import time
from collections.abc import Iterator, Sequence

import uvicorn

from zfkeras.server.access import Access
from zfkeras.server.app import create_app
from zfkeras.server.config import ModelConfig
from zfkeras.server.connections import protocol
from zfkeras.server.limits import Limits
from zfkeras.server.versions import Model, versions_in

_MOST_PORT = 65535
_POLLER_ENDS = 1  # seconds to wait for it; it may be loading a version
_KEEP_ALIVE = 60  # seconds that a connection may rest between requests


def _bind(host: str, port: int) -> socket.socket:
    """Takes the port without listening: until the models are up, clients are refused."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With protocol 0, asyncio would not take it for TCP and leave Nagle's algorithm on: 40 ms.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise OSError(f"Cannot listen: {error}. Received: host={host!r}, port={port}") from error
    return bound


class Server:
    """A local server with TensorFlow Serving's REST API.

    Args:
        configs: the models to serve.
        host: the address to listen on.
        port: the port; 0 takes a free one.
        poll_seconds: how often to look for new versions.
        limits: what it bears.
        cors: whether pages of every origin may ask.
        metrics_path: where Prometheus finds metrics; None: nowhere.

    Raises:
        ValueError: a model has versions, but none of them loads.
        OSError: the port is taken.
    """

    def __init__(
        self,
        configs: Sequence[ModelConfig],
        host: str = "127.0.0.1",
        port: int = 8501,
        poll_seconds: float = 1.0,
        limits: Limits | None = None,
        cors: bool = False,
        metrics_path: str | None = None,
    ):
        limits = limits or Limits()
        if not 0 <= port <= _MOST_PORT:
            raise ValueError(f"The port must lie in 0..{_MOST_PORT}. Received: port={port}")
        if poll_seconds <= 0:
            raise ValueError(
                f"Seconds between polls must be above 0. Received: poll_seconds={poll_seconds}"
            )
        self._models = [Model(config) for config in configs]
        self._poll_seconds = poll_seconds
        self._stopped = threading.Event()
        self._socket = _bind(host, port)
        self._uvicorn = uvicorn.Server(
            uvicorn.Config(
                create_app(self._models, limits, Access(host, cors), metrics_path),
                http=protocol(limits),
                ws="none",
                log_level="warning",
                lifespan="off",
                server_header=False,
                timeout_keep_alive=_KEEP_ALIVE,
                timeout_graceful_shutdown=math.ceil(limits.grace),
            )
        )
        try:
            self._first_poll()
        except BaseException:
            self._socket.close()
            raise

    @property
    def url(self) -> str:
        """Where the server listens."""
        host, port = self._socket.getsockname()[:2]
        return f"http://{host}:{port}"

    def _first_poll(self) -> None:
        for model in self._models:
            model.poll()
            broken = {v: s.error_message for v, s in model.states().items() if s.state == "END"}
            if broken and len(broken) == len(versions_in(model.config.base_path)):
                raise ValueError(
                    f"No version of model {model.config.name!r} loads; one complete SavedModel is "
                    f"needed. Received: base_path={str(model.config.base_path)!r} with {broken}"
                )

    def _poll(self) -> None:
        while not self._stopped.wait(self._poll_seconds):
            for model in self._models:
                model.poll()

    def run(self) -> None:
        """Serves until interrupted (or until `stop`, from another thread)."""
        poller = threading.Thread(target=self._poll, name="poll", daemon=True)
        poller.start()
        try:
            # uvicorn ends cleanly on Ctrl-C, and then raises it again.
            with contextlib.suppress(KeyboardInterrupt):
                self._uvicorn.run(sockets=[self._socket])
        finally:
            self._stopped.set()
            self._socket.close()
            poller.join(_POLLER_ENDS)

    def wait(self) -> None:
        """Returns once `run`, in another thread, answers."""
        while not self._uvicorn.started:
            time.sleep(0.005)

    def stop(self) -> None:
        """Makes `run` return once the requests under way are answered."""
        self._uvicorn.should_exit = True


@contextlib.contextmanager
def serving(
    configs: Sequence[ModelConfig],
    port: int = 0,
    poll_seconds: float = 1.0,
    limits: Limits | None = None,
    cors: bool = False,
    metrics_path: str | None = None,
) -> Iterator[str]:
    """Serves in the background of a ``with`` block.

    Args:
        configs: the models to serve.
        port: the port; 0 takes a free one.
        poll_seconds: how often to look for new versions.
        limits, cors, metrics_path: as in `Server`.

    Yields:
        The server's URL.
    """
    server = Server(
        configs,
        port=port,
        poll_seconds=poll_seconds,
        limits=limits,
        cors=cors,
        metrics_path=metrics_path,
    )
    thread = threading.Thread(target=server.run, name="server", daemon=True)
    thread.start()
    server.wait()
    try:
        yield server.url
    finally:
        server.stop()
        thread.join()
