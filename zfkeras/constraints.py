"""The paper's renormalisation of filters as a Keras constraint."""

import keras

from zfkeras.ops import Tensor


@keras.saving.register_keras_serializable(package="zfkeras")
class FilterRMS(keras.constraints.Constraint):
    """Rescales every filter whose root mean square exceeds a radius to that radius.

    Section 3 of the paper: without it a few first-layer filters dominate. The mean is taken over
    all weights of one output filter, that is over all axes but the last, so the constraint is
    meant for the kernels of convolutions (method.md, Filter renormalisation). Keras applies it
    after each update.

    Args:
        radius: Largest root mean square, > 0.

    Example:
        >>> import numpy as np
        >>> kernel = np.float32([0.2, 0.05]) * np.ones((7, 7, 3, 2), "float32")
        >>> keras.ops.convert_to_numpy(FilterRMS(0.1)(kernel))[0, 0, 0].round(6)
        array([0.1 , 0.05], dtype=float32)
    """

    def __init__(self, radius: float = 0.1) -> None:
        if not radius > 0:
            raise ValueError(
                "`radius` is the largest root mean square a filter may have; it must be > 0. "
                f"Received: radius={radius!r}"
            )
        self.radius = radius

    def __call__(self, w: Tensor) -> Tensor:
        """Returns `w` with the offending filters rescaled; shape and dtype are kept."""
        w = keras.ops.convert_to_tensor(w)
        axes = tuple(range(len(w.shape) - 1))
        rms = keras.ops.sqrt(keras.ops.mean(keras.ops.square(w), axis=axes, keepdims=True))
        return w * (self.radius / keras.ops.maximum(rms, self.radius))

    def get_config(self) -> dict:
        """The constructor's arguments."""
        return {"radius": self.radius}
