"""Calls of TensorFlow functions that can be stopped from another thread.

TensorFlow offers that for one call at a time: `CancellationManagerContext` sets a variable of
its module, so that of two threads one might stop the other's call. This hands the manager
to the very call. (Private names; tests/test_server_limits.py notices when they change.)
"""

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf
from tensorflow.python.eager import context, execute
from tensorflow.python.eager.cancellation import CancellationManager

from zfkeras.types import Tensor


class Stoppable:
    """A signature of a loaded SavedModel, called once, in eager mode.

    Args:
        signature: the function.

    Attributes:
        stop: ends the call at its next operation, with `tf.errors.CancelledError`.
    """

    def __init__(self, signature: Any) -> None:
        self._signature, self._manager = signature, CancellationManager()
        self.stop: Callable[[], None] = self._manager.start_cancel

    def __call__(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Output tensors by name.

        Args:
            inputs: input tensors by name.

        Raises:
            KeyError: one is missing.
            tf.errors.OpError: the graph failed, or was stopped.
        """
        function, running = self._signature._inference_function, context.context()
        values = [inputs[name] for name in self._signature._arg_keywords]
        captured = [getattr(value, "handle", value) for value in self._signature.captured_inputs]
        flat = execute.execute_with_cancellation(
            function.name.decode(),
            num_outputs=len(function.function_type.flat_outputs),
            inputs=values + captured,
            attrs=tuple(itertools.chain(*running.function_call_options.as_attrs().items())),
            ctx=running,
            cancellation_manager=self._manager,
        )
        return tf.nest.pack_sequence_as(self._signature.structured_outputs, flat)
