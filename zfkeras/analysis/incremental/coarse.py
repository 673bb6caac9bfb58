"""Coarse to fine: which places to look at, and what to assume about the others.

Everything here is about one image's grid of R x S places. A coarse grid of every few lines is
known first; between its lines lie cells.
"""

import numpy as np
from numpy.typing import NDArray

from zfkeras.regions.merging import merged_while_it_pays

Floats = NDArray[np.floating]
Ints = NDArray[np.integer]
Booleans = NDArray[np.bool_]

TASK = 24.0  # the cost of one more task, in places


def coarse_lines(count: int, step: int) -> Ints:
    """Every `step`-th of `count` grid lines, and the last.

    Example:
        >>> coarse_lines(10, 4)
        array([0, 4, 8, 9])
    """
    return np.unique(np.append(np.arange(0, count, step), count - 1))


def restless_cells(values: Floats, tolerance: float, least: float) -> Booleans:
    """The cells (r - 1, s - 1) between coarse lines whose corners differ much.

    Args:
        values: (r, s, K) what was seen on the coarse grid.
        tolerance: The difference to bear, as a share of each value's range over the grid.
        least: The difference to bear at least.
    """
    flat = values.reshape(-1, values.shape[-1])
    bearable = np.maximum(tolerance * np.ptp(flat, axis=0), least)
    corners = np.stack([values[a:b, c:d] for a, b in _ENDS for c, d in _ENDS])
    return (np.ptp(corners, axis=0) > bearable).any(axis=-1)


_ENDS = ((None, -1), (1, None))


def places_of(cells: Booleans, rows: Ints, columns: Ints) -> Booleans:
    """The places (R, S) in cells between coarse lines, their borders included."""
    places = np.zeros((rows[-1] + 1, columns[-1] + 1), bool)
    for i, j in np.argwhere(cells):
        places[rows[i] : rows[i + 1] + 1, columns[j] : columns[j + 1] + 1] = True
    return places


def held_out(rows: Ints, columns: Ints, most: int = 8) -> tuple[Ints, Ints]:
    """Lines amid coarse lines, at most so many each way: their crossings are a test."""

    def amid(lines: Ints) -> Ints:
        middle = np.setdiff1d((lines[:-1] + lines[1:]) // 2, lines)
        if not middle.size:
            return lines
        chosen = np.linspace(0, len(middle) - 1, min(most, len(middle))).round()
        return middle[chosen.astype(int)]

    return amid(rows), amid(columns)


def rectangles(places: Booleans) -> list[tuple[Ints, Ints]]:
    """Grid lines whose crossings cover the places, in few tasks with few crossings in vain.

    Example:
        >>> rectangles(np.array([[0, 1, 1], [0, 0, 0], [0, 1, 1]], bool))
        [(array([0, 2]), array([1, 2]))]
    """
    patterns, which = np.unique(places, axis=0, return_inverse=True)
    counts = np.bincount(which.ravel())
    wanted = patterns.any(axis=1)
    patterns, counts = patterns[wanted], counts[wanted]
    rows = [np.flatnonzero(which.ravel() == k) for k in np.flatnonzero(wanted)]

    def joined(k: int) -> Floats:
        return (counts[k] + counts) * (patterns[k] | patterns).sum(axis=1) + TASK

    def join(kept: int, gone: int) -> None:
        counts[kept] += counts[gone]
        patterns[kept] |= patterns[gone]

    group = merged_while_it_pays(counts * patterns.sum(axis=1) + TASK, joined, join)
    return [
        (
            np.unique(np.concatenate([rows[i] for i in np.flatnonzero(group == k)])),
            np.flatnonzero(patterns[k]),
        )
        for k in np.unique(group)
    ]


def interpolated(values: Floats, rows: Ints, columns: Ints) -> Floats:
    """Coarse values (r, s, K) on all places (R, S, K), bilinear between coarse lines."""
    down, across = _weights(rows), _weights(columns)
    return np.einsum("Rr,rsk,Ss->RSk", down, values, across, optimize=True)


def nearest(values: Ints, rows: Ints, columns: Ints) -> Ints:
    """Coarse values (r, s) on all places (R, S), from the nearest crossing."""
    down, across = (_weights(lines).argmax(axis=1) for lines in (rows, columns))
    return values[down[:, None], across]


def _weights(lines: Ints) -> Floats:
    """(R, r): how much each coarse line counts on each line."""
    every = np.arange(lines[-1] + 1)
    return np.stack([np.interp(every, lines, unit) for unit in np.eye(len(lines))], axis=1)
