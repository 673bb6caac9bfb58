"""Units with boxes of about the same size, to be taken down together.

Deep units see far over the border: at conv5 of the ZFNet a quarter of an average unit's box is
outside the image. The boxes of a group must be of one size, the largest of its units', so there are
several groups; but each takes time to start.
"""

import numpy as np

from zfkeras.regions.merging import PASS, merged_while_it_pays

MOST_KINDS = 256  # merging takes the cube of their number


def groups(sizes: np.ndarray, work: np.ndarray) -> list[np.ndarray]:
    """Splits units into groups, arrays of their indices.

    Args:
        sizes: (V, U, 2) rows and columns of the boxes of each unit.
        work: (V,) multiply-adds for each place of the boxes.

    Example:
        >>> small, large = (3, 3), (9, 9)
        >>> groups(np.array([[small, large, small]]), np.array([1e9]))
        [array([0, 2]), array([1])]
        >>> groups(np.array([[small, large, small]]), np.array([1.0]))
        [array([0, 1, 2])]
    """
    of_each = np.moveaxis(sizes, 1, 0)
    if not len(of_each):
        return []
    kinds, kind, counts = _kinds(of_each)
    group = _merged(kinds, counts, work)[kind.ravel()]
    return [np.flatnonzero(group == number) for number in np.unique(group)]


def _kinds(boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Units (U, V, 2) by their boxes, of rounded sizes where there are too many kinds."""
    step = 1
    while True:
        rounded = -(-boxes // step) * step
        found = np.unique(rounded, axis=0, return_inverse=True, return_counts=True)
        if len(found[0]) <= MOST_KINDS:
            return found[0], found[1], found[2]
        step *= 2


def _merged(sizes: np.ndarray, counts: np.ndarray, work: np.ndarray) -> np.ndarray:
    """The group of each kind of units, (K,).

    Args:
        sizes: (K, V, 2) boxes of each kind.
        counts: (K,) units of each kind.
        work: (V,) as for `groups`.
    """
    sizes, counts = sizes.copy(), counts.copy()

    def joined(kind: int) -> np.ndarray:
        together = np.maximum(sizes[kind], sizes).prod(2) @ work
        return (counts[kind] + counts) * together + PASS

    def join(kept: int, gone: int) -> None:
        counts[kept] += counts[gone]
        sizes[kept] = np.maximum(sizes[kept], sizes[gone])

    return merged_while_it_pays(counts * (sizes.prod(2) @ work) + PASS, joined, join)
