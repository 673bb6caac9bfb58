"""One loaded version of a model: its signatures, and how to call them."""

import math
import re
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef

from zfkeras import warmup
from zfkeras.server.errors import ServingError, code_name
from zfkeras.server.limits import Costs, Job
from zfkeras.server.stopping import Stoppable
from zfkeras.types import Tensor

# What eager TensorFlow puts around an op's message, and a server's client cannot use.
_EAGER_NOISE = re.compile(r"\A(\{\{function_node [^}]*\}\} ?)+|\s*\[Op:\S*\]\Z")


class Servable:
    """A SavedModel, loaded and warmed up.

    Args:
        path: the version's directory.

    Raises:
        OSError, ValueError: it is no complete SavedModel.
        ServingError: a warm-up record failed.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.signature_defs = _signature_defs(self.path)
        self.costs = Costs()
        self._loaded = tf.saved_model.load(str(self.path))
        for signature, inputs in warmup.read(self.path):
            self.predict(signature, inputs)

    def inputs(self, signature: str) -> dict[str, str]:
        """Input names of a signature, each with its dtype ("DT_FLOAT").

        Raises:
            ServingError: there is no such signature, or it has no inputs.
        """
        if signature not in self._loaded.signatures:
            raise ServingError(f'Serving signature name: "{signature}" not found in signature def')
        inputs = self.signature_defs[signature].inputs
        if not inputs:
            raise ServingError(f"Failed to get input map for signature: {signature}")
        return {name: types_pb2.DataType.Name(info.dtype) for name, info in inputs.items()}

    def predict(
        self, signature: str, inputs: Mapping[str, np.ndarray], job: Job | None = None
    ) -> dict[str, np.ndarray]:
        """Calls a signature.

        Args:
            signature: its name.
            inputs: arrays by input name; strings as object arrays of bytes.
            job: the request that asks; when it is stopped, the graph ends at its next operation,
                in a loop at the latest after the round under way.

        Returns:
            Arrays by output name.

        Raises:
            ServingError: the graph refused them, or the job was stopped.
        """
        dtypes = self.inputs(signature)
        job = job or Job(math.inf)
        self._check_ranks(signature, inputs)
        try:
            feeds = {
                name: tf.constant(value, types_pb2.DataType.Value(dtypes[name]))
                for name, value in inputs.items()
            }
            started = time.monotonic()
            outputs = self._call(signature, feeds, job)
            self.costs.add(signature, rows(inputs), time.monotonic() - started)
            return outputs
        except tf.errors.OpError as error:
            job.check()
            message = _EAGER_NOISE.sub("", error.message)
            raise ServingError(message, code_name(error.error_code)) from error
        except (KeyError, TypeError, ValueError) as error:
            raise ServingError(str(error)) from error

    def _call(self, signature: str, feeds: Mapping[str, Tensor], job: Job) -> dict[str, np.ndarray]:
        call = Stoppable(self._loaded.signatures[signature])
        with job.stops(call.stop):
            outputs = call(feeds)
            # A scalar of text comes as bytes, not as an array.
            return {
                name: np.asarray(outputs[name].numpy(), outputs[name].dtype.as_numpy_dtype)
                for name in sorted(outputs)
            }

    def _check_ranks(self, signature: str, inputs: Mapping[str, np.ndarray]) -> None:
        """Some operations of TensorFlow end the process when the rank of their input is wrong."""
        for name, info in self.signature_defs[signature].inputs.items():
            shape = info.tensor_shape
            if name in inputs and not shape.unknown_rank and inputs[name].ndim != len(shape.dim):
                wanted = ",".join("?" if d.size < 0 else str(d.size) for d in shape.dim)
                received = ",".join(map(str, inputs[name].shape))
                raise ServingError(
                    f"Shape of tensor {name} [{received}] is not compatible with expected shape "
                    f"[{wanted}]."
                )


def rows(inputs: Mapping[str, np.ndarray]) -> int:
    """For how many rows a call asks."""
    return max((len(value) for value in inputs.values() if value.ndim), default=1)


def _signature_defs(path: Path) -> Mapping[str, SignatureDef]:
    file = path / "saved_model.pb"
    if not file.is_file():
        raise FileNotFoundError(f"No saved_model.pb in {path}")
    model = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    for graph in model.meta_graphs:
        if "serve" in graph.meta_info_def.tags:
            return dict(graph.signature_def)
    raise ValueError(f"No graph tagged 'serve' in {file}")
