"""What a sweep needs of memory and of time, so that the cheaper way can be taken.

Times are in multiply-adds that could be done meanwhile: what counts is which of two is larger.
"""

import math
from collections.abc import Iterable, Mapping, Sequence

from zfkeras.analysis.incremental.mosaic import Area
from zfkeras.analysis.incremental.operations import MOVE, Operation

# Measured on two nets each way: seconds of Python, at 5e10 multiply-adds a second.
STEP = 2e8  # to trace a layer
CALL = 1.6e8  # to trace one of its calls on boxes


def places_at_a_time(
    operations: Sequence[Operation],
    areas: Mapping[int, Area],
    converted: Iterable[int],
    image: tuple[int, int, int],
    batch_size: int,
) -> int:
    """How many places need about the memory of `batch_size` whole images.

    Args:
        operations: All of them.
        areas: The boxes of the values that are mosaics.
        converted: Mosaics that are needed as whole maps, too.
        image: (H, W, C).
        batch_size: Images.
    """
    whole = {op.output: numbers(op, image) for op in operations}
    places = [
        size * _largest_share(areas[value]) if value in areas else size
        for value, size in whole.items()
    ]
    places += [whole.get(value, 0.0) for value in converted]
    image_numbers = float(math.prod(image))
    return max(1, int(batch_size * max(image_numbers, *whole.values()) / max(*places, 1.0)))


def whole_price(operations: Iterable[Operation], image: tuple[int, int, int]) -> float:
    """What operations cost on the whole maps of one image (H, W, C)."""
    return sum(
        operation.macs * pixels(operation, image) + MOVE * numbers(operation, image)
        for operation in operations
    )


def pixels(operation: Operation, image: tuple[int, int, int]) -> float:
    """Places of the operation's output; those of the image where it is not known."""
    sizes = operation.shape[1:-1] if len(operation.shape) == 4 else ()
    return float(math.prod(own or given for own, given in zip(sizes, image, strict=False)))


def numbers(operation: Operation, image: tuple[int, int, int]) -> float:
    """Numbers in the operation's output for one image."""
    if len(operation.shape) == 4:
        return pixels(operation, image) * (operation.shape[-1] or 1)
    return float(math.prod(size or image[0] for size in operation.shape[1:]))


def _largest_share(area: Area) -> float:
    """The share of the map that the largest box covers."""
    rows, columns = (spans.sizes.max() / spans.length for spans in area)
    return float(rows * columns)
