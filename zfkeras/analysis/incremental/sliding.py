"""Operations on a sliding window: convolution and pooling, on whole maps and on mosaics."""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from zfkeras.analysis.incremental.axes import Axis
from zfkeras.analysis.incremental.mosaic import Area, Boxes, Layout, Mosaic, as_list
from zfkeras.analysis.incremental.operations import (
    MOVE,
    Operation,
    OperationBoxes,
    OperationCall,
    OperationPlan,
    Weights,
)
from zfkeras.analysis.incremental.partitions import (
    partition,
)
from zfkeras.regions.merging import CALL, WEIGHT
from zfkeras.regions.windows import Ints, Window, Windows
from zfkeras.types import Pair, Tensor

Pads = list[list[int]]
_IDLE = 1.05  # from this share of results on that are in no box, these are left out


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

    def decide(self, inputs: Sequence[Area], output: Any, calls: int) -> Any:
        """Groups of boxes of similar size, along rows and along columns."""
        windows = self.windows(inputs[0])
        return partition(windows, inputs[0], output, self.weight, self.skips, calls)

    def plan(self, given: OperationBoxes) -> OperationPlan:
        """Which pixels the boxes of each pair of groups have, and where the results will be."""
        (layout,) = given.inputs
        axes = zip(
            self.windows(layout.area),
            layout.area,
            given.output,
            given.decided,
            given.lines,
            strict=True,
        )
        rows, columns = (Axis(self.nearest, *axis) for axis in axes)
        boxes = self.boxes(layout)
        cuts = [boxes(*pair) for pair in itertools.product(rows.boxes(), columns.boxes())]
        order = rows.row_factors() @ columns.column_factors().T
        if math.prod(part.results / part.useful for part in given.decided) > _IDLE:
            return OperationPlan(Layout.row_by_row(given.output), (cuts, order.reshape(-1)))
        results = rows.results * columns.results
        return OperationPlan(Layout.of(given.output, order, results), (cuts, ()))

    def boxes(self, layout: Layout) -> Callable[[Boxes, Boxes], Ints]:
        """What gives the pixels in the boxes of a pair of groups."""
        return layout.change_boxes

    def local(self, call: OperationCall) -> Mosaic:
        """The operation on the change in each box."""
        return call.mosaic(self.slid(call.inputs[0].change_at, call))

    def slid(self, cut: Callable[[Tensor], Tensor], call: OperationCall) -> Tensor:
        """(M, C): what the operation makes of the boxes of each pair of groups, in a row.

        Args:
            cut: Gives the pixels (n, h, w, C) of boxes.
            call: The call.
        """
        rows, columns = (partition.shapes for partition in call.decided)
        cuts, order = call.index
        of_boxes, results = self.of_boxes(), []
        for shapes, boxes in zip(itertools.product(rows, columns), cuts, strict=True):
            if boxes.shape[0] == 0:  # oneDNN would give nothing the depth of its input
                continue
            pads = [[0, 0], *([shape.lead, shape.tail] for shape in shapes), [0, 0]]
            results.append(as_list(of_boxes(cut(boxes), pads)))
        joined = tf.concat(results, 0) if len(results) > 1 else results[0]
        return joined if isinstance(order, tuple) else tf.gather(joined, order)

    def calls(self, decided: Any) -> int:
        """One for each pair of groups."""
        return math.prod(len(partition.shapes) for partition in decided)

    def price(self, inputs: Sequence[Area], decided: Any) -> float:
        """The boxes' taps, what it takes to cut them out, and a price for each call."""
        rows, columns = decided
        calls = self.calls(decided) * (CALL + WEIGHT * self.macs)
        moved = math.prod(spans.total for spans in inputs[0]) * 3 * MOVE * (self.shape[-1] or 1)
        return float(rows.work * columns.work * self.weight + calls + moved)

    def of_boxes(self) -> Callable[[Tensor, Pads], Tensor]:
        """What the operation, without its bias, makes of boxes with zeros around them.

        Made once for all groups, so that they share the weights.
        """
        raise NotImplementedError


# === The operations ===


@dataclass(frozen=True, eq=False, kw_only=True)
class Convolution(Sliding):
    """A convolution, grouped or not.

    Attributes:
        kernel: (h, w, C / groups, D).
        bias: (D,)
    """

    kernel: Weights
    bias: Weights
    groups: int

    def of_boxes(self) -> Callable[[Tensor, Pads], Tensor]:
        """The convolution without its bias."""
        # TensorFlow has no grouped convolution on the CPU outside XLA.
        kernel = self.kernel()
        kernels = tf.split(kernel, self.groups, axis=3) if self.groups > 1 else [kernel]

        def convolve(boxes: Tensor, pads: Pads) -> Tensor:
            parts = tf.split(boxes, self.groups, axis=3) if self.groups > 1 else [boxes]
            made = [
                tf.nn.conv2d(part, kernel, self.strides, pads, dilations=self.dilation)
                for part, kernel in zip(parts, kernels, strict=True)
            ]
            return tf.concat(made, 3) if self.groups > 1 else made[0]

        return convolve


@dataclass(frozen=True, eq=False, kw_only=True)
class DepthwiseConvolution(Sliding):
    """A convolution of each channel by itself.

    Attributes:
        kernel: (h, w, C, multiplier).
    """

    kernel: Weights

    def of_boxes(self) -> Callable[[Tensor, Pads], Tensor]:
        """The convolution without its bias."""
        kernel, strides = self.kernel(), [1, *self.strides, 1]
        return lambda boxes, pads: tf.nn.depthwise_conv2d(
            tf.pad(boxes, pads), kernel, strides, "VALID", dilations=self.dilation
        )


@dataclass(frozen=True, eq=False)
class AveragePooling(Sliding):
    """The mean of each window; padding does not count."""

    def plan(self, given: OperationBoxes) -> OperationPlan:
        """The boxes, and the share (M, 1) of one pixel in each window's mean."""
        (area,) = given.areas
        rows, columns = (
            (1 / window.inside(out.pixels, spans.length)).astype(np.float32)
            for window, spans, out in zip(self.windows(area), area, given.output, strict=True)
        )
        layout, index = super().plan(given)
        return OperationPlan(layout, (index, layout.listed(rows[:, None] * columns, 0)[:, None]))

    def local(self, call: OperationCall) -> Mosaic:
        """The sums of the windows, divided."""
        index, shares = call.index
        return call.mosaic(super().local(call._replace(index=index)).change * shares)

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

    def boxes(self, layout: Layout) -> Callable[[Boxes, Boxes], Ints]:
        """What gives the pixels in the boxes, changed or not."""
        return layout.value_boxes

    def local(self, call: OperationCall) -> Mosaic:
        """The maxima of the values."""
        return call.mosaic(values=self.slid(call.inputs[0].values_at, call))

    def of_boxes(self) -> Callable[[Tensor, Pads], Tensor]:
        """The maxima of the windows."""
        window = self.size, self.strides, "VALID"
        return lambda boxes, pads: tf.nn.max_pool2d(tf.pad(boxes, pads), *window)


@dataclass(frozen=True, eq=False, kw_only=True)
class MapDense(Sliding):
    """A dense layer on a flattened map: one window, as large as the map.

    Only the rows of boxes are cut out, not their columns: the weights of a few rows of the map lie
    together in memory.

    Attributes:
        kernel: The layer's own variable, (h w C, D); a copy of it could be large.
    """

    is_last = True
    kernel: Weights

    def area(self, inputs: Sequence[Area]) -> Area | None:
        """None: the output has no places."""

    def decide(self, inputs: Sequence[Area], output: Any, calls: int) -> Any:
        """Groups of boxes with about the same rows."""
        del output
        return super().decide(inputs, super().area(inputs), calls)

    def plan(self, given: OperationBoxes) -> OperationPlan:
        """The boxes of each group, and which result is of which place."""
        layout, index = super().plan(given._replace(output=super().area(given.areas)))
        return OperationPlan(None, (index, layout.order[:-1, :-1].reshape(-1)))

    def local(self, call: OperationCall) -> Tensor:
        """The whole image's output and the layer of the change, (I J, D)."""
        index, order = call.index
        change = self.slid(call.inputs[0].change_at, call._replace(index=index))
        return call.clean + tf.gather(change, order)

    def of_boxes(self) -> Callable[[Tensor, Pads], Tensor]:
        """The product with the weights of some rows of the map."""
        kernel = self.kernel()

        def multiply(boxes: Tensor, pads: Pads) -> Tensor:
            depth = self.size[1] * boxes.shape[3]
            rows = self.size[0] - sum(pads[1])
            part = kernel[pads[1][0] * depth : (pads[1][0] + rows) * depth]
            return tf.matmul(tf.reshape(boxes, [-1, rows * depth]), part)

        return multiply
