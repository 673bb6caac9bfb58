"""What can go wrong between a client and a server, and which of it is worth another try."""

import random
import re

import httpx

from zfkeras.types import JsonValue

_BUSY = (429, 503)
_FIRST_WAIT, _LONGEST_WAIT = 0.25, 10.0  # seconds


class ServerError(ConnectionError):
    """The server could not answer: it is away, or it failed."""


class ServerTimeout(ServerError):
    """The answer did not come in time."""


class UnexpectedAnswer(ServerError):
    """What answers is no TensorFlow Serving, or not with a model that zfkeras exported."""


class RequestRefused(ValueError):
    """The server understood the request and refused it; the message is its own."""


def wait_before_retry(result: httpx.Response | httpx.HTTPError, tried: int) -> float | None:
    """Seconds after which to try again; None: not at all.

    Only what has certainly not been done is tried again: the server was busy, or nobody
    listened.

    Args:
        result: what came of the last try.
        tried: how often it was tried before that.
    """
    if isinstance(result, httpx.HTTPError):
        if not isinstance(result, httpx.ConnectError):
            return None
        asked = ""
    else:
        if result.status_code not in _BUSY:
            return None
        asked = result.headers.get("retry-after", "")
    if asked.isascii() and asked.isdigit():
        return min(float(asked), _LONGEST_WAIT)
    # Not all at the same moment again.
    return min(_FIRST_WAIT * 2**tried, _LONGEST_WAIT) * random.uniform(0.75, 1.25)


def checked(result: httpx.Response | httpx.HTTPError, url: str) -> JsonValue:
    """The JSON of an answer.

    Args:
        result: what came of a request.
        url: whom it was sent to.

    Raises:
        ServerError, RequestRefused: there is none.
    """
    if isinstance(result, httpx.TimeoutException):
        raise ServerTimeout(
            f"No answer in time ({type(result).__name__}); `timeout` of the client may be longer. "
            f"Received: url={url!r}"
        ) from result
    if isinstance(result, httpx.HTTPError):
        raise ServerError(
            f"No answer from the server ({result or type(result).__name__}). It must be running: "
            f"`zfkeras serve` starts one. Received: url={url!r}"
        ) from result
    where = f"[{result.status_code} from {result.request.url}]"
    if result.has_redirect_location:
        raise UnexpectedAnswer(
            f"The server sends to another address, which is not followed; give the client that "
            f"one: {result.headers['location']} {where}"
        )
    try:
        answer = result.json()
    except ValueError:
        text = result.text[:200] or "nothing"
        raise UnexpectedAnswer(f"The answer is no JSON: {text} {where}") from None
    if result.is_success:
        return answer
    if not isinstance(answer, dict) or not isinstance(answer.get("error"), str):
        raise UnexpectedAnswer(f"The answer is no error as expected: {str(answer)[:200]} {where}")
    kind = RequestRefused if result.status_code < 500 and result.status_code != 429 else ServerError
    raise kind(f"{_sentence(answer['error'])} {where}")


def _sentence(message: str) -> str:
    sentence = message.split("\n\t [[", 1)[0]  # without the names of graph nodes
    return re.sub(r"\Aassertion failed: \[(.*)\]\Z", r"\1", sentence, flags=re.DOTALL)
