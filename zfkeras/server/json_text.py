"""JSON text to values, as TensorFlow Serving reads it.

simdjson reads what is plain JSON, in a twentieth of the time that Python's own reader takes, and
makes Python objects only of what is looked at. What it refuses (NaN, something after the object,
a number above 2**64) goes to RapidJSON, which TensorFlow Serving uses too, and so do its words.
"""

import io
import re
from collections.abc import Callable, Iterator

import numpy as np
import rapidjson
import simdjson

from zfkeras.server.errors import ServingError
from zfkeras.types import Json, JsonValue

AT_ONCE = 2_000_000
"""Values that are read in one go, 50 ms in which no other thread runs; more take pauses."""
MOST = 8_000_000
"""Values of a document: more would take gigabytes. 13 images of 227 x 227 x 3 are 2.7 million."""
_DEPTH = 200  # below it, values are dropped where a document is too deep to read
_PIECE = 1 << 16
_TOKENS = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)
_FOLLOWED = "must not be followed by other values"


def parse(body: bytes, check: Callable[[], None] = lambda: None) -> Json:
    """Parses a request body, which must hold a JSON object.

    Args:
        body: UTF-8 text; what follows the object is ignored.
        check: called now and then; what it raises ends the work.

    Returns:
        The document, a dict or what behaves like one: objects and arrays in it may be simdjson's.
        The first of equal keys wins.

    Raises:
        ServingError: the text is no JSON, or no object.
    """
    if not body:
        raise ServingError("JSON Parse error: The document is empty")
    values = _count(body, "[") + _count(body, ",")
    if values > MOST:
        raise ServingError(
            f"JSON Parse error: The document has about {values} values, more than {MOST}; send "
            "fewer images, or encoded pictures"
        )
    document = _plain(body) if values <= AT_ONCE else None
    document = _lenient(body, check) if document is None else document
    if not is_object(document):
        raise ServingError(f"JSON Value: {quote(document)} Is not object")
    return document


def is_list(value: object) -> bool:
    """Whether a value is an array."""
    return isinstance(value, list | simdjson.Array)


def is_object(value: object) -> bool:
    """Whether a value is an object."""
    return isinstance(value, dict | simdjson.Object)


def _count(body: bytes, character: str) -> int:
    """How many of a character there are; `bytes.count` would hold the interpreter."""
    return int(np.count_nonzero(np.frombuffer(body, np.uint8) == ord(character)))


def _plain(body: bytes) -> JsonValue:
    try:
        return simdjson.Parser().parse(body)
    except (ValueError, RuntimeError):
        return None


class _Decoder(rapidjson.Decoder):
    """Reads what TensorFlow Serving does; the first of equal keys wins."""

    def start_object(self) -> list[tuple[str, JsonValue]]:
        return []

    def end_object(self, pairs: list[tuple[str, JsonValue]]) -> Json:
        found: Json = {}
        for key, value in pairs:
            found.setdefault(key, value)
        return found


_DECODER = _Decoder(number_mode=rapidjson.NM_NAN | rapidjson.NM_NATIVE)


class _Pieces(io.BytesIO):
    """A body in pieces, between which other threads run and `check` is asked."""

    def __init__(self, body: bytes, check: Callable[[], None]) -> None:
        super().__init__(body)
        self._check = check

    def read(self, size: int | None = -1) -> bytes:
        self._check()
        return super().read(size)


def _lenient(body: bytes, check: Callable[[], None]) -> JsonValue:
    body = body.removeprefix(b"\xef\xbb\xbf")
    try:
        body.decode()
        return _DECODER(_Pieces(body, check), chunk_size=_PIECE)
    except UnicodeDecodeError as error:
        raise _parse_error("Invalid encoding in string.", error.start) from error
    except RecursionError:
        return _lenient(_shallow(body, check), check)
    except rapidjson.JSONDecodeError as error:
        offset, sentence = re.fullmatch(r"Parse error at offset (\d+): (.*)", str(error)).groups()  # type: ignore[union-attr]
        if _FOLLOWED in sentence:
            return _lenient(body[: int(offset)], check)
        raise _parse_error(sentence, int(offset)) from error


def _parse_error(sentence: str, offset: int) -> ServingError:
    return ServingError(f"JSON Parse error: {sentence} at offset: {offset}")


def _shallow(body: bytes, check: Callable[[], None]) -> bytes:
    """The text with null for all that lies too deep: no input does, and other keys are ignored."""
    kept, depth, start = io.BytesIO(), 0, 0
    for number, token in enumerate(_TOKENS.finditer(body)):
        if not number % _PIECE:
            check()
        if token[0] in b"[{":
            depth += 1
            if depth == _DEPTH:
                kept.write(body[start : token.start()] + b"null")
        elif token[0] in b"]}":
            depth -= 1
            if depth == _DEPTH - 1:
                start = token.end()
    kept.write(body[start:] if depth < _DEPTH else b"")
    return kept.getvalue()


_QUOTED_BYTES = 256


def quote(value: object) -> str:
    """A value as errors show it, cut at 256 bytes."""
    text = ""
    for piece in _texts(value):
        text += piece
        if len(text) >= _QUOTED_BYTES:
            break
    return text.encode(errors="replace")[:_QUOTED_BYTES].decode(errors="ignore")


def _texts(value: JsonValue) -> Iterator[str]:
    if is_list(value):
        yield from _joined("[", (_texts(element) for element in value), "]")
    elif is_object(value):
        members = ((key, value[key]) for key in value.keys())
        yield from _joined("{", (_member(key, member) for key, member in members), "}")
    else:
        text = value[:_QUOTED_BYTES] if isinstance(value, str) else value
        yield rapidjson.dumps(text, ensure_ascii=False, number_mode=rapidjson.NM_NAN)


def _member(key: str, value: JsonValue) -> Iterator[str]:
    yield rapidjson.dumps(key, ensure_ascii=False) + ": "
    yield from _texts(value)


def _joined(first: str, parts: Iterator[Iterator[str]], last: str) -> Iterator[str]:
    yield first
    for number, part in enumerate(parts):
        if number:
            yield ", "
        yield from part
    yield last
