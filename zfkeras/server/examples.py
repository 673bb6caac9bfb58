"""``:classify`` and ``:regress``: requests of tf.Examples, answered with results.

They need a signature with one input, `inputs`: serialized examples, string [N]. To classify it
answers `classes`, string [N, k], or `scores`, float [N, k], or both; to regress `outputs`, float
[N] or [N, 1].
"""

from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef

from zfkeras.server import json_response
from zfkeras.server.errors import ServingError
from zfkeras.server.json_text import is_list, is_object, quote
from zfkeras.server.json_values import from_base64, is_base64, type_name
from zfkeras.types import Json, JsonValue

_INT64 = 2**63


def serialized(document: Json, check: Callable[[], None] = lambda: None) -> np.ndarray:
    """The examples of a request.

    Args:
        document: a parsed request with "examples" and perhaps a "context" of features that each
            of them has too.
        check: called now and then; what it raises ends the work.

    Returns:
        Serialized tf.Examples, bytes in an object array [N].

    Raises:
        ServingError: with TensorFlow Serving's text.
    """
    context = _example(document["context"]) if "context" in document else b""
    if "examples" not in document:
        raise ServingError(
            f"JSON Value: {quote(document)} When method is classify, key 'examples' is expected "
            "and was not found"
        )
    examples = document["examples"]
    if not is_list(examples):
        raise ServingError(
            f"JSON Value: {quote(document)} Expecting 'examples' value to be an list/array"
        )
    if not len(examples):
        raise ServingError(f"JSON Value: {quote(document)} 'examples' value is an empty array")
    found = []
    for example in examples:
        check()
        found.append(context + _example(example))  # joined, messages are merged
    return np.array(found, object)


def _example(value: JsonValue) -> bytes:
    if not is_object(value):
        raise ServingError(f"Example must be JSON object but got JSON {type_name(value)}")
    features = {}
    for name in value.keys():
        content = value[name]
        features[name] = _feature(name, list(content) if is_list(content) else [content])
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def _feature(name: str, values: list[JsonValue]) -> tf.train.Feature:
    kinds = [_kind(name, value) for value in values]
    for kind in kinds:
        if kind != kinds[0]:
            raise ServingError(
                f"Unexpected element type in feature: {name} expecting type: {kinds[0]}"
            )
    if not kinds:
        return tf.train.Feature()
    if kinds[0] == "bytes":
        data = [v.encode() if isinstance(v, str) else from_base64(v) for v in values]
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=data))
    if kinds[0] == "float":
        return tf.train.Feature(float_list=tf.train.FloatList(value=values))
    return tf.train.Feature(int64_list=tf.train.Int64List(value=[*map(int, values)]))


def _kind(name: str, value: JsonValue) -> str:
    if isinstance(value, str) or is_base64(value):
        return "bytes"
    if isinstance(value, float):
        return "float"
    if isinstance(value, int):
        if value >= _INT64:
            raise ServingError(f"Feature: {name} has uint64 element. Only int64 is supported.")
        return "int64"
    raise ServingError(f"Feature: {name} has element with unexpected JSON type: {type_name(value)}")


def check_signature(definitions: Mapping[str, SignatureDef], name: str, method: str) -> None:
    """Checks that a signature can answer a method, "classify" or "regress".

    Raises:
        ServingError: with TensorFlow Serving's text.
    """
    kind = {"classify": "classification", "regress": "regression"}[method]
    if name not in definitions:
        raise ServingError(f"No signature was found with the name: {name}")
    inputs, outputs = definitions[name].inputs, definitions[name].outputs
    if len(inputs) != 1:
        raise ServingError("Expected one input Tensor.")
    if len(outputs) > (2 if method == "classify" else 1):
        count = f"one or two output Tensors, found {len(outputs)}"
        raise ServingError(f"Expected {count if method == 'classify' else 'one output Tensor.'}")
    if "inputs" not in inputs:
        raise ServingError(f"No {kind} inputs found in SignatureDef: {name}", "FAILED_PRECONDITION")
    if method == "regress" and "outputs" not in outputs:
        raise ServingError(
            f"No {kind} outputs found in SignatureDef: {name}", "FAILED_PRECONDITION"
        )
    if method == "classify" and not {"classes", "scores"} & set(outputs):
        raise ServingError(
            'Expected classification signature outputs to contain at least one of "classes" or '
            f'"scores". Signature was: {name}',
            "FAILED_PRECONDITION",
        )


def render(outputs: Mapping[str, np.ndarray], method: str, count: int) -> bytes:
    """Writes the results of a number of examples.

    Raises:
        ServingError: outputs have other shapes than the method's.
    """
    make = _classifications if method == "classify" else _regressions
    return f'{{"results": [{", ".join(make(outputs, count))}]}}'.encode()


def _classifications(outputs: Mapping[str, np.ndarray], count: int) -> list[str]:
    arrays = [outputs[name] for name in ("classes", "scores") if name in outputs]
    for array in arrays:
        if array.ndim != 2:
            shape = ",".join(map(str, array.shape))
            raise ServingError(f"Expected Tensor shape: [batch_size num_classes] but got [{shape}]")
        if array.shape != (count, arrays[0].shape[1]):
            raise ServingError(
                f"Expected output batch size of {count}. Got: {len(array)}", "INTERNAL"
            )
    size = arrays[0].shape[1]
    labels = outputs.get("classes", np.array([[b""] * size] * count, object))
    scores = outputs.get("scores", np.zeros((count, size), np.float32))
    rows = zip(
        json_response.texts("classes", labels, 2), json_response.texts("scores", scores, 2),
        strict=True,
    )  # fmt: skip
    pairs = [f"[{label}, {score}]" for label, score in rows]
    return [f"[{', '.join(pairs[i * size : (i + 1) * size])}]" for i in range(count)]


def _regressions(outputs: Mapping[str, np.ndarray], count: int) -> list[str]:
    array = outputs["outputs"]
    shape = ",".join(map(str, array.shape))
    if array.ndim not in (1, 2) or (array.ndim == 2 and array.shape[1] != 1):
        raise ServingError(
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got "
            f"[{shape}]"
        )
    if len(array) != count:
        raise ServingError(
            f"Input batch size did not match output batch size: {count} vs. {len(array)}"
        )
    return json_response.texts("outputs", array.reshape(-1), 1)
