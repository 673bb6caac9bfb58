"""Which boxes to compute together.

A computation takes boxes of one size and has a cost of its own, however few it takes. So boxes of
several sizes are put in groups, each filled up to the largest box of its group: few groups cost
work, many cost starts.
"""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Integers = NDArray[np.integer]

# What it costs to start, in multiply-adds that could be done in the time:
CALL = 2e7  # one operation, …
WEIGHT = 30  # … and each weight that it reads: a call on few boxes waits for memory
PASS = 4e8  # a whole pass through a net


def merges(
    costs: Floats, joined: Callable[[int], Floats], join: Callable[[int, int], None]
) -> Iterator[tuple[float, Integers]]:
    """Merges groups two at a time, those first where it adds the least cost.

    Args:
        costs: (K,) cost of each group.
        joined: Group -> (K,) the cost of it together with each other; infinite where they mustn't
            be joined.
        join: Called with two groups (kept, gone): from then on the first stands for both.

    Yields:
        What the next merge would add (negative where it spares something, infinite where there is
        none), and as things stand the group of each, (K,).

    Example:
        >>> sizes, start = np.array([3.0, 9.0, 4.0]), 2.0
        >>> def join(kept, gone):
        ...     sizes[kept] = sizes[kept] + sizes[gone]
        >>> for added, group in merges(sizes + start, lambda k: sizes[k] + sizes + start, join):
        ...     print(added, group)
        -2.0 [0 1 2]
        -2.0 [0 0 2]
        inf [0 0 0]
    """
    costs, group = costs.astype(float), np.arange(len(costs))

    def prices(k: int) -> Floats:
        alone = (group != np.arange(len(group))) | (np.arange(len(group)) == k)
        return np.where(alone, np.inf, joined(k) - costs[k] - costs)

    price = np.array([prices(k) for k in range(len(group))])
    while price.size:
        kept, gone = (int(k) for k in np.unravel_index(price.argmin(), price.shape))
        yield float(price[kept, gone]), group.copy()
        if price[kept, gone] == np.inf:
            return
        costs[kept] += costs[gone] + price[kept, gone]
        join(kept, gone)
        group[group == gone] = kept
        price[gone] = price[:, gone] = np.inf
        price[kept] = price[:, kept] = prices(kept)
    yield np.inf, group


def merged_while_it_pays(
    costs: Floats, joined: Callable[[int], Floats], join: Callable[[int, int], None]
) -> Integers:
    """The group of each, (K,), once a further merge would spare nothing; see `merges`."""
    return next(group for added, group in merges(costs, joined, join) if added > 0)
