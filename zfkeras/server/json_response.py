"""The JSON of a response, in the form of its request and with TensorFlow Serving's numbers."""

import base64
import json
import math
from collections.abc import Mapping

import numpy as np

from zfkeras.server.errors import ServingError


def render(outputs: Mapping[str, np.ndarray], row: bool) -> bytes:
    """Writes a response in the form of its request.

    Args:
        outputs: arrays by output name; those of strings are object arrays of bytes.
        row: whether the request had "instances".

    Returns:
        JSON text, one object with the key "predictions" (row) or "outputs".
    """
    if row:
        return f'{{"predictions": [{", ".join(_rows(outputs))}]}}'.encode()
    written = {name: texts(name, array, depth=0)[0] for name, array in outputs.items()}
    whole = next(iter(written.values())) if len(written) == 1 else _object(written)
    return f'{{"outputs": {whole}}}'.encode()


def _rows(outputs: Mapping[str, np.ndarray]) -> list[str]:
    _check_batches(outputs)
    columns = {name: texts(name, array, depth=1) for name, array in outputs.items()}
    if len(columns) == 1:
        return next(iter(columns.values()))
    return [
        _object(dict(zip(columns, values, strict=True)))
        for values in zip(*columns.values(), strict=True)
    ]


def _check_batches(outputs: Mapping[str, np.ndarray]) -> None:
    expected = None
    for name, array in outputs.items():
        if array.ndim == 0:
            raise ServingError(f"Tensor name: {name} has no shape information ")
        expected = len(array) if expected is None else expected
        if len(array) != expected:
            raise ServingError(
                f"Tensor name: {name} has inconsistent batch size: {len(array)} "
                f"expecting: {expected}"
            )


def _object(texts: Mapping[str, str]) -> str:
    return "{" + ", ".join(f"{json.dumps(name)}: {text}" for name, text in texts.items()) + "}"


def texts(name: str, array: np.ndarray, depth: int) -> list[str]:
    """JSON of each entry of the first `depth` axes of an array."""
    parts = _scalars(name, array)
    for axis in range(array.ndim - 1, depth - 1, -1):
        size = array.shape[axis]
        parts = [
            f"[{', '.join(parts[i * size : (i + 1) * size])}]"
            for i in range(math.prod(array.shape[:axis]))
        ]
    return parts


def _scalars(name: str, array: np.ndarray) -> list[str]:
    flat = array.ravel()
    if flat.dtype == object:
        return [_string(name, value) for value in flat.tolist()]
    if flat.dtype in (np.float32, np.float64):
        return _decimals(flat)
    if flat.dtype.kind in "iub":
        return [json.dumps(value) for value in flat.tolist()]
    raise ServingError(f"Failed to write JSON value for tensor type: {flat.dtype}")


def _string(name: str, value: bytes) -> str:
    if name.endswith("_bytes"):
        return f'{{"b64": "{base64.b64encode(value).decode()}"}}'
    try:
        return json.dumps(value.decode(), ensure_ascii=False)
    except UnicodeDecodeError as error:
        raise ServingError(
            f"Output {name} is not UTF-8 text, so JSON cannot hold it; binary outputs need a "
            f"name that ends in '_bytes'. Received: {value[:8]!r}"
        ) from error


def _decimals(flat: np.ndarray) -> list[str]:
    """Six digits where they say it exactly, otherwise as many as the type needs."""
    values = flat.tolist()
    texts = [f"{value:.6g}" for value in values]
    full = ".9g" if flat.dtype == np.float32 else ".17g"
    if values:
        for i in np.flatnonzero(np.array(texts).astype(flat.dtype) != flat):
            texts[i] = format(values[i], full)
    return [_decimal(text) for text in texts]


def _decimal(text: str) -> str:
    special = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}.get(text)
    return special or (text if "." in text or "e" in text else text + ".0")
