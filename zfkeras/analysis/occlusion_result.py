"""What an occlusion finds: the panels of Fig. 7 as arrays."""

import dataclasses

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zfkeras.analysis.painting import covers
from zfkeras.analysis.results import Result

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]


@dataclasses.dataclass(frozen=True, eq=False)
class Occlusion(Result):
    """What a net answers while each part of N images is hidden, in an R x S grid of places.

    With `layer` these are the five panels of Fig. 7.

    Attributes:
        rows: (R,) pixel rows of the occluder's centres; the last may lie below the image.
        columns: (S,) pixel columns of the occluder's centres.
        image_size: (height, width) of the images.
        patch_size: (height, width) of the occluder.
        strides: (rows, columns) between its centres.
        fill_value: what it shows: colours (N, 1, 1, C), or blurred images (N, H, W, C).
        classes: (N, K) the classes watched; None, like all about classes, without scores.
        probabilities: (N, R, S, K) their probabilities (panel d).
        predicted: (N, R, S) the most probable class (panel e).
        layer: the layer of panel b; None, like all about its maps, where none was asked for.
        activation: (N, R, S) sum over the places of feature map `channel` (panel b).
        channel: (N,) the map of `layer` with the largest sum in the whole image.
        baseline_probabilities, baseline_predicted, baseline_activation: (N, K), (N,), (N,): the
            same for the images as they are.
        projection: (N, H, W, C) float32, signed: the strongest unit of map `channel`, projected to
            the pixels by the deconvnet (panel c). None where it has no way down from `layer`.
        projection_error: why there is none then, in the deconvnet's words.
        others: (N, M) which other images map `channel` is projected from, too (numbers in `images`
            or, if given, `others`): those where its total is largest, best first.
        other_activation: (N, M) its totals there.
        other_projections: (N, M, H, W, C) its projections from them.
        evaluated: (N, R, S) with method "coarse", the places that were looked at; None: all.
        error: (N,) with method "coarse", the largest error of the interpolated probabilities
            (without scores: of the activation) where it was measured, at places held out.
        score_name: what `probabilities` are: "probability", or plain "score".
    """

    rows: Integers
    columns: Integers
    image_size: tuple[int, int]
    patch_size: tuple[int, int]
    strides: tuple[int, int]
    fill_value: Floats
    classes: Integers | None = None
    probabilities: Floats | None = None
    predicted: Integers | None = None
    layer: str | None = None
    activation: Floats | None = None
    channel: Integers | None = None
    baseline_probabilities: Floats | None = None
    baseline_predicted: Integers | None = None
    baseline_activation: Floats | None = None
    projection: Floats | None = None
    projection_error: str | None = None
    others: Integers | None = None
    other_activation: Floats | None = None
    other_projections: Floats | None = None
    evaluated: NDArray[np.bool_] | None = None
    error: Floats | None = None
    score_name: str = "probability"

    @property
    def response(self) -> Floats:
        """(N, R, S) what hiding changes: the first class' probability, or else the activation."""
        if self.probabilities is None:
            return self.activation  # type: ignore[return-value]  # there is one of the two
        return self.probabilities[..., 0]

    @property
    def baseline_response(self) -> Floats:
        """(N,) the same for the images as they are."""
        if self.baseline_probabilities is None:
            return self.baseline_activation  # type: ignore[return-value]
        return self.baseline_probabilities[:, 0]

    def heat_map(self, values: ArrayLike | None = None) -> Floats:
        """Spreads grid values over pixels: each pixel gets the mean of the occluders on it.

        Args:
            values: (N, R, S); default: `response`, the probability of the first class watched or,
                without scores, the activation.

        Returns:
            (N, H, W) float32. Low where hiding the pixel lowers the value.
        """
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
        return total / np.outer(down.sum(axis=0), across.sum(axis=0)).astype(np.float32)
