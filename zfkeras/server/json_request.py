"""The tensors of a JSON request, in TensorFlow Serving's row or columnar form."""

import base64
import binascii
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from zfkeras.server.errors import ServingError
from zfkeras.types import Json

_QUOTED_BYTES = 256
_JSON_TYPES = {
    type(None): "Null",
    dict: "Object",
    list: "Array",
    str: "String",
    int: "Number",
    float: "Number",
}
_PARSE_ERRORS = {
    "Expecting value": "Invalid value.",
    "Expecting ',' delimiter": "Missing a comma or closing bracket.",
    "Expecting ':' delimiter": "Missing a colon after a name of object member.",
    "Expecting property name enclosed in double quotes": "Missing a name for object member.",
}


@dataclass(frozen=True)
class _Kind:
    """How one dtype looks in JSON: its name in messages, its array and what it accepts."""

    name: str
    dtype: Any
    accepts: Callable[[object], bool]


def _integers(low: int, high: int) -> Callable[[object], bool]:
    return lambda value: type(value) is int and low <= value <= high


def _number(value: object) -> bool:
    return type(value) in (int, float)  # bool is an int to isinstance, but not in JSON


_int32 = _integers(-(2**31), 2**31 - 1)
_KINDS = {
    "DT_FLOAT": _Kind("float", np.float32, _number),
    "DT_DOUBLE": _Kind("double", np.float64, _number),
    # The narrow ones wrap silently, as they do in TensorFlow Serving.
    "DT_INT8": _Kind("int8", np.int8, _int32),
    "DT_UINT8": _Kind("uint8", np.uint8, _int32),
    "DT_INT16": _Kind("int16", np.int16, _int32),
    "DT_INT32": _Kind("int32", np.int32, _int32),
    "DT_INT64": _Kind("int64", np.int64, _integers(-(2**63), 2**63 - 1)),
    "DT_UINT32": _Kind("uint32", np.uint32, _integers(0, 2**32 - 1)),
    "DT_UINT64": _Kind("uint64", np.uint64, _integers(0, 2**64 - 1)),
    "DT_BOOL": _Kind("bool", np.bool_, lambda value: type(value) is bool),
    "DT_STRING": _Kind("string", np.object_, lambda value: type(value) is str),
}


def parse(body: bytes) -> Json:
    """Parses a request body, which must hold a JSON object.

    Raises:
        ServingError: it does not.
    """
    if not body:
        raise ServingError("JSON Parse error: The document is empty")
    document = _parse_json(body)
    if not isinstance(document, dict):
        raise ServingError(f"JSON Value: {_quote(document)} Is not object")
    return document


def _parse_json(body: bytes) -> Any:
    try:
        text = body.decode("utf-8-sig").lstrip()
        # raw_decode: what follows the value is ignored, as TensorFlow Serving does.
        return json.JSONDecoder(object_pairs_hook=_first_wins).raw_decode(text)[0]
    except UnicodeDecodeError as error:
        raise _parse_error("Invalid encoding in string.", error.start) from error
    except json.JSONDecodeError as error:
        raise _parse_error(_PARSE_ERRORS.get(error.msg, f"{error.msg}."), error.pos) from error
    except RecursionError as error:
        raise _parse_error("Nested too deeply.", 0) from error


def _first_wins(pairs: list[tuple[str, Any]]) -> Json:
    found: Json = {}
    for key, value in pairs:
        found.setdefault(key, value)
    return found


def _parse_error(sentence: str, offset: int) -> ServingError:
    return ServingError(f"JSON Parse error: {sentence} at offset: {offset}")


def signature_name(document: Json) -> str:
    """The signature a request names; "serving_default" if it names none."""
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise ServingError(
            f"JSON Value: {_quote(document)} not formatted correctly. "
            "'signature_name' key must be a string value."
        )
    return name or "serving_default"


def tensors(document: Json, dtypes: Mapping[str, str]) -> dict[str, np.ndarray]:
    """The input tensors of a request.

    Args:
        document: a parsed request with "instances" (row form) or "inputs" (columnar).
        dtypes: the signature's inputs, name to dtype ("DT_FLOAT").

    Returns:
        Arrays by input name; strings are object arrays of bytes.

    Raises:
        ServingError: with TensorFlow Serving's status and text.
    """
    if "instances" in document and "inputs" in document:
        raise ServingError(
            f"JSON Value: {_quote(document)} Not formatted correctly expecting only one of "
            "'inputs' or 'instances' keys to exist "
        )
    if "instances" in document:
        return _from_rows(document, dtypes)
    if "inputs" in document:
        return _from_columns(document["inputs"], dtypes)
    raise ServingError("Missing 'inputs' or 'instances' key")


def _from_columns(value: Any, dtypes: Mapping[str, str]) -> dict[str, np.ndarray]:
    if not _is_named(value):
        if len(dtypes) > 1:
            raise ServingError(
                "inputs is a plain value/list, but expecting an object as multiple input "
                "tensors required as per tensorinfo_map"
            )
        value = {next(iter(dtypes)): value}
    for name in dtypes:
        if name not in value:
            raise ServingError(f"Missing named input: {name} in 'inputs' object.")
    return {name: _array(value[name], dtype) for name, dtype in dtypes.items()}


def _from_rows(document: Json, dtypes: Mapping[str, str]) -> dict[str, np.ndarray]:
    rows = document["instances"]
    if not isinstance(rows, list):
        raise ServingError(
            f"JSON Value: {_quote(document)} Expecting 'instances' to be an list/array"
        )
    if not rows:
        raise ServingError(f"JSON Value: {_quote(document)} No values in 'instances' array")
    if not isinstance(rows[0], dict) and len(dtypes) > 1:
        raise ServingError(
            "instances is a plain list, but expecting list of objects as multiple input "
            "tensors required as per tensorinfo_map"
        )
    named = _is_named(rows[0])
    parts: dict[str, list[np.ndarray]] = {name: [] for name in dtypes}
    for index, row in enumerate(rows):
        _check_form(row, index, named)
        if named:
            _add_object(parts, row, index, dtypes)
        else:
            _add(parts, next(iter(dtypes)), row, dtypes, f"{index} of")
    return {name: np.stack(arrays) for name, arrays in parts.items()}


def _check_form(row: object, index: int, named: bool) -> None:
    if _is_named(row) != named:
        wanted, got = ("object", "list") if named else ("value/list", "object")
        raise ServingError(f"Expecting {wanted} but got {got} at item {index} of input list")


def _add_object(
    parts: dict[str, list[np.ndarray]], row: Json, index: int, dtypes: Mapping[str, str]
) -> None:
    for name, value in row.items():
        _add(parts, name, value, dtypes, f"{index} key: {name} of")
    if row.keys() != dtypes.keys():
        raise ServingError(
            f"Failed to process element: {index} of 'instances' list. JSON object: {_quote(row)} "
            f"keys must be equal to: {','.join(sorted(dtypes))}"
        )


def _add(
    parts: dict[str, list[np.ndarray]], name: str, value: object, dtypes: Mapping[str, str], at: str
) -> None:
    try:
        if name not in dtypes:
            raise ServingError(f"JSON object: does not have named input: {name}")
        parts[name].append(_alike(_array(value, dtypes[name]), parts[name]))
    except ServingError as error:
        raise ServingError(
            f"Failed to process element: {at} 'instances' list. "
            f"Error: {error.code}: {error.message}"
        ) from error


def _alike(array: np.ndarray, others: list[np.ndarray]) -> np.ndarray:
    if others and array.size != others[0].size:
        raise ServingError(f"Expecting tensor size: {others[0].size} but got: {array.size}")
    if others and array.shape != others[0].shape:
        shapes = [f"[{','.join(map(str, a.shape))}]" for a in (others[0], array)]
        raise ServingError(f"Expecting shape {shapes[0]} but got: {shapes[1]}")
    return array


def _is_base64(value: object) -> bool:
    return isinstance(value, dict) and value.keys() == {"b64"} and isinstance(value["b64"], str)


def _is_named(value: object) -> bool:
    return isinstance(value, dict) and not _is_base64(value)


def _array(value: object, dtype: str) -> np.ndarray:
    if dtype not in _KINDS:
        name = dtype.removeprefix("DT_").lower()
        raise ServingError(
            f"Conversion of JSON Value: {_quote(value)} to type: {name}", code="UNIMPLEMENTED"
        )
    kind, shape = _KINDS[dtype], _shape(value)
    leaves: list[Any] = []
    try:
        _collect(value, shape, 0, kind, leaves)
        return _pack(leaves, kind.dtype).reshape(shape)
    except (RecursionError, OverflowError):
        _refuse_type(value, kind)


def _pack(leaves: list[Any], dtype: Any) -> np.ndarray:
    if dtype is np.object_:
        # An object array made from a list of bytes keeps trailing zero bytes.
        return np.array(leaves, dtype=object)
    if dtype in (np.int8, np.uint8, np.int16):
        return np.array(leaves, dtype=np.int64).astype(dtype)
    if dtype is np.float32:
        with np.errstate(over="ignore"):  # out of range is infinite, as in TensorFlow Serving
            return np.array(leaves, dtype=np.float64).astype(np.float32)
    return np.array(leaves, dtype=dtype)


_MOST_LEVELS = 16  # twice as many crash TensorFlow; no input of an exported model has more than 4


def _shape(value: object) -> list[int]:
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        value = value[0] if value else None
    if len(shape) > _MOST_LEVELS:
        raise ServingError(
            f"Encountered list at unexpected level: {_MOST_LEVELS} expected < {_MOST_LEVELS}"
        )
    return shape


def _collect(value: object, shape: list[int], level: int, kind: _Kind, leaves: list[Any]) -> None:
    """Appends the leaves of nested lists that must have `shape` to `leaves`."""
    rank = len(shape)
    if not isinstance(value, list):
        if level != rank:
            raise ServingError(
                f"JSON Value: {_quote(value)} found at incorrect level: {level + 1} in the JSON "
                f"DOM. Expected at level: {rank}"
            )
        leaves.append(_leaf(value, kind))
        return
    if level >= rank:
        raise ServingError(f"Encountered list at unexpected level: {level} expected < {rank}")
    if len(value) != shape[level]:
        raise ServingError(
            f"Encountered list at unexpected size: {len(value)} at level: {level} "
            f"expected size: {shape[level]}"
        )
    if kind.accepts is _number and level == rank - 1 and set(map(type, value)) <= {int, float}:
        leaves.extend(value)  # a row of numbers at once: pictures have 10^5 of them
        return
    for element in value:
        _collect(element, shape, level + 1, kind, leaves)


def _leaf(value: Any, kind: _Kind) -> Any:
    if kind.name == "string" and isinstance(value, dict):
        return _from_base64(value)
    if not kind.accepts(value):
        _refuse_type(value, kind)
    return value.encode() if kind.name == "string" else value


def _from_base64(value: Json) -> bytes:
    if not _is_base64(value):
        raise ServingError(f"JSON Value: {_quote(value)} not formatted correctly for base64 data")
    digits = "".join(value["b64"].split())
    try:
        return base64.b64decode(digits + "=" * (-len(digits) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ServingError("Unable to base64 decode") from error


def _refuse_type(value: object, kind: _Kind) -> NoReturn:
    name = str(value) if isinstance(value, bool) else _JSON_TYPES[type(value)]
    raise ServingError(
        f"JSON Value: {_quote(value)} Type: {name} is not of expected type: {kind.name}"
    )


def _quote(value: object) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False)
    except RecursionError:
        text = "[[[…"
    return text.encode(errors="replace")[:_QUOTED_BYTES].decode(errors="ignore")
