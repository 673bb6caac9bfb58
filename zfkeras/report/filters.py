"""First-layer filters as pictures, and what they are like as a table and plots (Fig. 6)."""

import csv
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from zfkeras import image
from zfkeras.files import write_atomically
from zfkeras.image import Picture
from zfkeras.report.charts import LINES, legend, show, tidy
from zfkeras.report.figures import INK, SMALL

if TYPE_CHECKING:
    from zfkeras.analysis.filters import FilterStatistics

SIDE = 28  # pixels a filter is enlarged to, at least


def bank(found: "FilterStatistics", together: bool = True, columns: int | None = None) -> Picture:
    """All filters of a layer in a grid, zero as grey.

    Args:
        found: The filters.
        together: Whether all are scaled alike, so that one that dominates is seen to (Fig. 6a);
            otherwise each is by itself.
        columns: Filters a row; default: as square as it gets.
    """
    filters = _coloured(np.moveaxis(found.kernels, -1, 0))
    if together:
        largest = np.abs(filters).max() or 1.0
        shown = np.rint(255 * (0.5 + filters / (2 * largest))).astype(np.uint8)
    else:
        shown = image.to_display(filters)
    factor = -(-SIDE // max(shown.shape[1:3]))
    return image.grid(list(shown.repeat(factor, 1).repeat(factor, 2)), columns)


def _coloured(filters: np.ndarray) -> np.ndarray:
    """(F, h, w, 3) of filters of any depth; more or less than three planes as their mean."""
    if filters.shape[3] == 3:
        return filters
    return filters.mean(3, keepdims=True).repeat(3, 3)


def figure(found: "Mapping[str, FilterStatistics]") -> Figure:
    """Nets side by side: their filters, how strong these are, and their frequencies.

    Args:
        found: {what it is called: its filters}.
    """
    count = len(found)
    drawn = Figure(figsize=(3.1 * count + 0.4, 7.4), layout="constrained")
    panels = drawn.subplots(3, count, squeeze=False, height_ratios=(2.4, 1, 1))
    for (name, one), (top, middle, below) in zip(found.items(), panels.T, strict=True):
        height, width = one.kernels.shape[:2]
        below_it = f"{height} x {width} / {one.stride}, {len(one.rms)} filters"
        show(top, bank(one), name, below_it)
        _strengths(middle, one)
        _frequencies(below, one)
    return drawn


def _strengths(axes: Axes, found: "FilterStatistics") -> None:
    """The RMS of each filter, the strongest first; those that are dead in another colour."""
    order = np.argsort(-found.rms)
    dead = found.dead_by_weight.copy()
    if found.dead_by_activation is not None:
        dead |= found.dead_by_activation
    tidy(axes, f"RMS; dominance {found.dominance:.1f}", "filter", "")
    places = np.arange(len(order))
    for kind, colour, label in ((~dead, LINES[0], "alive"), (dead, LINES[2], "dead")):
        chosen = kind[order]
        axes.bar(places[chosen], found.rms[order][chosen], 1, color=colour, label=label)
    if dead.any():
        legend(axes)


def _frequencies(axes: Axes, found: "FilterStatistics") -> None:
    """How many filters have their mean frequency where; the middle band is shaded."""
    low, high = found.band_edges
    tidy(axes, f"Mean frequency; {found.mid_coverage:.0%} in the middle", "cycles per pixel", "")
    axes.axvspan(low, high, color=INK, alpha=0.1, lw=0)
    axes.hist(found.centroid, np.linspace(0, 0.6, 31).tolist(), color=LINES[0])
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))


def table(numbers: Mapping[str, Mapping[str, float]]) -> Figure:
    """The numbers of `compare` as a picture: a row for each, a column for each net."""
    names = list(dict.fromkeys(name for row in numbers.values() for name in row))
    drawn = Figure(figsize=(2.0 + 1.5 * len(names), 0.3 + 0.24 * len(numbers)))
    axes = drawn.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    cells = [[_short(row.get(name)) for name in names] for row in numbers.values()]
    made = axes.table(
        cells, rowLabels=list(numbers), colLabels=names, loc="center", edges="horizontal"
    )
    made.auto_set_font_size(False)
    made.set_fontsize(SMALL + 1)
    for cell in made.get_celld().values():
        cell.set(edgecolor="#cccccc", linewidth=0.6)
        cell.get_text().set_color(INK)
    return drawn


def write_table(numbers: Mapping[str, Mapping[str, float]], path: str | os.PathLike[str]) -> Path:
    """Writes the numbers of `compare` as CSV: number, then a column for each net."""
    names = list(dict.fromkeys(name for row in numbers.values() for name in row))
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["number", *names])
    for number, row in numbers.items():
        writer.writerow([number, *(f"{row[name]:.6g}" if name in row else "" for name in names)])
    return write_atomically(path, text.getvalue().encode())


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"
