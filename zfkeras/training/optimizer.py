"""Stochastic gradient descent with the weight decay that the papers mean."""

from typing import Any, TypeAlias

import keras

from zfkeras.types import Tensor

LearningRate: TypeAlias = float | keras.optimizers.schedules.LearningRateSchedule


@keras.saving.register_keras_serializable(package="zfkeras")
class CoupledSGD(keras.optimizers.SGD):
    """Keras' SGD whose weight decay goes through the momentum, as in Krizhevsky's program.

    The gradient of a kernel becomes `gradient + coupled_decay * kernel` (method.md), which is
    what `keras.regularizers.L2(coupled_decay / 2)` does, without changing the model or its loss.
    Keras' own `weight_decay` is decoupled from the momentum. Biases are not decayed.

    Args:
        learning_rate: a number or a schedule.
        momentum: of the descent.
        coupled_decay: the multiplier of the weight; Krizhevsky's is 5e-4.
        **kwargs: as in `keras.optimizers.SGD`.

    >>> CoupledSGD(coupled_decay=5e-4).get_config()["coupled_decay"]
    0.0005
    """

    def __init__(
        self,
        learning_rate: LearningRate = 0.01,
        momentum: float = 0.9,
        coupled_decay: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate=learning_rate, momentum=momentum, **kwargs)
        self.coupled_decay = coupled_decay

    def update_step(self, gradient: Tensor, variable: Tensor, learning_rate: LearningRate) -> None:
        """One step of one variable."""
        if self.coupled_decay and len(variable.shape) > 1:
            gradient = gradient + keras.ops.cast(
                self.coupled_decay * keras.ops.convert_to_tensor(variable), gradient.dtype
            )
        super().update_step(gradient, variable, learning_rate)

    def get_config(self) -> dict[str, Any]:
        """As Keras', with the decay."""
        return super().get_config() | {"coupled_decay": self.coupled_decay}
