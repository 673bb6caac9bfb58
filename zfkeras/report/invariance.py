"""Fig. 5: how far features move, and what the net answers, as images are transformed."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from zfkeras import image
from zfkeras.analysis.painting import paint
from zfkeras.analysis.transforms import matrix, transform
from zfkeras.image import Picture, Pictures
from zfkeras.report.charts import LINES, answer_name, legend, show, tidy
from zfkeras.report.figures import class_name

if TYPE_CHECKING:
    from zfkeras.analysis.invariance import Invariance

_AXES = {  # title, with the amount of the examples, and the axis' unit
    "vertical": ("Vertical translation, here {:g} px", "pixels"),
    "horizontal": ("Horizontal translation, here {:g} px", "pixels"),
    "scale": ("Scale, here {:g}", "factor"),
    "rotation": ("Rotation, here {:g}°", "degrees"),
}

_NOTHING = np.full((1, 1, 3), 255, np.uint8)


def invariance(
    found: "Invariance",
    images: Pictures | None = None,
    class_names: Sequence[str] | None = None,
    unit: bool = False,
) -> Figure:
    """A row for each kind of transform: examples, each layer's distances, the probability.

    Args:
        found: The measurements of N images.
        images: The N images, (H, W, 3) uint8; without them there are no examples.
        class_names: Names of the model's classes; default: their numbers.
        unit: Whether to draw distances between features of unit length.
    """
    kinds = list(dict.fromkeys(found.kinds.tolist()))
    panels = len(found.layers) + 2
    figure = Figure(figsize=(2.35 * panels, 1.75 * len(kinds) + 0.35), layout="constrained")
    rows = figure.subplots(len(kinds), panels, squeeze=False)
    for kind, (examples, *layers, answer) in zip(kinds, rows, strict=True):
        points, (name, unit_name) = found.points(kind), _AXES[kind]
        amounts = found.amounts[points]
        shown = amounts[np.argsort(np.abs(amounts - amounts[0]))[2 * len(amounts) // 3]]
        picture = _NOTHING if images is None else _examples(images, kind, shown)
        show(examples, picture, name.format(shown)).set_frame_on(False)
        for number, axes in enumerate(layers):
            of_what = "distance at unit length" if unit else "distance"
            title = f"{found.layers[number]}: {of_what}" if kind == kinds[0] else ""
            distances = found.unit_distances if unit else found.distances
            _curves(tidy(axes, title, unit_name), amounts, distances[:, number, points])
            axes.set_ylim(bottom=0)
        title = answer_name(found.score_name) if kind == kinds[0] else ""
        _curves(tidy(answer, title, unit_name), amounts, found.probabilities[:, points])
        if found.score_name == "probability":
            answer.set_ylim(0, 1.02)
    names = [class_name(number, class_names) for number in found.classes]
    handles = [Line2D([], [], color=LINES[i % len(LINES)], label=n) for i, n in enumerate(names)]
    legend(figure, handles, loc="outside lower center", ncols=min(len(names), 5))
    return figure


def _curves(axes, amounts, values) -> None:  # type: ignore[no-untyped-def]
    for number, curve in enumerate(values):
        axes.plot(amounts, curve, color=LINES[number % len(LINES)], lw=1.4)
    axes.margins(x=0.01)


def _examples(images: Pictures, kind: str, amount: float) -> Picture:
    """Each image transformed, framed in the colour of its curves."""
    pixels = np.asarray(images, np.float32)
    fill = paint(pixels, "mean")
    moved = np.rint(transform(pixels, matrix(kind, amount), fill)).clip(0, 255).astype(np.uint8)
    height, width = pixels.shape[1:3]
    size = max(2, max(height, width) // 24)
    framed = [
        image.frame(picture, (0, 0, height, width), _colour(number), size)
        for number, picture in enumerate(moved)
    ]
    return image.grid(framed, columns=int(np.ceil(np.sqrt(len(framed) * 1.2))), padding=size // 2)


def _colour(number: int) -> tuple[int, int, int]:
    red, green, blue = (round(255 * part) for part in LINES[number % len(LINES)])
    return red, green, blue
