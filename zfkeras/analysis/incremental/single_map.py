"""Operations of which less is needed than the layer as such would compute."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from zfkeras.analysis.incremental.mosaic import Mosaic
from zfkeras.analysis.incremental.operations import (
    Area,
    Operation,
    OperationCall,
    Tensor,
    shared,
)
from zfkeras.analysis.incremental.sliding import Convolution


@dataclass(frozen=True, eq=False)
class TapProducts(Operation):
    """A convolution for a single map, first half: each tap's product, as h w channels.

    A matrix product makes them from each pixel once; the second half then moves h w numbers to
    where they are summed up, and not a pixel of all channels to each window that sees it.

    Attributes:
        kernel: (h, w, C, D).
        channel: The map.
    """

    kernel: Any = None
    channel: Any = None

    def area(self, inputs: Sequence[Area]) -> Area | None:
        """The input's."""
        return inputs[0]

    def whole(self, *inputs: Tensor) -> Tensor:
        """The products of all taps at each pixel."""
        return tf.tensordot(inputs[0], self._filter(), 1)

    def local(self, call: OperationCall) -> Mosaic:
        """The same of the change."""
        return call.mosaic(tf.tensordot(call.inputs[0].change, self._filter(), 1))

    def _filter(self) -> Tensor:
        """(C, h w)"""
        height, width, depth, _ = self.kernel.shape
        maps_first = shared(np.ascontiguousarray(np.transpose(self.kernel, (3, 2, 0, 1))))
        return tf.reshape(tf.gather(maps_first, self.channel), [depth, height * width])


@dataclass(frozen=True, eq=False)
class TapSum(Convolution):
    """The second half: the sum of the taps in each window; (…, h w) to (…, 1).

    Attributes:
        channel: The map.
    """

    channel: Any = None

    def whole(self, *inputs: Tensor) -> Tensor:
        """The sums and the bias."""
        sums = tf.nn.conv2d(
            inputs[0], self.kernel, self.strides, self.padding.upper(), dilations=self.dilation
        )
        return sums + tf.gather(tf.constant(self.bias), self.channel)
