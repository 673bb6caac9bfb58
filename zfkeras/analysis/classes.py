"""Which classes of a net an analysis is to watch."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Integers = NDArray[np.int64]


def watched_classes(classes: ArrayLike | None, predicted: Integers, known: int) -> Integers:
    """The classes to watch, (N, K): one, a list for all, or (N, K); default: the predicted."""
    if classes is None:
        return predicted[:, None]
    wanted = np.asarray(classes)
    count = len(predicted)
    good = np.issubdtype(wanted.dtype, np.integer) and wanted.ndim <= 2 and wanted.size > 0
    good = good and (wanted.ndim < 2 or len(wanted) == count)
    if not good or wanted.min() < 0 or wanted.max() >= known:
        raise ValueError(
            f"The model has no such classes. Expected whole numbers in 0..{known - 1}: one, a "
            f"list for all images, or shape ({count}, K). Received: classes={classes!r}"
        )
    wanted = np.atleast_1d(wanted).astype(np.int64)
    return np.broadcast_to(wanted, (count, wanted.shape[-1]))


def class_of_each(classes: ArrayLike | None, predicted: Integers, known: int) -> Integers:
    """One class for each image, (N,): one number for all, one each, or (default) the predicted."""
    each = None if classes is None else np.asarray(classes)
    if each is not None and each.shape not in ((), predicted.shape):
        raise ValueError(
            f"There must be one class for all images or one for each, shape {predicted.shape}. "
            f"Received: classes={classes!r}"
        )
    each = each if each is None or each.ndim == 0 else each[:, None]
    return watched_classes(each, predicted, known)[:, 0]
