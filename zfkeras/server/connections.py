"""HTTP connections: uvicorn's, with a limit on their number and on the time a head may take."""

import asyncio
import json
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from zfkeras.server.limits import Limits


def protocol(limits: Limits) -> type[asyncio.Protocol]:
    """The protocol of a server with some limits."""

    class Protocol(_Protocol):
        most = limits.connections
        seconds = limits.arrival

    return Protocol


class _Protocol(H11Protocol):
    """A connection whose next head must be there in time, and whose errors are JSON.

    Attributes:
        most: how many connections there may be.
        seconds: in which a head must arrive.
    """

    most: int
    seconds: float

    def __init__(self, *args: Any, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        self._alarm: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client is there."""
        super().connection_made(transport)
        if len(self.connections) > self.most:
            transport.abort()
        self._watch()

    def data_received(self, data: bytes) -> None:
        """It has sent something."""
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """It has gone."""
        super().connection_lost(exc)
        if self._alarm:
            self._alarm.cancel()

    def _watch(self) -> None:
        """Starts the clock when a head begins, and stops it when the head is there."""
        waits = self.cycle is None or self.cycle.response_complete
        if not waits and self._alarm:
            self._alarm.cancel()
            self._alarm = None
        elif waits and self._alarm is None:
            self._alarm = self.loop.call_later(self.seconds, self.transport.abort)

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP, or has a head of more than 64 KB, gets JSON too."""
        body = json.dumps({"error": f"Malformed request: {msg}"}).encode()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
        ]
        events = [
            h11.Response(status_code=400, headers=headers, reason=b"Bad Request"),
            h11.Data(data=body),
            h11.EndOfMessage(),
        ]
        for event in events:
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()
