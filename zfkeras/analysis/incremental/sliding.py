"""Operations on a sliding window: convolution and pooling, on whole maps and on mosaics."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from zfkeras.analysis.incremental.mosaic import Boxes, Mosaic, Slices, slide
from zfkeras.analysis.incremental.operations import (
    Area,
    Operation,
    OperationBoxes,
    OperationCall,
    Partitions,
    Tensor,
    shared,
)
from zfkeras.analysis.incremental.partitions import (
    Cut,
    Partition,
    Shape,
    cut,
    partition,
    reaches,
)
from zfkeras.regions.windows import Ints, Spans, Window, Windows
from zfkeras.types import Pair

Pads = list[list[int]]


@dataclass(frozen=True, eq=False)
class Sliding(Operation):
    """A window that slides over the map.

    Attributes:
        size: Taps of the window.
        strides: Its steps.
        padding: "valid", "same" or "ceil".
        dilation: Pixels from one tap to the next.
        weight: About the multiply-adds of a pair of taps; for planning only.
        skips: Whether it is cheaper on zeros that it puts around the boxes itself, along rows and
            along columns.
        nearest: Whether boxes go on outside the map with the nearest pixel inside (else zeros).
    """

    size: Pair
    strides: Pair
    padding: str
    dilation: Pair = (1, 1)
    weight: float = 1.0
    skips: tuple[bool, bool] = (False, False)
    nearest: bool = False

    def windows(self, area: Area) -> Windows:
        """The window along rows and along columns."""
        axes = zip(area, self.size, self.strides, self.dilation, strict=True)
        return Windows(*(Window.sliding(n.length, k, s, self.padding, d) for n, k, s, d in axes))

    def area(self, inputs: Sequence[Area]) -> Area | None:
        """The windows that see a change."""
        windows = self.windows(inputs[0])
        rows, columns = (w.spans(s) for w, s in zip(windows, inputs[0], strict=True))
        return rows, columns

    def partitions(self, inputs: Sequence[Area], output: Any, calls: int) -> Partitions | None:
        """Groups of boxes of similar size."""
        windows = self.windows(inputs[0])
        return partition(windows, inputs[0], output, self.weight, self.skips, calls)

    def plan(self, given: OperationBoxes) -> Any:
        """The boxes of each group along each axis, and where their results are."""
        windows = self.windows(given.inputs[0])
        axes = zip(
            windows, given.inputs[0], given.output, given.partitions, given.lines, strict=True
        )
        rows, columns = (_Axis(self.nearest, *axis) for axis in axes)
        return rows.slices(rows.row_factors()), columns.slices(columns.column_factors())

    def local(self, call: OperationCall) -> Mosaic:
        """The operation on the change in each box."""
        return call.mosaic(slide(call.inputs[0].change_boxes, self._on_boxes(call), *call.plan))

    def _on_boxes(self, call: OperationCall) -> Callable[[Tensor, int, int], Tensor]:
        """The operation on boxes of a group of rows and a group of columns."""
        rows, columns = call.partitions
        of_boxes = self.of_boxes()

        def layer(boxes: Tensor, i: int, j: int) -> Tensor:
            shapes = rows.shapes[i], columns.shapes[j]
            return of_boxes(boxes, [[0, 0], *([s.lead, s.tail] for s in shapes), [0, 0]])

        return layer

    def of_boxes(self) -> Callable[[Tensor, Pads], Tensor]:
        """What the operation, without its bias, makes of boxes with zeros around them.

        Made once for all groups, so that they share the weights.
        """
        raise NotImplementedError


class _Axis:
    """A window over the spans of some grid lines: index vectors along one axis."""

    def __init__(
        self,
        nearest: bool,
        window: Window,
        spans: Spans,
        output: Spans,
        partition: Partition,
        lines: Ints,
    ) -> None:
        self._nearest = nearest
        reach = reaches(window, spans, output)
        self._spans, self._output = spans, output
        self._origins, _ = window.below(output.start, output.stop)
        self._shapes = partition.shapes
        groups = partition.groups[lines]
        self._members = [np.flatnonzero(groups == k) for k in range(len(partition.shapes))]
        self._cuts: list[Cut] = [
            cut(window, shape, [reach[line] for line in members])
            for shape, members in zip(self._shapes, self._members, strict=True)
        ]

    def slices(self, factors: Ints) -> Slices:
        """The boxes of each group."""
        groups = zip(self._shapes, self._members, self._cuts, strict=True)
        return Slices(tuple(self._boxes(*group) for group in groups), factors)

    def _boxes(self, shape: Shape, members: Ints, box: Cut) -> Boxes:
        rows = (self._origins[members] + shape.lead)[:, None] + np.arange(box.size)
        rows = rows.astype(np.int32)
        inside = np.clip(rows, 0, self._spans.length - 1)
        wanted = inside if self._nearest else rows
        return Boxes(self._spans.find(members[:, None], wanted), inside)

    def _results(self) -> tuple[Ints, ...]:
        """For each output row: its group's windows, the first of its box, itself in the box.

        And: the windows of all boxes of its group, of the groups before, of all groups.
        """
        windows = np.array([box.windows for box in self._cuts])
        group_sizes = windows * [len(members) for members in self._members]
        before = np.cumsum(group_sizes) - group_sizes
        group, rank = np.zeros((2, len(self._origins)), int)
        for k, members in enumerate(self._members):
            group[members], rank[members] = k, np.arange(len(members))
        lines = self._output.lines
        group, rank = group[lines], rank[lines]
        row = self._output.pixels - self._output.start[lines]
        every = np.full_like(row, group_sizes.sum())
        return windows[group], rank * windows[group], row, group_sizes[group], before[group], every

    def row_factors(self) -> Ints:
        """(U, 6): see `slide`."""
        windows, first, row, size, before, _ = self._results()
        return np.stack([before, size, first, windows, row, np.ones_like(row)], 1).astype(np.int32)

    def column_factors(self) -> Ints:
        """(V, 6), in the order of `row_factors`.

        The result of row y, column x of box (i, j) in the pair of groups (c, d) comes after: all
        pairs of groups before c; those of c before d; the boxes of rows before i; of row i the
        boxes before j; of this box the rows before y; and in its row the columns before x.
        """
        windows, first, row, size, before, every = self._results()
        return np.stack([every, before, size, first, windows, row], 1).astype(np.int32)


# === The operations ===


@dataclass(frozen=True, eq=False)
class Convolution(Sliding):
    """A convolution, grouped or not.

    Attributes:
        kernel: (h, w, C / groups, D).
        bias: (D,)
    """

    kernel: Any = None
    bias: Any = None
    groups: int = 1

    def of_boxes(self) -> Callable[[Tensor, Pads], Tensor]:
        """The convolution without its bias."""
        # TensorFlow has no grouped convolution on the CPU outside XLA.
        kernels = [shared(kernel) for kernel in np.split(self.kernel, self.groups, axis=3)]

        def convolve(boxes: Tensor, pads: Pads) -> Tensor:
            parts = tf.split(boxes, self.groups, axis=3) if self.groups > 1 else [boxes]
            made = [
                tf.nn.conv2d(part, kernel, self.strides, pads, dilations=self.dilation)
                for part, kernel in zip(parts, kernels, strict=True)
            ]
            return tf.concat(made, 3) if self.groups > 1 else made[0]

        return convolve


@dataclass(frozen=True, eq=False)
class DepthwiseConvolution(Sliding):
    """A convolution of each channel by itself.

    Attributes:
        kernel: (h, w, C, multiplier).
    """

    kernel: Any = None

    def of_boxes(self) -> Callable[[Tensor, Pads], Tensor]:
        """The convolution without its bias."""
        kernel, strides = shared(self.kernel), [1, *self.strides, 1]
        return lambda boxes, pads: tf.nn.depthwise_conv2d(
            tf.pad(boxes, pads), kernel, strides, "VALID", dilations=self.dilation
        )


@dataclass(frozen=True, eq=False)
class AveragePooling(Sliding):
    """The mean of each window; padding does not count."""

    def plan(self, given: OperationBoxes) -> Any:
        """The slices, and the share of one pixel in each window's mean along each axis."""
        shares = [
            (1 / window.inside(out.pixels, spans.length)).astype(np.float32)
            for window, spans, out in zip(
                self.windows(given.inputs[0]), given.inputs[0], given.output, strict=True
            )
        ]
        return super().plan(given), shares

    def local(self, call: OperationCall) -> Mosaic:
        """The sums of the windows, divided."""
        slices, (rows, columns) = call.plan
        sums = super().local(call._replace(plan=slices)).change
        return call.mosaic(sums * (rows[:, None] * columns)[:, :, None])

    def of_boxes(self) -> Callable[[Tensor, Pads], Tensor]:
        """The sums of the windows."""
        taps = float(self.size[0] * self.size[1])
        window = self.size, self.strides, "VALID"
        return lambda boxes, pads: tf.nn.avg_pool2d(tf.pad(boxes, pads), *window) * taps


@dataclass(frozen=True, eq=False)
class MaxPooling(Sliding):
    """The maximum of each window, which needs the values themselves.

    Outside the map the nearest pixel inside is taken: it lies in the same window, so the maximum
    is that of the pixels inside.
    """

    def local(self, call: OperationCall) -> Mosaic:
        """The maxima of the values."""

        values = slide(call.inputs[0].value_boxes, self._on_boxes(call), *call.plan)
        return call.mosaic(values=values)

    def of_boxes(self) -> Callable[[Tensor, Pads], Tensor]:
        """The maxima of the windows."""
        window = self.size, self.strides, "VALID"
        return lambda boxes, pads: tf.nn.max_pool2d(tf.pad(boxes, pads), *window)


@dataclass(frozen=True, eq=False)
class MapDense(Sliding):
    """A dense layer on a flattened map: one window, as large as the map.

    Only the rows of boxes are cut out, not their columns: the weights of a few rows of the map lie
    together in memory.

    Attributes:
        kernel: The layer's own variable, (h w C, D); a copy of it could be large.
    """

    is_last = True
    kernel: Any = None

    def area(self, inputs: Sequence[Area]) -> Area | None:
        """None: the output has no places."""

    def partitions(self, inputs: Sequence[Area], output: Any, calls: int) -> Partitions | None:
        """Groups of boxes with about the same rows."""
        output = super().area(inputs)
        return super().partitions(inputs, output, calls)

    def plan(self, given: OperationBoxes) -> Any:
        """The boxes of each group, and where their results are."""
        return super().plan(given._replace(output=super().area(given.inputs)))

    def local(self, call: OperationCall) -> Tensor:
        """The whole image's output and the layer of the change, (I J, D)."""
        rows, _ = call.partitions
        depth = call.inputs[0].clean.shape[2] * call.inputs[0].clean.shape[3]

        def layer(boxes: Tensor, i: int, _: int) -> Tensor:
            first, end = rows.shapes[i].lead, self.size[0] - rows.shapes[i].tail
            kernel = tf.convert_to_tensor(self.kernel)[first * depth : end * depth]
            return tf.matmul(tf.reshape(boxes, [-1, (end - first) * depth]), kernel)

        change = slide(call.inputs[0].change_boxes, layer, *call.plan)
        return call.clean + tf.reshape(change, [-1, change.shape[-1]])
