"""What an occlusion finds: the panels of Fig. 7 as arrays."""

import dataclasses
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zfkeras.analysis.painting import covers
from zfkeras.data.inputs import Floats
from zfkeras.results import Result

Integers = NDArray[np.int64]


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class WatchedScores(Result):
    """What the net says of K classes while each place is hidden (panels d and e).

    Attributes:
        classes: (N, K) the classes watched.
        probabilities: (N, R, S, K) their scores (panel d).
        predicted: (N, R, S) the class with the highest score (panel e).
        baseline_probabilities: (N, K) their scores in the images as they are.
        baseline_predicted: (N,) the class with the highest score there.
        score_name: what the scores are: "probability", or plain "score".
    """

    classes: Integers
    probabilities: Floats
    predicted: Integers
    baseline_probabilities: Floats
    baseline_predicted: Integers
    score_name: str = "probability"


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class WatchedMap(Result):
    """What the strongest map of a layer does meanwhile (panels b and c).

    Attributes:
        layer: the layer.
        channel: (N,) its map with the largest sum in the whole image.
        activation: (N, R, S) sum over the places of that map (panel b).
        baseline_activation: (N,) the same for the images as they are.
        projection: (N, H, W, C) float32, signed: the map's strongest unit, projected to the pixels
            by the deconvnet (panel c). None where it has no way down from `layer`.
        projection_error: why there is none then, in the deconvnet's words.
        others: (N, M) which other images the map is projected from, too (numbers in the images
            or, if given, the others): those where its total is largest, best first.
        other_activation: (N, M) its totals there.
        other_projections: (N, M, H, W, C) its projections from them.
    """

    layer: str
    channel: Integers
    activation: Floats
    baseline_activation: Floats
    projection: Floats | None = None
    projection_error: str | None = None
    others: Integers | None = None
    other_activation: Floats | None = None
    other_projections: Floats | None = None


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class CoarseSearch(Result):
    """How method "coarse" went about it.

    Attributes:
        evaluated: (N, R, S) the places that were looked at.
        error: (N,) the largest error of the interpolated scores (without scores: of the
            activation) where it was measured, at places held out.
    """

    evaluated: NDArray[np.bool_]
    error: Floats


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Occlusion(Result):
    """What a net answers while each part of N images is hidden, in an R x S grid of places.

    The attributes of its parts can be had from it, too: ``found.probabilities`` is
    ``found.scores.probabilities``, or None without scores.

    Attributes:
        rows: (R,) pixel rows of the occluder's centres; the last may lie below the image.
        columns: (S,) pixel columns of the occluder's centres.
        image_size: (height, width) of the images.
        patch_size: (height, width) of the occluder.
        strides: (rows, columns) between its centres.
        fill_value: what it shows: colours (N, 1, 1, C), or blurred images (N, H, W, C).
        scores: `WatchedScores`; None where only a map was watched.
        map: `WatchedMap`; None where no layer was asked for.
        coarse: `CoarseSearch`; None where all places were looked at.
        method: how it was found: "plain", "incremental" or "coarse".
        border: where the occluder went: "cover" or "inside".
    """

    rows: Integers
    columns: Integers
    image_size: tuple[int, int]
    patch_size: tuple[int, int]
    strides: tuple[int, int]
    fill_value: Floats
    scores: WatchedScores | None = None
    map: WatchedMap | None = None
    coarse: CoarseSearch | None = None
    method: str = "plain"
    border: str = "cover"

    _parts: ClassVar = {"scores": WatchedScores, "map": WatchedMap, "coarse": CoarseSearch}

    @property
    def response(self) -> Floats:
        """(N, R, S) what hiding changes: the first class' score, or else the activation."""
        return self.activation if self.scores is None else self.scores.probabilities[..., 0]

    @property
    def baseline_response(self) -> Floats:
        """(N,) the same for the images as they are."""
        if self.scores is None:
            return self.baseline_activation
        return self.scores.baseline_probabilities[:, 0]

    def importance(self) -> Floats:
        """How much hiding a pixel lowers the response: high where the net needs it.

        Returns:
            (N, H, W) float32: `baseline_response` minus the `heat_map`.
        """
        return self.baseline_response[:, None, None] - self.heat_map()

    def heat_map(self, values: ArrayLike | None = None) -> Floats:
        """Spreads grid values over pixels: each pixel gets the mean of the occluders on it.

        Args:
            values: (N, R, S); default: `response`, the probability of the first class watched or,
                without scores, the activation.

        Returns:
            (N, H, W) float32. Low where hiding the pixel lowers the value. A pixel that is never
            hidden (near the border, with border="inside") has the `baseline_response`, or NaN
            where `values` are given.
        """
        never = np.nan if values is not None else self.baseline_response[:, None, None]
        values = self.response if values is None else np.asarray(values, np.float32)
        if values.shape != self.response.shape:
            raise ValueError(
                "Cannot spread these values over the pixels. Expected one a place, of shape "
                f"{self.response.shape}. Received: values with shape={values.shape}"
            )
        down, across = (
            covers(centres, np.arange(length), size).astype(np.float32)
            for centres, length, size in zip(
                (self.rows, self.columns), self.image_size, self.patch_size, strict=True
            )
        )
        total = np.einsum("nrs,rh,sw->nhw", values, down, across, optimize=True)
        number = np.outer(down.sum(axis=0), across.sum(axis=0)).astype(np.float32)
        return np.where(number, total / np.maximum(number, 1), np.float32(never))
