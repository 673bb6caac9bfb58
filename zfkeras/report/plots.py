"""One figure for each kind of result, which `Result.plot` and notebooks show.

All need the result alone; those that lie over images show more where they are given.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from zfkeras import image
from zfkeras.image import Picture, Pictures
from zfkeras.report import (
    correspondence,
    evolution,
    figures,
    filters,
    invariance,
    occlusion as drawing,
    trust,
)
from zfkeras.report.charts import LINES, legend, show, tidy
from zfkeras.report.figures import class_name, short

if TYPE_CHECKING:
    from zfkeras.analysis.evolution import Snapshot
    from zfkeras.analysis.explanations import Explanations
    from zfkeras.analysis.filters import FilterStatistics
    from zfkeras.analysis.invariance import Invariance
    from zfkeras.analysis.map_statistics import MapStatistics
    from zfkeras.analysis.occlusion_result import CoarseSearch, Occlusion, WatchedMap, WatchedScores
    from zfkeras.analysis.top_result import TopActivations
    from zfkeras.deconvnet.local import UnitProjections
    from zfkeras.deconvnet.net import Projection
    from zfkeras.results import Result
    from zfkeras.training.evaluation import Evaluation

MOST = 48  # pictures in a figure that may be of thousands


def plot(found: "Result", *args: Any, **options: Any) -> Figure:
    """Draws a result; what it takes besides is the arguments of its kind's function below."""
    return figures.plain_text(_PLOTS[type(found).__name__](found, *args, **options))


def _projection(found: "Projection", images: Pictures | None = None, index: int = 0) -> Figure:
    """The projections, a row for each image; with images, one image's units beside it."""
    if images is not None:
        return figures.projection(found, images, None, index)
    shown = image.to_display(found.pixels, image.CONTRAST)
    return _sheet(shown.reshape(-1, *shown.shape[2:]), f"{found.layer}: projections", len(shown[0]))


def _unit_projections(found: "UnitProjections") -> Figure:
    pixels = found.pixels[:MOST]
    shown = image.to_display(pixels, image.CONTRAST) if len(pixels) else pixels
    return _sheet(shown, f"{found.layer}: {len(found)} units, projected")


def _winners(found: Any) -> Figure:
    """Patches above their projections, as far as they were kept."""
    if found.patches is None or found.projections is None or not len(found.patches):
        return _sheet([], f"{found.layer}: {len(found.values)} units, pictures not kept")
    patches, count = found.patches[: MOST // 2], len(found.patches[: MOST // 2])
    shown = image.to_display(found.projections[:count].astype(np.float32), image.CONTRAST)
    return _sheet([*patches, *shown], f"{found.layer}: strongest units", count)


def _occlusion(
    found: "Occlusion",
    images: Pictures | None = None,
    index: int = 0,
    class_names: Sequence[str] | None = None,
) -> Figure:
    """The panels of Fig. 7; without images those that need none."""
    if images is None:
        height, width = found.image_size
        images = np.full((index + 1, height, width, 3), 128, np.uint8)
    return drawing.figure(found, images, index, class_names)


def _map(found: "WatchedMap", index: int = 0) -> Figure:
    """A map's totals over the grid of the occluder's places."""
    return _places(found.activation[index], f"{found.layer} map {found.channel[index]}: total")


def _scores(
    found: "WatchedScores", index: int = 0, class_names: Sequence[str] | None = None
) -> Figure:
    name = class_name(found.classes[index, 0], class_names)
    return _places(found.probabilities[index, ..., 0], f"{found.score_name} of {name}")


def _coarse(found: "CoarseSearch", index: int = 0) -> Figure:
    return _places(found.evaluated[index], f"places looked at; error {short(found.error[index])}")


def _explanations(found: "Explanations", images: Pictures | None = None) -> Figure:
    """A row for each image, a column for each method."""
    count = min(len(found.classes), 6)
    figure = Figure(figsize=(1.5 * len(found.methods), 1.7 * count), layout="constrained")
    panels = figure.subplots(count, len(found.methods), squeeze=False)
    for row, line in enumerate(panels):
        for method, axes, heat in zip(found.methods, line, found.maps[:, row], strict=True):
            picture = image.colour_map(heat) if images is None else trust.over(images[row], heat)
            show(axes, picture, trust.NAMES.get(method, method) if row == 0 else "")
    return figure


def _invariance(found: "Invariance", images: Pictures | None = None, **options: Any) -> Figure:
    return invariance.invariance(found, images, **options)


def _snapshot(found: "Snapshot", patches: bool = True) -> Figure:
    return evolution.strip([found], patches)


def _filters(found: "FilterStatistics") -> Figure:
    return filters.figure({found.layer: found})


def _top(found: "TopActivations", most: int = 12) -> Figure:
    """The values of the maps that fire most strongly, by rank."""
    figure, ranks = Figure(figsize=(4.2, 2.6), layout="constrained"), found.values.shape[1]
    axes = tidy(figure.subplots(), f"{found.layer}: strongest units", "rank", "activation")
    for row, number in enumerate(np.argsort(-found.values[:, 0], kind="stable")[:most].tolist()):
        values = np.where(np.isfinite(found.values[number]), found.values[number], np.nan)
        axes.plot(np.arange(ranks) + 1, values, label=f"{number}", color=LINES[row % len(LINES)])
    legend(axes, loc="upper left", bbox_to_anchor=(1, 1), title="map", ncols=2)
    return figure


def _statistics(found: "MapStatistics") -> Figure:
    """How often each map fires, and how strongly on average."""
    figure = Figure(figsize=(4.2, 2.6), layout="constrained")
    axes = tidy(figure.subplots(), f"{found.images} images", "share that fires it", "mean peak")
    axes.plot(found.firing_share, found.mean, "o", ms=3, color=LINES[0])
    return figure


def _evaluation(found: "Evaluation", class_names: Sequence[str] | None = None) -> Figure:
    """Which classes are taken for which: a row for each true class, its shares of the answers."""
    classes = found.probabilities.shape[1]
    counts = np.zeros((classes, classes))
    np.add.at(counts, (found.labels, found.probabilities.argmax(1)), 1)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    figure = _places(shares, f"{found.accuracy:.1%} of {len(found.labels)} right")
    (axes, *_) = figure.axes
    axes.set(xlabel="answer", ylabel="truth")
    if class_names is not None and classes <= 20:
        axes.set_yticks(range(classes), class_names)
    return figure


def _places(values: np.ndarray, title: str) -> Figure:
    figure = Figure(figsize=(3.4, 2.8), layout="constrained")
    axes = tidy(figure.subplots(), title)
    figure.colorbar(axes.imshow(values, interpolation="nearest"), ax=axes, shrink=0.8)
    return figure


def _sheet(pictures: Sequence[Picture] | np.ndarray, title: str, columns: int = 8) -> Figure:
    """Pictures in a grid."""
    figure = Figure(figsize=(6.4, 4), layout="constrained")
    axes = figure.subplots()
    grid = image.grid(list(pictures[:MOST]), columns) if len(pictures) else np.full((1, 1, 3), 255)
    show(axes, grid, title).set_frame_on(False)
    return figure


_PLOTS: dict[str, Callable[..., Figure]] = {
    "CoarseSearch": _coarse,
    "Correspondence": correspondence.scores,
    "Evaluation": _evaluation,
    "Explanations": _explanations,
    "Faithfulness": trust.curves,
    "FilterStatistics": _filters,
    "Invariance": _invariance,
    "MapStatistics": _statistics,
    "Occlusion": _occlusion,
    "Projection": _projection,
    "Snapshot": _snapshot,
    "TopActivations": _top,
    "UnitProjections": _unit_projections,
    "WatchedMap": _map,
    "WatchedScores": _scores,
    "Winners": _winners,
}
