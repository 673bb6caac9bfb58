"""What single operations do to whole maps and to mosaics.

A local operation knows which boxes of its output change with given boxes of its inputs (`area`)
and makes the output's mosaic from its inputs' (`local`). The weights are constants in the traced
graph, which spares TensorFlow from laying them out anew at every call. An operation without an
area runs on whole maps.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from zfkeras.incremental.axis import Ints, Spans, clipped, union
from zfkeras.incremental.grouping import Partition
from zfkeras.incremental.mosaic import Frame, Mosaic, as_picture, box_sums

Tensor = Any
Area = tuple[Spans, Spans]
Partitions = tuple[Partition, Partition]
Pair = tuple[int, int]
Weights = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Operation:
    """A function of maps. This base class runs on whole maps only: the layer is unknown.

    Attributes:
        function: From whole maps (n, …) to the whole map.
        inputs: Numbers of the values it reads.
        output: Number of the value it makes.
    """

    function: Callable[..., Tensor]
    inputs: tuple[int, ...]
    output: int

    def whole(self, *inputs: Tensor) -> Tensor:
        """The output (n, …) for whole inputs (n, …)."""
        return self.function(*inputs)

    def area(self, inputs: Sequence[Area]) -> Area | None:
        """The boxes that change with the inputs' boxes; None: they can't be told."""
        return None

    def partitions(self, inputs: Sequence[Area], output: Area, calls: int) -> Partitions | None:
        """Which boxes go together, where that is a question."""
        return None

    def plan(
        self, inputs: Sequence[Area], output: Area, partitions: Partitions | None, lines: Any
    ) -> Any:
        """Index vectors that `local` needs for some grid lines; areas are of these lines alone."""
        return ()

    def local(
        self, inputs: Sequence[Mosaic], clean: Tensor, frame: Frame, plan: Any, parts: Any
    ) -> Mosaic:
        """The output's mosaic.

        Args:
            inputs: The inputs' mosaics.
            clean: The output of the whole image.
            frame: The output's frame.
            plan: What `plan` returned, as tensors.
            parts: What `partitions` returned.
        """
        raise NotImplementedError


# === Pixel by pixel ===


@dataclass(frozen=True, eq=False)
class Pointwise(Operation):
    """A function of one pixel's channels, the same for all pixels."""

    def area(self, inputs: Sequence[Area]) -> Area | None:
        """The input's."""
        return inputs[0]

    def local(self, inputs, clean, frame, plan, parts) -> Mosaic:  # type: ignore[no-untyped-def]
        """The function of the values."""
        return Mosaic(clean, frame, values=as_picture(self.function, inputs[0].values))


@dataclass(frozen=True, eq=False)
class Affine(Operation):
    """``x * scale + shift`` with a factor per channel (or one), the shift any.

    Attributes:
        scale: The factor; None for one.
        shift: What is added, where it is known and the same for all pixels.
    """

    scale: Weights | None = None
    shift: Weights | None = None

    def area(self, inputs: Sequence[Area]) -> Area | None:
        """The input's."""
        return inputs[0]

    def local(self, inputs, clean, frame, plan, parts) -> Mosaic:  # type: ignore[no-untyped-def]
        """The change times the factor."""
        change = inputs[0].change
        return Mosaic(clean, frame, change if self.scale is None else change * self.scale)


@dataclass(frozen=True, eq=False)
class Merge(Operation):
    """A function of the pixels in the same place of several maps.

    Attributes:
        linear: Whether it maps changes to changes (sums, concatenation).
    """

    linear: bool = True

    def area(self, inputs: Sequence[Area]) -> Area | None:
        """The smallest boxes that hold the inputs' boxes."""
        rows, columns = zip(*inputs, strict=True)
        if len({(r.length, c.length) for r, c in inputs}) > 1:
            return None  # broadcast over places
        return union(rows), union(columns)

    def plan(self, inputs, output, partitions, lines):  # type: ignore[no-untyped-def]
        """Where each input has the output's pixels, for inputs with smaller boxes."""
        return [() if _same(area, output) else _found(area, output) for area in inputs]

    def local(self, inputs, clean, frame, plan, parts) -> Mosaic:  # type: ignore[no-untyped-def]
        """The function of the changes, or of the values, in the larger boxes."""
        changes = [
            mosaic.select(Frame(*found)) if found else mosaic.change
            for mosaic, found in zip(inputs, plan, strict=True)
        ]
        if self.linear:
            return Mosaic(clean, frame, as_picture(lambda *xs: self.function(list(xs)), *changes))
        values = [Mosaic(m.clean, frame, x).values for m, x in zip(inputs, changes, strict=True)]
        made = as_picture(lambda *xs: self.function(list(xs)), *values)
        return Mosaic(clean, frame, values=made)

    def whole(self, *inputs: Tensor) -> Tensor:
        """The function of the maps."""
        return self.function(list(inputs))


@dataclass(frozen=True, eq=False)
class Resample(Operation):
    """Output pixel o is input pixel ``o * step // repeat - before``, or a constant outside.

    Padding, cropping, nearest upsampling, and every n-th pixel.

    Attributes:
        before: Padding (negative: cropping) at the top and left.
        after: The same at the bottom and right.
        repeat: How often each pixel is repeated.
        step: Every how manieth pixel is taken.
    """

    before: Pair = (0, 0)
    after: Pair = (0, 0)
    repeat: Pair = (1, 1)
    step: Pair = (1, 1)

    def area(self, inputs: Sequence[Area]) -> Area | None:
        """The copies of the input's boxes."""
        rows, columns = (self._spans(axis, spans) for axis, spans in enumerate(inputs[0]))
        return rows, columns

    def _spans(self, axis: int, spans: Spans) -> Spans:
        before, repeat, step = self.before[axis], self.repeat[axis], self.step[axis]
        padded = spans.length + before + self.after[axis]
        start = -(-(spans.start + before) * repeat // step)
        stop = ((spans.stop + before) * repeat - 1) // step + 1
        return clipped(start, stop, -(-padded * repeat // step))

    def plan(self, inputs, output, partitions, lines):  # type: ignore[no-untyped-def]
        """Where the input has the output's pixels."""
        return [
            spans.find(
                out.lines, (out.pixels * self.step[axis]) // self.repeat[axis] - self.before[axis]
            )
            for axis, (spans, out) in enumerate(zip(inputs[0], output, strict=True))
        ]

    def local(self, inputs, clean, frame, plan, parts) -> Mosaic:  # type: ignore[no-untyped-def]
        """The pixels in their new places."""
        return Mosaic(clean, frame, inputs[0].select(Frame(*plan)))


@dataclass(frozen=True, eq=False)
class GlobalAverage(Operation):
    """The mean over all places: a mosaic's last step, for it leaves no places."""

    def plan(self, inputs, output, partitions, lines):  # type: ignore[no-untyped-def]
        """The grid lines of the mosaic's rows and columns, and their numbers."""
        return [(spans.lines, np.int32(len(spans.sizes))) for spans in inputs[0]]

    def local(self, inputs, clean, frame, plan, parts):  # type: ignore[no-untyped-def]
        """The whole image's mean and the mean of the changes, (I J, …, C)."""
        (mosaic,) = inputs
        (rows, down), (columns, across) = plan
        sums = box_sums(mosaic.change, Frame(rows, columns), (down, across))
        means = sums / float(mosaic.clean.shape[1] * mosaic.clean.shape[2])
        return clean + tf.reshape(means, [-1, *clean.shape[1:]])


@dataclass(frozen=True, eq=False)
class PointConvolution(Operation):
    """A 1x1 convolution: one matrix product over all pixels.

    Attributes:
        kernel: (C, D).
        bias: (D,)
    """

    kernel: Weights
    bias: Weights

    def area(self, inputs: Sequence[Area]) -> Area | None:
        """The input's."""
        return inputs[0]

    def whole(self, *inputs: Tensor) -> Tensor:
        """A convolution, which TensorFlow joins with the activation."""
        kernel = tf.constant(self.kernel[None, None])
        return tf.nn.bias_add(tf.nn.conv2d(inputs[0], kernel, 1, "VALID"), self.bias)

    def local(self, inputs, clean, frame, plan, parts) -> Mosaic:  # type: ignore[no-untyped-def]
        """The matrix times the change."""
        return Mosaic(clean, frame, tf.tensordot(inputs[0].change, tf.constant(self.kernel), 1))


def _same(area: Area, other: Area) -> bool:
    return all(a.same_as(b) for a, b in zip(area, other, strict=True))


def _found(area: Area, output: Area) -> list[Ints]:
    return [a.find(out.lines, out.pixels) for a, out in zip(area, output, strict=True)]
