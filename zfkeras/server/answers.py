"""What is answered: of a model's signatures, its status and its metadata."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef, TensorInfo

from zfkeras.server import examples, json_request, json_response, json_text
from zfkeras.server.errors import ServingError
from zfkeras.server.limits import Job
from zfkeras.server.paths import Asked
from zfkeras.server.servable import Servable, rows
from zfkeras.server.versions import Model, VersionState
from zfkeras.types import Json

Models = Mapping[str, Model]


@dataclass(frozen=True)
class Call:
    """A question to a signature, read and ready to be asked.

    Attributes:
        servable: who answers.
        signature: which of its signatures.
        inputs: arrays by name.
        render: writes the answer.
    """

    servable: Servable
    signature: str
    inputs: dict[str, np.ndarray]
    render: Callable[[Mapping[str, np.ndarray]], bytes]

    def cost(self) -> float | None:
        """Seconds that it will take; None: nobody knows."""
        return self.servable.costs.of(self.signature, rows(self.inputs))

    def answer(self, job: Job) -> bytes:
        """JSON text.

        Raises:
            ServingError: the graph refused it, or the job was stopped.
        """
        outputs = self.servable.predict(self.signature, self.inputs, job)
        job.check()
        return self.render(outputs)


def read(models: Models, asked: Asked, body: bytes, job: Job) -> Call:
    """Reads a request.

    Raises:
        ServingError: with TensorFlow Serving's status and words.
    """
    job.check()
    document = json_text.parse(body, job.check)
    signature = json_request.signature_name(document)
    if asked.method == "predict":
        return _predict(models, asked, document, signature, body, job)
    method, data = asked.method, examples.serialized(document, job.check)
    _, servable = _servable(models, asked)
    examples.check_signature(servable.signature_defs, signature, method)
    return Call(
        servable,
        signature,
        {"inputs": data},
        lambda outputs: examples.render(outputs, method, len(data)),
    )


def _predict(
    models: Models, asked: Asked, document: Json, signature: str, body: bytes, job: Job
) -> Call:
    _, servable = _servable(models, asked)
    inputs = json_request.tensors(document, servable.inputs(signature), job.check, body)
    row = "instances" in document
    return Call(servable, signature, inputs, lambda outputs: json_response.render(outputs, row=row))


def _servable(models: Models, asked: Asked) -> tuple[int, Servable]:
    if asked.name not in models:
        version = asked.version
        what = f"Latest({asked.name})" if version is None else f"Specific({asked.name}, {version})"
        raise ServingError(f"Servable not found for request: {what}", "NOT_FOUND")
    return models[asked.name].servable(asked.version, asked.label)


def status(models: Models, asked: Asked) -> Json:
    """The state of each version of a model, or of one."""
    name, version = asked.name, asked.version
    states = models[name].states() if name in models else {}
    if not states:
        raise ServingError(f"Could not find any versions of model {name}", "NOT_FOUND")
    if version is not None and version not in states:
        raise ServingError(f"Could not find version {version} of model {name}", "NOT_FOUND")
    shown = states if version is None else {version: states[version]}
    return {"model_version_status": [_state(*item) for item in shown.items()]}


def _state(version: int, state: VersionState) -> Json:
    error = {"error_code": state.error_code, "error_message": state.error_message}
    return {"version": str(version), "state": state.state, "status": error}


def metadata(models: Models, asked: Asked) -> Json:
    """The signatures of a model."""
    version, servable = _servable(models, asked)
    signatures = {name: _signature(d) for name, d in servable.signature_defs.items()}
    spec = {"name": asked.name, "signature_name": "", "version": str(version)}
    return {"model_spec": spec, "metadata": {"signature_def": {"signature_def": signatures}}}


def _signature(definition: SignatureDef) -> Json:
    return {
        "inputs": {name: _tensor(info) for name, info in definition.inputs.items()},
        "outputs": {name: _tensor(info) for name, info in definition.outputs.items()},
        "method_name": definition.method_name,
        "defaults": {},
    }


def _tensor(info: TensorInfo) -> Json:
    shape = info.tensor_shape
    return {
        "dtype": types_pb2.DataType.Name(info.dtype),
        "tensor_shape": {
            "dim": [{"size": str(dim.size), "name": dim.name} for dim in shape.dim],
            "unknown_rank": shape.unknown_rank,
        },
        "name": info.name,
    }
