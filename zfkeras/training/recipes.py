"""The settings of a training, as data: the papers', and those of the bundled net."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from zfkeras.fitting import TESTED

SCHEDULES = ("plateau", "cosine")
OPTIMIZERS = ("sgd", "adamw")
CLASS_WEIGHTS = ("none", "balanced")


@dataclass(frozen=True)
class Recipe:
    """How to train a net. Make variations with `recipe(name, epochs=…)`.

    Attributes:
        name: what it is called.
        epochs: passes over the examples.
        batch_size: examples a step, over all devices together.
        learning_rate: the first (plateau) or highest (cosine) learning rate.
        optimizer: "sgd" (the papers') or "adamw", which a narrow net without batch normalisation
            learns faster with from few pictures.
        momentum: of the stochastic gradient descent.
        weight_decay: of kernels, not of biases. For "sgd" it adds `weight_decay * kernel` to the
            gradient (coupled, as in the papers' programs), for "adamw" it is decoupled.
        schedule: "plateau" divides the learning rate when the validation error stalls; "cosine"
            lowers it to 0 over the epochs.
        patience: epochs without a better validation error before a drop.
        factor: what a drop multiplies the learning rate by.
        max_drops: number of drops; one more plateau changes nothing.
        warmup_epochs: epochs over which a cosine schedule rises first.
        dropout: rate in the fully connected layers.
        max_filter_rms: radius that convolutional filters are renormalised to, None for no limit.
        kernel_initializer: "paper", a name that Keras knows, or None for the model's own.
        crop: "ten" (one of corners and centre), "random", "centre".
        scale: (lowest, highest) size of the picture relative to the crop.
        flip: whether half of the examples are mirrored.
        colour: strength of Krizhevsky's colour noise.
        class_weight: "balanced" lets all classes count alike, however many examples they have.

    >>> Recipe("mine", epochs=3).learning_rate
    0.01
    """

    name: str
    epochs: int = 70
    batch_size: int = 128
    learning_rate: float = 1e-2
    optimizer: str = "sgd"
    momentum: float = 0.9
    weight_decay: float = 0.0
    schedule: str = "plateau"
    patience: int = 5
    factor: float = 0.1
    max_drops: int = 3
    warmup_epochs: float = 0.0
    dropout: float = 0.5
    max_filter_rms: float | None = 0.1
    kernel_initializer: str | None = None
    crop: str = "random"
    scale: tuple[float, float] = (TESTED, TESTED)
    flip: bool = True
    colour: float = 0.0
    class_weight: str = "none"

    def __post_init__(self) -> None:
        for field, allowed in _CHOICES.items():
            if getattr(self, field) not in allowed:
                raise ValueError(
                    f"A recipe can't have this {field}. Allowed: {', '.join(allowed)}. "
                    f"Received: {field}={getattr(self, field)!r}"
                )
        for field, low, high in _RANGES:
            if not isinstance(getattr(self, field), int | float):
                raise ValueError(
                    f"A recipe's {field} must be a number. "
                    f"Received: {field}={getattr(self, field)!r}"
                )
            if not low <= getattr(self, field) <= high:
                raise ValueError(
                    f"A recipe's {field} must be {low:g} to {high:g}. "
                    f"Received: {field}={getattr(self, field)}"
                )


_CHOICES = {"schedule": SCHEDULES, "optimizer": OPTIMIZERS, "class_weight": CLASS_WEIGHTS}
_RANGES = (
    ("epochs", 1, float("inf")),
    ("batch_size", 1, float("inf")),
    ("learning_rate", 1e-12, 1e3),
    ("momentum", 0, 1),
    ("weight_decay", 0, 1),
    ("patience", 1, float("inf")),
    ("factor", 1e-6, 1),
    ("max_drops", 0, 100),
    ("warmup_epochs", 0, float("inf")),
    ("dropout", 0, 0.99),
    ("colour", 0, float("inf")),
)

RECIPES = {
    # method.md, Training. The paper anneals by hand "when the validation error plateaus".
    "zeiler-fergus": Recipe("zeiler-fergus", kernel_initializer="paper", crop="ten"),
    # No renormalisation, but weight decay and colour noise.
    "krizhevsky": Recipe(
        "krizhevsky",
        epochs=90,
        weight_decay=5e-4,
        max_filter_rms=None,
        kernel_initializer="paper",
        colour=0.1,
    ),
    # A short training of a small net on few pictures: more augmentation, and a schedule whose
    # length is known beforehand.
    "imagenette": Recipe(
        "imagenette",
        epochs=110,
        batch_size=32,
        learning_rate=5e-4,
        optimizer="adamw",
        weight_decay=0.05,
        schedule="cosine",
        warmup_epochs=1,
        scale=(1.06, 1.75),
        colour=0.1,
    ),
}


def recipe(name: str = "zeiler-fergus", **changes: Any) -> Recipe:
    """A named recipe, with changes.

    Args:
        name: one of `RECIPES`.
        **changes: attributes of `Recipe` to set otherwise.

    Returns:
        The recipe.

    Raises:
        ValueError: for an unknown name or attribute, or a value that is out of range.

    >>> recipe("krizhevsky", epochs=3).weight_decay
    0.0005
    >>> recipe("krizhevsky", epoch=3)
    Traceback (most recent call last):
    ValueError: A recipe has no attribute 'epoch'. Allowed: epochs, batch_size, ...
    """
    if name not in RECIPES:
        raise ValueError(
            f"There is no such recipe. Allowed: {', '.join(RECIPES)}. Received: name={name!r}"
        )
    fields = [field.name for field in dataclasses.fields(Recipe)][1:]
    for key in changes:
        if key not in fields:
            raise ValueError(
                f"A recipe has no attribute {key!r}. Allowed: {', '.join(fields)}. "
                f"Received: {key}={changes[key]!r}"
            )
    return dataclasses.replace(RECIPES[name], **changes)
