"""What first-layer filters are like, in numbers (paper Sect. 4.1, Fig. 6; method.md, Filters).

The paper judges its filters by eye: does one dominate, are some dead, do they cover the middle
frequencies, does layer 2 alias. Here each of these is a number, so that nets can be compared.
"""

from dataclasses import dataclass

import keras
import numpy as np
from numpy.typing import NDArray

from zfkeras.analysis.top_result import TopActivations
from zfkeras.constraints import FilterRMS
from zfkeras.graph.walking import walk
from zfkeras.results import Result

Floats = NDArray[np.floating]
Booleans = NDArray[np.bool_]

LOW, HIGH = 0.08, 0.25  # cycles per pixel: where the middle frequencies begin and end
_SIZE = 64  # side that filters are padded to before the Fourier transform
_FAINT, _FLAT, _SILENT = 0.05, 0.9, 0.01


@dataclass(frozen=True, eq=False, repr=False)
class FilterStatistics(Result):
    """The filters of a layer and what they are like; F filters of height h, width w, depth c.

    Attributes:
        layer: Name of the layer.
        kernels: (h, w, c, F) float32.
        stride: The layer's step; what aliasing is measured against.
        rms: (F,) root mean square of each filter's weights.
        centroid: (F,) mean frequency of each filter, in cycles per pixel, weighted by power.
        bands: (F, 3) share of its power at low, middle and high frequencies.
        flatness: (F,) spectral flatness: near 1 for noise, near 0 for a pure wave.
        aliasing: (F,) share of its power that the stride folds onto other frequencies.
        dead_by_weight: (F,) whether a filter is faint beside the others, or mere noise.
        dead_by_activation: (F,) whether it hardly ever fires over a data set; None if not asked.
        band_edges: Where the middle frequencies begin and end, in cycles per pixel.
    """

    layer: str
    kernels: Floats
    stride: int
    rms: Floats
    centroid: Floats
    bands: Floats
    flatness: Floats
    aliasing: Floats
    dead_by_weight: Booleans
    dead_by_activation: Booleans | None
    band_edges: tuple[float, float]

    @property
    def dominance(self) -> float:
        """The strongest filter's root mean square over the median's: 1 where all are alike."""
        return float(self.rms.max() / np.median(self.rms))

    @property
    def largest_share(self) -> float:
        """The strongest filter's share of the layer's squared weights."""
        return float(self.rms.max() ** 2 / (self.rms**2).sum())

    @property
    def mid_coverage(self) -> float:
        """Share of filters whose mean frequency is a middle one."""
        low, high = self.band_edges
        return float(np.mean((self.centroid >= low) & (self.centroid < high)))

    def summary(self) -> dict[str, float]:
        """The layer in a few numbers: a row of a table that compares nets."""
        rows = {
            "filters": float(len(self.rms)),
            "largest RMS": float(self.rms.max()),
            "dominance": self.dominance,
            "largest share": self.largest_share,
            "dead by weight": float(self.dead_by_weight.mean()),
            "low frequencies": float(self.bands[:, 0].mean()),
            "middle frequencies": float(self.bands[:, 1].mean()),
            "high frequencies": float(self.bands[:, 2].mean()),
            "mid coverage": self.mid_coverage,
            "aliasing": float(self.aliasing.mean()),
        }
        if self.dead_by_activation is not None:
            rows["dead by activation"] = float(self.dead_by_activation.mean())
        return rows


def filter_statistics(
    model: keras.Model,
    layer: str | None = None,
    top: TopActivations | None = None,
    radius: float | None = None,
    band_edges: tuple[float, float] = (LOW, HIGH),
) -> FilterStatistics:
    """Measures the filters of a convolution.

    Args:
        model: Functional or Sequential Keras model; it is only read.
        layer: Name of a Conv2D layer; None for the first.
        top: What `top_activations` found for this layer, to tell the filters that hardly fire.
        radius: Renormalise the filters to this root mean square first, as training with
            `FilterRMS` does; None takes them as they are.
        band_edges: Where the middle frequencies begin and end, in cycles per pixel.

    Returns:
        The `FilterStatistics`.

    Raises:
        ValueError: No such layer, or no 2-D convolution; `top` is of another layer; band edges
            out of order.

    Example:
        >>> pixels = keras.Input((12, 10, 3))
        >>> maps = keras.layers.Conv2D(4, 5, strides=2, name="conv1")(pixels)
        >>> found = filter_statistics(keras.Model(pixels, maps), radius=0.1)
        >>> found.bands.shape, bool(found.rms.max() <= 0.1 + 1e-6), found.stride
        ((4, 3), True, 2)
    """
    low, high = band_edges
    if not 0 <= low < high <= 0.5:
        raise ValueError(
            "`band_edges` must be two frequencies in order, within 0 to 0.5 cycles per pixel. "
            f"Received: band_edges={band_edges}"
        )
    name, convolution = _convolution(model, layer)
    kernels = keras.ops.convert_to_numpy(convolution.kernel).astype("float32")
    if radius is not None:
        kernels = keras.ops.convert_to_numpy(FilterRMS(radius)(kernels))
    rms = np.sqrt((kernels.astype("float64") ** 2).mean((0, 1, 2)))
    power, frequency = _spectrum(kernels)
    stride = int(convolution.strides[0])
    flatness = _flatness(power)
    return FilterStatistics(
        layer=name,
        kernels=kernels,
        stride=stride,
        rms=rms,
        centroid=_share(power, frequency),
        bands=_bands(power, frequency, band_edges),
        flatness=flatness,
        aliasing=_aliasing(power, stride),
        dead_by_weight=(rms < _FAINT * np.median(rms)) | (flatness > _FLAT),
        dead_by_activation=None if top is None else _silent(top, name),
        band_edges=(float(low), float(high)),
    )


def projection_aliasing(pixels: NDArray, stride: int, tolerance: float = 0.01) -> Floats:
    """How much of each projection's power lies where a stride leaves its lattice (Fig. 6d, e).

    A layer that steps `stride` pixels prints a lattice of that period into the projections of the
    layers above: power at the frequencies that are multiples of 1 / stride, other than 0. Give
    whole projections: small crops whose side isn't a multiple of the stride lack these frequencies.

    Args:
        pixels: (N, H, W, C) projections, signed.
        stride: Pixels between neighbouring first-layer units; at least 2.
        tolerance: Frequencies this near (in cycles per pixel) count as on the lattice.

    Returns:
        (N,) shares, 0 to 1; 0 for an empty projection.

    Raises:
        ValueError: `pixels` is no array of pictures, or the stride is below 2.

    Example:
        >>> lattice = np.zeros((1, 32, 32, 3))
        >>> lattice[:, ::4, ::4] = 1
        >>> projection_aliasing(lattice, stride=4).round(2)
        array([0.94])
    """
    if np.ndim(pixels) != 4 or stride < 2:
        raise ValueError(
            "Aliasing is measured on pictures (N, H, W, C) of a net whose stride is 2 or more. "
            f"Received: pixels of shape {np.shape(pixels)}, stride={stride}"
        )
    power = (np.abs(np.fft.fft2(pixels, axes=(1, 2))) ** 2).sum(-1)
    rows, columns = (np.fft.fftfreq(size) for size in power.shape[1:])

    def near(frequencies: Floats) -> Booleans:
        return np.abs(frequencies * stride - np.round(frequencies * stride)) < tolerance * stride

    def zero(frequencies: Floats) -> Booleans:
        return np.abs(frequencies) < tolerance

    lattice = near(rows)[:, None] & near(columns) & ~(zero(rows)[:, None] & zero(columns))
    return _ratio((power * lattice).sum((1, 2)), power.sum((1, 2)))


def _convolution(model: keras.Model, layer: str | None) -> tuple[str, keras.Layer]:
    """The path and the layer of a convolution, the first if none is named."""
    graph = walk(model)
    found = {s.path: s for s in graph.steps if isinstance(s.operation, keras.layers.Conv2D)}
    if layer is not None:
        value = graph.find(layer)
        found = {path: step for path, step in found.items() if value in step.outputs}
    if not found:
        raise ValueError(
            "Filters are those of a Conv2D layer; the model must have one, or `layer` name it. "
            f"Received: layer={layer!r}"
        )
    path, step = next(iter(found.items()))
    return path, step.operation


def _spectrum(kernels: Floats) -> tuple[Floats, Floats]:
    """Power (F, S, S) of each filter, summed over its depth, and the frequencies (S, S).

    The mean is kept, for without it blobs of colour would lose the frequencies they are made of.
    """
    size = max(_SIZE, *kernels.shape[:2])
    transformed = np.fft.fft2(kernels.astype("float64"), (size, size), axes=(0, 1))
    power = np.moveaxis((np.abs(transformed) ** 2).sum(2), -1, 0)
    axis = np.fft.fftfreq(size)
    return power, np.hypot(axis[:, None], axis)


def _share(power: Floats, weights: Floats | Booleans) -> Floats:
    """The mean of `weights` over each spectrum, weighted by power."""
    return _ratio((power * weights).sum((1, 2)), power.sum((1, 2)))


def _bands(power: Floats, frequency: Floats, edges: tuple[float, float]) -> Floats:
    low, high = edges
    bands = (frequency < low, (frequency >= low) & (frequency < high), frequency >= high)
    return np.stack([_share(power, band) for band in bands], 1)


def _flatness(power: Floats) -> Floats:
    """Geometric over arithmetic mean of the power."""
    flat = power.reshape(len(power), -1)
    mean = flat.mean(1)
    tiny = np.finfo("float64").tiny
    return _ratio(np.exp(np.log(np.maximum(flat, tiny)).mean(1)), mean)


def _aliasing(power: Floats, stride: int) -> Floats:
    """Share of the power beyond half a cycle per `stride` pixels, in either direction."""
    beyond = np.abs(np.fft.fftfreq(power.shape[1])) > 0.5 / stride
    return _share(power, beyond[:, None] | beyond)


def _silent(top: TopActivations, layer: str) -> Booleans:
    """Maps that never fire, or whose strongest answer is faint beside the layer's median."""
    if top.layer != layer:
        raise ValueError(
            f"`top` must be what top_activations found for layer {layer!r}. "
            f"Received: top.layer={top.layer!r}"
        )
    strongest = top.values[:, 0]
    return (strongest <= 0) | (strongest < _SILENT * np.median(strongest))


def _ratio(part: Floats, whole: Floats) -> Floats:
    return np.divide(part, whole, out=np.zeros_like(whole), where=whole > 0)


def compare(found: dict[str, FilterStatistics]) -> dict[str, dict[str, float]]:
    """The summaries of several nets side by side: {number: {net: value}}.

    Example:
        >>> net = keras.Sequential([keras.Input((9, 8, 3)), keras.layers.Conv2D(2, 3, name="c")])
        >>> compare({"mine": filter_statistics(net)})["filters"]
        {'mine': 2.0}
    """
    summaries = {name: statistics.summary() for name, statistics in found.items()}
    rows = dict.fromkeys(row for summary in summaries.values() for row in summary)
    return {
        row: {name: summary[row] for name, summary in summaries.items() if row in summary}
        for row in rows
    }
