"""Fig. 8 and Table 1: the hidden parts, and whether hiding them means the same everywhere."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from zfkeras.image import Picture, Pictures
from zfkeras.report.charts import LINES, legend, show, tidy
from zfkeras.report.figures import INK, SMALL, class_name

if TYPE_CHECKING:
    from zfkeras.analysis.correspondence import Correspondence


def masked_parts(
    found: "Correspondence",
    images: Pictures,
    class_names: Sequence[str] | None = None,
    draws: int = 3,
    most: int = 9,
) -> Figure:
    """Fig. 8: a row for each image: as it is, each part hidden, some random parts hidden.

    Below each picture is the class' probability.

    Args:
        found: The measurements of N images.
        images: The N images, (H, W, 3) uint8.
        class_names: Names of the model's classes; default: their numbers.
        draws: Random parts to show.
        most: Rows at most.
    """
    draws, rows = min(draws, len(found.random_boxes)), min(most, len(images))
    columns = 1 + len(found.parts) + draws
    figure = Figure(figsize=(1.25 * columns, 1.42 * rows + 0.2), layout="constrained")
    boxes = np.concatenate([found.boxes, found.random_boxes[:draws]])
    seen = np.concatenate([found.probabilities, found.random_probabilities[:draws]])
    titles = [*found.parts, *["random"] * draws]
    for number, row in enumerate(figure.subplots(rows, columns, squeeze=False)):
        name = class_name(found.classes[number], class_names)
        show(row[0], images[number], "", f"{found.baseline_probabilities[number]:.2f}")
        row[0].set_ylabel(name, fontsize=SMALL, color=INK)
        for axes, box, answer, title in zip(row[1:], boxes, seen, titles, strict=True):
            hidden = cover(images[number], box[number], found.patch_fill[number])
            show(axes, hidden, title if number == 0 else "", f"{answer[number]:.2f}")
    return figure


def cover(picture: Picture, box: Sequence[int], colour: np.ndarray) -> Picture:
    """The picture with a box (top, left, bottom, right) painted over."""
    top, left, bottom, right = box
    covered = picture.copy()
    covered[top:bottom, left:right] = np.rint(colour).clip(0, 255)
    return covered


def table(found: "Correspondence", measure: str = "distances") -> str:
    """Table 1 as Markdown: a row for each part and the random ones, a column for each layer.

    Args:
        found: The measurements.
        measure: As in `Correspondence.scores`.
    """
    rows = [["Occlusion location", *found.layers], ["---"] * (1 + len(found.layers))]
    for name, values in found.scores(measure).items():
        rows.append([name.capitalize(), *(f"{mean:.3f} ± {std:.3f}" for mean, std in values)])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def verdict(found: "Correspondence", measure: str = "distances") -> list[str]:
    """For each layer, in plain words, which parts correspond more than random ones do."""
    better = np.less if measure == "distances" else np.greater
    rows = found.scores(measure)
    if "random" not in rows:
        return ["There is no random control: ask for draws."]
    chance = rows.pop("random")[:, 0]
    sentences = []
    for number, layer in enumerate(found.layers):
        good = [name for name, row in rows.items() if better(row[number, 0], chance[number])]
        who = "every part" if len(good) == len(rows) else ", ".join(good) or "no part"
        side = "below" if measure == "distances" else "above"
        sentences.append(f"{layer}: {who} {side} random ({chance[number]:.3f})")
    return sentences


def scores(found: "Correspondence") -> Figure:
    """Both measures, mean ± std over pairs, for each layer: parts beside the random ones."""
    width = 0.85 * len(found.layers) + 0.8
    figure = Figure(figsize=(2 * width + 1, 2.4), layout="constrained")
    titles = ("Signs that differ (paper: low is good)", "Agreement beyond chance (high is good)")
    panels = figure.subplots(1, 2)
    for axes, measure, title in zip(panels, ("distances", "agreements"), titles, strict=True):
        rows = found.scores(measure)
        for number, (name, values) in enumerate(rows.items()):
            where = np.arange(len(found.layers)) + (number - (len(rows) - 1) / 2) * 0.14
            random = name == "random"
            colour, mark = (INK, "s") if random else (LINES[number % len(LINES)], "o")
            style = {"color": colour, "marker": mark, "ls": "none", "ms": 3.5, "lw": 1}
            axes.errorbar(where, values[:, 0], values[:, 1], label=name, **style)
        tidy(axes, title).set_xticks(range(len(found.layers)), found.layers)
        axes.set_ylim(bottom=min(0, axes.get_ylim()[0]))
    legend(panels[1], loc="upper left", bbox_to_anchor=(1, 1))
    return figure
