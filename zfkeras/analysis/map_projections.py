"""Panel (c) of Fig. 7: what drives a map in an image, and in others where it is strong, too."""

from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from zfkeras.analysis.plain_sweep import plain_sweep
from zfkeras.data.inputs import Floats, check_images
from zfkeras.data.pictures import Images, pictures
from zfkeras.deconvnet.net import DeconvNet
from zfkeras.deconvnet.rules import Rules

Integers = NDArray[np.int64]


def map_projections(
    model: keras.Model,
    layer: str,
    channel: Integers,
    images: Floats,
    pool: Floats,
    totals: Floats,
    most: int = 8,
    batch_size: int = 64,
    rules: Rules | None = None,
) -> dict[str, Any]:
    """Projects the strongest unit of a map, from each image and from others.

    Args:
        model: Functional or Sequential.
        layer: The layer.
        channel: (N,) a map for each image.
        images: (N, H, W, C) float32.
        pool: (P, H, W, C) where other images are taken from: those where the map's total is
            largest, the first among equals. An image's equals are no others.
        totals: (P, maps) the totals of all maps in the pool.
        most: How many others an image has at most; all have the same number M.
        batch_size: Images at a time.
        rules: Your own reverse rules, as for `DeconvNet`.

    Returns:
        "projection" (N, H, W, C), "others" (N, M) their numbers in the pool, "other_activation"
        (N, M) the map's totals there and "other_projections" (N, M, H, W, C); or, where the
        deconvnet can't project from the layer, only "projection_error", what it says.

    Example:
        >>> net = keras.Sequential([keras.Input((8, 6, 3)), keras.layers.Conv2D(4, 3, name="c")])
        >>> images = np.random.default_rng(0).random((3, 8, 6, 3), np.float32)
        >>> totals = np.sum(net(images), axis=(1, 2))
        >>> found = map_projections(net, "c", np.array([1, 0, 1]), images, images, totals)
        >>> found["projection"].shape, found["other_projections"].shape
        ((3, 8, 6, 3), (3, 2, 8, 6, 3))
    """
    others = _strongest_others(images, pool, totals[:, channel].T, most)
    own = np.empty_like(images)
    beside = np.empty((*others.shape, *images.shape[1:]), np.float32)
    try:
        deconv = DeconvNet(model, rules=rules)
        deconv.project(images[:0], layer)
    except ValueError as error:  # no rule for a layer on the way, most often
        return {"projection_error": str(error)}

    def project(some: Floats, number: int) -> Floats:
        return deconv.project(some, layer, [number], batch_size=batch_size).pixels[:, 0]

    for number in np.unique(channel).tolist():
        mine = channel == number
        own[mine] = project(images[mine], number)
        chosen, where = np.unique(others[mine], return_inverse=True)
        beside[mine] = project(pool[chosen], number)[where.reshape(others[mine].shape)]
    return {
        "projection": own,
        "others": others,
        "other_activation": totals[others, channel[:, None]],
        "other_projections": beside,
    }


def _strongest_others(images: Floats, pool: Floats, totals: Floats, most: int) -> Integers:
    """(N, M): for each image the others of the pool by their totals (N, P), best first."""
    same = _keys(images)[:, None] == _keys(pool)
    fewest = int((~same).sum(axis=1).min())
    order = np.argsort(-np.where(same, -np.inf, totals), axis=1, kind="stable")
    return order[:, : min(most, fewest)]


def _keys(images: Floats) -> Integers:
    """A number for each image, the same for equal ones: comparing all pairs would take too long."""
    return np.array([hash(image.tobytes()) for image in images])


def pool_of(
    model: keras.Model, layer: str, others: Images | None, images: Floats, batch_size: int
) -> tuple[Floats, Floats]:
    """Other images (P, H, W, C) from any source, and the totals (P, maps) of a layer's maps there.

    Raises:
        ValueError: They are not of the size of `images`.
    """
    pool = check_images(model, pictures(others, images.shape[1:3]), "other images")
    if pool.shape[1:] != images.shape[1:]:
        raise ValueError(
            f"The other images must be of the images' size, {images.shape[1:]}. "
            f"Received: others with shape={pool.shape}"
        )
    _, sums = plain_sweep(model, layer, None, scores=False).whole_images(pool, batch_size)
    return pool, np.asarray(sums)
