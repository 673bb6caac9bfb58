"""What single operations do to whole maps and to mosaics.

A local operation knows which boxes of its output change with given boxes of its inputs (`area`)
and makes the output's mosaic from its inputs' (`local`). An operation without an area runs on
whole maps, by the layer itself.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from zfkeras.analysis.incremental.mosaic import Frame, Mosaic, as_picture, box_sums
from zfkeras.analysis.incremental.partitions import Partition
from zfkeras.regions.windows import HERE, Ints, Spans, Windows, union
from zfkeras.types import Tensor

Area = tuple[Spans, Spans]
Partitions = tuple[Partition, Partition]
Weights = NDArray[np.float32]


class OperationBoxes(NamedTuple):
    """What is planned for one operation in one task.

    Attributes:
        inputs: The inputs' boxes, of the task's grid lines alone.
        output: The output's; None where it is whole.
        lines: The task's rows and columns of the grid.
        partitions: What `Operation.partitions` returned.
    """

    inputs: list[Area]
    output: Any
    lines: tuple[Ints, Ints]
    partitions: Any


class OperationCall(NamedTuple):
    """What one operation runs on.

    Attributes:
        inputs: The inputs' mosaics.
        clean: The output for the whole image, (1, …).
        frame: The output mosaic's frame; None where it is whole.
        plan: What `Operation.plan` returned, as tensors.
        partitions: What `Operation.partitions` returned.
    """

    inputs: list[Mosaic]
    clean: Tensor
    frame: Any
    plan: Any
    partitions: Any

    def mosaic(self, change: Tensor = None, values: Tensor = None) -> Mosaic:
        """A mosaic for the output."""
        return Mosaic(self.clean, self.frame, change, values)


@dataclass(frozen=True, eq=False)
class Operation:
    """A function of maps. This base class runs on whole maps only: the layer is unknown.

    Attributes:
        function: From whole maps (n, …) to the whole map.
        inputs: Numbers of the values it reads.
        output: Number of the value it makes.
    """

    is_last: ClassVar[bool] = False
    """Whether it makes whole outputs, one for each place, from mosaics."""

    function: Callable[..., Tensor]
    inputs: tuple[int, ...]
    output: int

    def whole(self, *inputs: Tensor) -> Tensor:
        """The output (n, …) for whole inputs (n, …)."""
        return self.function(*inputs)

    def area(self, inputs: Sequence[Area]) -> Area | None:
        """The boxes that change with the inputs' boxes; None: they can't be told."""

    def partitions(self, inputs: Sequence[Area], output: Any, calls: int) -> Partitions | None:
        """Which boxes go through the layer together, where that is a question.

        Args:
            inputs: The inputs' boxes.
            output: The output's boxes; None where it is whole.
            calls: In how many tasks the places will be cut.
        """

    def plan(self, given: OperationBoxes) -> Any:
        """The index vectors that `local` needs for a task: nested tuples of int32 arrays."""
        del given
        return ()

    def local(self, call: OperationCall) -> Tensor:
        """The output's mosaic."""
        raise NotImplementedError


def shared(weights: Weights) -> Tensor:
    """Weights that every call in a traced function reads, and that it doesn't contain.

    For constants of the function, oneDNN would keep a copy in its own layout with every call of a
    convolution, one for each pair of groups: gigabytes for VGG16. To lay them out at each call
    costs no time that could be measured.
    """
    with tf.init_scope():
        return tf.constant(weights)


# === Pixel by pixel ===


@dataclass(frozen=True, eq=False)
class Pointwise(Operation):
    """A function of one pixel's channels, the same for all pixels.

    Attributes:
        by_channel: Whether it sees each channel by itself.
        is_cheap: Whether it is cheaper than cutting out boxes.
    """

    by_channel: bool = False
    is_cheap: bool = False

    def area(self, inputs: Sequence[Area]) -> Area | None:
        """The input's."""
        return inputs[0]

    def local(self, call: OperationCall) -> Mosaic:
        """The function of the values."""
        (mosaic,) = call.inputs
        values = as_picture(self.function, mosaic.values)
        clean = as_picture(self.function, mosaic.clean_boxes) if self.is_cheap else None
        return Mosaic(call.clean, call.frame, values=values, clean_boxes=clean)


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

    def local(self, call: OperationCall) -> Mosaic:
        """The change times the factor."""
        change = call.inputs[0].change
        return call.mosaic(change if self.scale is None else change * self.scale)


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

    def plan(self, given: OperationBoxes) -> Any:
        """Where each input has the output's pixels, for inputs with smaller boxes."""
        return [
            () if _same(area, given.output) else _found(area, given.output) for area in given.inputs
        ]

    def local(self, call: OperationCall) -> Mosaic:
        """The function of the changes, or of the values, in the larger boxes."""
        changes = [
            mosaic.select(Frame(*found)) if found else mosaic.change
            for mosaic, found in zip(call.inputs, call.plan, strict=True)
        ]
        if self.linear:
            return call.mosaic(as_picture(self.function, *changes))
        values = [
            Mosaic(mosaic.clean, call.frame, change).values
            for mosaic, change in zip(call.inputs, changes, strict=True)
        ]
        made = as_picture(self.function, *values)
        return call.mosaic(values=made)


@dataclass(frozen=True, eq=False)
class Resample(Operation):
    """Each output pixel is one of the input's, or a constant where its window is outside the map.

    Padding, cropping, nearest upsampling, and every n-th pixel.

    Attributes:
        over: (H, W) of the input -> which pixel it is: windows of one row and column each,
            transposed where pixels are repeated.
    """

    over: Callable[[Sequence[int]], Windows] = lambda _: HERE

    def _windows(self, area: Area) -> Windows:
        return self.over([spans.length for spans in area])

    def area(self, inputs: Sequence[Area]) -> Area | None:
        """The copies of the input's boxes."""
        try:
            windows = self._windows(inputs[0])
        except ValueError:  # it doesn't move these pixels, as a CenterCrop that enlarges
            return None
        rows, columns = (w.spans(s) for w, s in zip(windows, inputs[0], strict=True))
        return rows, columns

    def plan(self, given: OperationBoxes) -> Any:
        """Where the input has the output's pixels."""
        (area,) = given.inputs
        return [
            spans.find(out.lines, window.below(out.pixels, out.pixels + 1)[0])
            for window, spans, out in zip(self._windows(area), area, given.output, strict=True)
        ]

    def local(self, call: OperationCall) -> Mosaic:
        """The pixels in their new places."""
        return call.mosaic(call.inputs[0].select(Frame(*call.plan)))


@dataclass(frozen=True, eq=False)
class GlobalAverage(Operation):
    """The mean over the map."""

    is_last = True

    def plan(self, given: OperationBoxes) -> Any:
        """The grid lines of the mosaic's rows and columns, and their numbers."""
        return [(spans.lines, np.int32(len(spans.sizes))) for spans in given.inputs[0]]

    def local(self, call: OperationCall) -> Tensor:
        """The whole image's mean and the mean of the changes, (I J, …, C)."""
        (mosaic,) = call.inputs
        (rows, down), (columns, across) = call.plan
        sums = box_sums(mosaic.change, Frame(rows, columns), (down, across))
        means = sums / float(mosaic.clean.shape[1] * mosaic.clean.shape[2])
        return call.clean + tf.reshape(means, [-1, *call.clean.shape[1:]])


@dataclass(frozen=True, eq=False)
class PointConvolution(Operation):
    """A 1x1 convolution: one matrix product over all pixels.

    Attributes:
        kernel: (C, D).
    """

    kernel: Any = None

    def area(self, inputs: Sequence[Area]) -> Area | None:
        """The input's."""
        return inputs[0]

    def local(self, call: OperationCall) -> Mosaic:
        """The matrix times the change."""
        return call.mosaic(tf.tensordot(call.inputs[0].change, shared(self.kernel), 1))


def _same(area: Area, other: Area) -> bool:
    return all(a.same_as(b) for a, b in zip(area, other, strict=True))


def _found(area: Area, output: Area) -> list[Ints]:
    return [a.find(out.lines, out.pixels) for a, out in zip(area, output, strict=True)]
