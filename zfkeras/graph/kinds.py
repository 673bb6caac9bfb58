"""What a layer is to those who meet one: its kind."""

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from zfkeras.graph.layer_windows import Size, here
from zfkeras.regions.windows import Windows
from zfkeras.types import Tensor


class Role(enum.Enum):
    """What a layer does to its input, at inference."""

    CONVOLUTION = "convolution"
    DEPTHWISE = "depthwise convolution"
    SEPARABLE = "separable convolution"
    DENSE = "dense"
    LINEAR = "linear"  # in an own way, of which nothing more is known
    AVERAGE_POOL = "average pooling"
    GLOBAL_AVERAGE = "global average"
    MOVE = "move"  # padding, cropping, upsampling: each unit is one of the input's, or zero
    SCALE = "scale and shift"  # by numbers that the layer has
    MERGE = "merge"  # sums, differences and concatenations of several maps
    AFFINE = "affine"  # in any other way
    NEUTRAL = "nothing"
    SHIFT = "shift"  # adds what the image doesn't change
    MAX_POOL = "max pooling"
    GLOBAL_MAX_POOL = "global max pooling"
    RELU = "ReLU"
    CONTRAST = "contrast normalisation"
    ELEMENTWISE = "nonlinearity"  # of each number by itself
    ACROSS_CHANNELS = "nonlinearity across channels"
    COMBINE = "nonlinear merge"  # of the numbers in one place of several maps
    UNKNOWN = "unknown"


AFFINE_ROLES = frozenset(
    {
        Role.AVERAGE_POOL,
        Role.GLOBAL_AVERAGE,
        Role.MOVE,
        Role.SCALE,
        Role.MERGE,
        Role.AFFINE,
    }
)


@dataclass(frozen=True)
class Kind:
    """A kind of layer.

    Attributes:
        role: What it does.
        windows: (operation, (H, W) of its input) -> what its units see of the input along rows and
            columns; None where that isn't a moving window.
        is_uniform: Whether it does the same in every place. Otherwise it may still see its own
            place alone, as a factor for each pixel does.
        linear: (layer, x, padding) -> the layer without its bias and built-in activation, for
            layers that can have one; `padding` None is the layer's own.
    """

    role: Role
    windows: Callable[[Any, Size], Windows] | None = None
    is_uniform: bool = True
    linear: Callable[..., Tensor] | None = None

    @property
    def is_affine(self) -> bool:
        """Whether it is affine and has no activation built in."""
        return self.role in AFFINE_ROLES

    @property
    def is_pointwise(self) -> bool:
        """Whether each unit sees one place, and the same is done in all."""
        return self.windows is here and self.is_uniform


UNKNOWN = Kind(Role.UNKNOWN)
