"""TensorFlow without its start-up chatter."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def _stderr_to_nowhere() -> Iterator[None]:
    """Sends what C++ code prints on stderr nowhere: `sys.stderr` alone would not reach it."""
    sys.stderr.flush()
    saved, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nowhere)


def load_tensorflow() -> None:
    """Imports TensorFlow; the first call of every command that needs it.

    Its notices on CPU features and missing CUDA come before any setting can silence them.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with _stderr_to_nowhere():
        import tensorflow

        tensorflow.constant(0)
        # It would warn of retracing whenever several analyses trace the same function.
        tensorflow.get_logger().setLevel("ERROR")
