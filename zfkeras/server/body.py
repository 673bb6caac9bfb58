"""The body of a request: whole, in time, not too large, inflated."""

import asyncio
import zlib
from collections.abc import Callable

from starlette.requests import ClientDisconnect, Request

from zfkeras.server.errors import ServingError
from zfkeras.server.limits import Limits

_GZIP = 31  # zlib's window bits for a gzip container
_MOST_INFLATED = 100 << 20  # TensorFlow Serving's


async def read_body(request: Request, limits: Limits, take: Callable[[int], None]) -> bytes:
    """Receives a body.

    Args:
        request: the request.
        limits: how large it may be, and how long it may take.
        take: is told how many bytes are held, before they are; what it raises ends it.

    Raises:
        ServingError: it is too large, or late, or the client has gone.
    """
    announced = request.headers.get("content-length", "")
    if announced.isascii() and announced.isdigit() and int(announced[:20]) > limits.body:
        raise _too_large(limits)
    try:
        async with asyncio.timeout(limits.arrival):
            body = await _receive(request, limits, take)
    except TimeoutError:
        raise ServingError(
            f"The body did not arrive within {limits.arrival:g} seconds", "TIMEOUT"
        ) from None
    except ClientDisconnect:
        raise ServingError("The client has gone", "CANCELLED") from None
    if "gzip" not in request.headers.get("content-encoding", ""):
        return body
    inflated = await asyncio.to_thread(_inflate, body, min(_MOST_INFLATED, limits.body))
    take(len(inflated))
    return inflated


async def _receive(request: Request, limits: Limits, take: Callable[[int], None]) -> bytes:
    parts, size = [], 0
    async for part in request.stream():
        take(len(part))
        size += len(part)
        if size > limits.body:
            raise _too_large(limits)
        parts.append(part)
    return b"".join(parts)


def _too_large(limits: Limits) -> ServingError:
    return ServingError(f"The body is too large; at most {limits.body} bytes are read", "TOO_LARGE")


def _inflate(body: bytes, most: int) -> bytes:
    """An inflated body; empty, as in TensorFlow Serving, where it is not one member of gzip."""
    inflater = zlib.decompressobj(_GZIP)
    try:
        inflated = inflater.decompress(body, most)
    except zlib.error:
        return b""
    return inflated if inflater.eof and not inflater.unused_data else b""
