"""Operations of which less is needed than the layer as such would compute."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from zfkeras.analysis.incremental.mosaic import Area, Mosaic
from zfkeras.analysis.incremental.operations import Operation, OperationCall, Weights
from zfkeras.analysis.incremental.sliding import Convolution
from zfkeras.types import Tensor


@dataclass(frozen=True, eq=False)
class TapProducts(Operation):
    """A convolution for a single map, first half: each tap's product, as h w channels.

    A matrix product makes them from each pixel once; the second half then moves h w numbers to
    where they are summed up, and not a pixel of all channels to each window that sees it.

    Attributes:
        kernel: (h, w, C, D).
        channel: The map.
    """

    kernel: Weights
    channel: Any

    def area(self, inputs: Sequence[Area]) -> Area | None:
        """The input's."""
        return inputs[0]

    def whole(self, *inputs: Tensor) -> Tensor:
        """The products of all taps at each pixel."""
        return tf.tensordot(inputs[0], self._filter(), 1)

    def local(self, call: OperationCall) -> Mosaic:
        """The same of the change."""
        return call.mosaic(tf.matmul(call.inputs[0].change, self._filter()))

    def _filter(self) -> Tensor:
        """(C, h w)"""
        taps = tf.gather(self.kernel(), self.channel, axis=3)
        return tf.transpose(tf.reshape(taps, [-1, taps.shape[2]]))


@dataclass(frozen=True, eq=False, kw_only=True)
class TapSum(Convolution):
    """The second half: the sum of the taps in each window; (…, h w) to (…, 1).

    Attributes:
        channel: The map.
    """

    channel: Any

    def whole(self, *inputs: Tensor) -> Tensor:
        """The sums and the bias."""
        sums = tf.nn.conv2d(
            inputs[0], self.kernel(), self.strides, self.padding.upper(), dilations=self.dilation
        )
        return sums + tf.gather(self.bias(), self.channel)
