"""TensorFlow Serving's warm-up records: requests that a version must answer before it serves.

A record that fails makes the load fail, so they are also a smoke test of the file.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from zfkeras.protos import PredictionLog

FILE = Path("assets.extra") / "tf_serving_warmup_requests"


# A signature and its inputs by name
Example = tuple[str, Mapping[str, Any]]


def _record(name: str, signature: str, inputs: Mapping[str, Any]) -> bytes:
    log = PredictionLog()
    request = log.predict_log.request
    request.model_spec.name = name
    request.model_spec.signature_name = signature
    for key, value in inputs.items():
        request.inputs.add(key=key, value=tf.make_tensor_proto(value).SerializeToString())
    return log.SerializeToString()


def write(version: str | Path, name: str, requests: Iterable[Example]) -> None:
    """Writes warm-up records into a SavedModel.

    Args:
        version: the SavedModel's directory.
        name: the model's name (TensorFlow Serving ignores it).
        requests: pairs of a signature's name and its inputs by name.
    """
    path = Path(version) / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as records:
        for signature, inputs in requests:
            records.write(_record(name, signature, inputs))


def _parse(record: bytes) -> tuple[str, dict[str, np.ndarray]]:
    request = PredictionLog.FromString(record).predict_log.request
    proto = tf.make_tensor_proto(0.0)
    inputs = {}
    for entry in request.inputs:
        proto.ParseFromString(entry.value)
        inputs[entry.key] = tf.make_ndarray(proto)
    return request.model_spec.signature_name or "serving_default", inputs


def read(version: str | Path) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """Yields (signature, inputs by name) of each warm-up record; nothing if there is no file."""
    path = Path(version) / FILE
    if path.is_file():
        yield from (_parse(record.numpy()) for record in tf.data.TFRecordDataset(str(path)))
