"""The tensors of a JSON request, in TensorFlow Serving's row or columnar form."""

import math
from collections.abc import Callable, Mapping

import numpy as np
import simdjson

from zfkeras.server.errors import ServingError
from zfkeras.server.json_text import is_list, is_object, quote
from zfkeras.server.json_values import KINDS, NATIVE, Kind, is_base64, leaf, pack
from zfkeras.types import Json, JsonValue

Check = Callable[[], None]


def signature_name(document: Json) -> str:
    """The signature a request names; "serving_default" if it names none."""
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise ServingError(
            f"JSON Value: {quote(document)} not formatted correctly. "
            "'signature_name' key must be a string value."
        )
    return name or "serving_default"


def tensors(
    document: Json, dtypes: Mapping[str, str], check: Check = lambda: None, body: bytes = b""
) -> dict[str, np.ndarray]:
    """The input tensors of a request.

    Args:
        document: a parsed request with "instances" (row form) or "inputs" (columnar).
        dtypes: the signature's inputs, name to dtype ("DT_FLOAT").
        check: called now and then; what it raises ends the work.
        body: its text; needed where its arrays are simdjson's.

    Returns:
        Arrays by input name; strings are object arrays of bytes.

    Raises:
        ServingError: with TensorFlow Serving's status and text.
    """
    if "instances" in document and "inputs" in document:
        raise ServingError(
            f"JSON Value: {quote(document)} Not formatted correctly expecting only one of "
            "'inputs' or 'instances' keys to exist "
        )
    if "instances" not in document and "inputs" not in document:
        raise ServingError("Missing 'inputs' or 'instances' key")
    fast = _Reader(dtypes, check, native=True)
    arrays = fast.read(document)
    if fast.taken and not _laid_out(body, fast.taken, fast.others):
        arrays = _Reader(dtypes, check, native=False).read(document)
    return arrays


class _Reader:
    """Reads the tensors of a document; the arguments are those of `tensors`.

    Args:
        native: whether numbers are taken out of simdjson's arrays at once.

    Attributes:
        taken: shapes of arrays taken at once, in their order.
        others: how many lists there were besides.
    """

    def __init__(self, dtypes: Mapping[str, str], check: Check, native: bool) -> None:
        self._dtypes, self._check, self._native = dtypes, check, native
        self.taken: list[list[int]] = []
        self.others = 0

    def read(self, document: Json) -> dict[str, np.ndarray]:
        """Arrays by input name."""
        if "instances" in document:
            return self._rows(document)
        return self._columns(document["inputs"])

    def _columns(self, value: JsonValue) -> dict[str, np.ndarray]:
        if not _is_named(value):
            if len(self._dtypes) > 1:
                raise ServingError(
                    "inputs is a plain value/list, but expecting an object as multiple input "
                    "tensors required as per tensorinfo_map"
                )
            value = {next(iter(self._dtypes)): value}
        for name in self._dtypes:
            if name not in value:
                raise ServingError(f"Missing named input: {name} in 'inputs' object.")
        return {name: self._array(value[name], dtype) for name, dtype in self._dtypes.items()}

    def _rows(self, document: Json) -> dict[str, np.ndarray]:
        rows, dtypes = document["instances"], self._dtypes
        if not is_list(rows):
            raise ServingError(
                f"JSON Value: {quote(document)} Expecting 'instances' to be an list/array"
            )
        if not len(rows):
            raise ServingError(f"JSON Value: {quote(document)} No values in 'instances' array")
        if not is_object(rows[0]) and len(dtypes) > 1:
            raise ServingError(
                "instances is a plain list, but expecting list of objects as multiple input "
                "tensors required as per tensorinfo_map"
            )
        self.others += 1
        named = _is_named(rows[0])
        parts: dict[str, list[np.ndarray]] = {name: [] for name in dtypes}
        for index, row in enumerate(rows):
            self._check()
            _check_form(row, index, named)
            if named:
                self._add_object(parts, row, index)
            else:
                self._add(parts, next(iter(dtypes)), row, f"{index} of")
        return {name: np.stack(arrays) for name, arrays in parts.items()}

    def _add_object(self, parts: dict[str, list[np.ndarray]], row: Json, index: int) -> None:
        names = set(row.keys())
        for name in row.keys():
            self._add(parts, name, row[name], f"{index} key: {name} of")
        if names != self._dtypes.keys():
            raise ServingError(
                f"Failed to process element: {index} of 'instances' list. JSON object: "
                f"{quote(row)} keys must be equal to: {','.join(sorted(self._dtypes))}"
            )

    def _add(
        self, parts: dict[str, list[np.ndarray]], name: str, value: JsonValue, at: str
    ) -> None:
        try:
            if name not in self._dtypes:
                raise ServingError(f"JSON object: does not have named input: {name}")
            array = self._array(value, self._dtypes[name])
            parts[name].append(_alike(array, parts[name]))
        except ServingError as error:
            if error.code not in ("INVALID_ARGUMENT", "UNIMPLEMENTED"):
                raise
            raise ServingError(
                f"Failed to process element: {at} 'instances' list. "
                f"Error: {error.code}: {error.message}"
            ) from error

    def _array(self, value: JsonValue, dtype: str) -> np.ndarray:
        if dtype not in KINDS:
            name = dtype.removeprefix("DT_").lower()
            raise ServingError(
                f"Conversion of JSON Value: {quote(_first(value))} to type: {name}",
                code="UNIMPLEMENTED",
            )
        kind, shape = KINDS[dtype], _shape(value)
        array = self._at_once(value, shape, kind)
        if array is None:
            leaves: list[JsonValue] = []
            self._collect(value, shape, 0, kind, leaves)
            array = pack(leaves, kind.dtype)
        return array.reshape(shape)

    def _at_once(self, value: JsonValue, shape: list[int], kind: Kind) -> np.ndarray | None:
        """All numbers of nested arrays of one size; None: look at each, one may be wrong."""
        if not (self._native and kind.native and isinstance(value, simdjson.Array)):
            return None
        self._check()
        try:
            flat = np.frombuffer(value.as_buffer(of_type=kind.native), NATIVE[kind.native])
        except (TypeError, ValueError):  # not a number, or not of this kind
            return None
        if len(flat) != math.prod(shape) or not kind.holds(flat):
            return None
        self.taken.append(shape)
        with np.errstate(over="ignore"):  # out of range is infinite, as in TensorFlow Serving
            return flat.astype(kind.dtype)

    def _collect(
        self, value: JsonValue, shape: list[int], level: int, kind: Kind, leaves: list[JsonValue]
    ) -> None:
        """Appends the leaves of nested lists that must have `shape` to `leaves`."""
        rank = len(shape)
        if not is_list(value):
            if level != rank:
                raise ServingError(
                    f"JSON Value: {quote(value)} found at incorrect level: {level + 1} in the "
                    f"JSON DOM. Expected at level: {rank}"
                )
            leaves.append(leaf(value, kind))
            return
        if level >= rank:
            raise ServingError(f"Encountered list at unexpected level: {level} expected < {rank}")
        if len(value) != shape[level]:
            raise ServingError(
                f"Encountered list at unexpected size: {len(value)} at level: {level} "
                f"expected size: {shape[level]}"
            )
        self._check()
        self.others += 1
        for element in value:
            self._collect(element, shape, level + 1, kind, leaves)


def _first(value: JsonValue) -> JsonValue:
    """The first leaf: the one that TensorFlow Serving names where it can convert none."""
    for _ in range(_MOST_LEVELS):
        if not is_list(value) or not len(value):
            break
        value = value[0]
    return value


def _check_form(row: object, index: int, named: bool) -> None:
    if _is_named(row) != named:
        wanted, got = ("object", "list") if named else ("value/list", "object")
        raise ServingError(f"Expecting {wanted} but got {got} at item {index} of input list")


def _alike(array: np.ndarray, others: list[np.ndarray]) -> np.ndarray:
    if others and array.size != others[0].size:
        raise ServingError(f"Expecting tensor size: {others[0].size} but got: {array.size}")
    if others and array.shape != others[0].shape:
        shapes = [f"[{','.join(map(str, a.shape))}]" for a in (others[0], array)]
        raise ServingError(f"Expecting shape {shapes[0]} but got: {shapes[1]}")
    return array


def _is_named(value: object) -> bool:
    return is_object(value) and not is_base64(value)


_NOT_LISTS = bytes(set(range(256)) - set(b"[],"))


def _laid_out(body: bytes, shapes: list[list[int]], others: int) -> bool:
    """Whether the lists of a text are those of arrays of these shapes, and a number of `others`.

    simdjson flattens arrays without a look at the sizes of their lists.
    """
    text = body.translate(None, _NOT_LISTS)
    lists = sum(math.prod(shape[:level]) for shape in shapes for level in range(len(shape)))
    if np.count_nonzero(np.frombuffer(text, np.uint8) == ord("[")) != lists + others:
        return False
    position = 0
    for shape in shapes:
        pattern = b""
        for size in reversed(shape):
            pattern = b"[" + b",".join([pattern] * size) + b"]"
        position = text.find(pattern, position)
        if position < 0:
            return False
        position += len(pattern)
    return True


_MOST_LEVELS = 16  # twice as many crash TensorFlow; no input of an exported model has more than 4


def _shape(value: JsonValue) -> list[int]:
    shape: list[int] = []
    while is_list(value) and len(shape) <= _MOST_LEVELS:
        shape.append(len(value))
        value = value[0] if shape[-1] else None
    if len(shape) > _MOST_LEVELS:
        raise ServingError(
            f"Encountered list at unexpected level: {_MOST_LEVELS} expected < {_MOST_LEVELS}"
        )
    return shape
