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

from zfkeras.analysis.incremental.mosaic import Area, Layout, Mosaic, place_sums
from zfkeras.regions.windows import HERE, Ints, Windows, union
from zfkeras.types import Tensor

MOVE = 8.0  # multiply-adds that moving one number costs, about
Weights = Callable[[], Tensor]
"""Gives a layer's weights as they are when it is called: plans outlive changes of them."""


class OperationBoxes(NamedTuple):
    """What there is to plan for one operation in one task.

    Attributes:
        inputs: Where the inputs' pixels are, of the task's grid lines alone.
        output: The output's boxes; None where it is whole.
        lines: The task's rows and columns of the grid.
        decided: What `Operation.decide` returned.
    """

    inputs: list[Layout]
    output: Any
    lines: tuple[Ints, Ints]
    decided: Any

    @property
    def areas(self) -> list[Area]:
        """The inputs' boxes."""
        return [layout.area for layout in self.inputs]


class OperationPlan(NamedTuple):
    """What is planned.

    Attributes:
        layout: Where the output's pixels are; None where it is whole.
        index: The index vectors that `Operation.local` needs: nested sequences of arrays.
    """

    layout: Any
    index: Any = ()


class OperationCall(NamedTuple):
    """What one operation runs on.

    Attributes:
        inputs: The inputs' mosaics.
        clean: The output for the whole image, (1, …).
        pixels: Which pixels of it the output's mosaic has; None where it is whole.
        index: That of the `OperationPlan`, as tensors.
        decided: What `Operation.decide` returned.
    """

    inputs: list[Mosaic]
    clean: Tensor
    pixels: Any
    index: Any
    decided: Any

    def mosaic(self, change: Tensor = None, values: Tensor = None) -> Mosaic:
        """A mosaic for the output."""
        return Mosaic(self.clean, self.pixels, change, values)


@dataclass(frozen=True, eq=False)
class Operation:
    """A function of maps. This base class runs on whole maps only: the layer is unknown.

    Attributes:
        function: From whole maps (n, …) to the whole map.
        inputs: Numbers of the values it reads.
        output: Number of the value it makes.
        shape: Of that value, as the model declares it.
        macs: Multiply-adds for each of its pixels.
    """

    is_last: ClassVar[bool] = False
    """Whether it makes whole outputs, one for each place, from mosaics."""

    function: Callable[..., Tensor]
    inputs: tuple[int, ...]
    output: int
    shape: tuple[int | None, ...]
    macs: float

    def whole(self, *inputs: Tensor) -> Tensor:
        """The output (n, …) for whole inputs (n, …)."""
        return self.function(*inputs)

    def area(self, inputs: Sequence[Area]) -> Area | None:
        """The boxes that change with the inputs' boxes; None: they can't be told."""

    def decide(self, inputs: Sequence[Area], output: Any, calls: int) -> Any:
        """What is the same in all tasks: which boxes go through the layer together, say.

        Args:
            inputs: The inputs' boxes.
            output: The output's boxes; None where it is whole.
            calls: In how many tasks the places will be cut.
        """

    def plan(self, given: OperationBoxes) -> OperationPlan:
        """Where the output's pixels will be and how they are found; by default as the input's."""
        return OperationPlan(given.inputs[0])

    def local(self, call: OperationCall) -> Tensor:
        """The output's mosaic."""
        raise NotImplementedError

    def calls(self, decided: Any) -> int:
        """How often the layer is called for a task."""
        del decided
        return 1

    def price(self, inputs: Sequence[Area], decided: Any) -> float:
        """About what `local` costs for all places, in multiply-adds."""
        del decided
        rows, columns = inputs[0]
        return rows.total * columns.total * (self.macs + 3 * MOVE * (self.shape[-1] or 1))


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
        values = _on_list(self.function, mosaic.values)
        clean = _on_list(self.function, mosaic.clean_pixels) if self.is_cheap else None
        return Mosaic(call.clean, call.pixels, values=values, clean_pixels=clean)


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
        return call.mosaic(change if self.scale is None else change * self.scale())


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

    def decide(self, inputs: Sequence[Area], output: Any, calls: int) -> Any:
        """The number of an input that has all boxes; None if there is none."""
        del calls
        return next((n for n, area in enumerate(inputs) if _same(area, output)), None)

    def plan(self, given: OperationBoxes) -> OperationPlan:
        """The layout of the input that has all boxes, and where the others have its pixels."""
        full = given.decided
        layout = Layout.row_by_row(given.output) if full is None else given.inputs[full]
        return OperationPlan(
            layout,
            [() if n == full else own.seen_from(layout) for n, own in enumerate(given.inputs)],
        )

    def local(self, call: OperationCall) -> Mosaic:
        """The function of the changes, or of the values, in the larger boxes."""
        changes = [
            mosaic.change if isinstance(entries, tuple) else mosaic.change_at(entries)
            for mosaic, entries in zip(call.inputs, call.index, strict=True)
        ]
        if self.linear:
            return call.mosaic(_on_list(self.function, *changes))
        values = [
            Mosaic(mosaic.clean, call.pixels, change).values
            for mosaic, change in zip(call.inputs, changes, strict=True)
        ]
        return call.mosaic(values=_on_list(self.function, *values))


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

    def plan(self, given: OperationBoxes) -> OperationPlan:
        """Where the input has the output's pixels."""
        (layout,) = given.inputs
        rows, columns = (
            spans.find(out.lines, window.below(out.pixels, out.pixels + 1)[0])
            for window, spans, out in zip(
                self._windows(layout.area), layout.area, given.output, strict=True
            )
        )
        found = layout.order[np.ix_(rows, columns)].reshape(-1)
        return OperationPlan(Layout.row_by_row(given.output), found)

    def local(self, call: OperationCall) -> Mosaic:
        """The pixels in their new places."""
        return call.mosaic(call.inputs[0].change_at(call.index))


@dataclass(frozen=True, eq=False)
class GlobalAverage(Operation):
    """The mean over the map."""

    is_last = True

    def plan(self, given: OperationBoxes) -> OperationPlan:
        """The place that each pixel belongs to, and how many places there are."""
        (layout,) = given.inputs
        return OperationPlan(None, summed_by_place(layout))

    def local(self, call: OperationCall) -> Tensor:
        """The whole image's mean and the mean of the changes, (I J, …, C)."""
        (mosaic,) = call.inputs
        sums = place_sums(mosaic.change, *call.index)
        means = sums / float(mosaic.clean.shape[1] * mosaic.clean.shape[2])
        return call.clean + tf.reshape(means, [-1, *call.clean.shape[1:]])


def summed_by_place(layout: Layout) -> tuple[Ints, np.int32]:
    """The arguments of `place_sums` beside the change."""
    rows, columns = layout.area
    return layout.places, np.int32(len(rows.sizes) * len(columns.sizes))


@dataclass(frozen=True, eq=False)
class PointConvolution(Operation):
    """A 1x1 convolution: one matrix product over all pixels.

    Attributes:
        kernel: (C, D).
    """

    kernel: Weights

    def area(self, inputs: Sequence[Area]) -> Area | None:
        """The input's."""
        return inputs[0]

    def local(self, call: OperationCall) -> Mosaic:
        """The matrix times the change."""
        return call.mosaic(tf.matmul(call.inputs[0].change, self.kernel()))


def _on_list(function: Callable[..., Tensor], *lists: Tensor) -> Tensor:
    """Runs a layer on lists of pixels (M, C) as on a picture of one column."""
    return function(*(pixels[None, :, None] for pixels in lists))[0, :, 0]


def _same(area: Area, other: Area) -> bool:
    return all(a.same_as(b) for a, b in zip(area, other, strict=True))
