"""Heat maps side by side, and what they are worth: the figures of `faithfulness`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure

from zfkeras import image
from zfkeras.image import Picture, Pictures
from zfkeras.report.charts import LINES, answer_name, legend, show, tidy
from zfkeras.report.figures import INK, SMALL, VIRIDIS, class_name
from zfkeras.types import Json

if TYPE_CHECKING:
    from zfkeras.analysis.faithfulness import Faithfulness

NAMES = {
    "deconvnet": "deconvnet (units)",
    "deconvnet_logit": "deconvnet (class)",
    "guided": "guided backprop",
    "gradient_x_input": "gradient x input",
    "smoothgrad": "SmoothGrad",
    "gradcam": "Grad-CAM",
    "gradcam++": "Grad-CAM++",
    "scorecam": "Score-CAM",
}


def comparison(
    found: "Faithfulness",
    images: Pictures,
    class_names: Sequence[str] | None = None,
    columns: int = 6,
    most: int = 6,
) -> Figure:
    """Every method's map over every image, with the areas under deletion and insertion below.

    Args:
        found: The maps of N images.
        images: The N images, (H, W, 3) uint8.
        class_names: Names of the model's classes; default: their numbers.
        columns: Pictures a row, at most.
        most: Images, at most: the first.
    """
    images = images[:most]
    tiles = 1 + len(found.methods)
    rows = -(-tiles // columns)
    columns = -(-tiles // rows)
    figure = Figure(figsize=(1.5 * columns, 1.85 * rows * len(images)), layout="constrained")
    panels = figure.subplots(rows * len(images), columns, squeeze=False)
    for axes in panels.flat:
        axes.set_axis_off()
    areas, short_name = found.areas(), "p" if found.score_name == "probability" else "score"
    for number, picture in enumerate(images):
        first, *rest = panels[rows * number : rows * (number + 1)].flat
        name = class_name(found.classes[number], class_names)
        _put(first, picture, name, f"{short_name} = {found.baseline_probabilities[number]:.2f}")
        for row, (method, axes) in enumerate(zip(found.methods, rest, strict=False)):
            low, high = (areas[way][row, number] for way in ("deletion", "insertion"))
            heat = over(picture, found.maps[row, number])
            _put(axes, heat, NAMES.get(method, method), f"del {low:.2f}   ins {high:.2f}")
    _scale(figure, panels)
    if found.skipped:
        names = ", ".join(NAMES.get(method, method) for method, _ in found.skipped)
        figure.supxlabel(f"not for this net: {names}", fontsize=SMALL, color=INK)
    return figure


def _scale(figure: Figure, panels: np.ndarray) -> None:
    """What the colours of all maps mean; each goes up to its own 99.5th percentile."""
    colours = ScalarMappable(cmap=VIRIDIS)
    below: Json = {"location": "bottom", "shrink": 0.25, "aspect": 30, "pad": 0.01}
    bar = figure.colorbar(colours, ax=panels, ticks=(0, 1), **below)
    bar.ax.set_xticklabels(("nothing", "matters most"), fontsize=SMALL, color=INK)
    bar.ax.tick_params(length=0)
    bar.outline.set_visible(False)


def over(picture: Picture, heat: np.ndarray) -> Picture:
    """Heat over the greyed picture: from nothing to the 99.5th percentile of the heat."""
    shown = np.clip(heat, 0, None)
    if shown.size > 64 * 64:  # single pixels are too small to see
        shown = _softened(shown, max(1, min(shown.shape) // 110))
    return image.overlay(picture, shown, alpha=0.65, low=0, high=_ceiling(shown))


def _ceiling(heat: np.ndarray) -> float:
    """The 99.5th percentile; of heat in fewer pixels than that, the highest."""
    return float(np.percentile(heat, image.CONTRAST)) or float(heat.max()) or 1.0


def _softened(heat: np.ndarray, reach: int) -> np.ndarray:
    """Means over (2 reach + 1)² pixels."""
    padded = np.pad(heat, reach, mode="edge")
    side = 2 * reach + 1
    return np.lib.stride_tricks.sliding_window_view(padded, (side, side)).mean((2, 3))


def _put(axes: Axes, picture: Picture, above: str, below: str) -> None:
    axes.set_axis_on()
    show(axes, picture, above, below)


def curves(found: "Faithfulness") -> Figure:
    """Deletion and insertion, averaged over the images, a line for each method."""
    figure = Figure(figsize=(7.6, 2.7), layout="constrained")
    areas, name = found.areas(), answer_name(found.score_name)
    for axes, way, good in zip(
        figure.subplots(1, 2), ("deletion", "insertion"), ("low", "high"), strict=True
    ):
        tidy(axes, f"{way.capitalize()} ({good} is good)", "share of the pixels", name)
        for row, method in enumerate(found.methods):
            label = f"{NAMES.get(method, method)}  {areas[way][row].mean():.2f}"
            mean = getattr(found, way)[row].mean(0)
            axes.plot(found.fractions, mean, label=label, **_style(method, row))
        axes.set(xlim=(0, 1))
        if found.score_name == "probability":
            axes.set(ylim=(0, None))
        legend(axes, loc="upper left", bbox_to_anchor=(1, 1), handlelength=1.2)
    return figure


def randomisation(found: "Faithfulness") -> Figure:
    """What is left of each map, layer by layer, as weights are shuffled from the top down."""
    figure = Figure(figsize=(2 * max(2.6, 0.2 * len(found.layers)) + 1.6, 3), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    titles = ("Shuffled down to this layer", "Only this layer shuffled")
    for axes, order, title in zip(panels, ("cascading", "independent"), titles, strict=True):
        tidy(axes, title, "", "rank correlation" if order == "cascading" else "")
        axes.axhline(0, color=INK, lw=0.6)
        for row, method in enumerate(found.methods):
            means = getattr(found, order)[row].mean(0)
            style = {"marker": "o", "ms": 2.5} | _style(method, row)
            axes.plot(means, label=NAMES.get(method, method), **style)
        axes.set_xticks(range(len(found.layers)), found.layers, rotation=90)
    panels[0].set_ylim(min(-0.1, panels[0].get_ylim()[0]), 1.02)
    legend(panels[1], loc="upper left", bbox_to_anchor=(1, 1), handlelength=1.2)
    return figure


def similarity(found: "Faithfulness") -> Figure:
    """Rank correlation of every method's maps with every other's, averaged over the images."""
    means, count = found.similarity.mean(2), len(found.methods)
    names = [NAMES.get(method, method) for method in found.methods]
    figure = Figure(figsize=(0.42 * count + 1.6, 0.36 * count + 1.1), layout="constrained")
    axes = figure.subplots()
    axes.imshow(means, cmap=VIRIDIS, vmin=0, vmax=1)
    axes.set_xticks(range(count), names, rotation=45, ha="right", fontsize=SMALL, color=INK)
    axes.set_yticks(range(count), names, fontsize=SMALL, color=INK)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    for row, column in np.ndindex(count, count):
        value = means[row, column]
        colour = INK if value > 0.6 else "white"
        axes.text(column, row, f"{value:.2f}", ha="center", va="center", size=6, color=colour)
    return figure


def _style(method: str, row: int) -> dict[str, Any]:
    """A method's line: the control is dashed ink."""
    if method == "random":
        return {"color": INK, "ls": "--", "lw": 1.2}
    return {"color": LINES[row % len(LINES)], "lw": 1.5}
