"""Values of tensors as JSON has them: numbers, truth values, text and base64."""

import base64
import binascii
import math
from dataclasses import dataclass
from typing import Literal, NoReturn

import numpy as np

from zfkeras.server.errors import ServingError
from zfkeras.server.json_text import is_list, is_object, quote
from zfkeras.types import JsonValue

NATIVE = {"d": np.float64, "i": np.int64, "u": np.uint64}


@dataclass(frozen=True)
class Kind:
    """How one dtype looks in JSON.

    Attributes:
        name: in messages.
        dtype: of its array.
        native: what simdjson calls its numbers: "d", "i" or "u"; None: they are none.
        low, high: the range of integers.
    """

    name: str
    dtype: type[np.generic]
    native: Literal["d", "i", "u"] | None = None
    low: float = -math.inf
    high: float = math.inf

    def accepts(self, value: object) -> bool:
        """Whether a leaf may be this value."""
        # bool is an int to isinstance, but not in JSON
        if self.native == "d":
            return type(value) in (int, float)
        if self.native:
            return type(value) is int and self.low <= value <= self.high
        return type(value) is (str if self.name == "string" else bool)

    def holds(self, numbers: np.ndarray) -> bool:
        """Whether all numbers are in the range."""
        return not len(numbers) or bool(self.low <= numbers.min() and numbers.max() <= self.high)


_INT32 = (-(2**31), 2**31 - 1)
KINDS = {
    "DT_FLOAT": Kind("float", np.float32, "d"),
    "DT_DOUBLE": Kind("double", np.float64, "d"),
    # The narrow ones wrap silently, as they do in TensorFlow Serving.
    "DT_INT8": Kind("int8", np.int8, "i", *_INT32),
    "DT_UINT8": Kind("uint8", np.uint8, "i", *_INT32),
    "DT_INT16": Kind("int16", np.int16, "i", *_INT32),
    "DT_INT32": Kind("int32", np.int32, "i", *_INT32),
    "DT_INT64": Kind("int64", np.int64, "i", -(2**63), 2**63 - 1),
    "DT_UINT32": Kind("uint32", np.uint32, "i", 0, 2**32 - 1),
    "DT_UINT64": Kind("uint64", np.uint64, "u", 0, 2**64 - 1),
    "DT_BOOL": Kind("bool", np.bool_),
    "DT_STRING": Kind("string", np.object_),
}


def is_base64(value: JsonValue) -> bool:
    """Whether a value is bytes as base64."""
    return is_object(value) and [*value.keys()] == ["b64"] and isinstance(value["b64"], str)


def pack(leaves: list[JsonValue], dtype: type[np.generic]) -> np.ndarray:
    """A flat array of leaves."""
    if dtype is np.object_:
        # An object array made from a list of bytes keeps trailing zero bytes.
        return np.array(leaves, dtype=object)
    if dtype in (np.int8, np.uint8, np.int16):
        return np.array(leaves, dtype=np.int64).astype(dtype)
    if dtype is np.float32:
        with np.errstate(over="ignore"):
            return np.array(leaves, dtype=np.float64).astype(np.float32)
    return np.array(leaves, dtype=dtype)


def leaf(value: JsonValue, kind: Kind) -> JsonValue:
    """A value that is no list, checked; text as bytes."""
    if kind.name == "string" and is_object(value):
        return from_base64(value)
    if not kind.accepts(value):
        refuse_type(value, kind)
    return value.encode() if kind.name == "string" else value


def from_base64(value: JsonValue) -> bytes:
    """The bytes of a base64 object."""
    if not is_base64(value):
        raise ServingError(f"JSON Value: {quote(value)} not formatted correctly for base64 data")
    digits = "".join(value["b64"].split())
    try:
        return base64.b64decode(digits + "=" * (-len(digits) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ServingError("Unable to base64 decode") from error


def refuse_type(value: object, kind: Kind) -> NoReturn:
    """Says that a value is of another type."""
    raise ServingError(
        f"JSON Value: {quote(value)} Type: {type_name(value)} is not of expected type: {kind.name}"
    )


def type_name(value: object) -> str:
    """What TensorFlow Serving calls the type of a JSON value."""
    if is_list(value):
        return "Array"
    if is_object(value):
        return "Object"
    if value is None:
        return "Null"
    if isinstance(value, bool):
        return str(value)
    return "String" if isinstance(value, str) else "Number"
