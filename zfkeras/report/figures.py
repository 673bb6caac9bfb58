"""The paper's figures from results: projections (Fig. 2), training curves.

Each returns a `matplotlib.figure.Figure`, which needs no display and touches no pyplot state.
"""

import io
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from matplotlib.typing import ColorType

from zfkeras import image
from zfkeras.files import write_atomically
from zfkeras.image import Colour, Picture, Pictures
from zfkeras.regions.receptive_field import Box, ReceptiveField

if TYPE_CHECKING:  # results are only read here: drawing needs no TensorFlow
    from zfkeras.deconvnet.net import Projection

INK, BLUE, RUST = "#3a3a3a", "#2a6f97", "#c8553d"
SMALL, MEDIUM = 7, 8.5
MAPS_A_ROW = 6
COLOURS: list[Colour] = [
    (78, 121, 167), (242, 142, 43), (225, 87, 89), (118, 183, 178), (89, 161, 79),
    (237, 201, 72), (176, 122, 161), (255, 157, 167), (156, 117, 95), (186, 176, 172),
]  # fmt: skip


def save(figure: Figure, path: str | os.PathLike[str]) -> Path:
    """Writes a figure as PNG, SVG or PDF by its suffix, whole or not at all."""
    plain_text(figure)
    buffer = io.BytesIO()
    kind = Path(path).suffix.lstrip(".")
    figure.savefig(buffer, format=kind, dpi=150, facecolor="white", bbox_inches="tight")
    return write_atomically(path, buffer.getvalue())


def svg(figure: Figure) -> str:
    """A figure as an <svg> element for a page: transparent, in the colours of its text."""
    plain_text(figure)
    buffer = io.StringIO()
    unsigned = {"Date": None, "Creator": None}
    figure.savefig(buffer, format="svg", transparent=True, bbox_inches="tight", metadata=unsigned)
    drawing = buffer.getvalue()
    drawing = drawing[drawing.index("<svg") :].replace(INK, "currentColor")
    return drawing.replace(BLUE, f"var(--accent, {BLUE})")


def plain_text(figure: Figure) -> Figure:
    """The figure with texts as they are: names of files and classes may hold dollars."""
    for text in figure.findobj(Text):
        text.set_parse_math(False)
    return figure


# === Projections ===


def stimuli(
    found: "Projection", images: Pictures, field: ReceptiveField | None = None, index: int = 0
) -> list[tuple[Picture, Picture]]:
    """What each unit of an image saw beside what it answers to: patches and projections, cut alike.

    Args:
        found: projections of N images, C maps each.
        images: the N images, (H, W, 3) uint8.
        field: the layer's receptive field; without it nothing is cut.
        index: which of the images.

    Returns:
        For each map, (patch, projection) of one size, the projection around grey (method.md) and
        scaled by its 99.5th percentile: few pixels tower above the rest, and the paper enhances
        its contrast too.
    """
    boxes = _boxes(found, index, field)
    return [
        (_cut(images[index], box, 128), image.to_display(_cut(pixels, box, 0), image.CONTRAST))
        for pixels, box in zip(found.pixels[index], boxes, strict=True)
    ]


def projection(
    found: "Projection",
    images: Pictures,
    field: ReceptiveField | None = None,
    index: int = 0,
    name: str = "",
) -> Figure:
    """One image's strongest units: where they look, the patch there, and its projection.

    All patches are shown at one scale, in cells of one size.

    Args:
        found: projections of N images.
        images: the N images, (H, W, 3) uint8.
        field: the layer's receptive field, whose boxes are drawn on the image.
        index: which of the images.
        name: what the image is called.
    """
    pairs = stimuli(found, images, field, index)
    columns = min(len(pairs), MAPS_A_ROW)
    bands = math.ceil(len(pairs) / columns)
    figure = Figure(figsize=(2.6 + 1.15 * columns, 2.7 * bands + 0.2), layout="constrained")
    shape = figure.add_gridspec(2 * bands, columns + 2)
    title = f"{name}\n{found.layer}" if name else found.layer
    whole = panel(figure.add_subplot(shape[:2, :2]), images[index], title)
    whole.images[0].set_interpolation("bilinear")
    cell = np.max([patch.shape[:2] for patch, _ in pairs], axis=0)
    for number, (patch, shown) in enumerate(pairs):
        band, column = divmod(number, columns)
        value = short(found.values[index, number])
        text = f"{number + 1}: map {found.channels[index, number]}\n{value}"
        colour = unit(COLOURS[number % len(COLOURS)])
        for half, picture in enumerate((patch, shown)):
            axes = figure.add_subplot(shape[2 * band + half, column + 2])
            _within(cell, panel(axes, picture, text if half == 0 else ""), picture, colour)
        if field is not None:
            _outline(whole, _boxes(found, index, field)[number], colour, 0.7)
            _pin(whole, field.centre(found.positions[index, number]), number + 1, colour)
    figure.supxlabel(LEGEND, fontsize=SMALL, color=INK)
    return figure


LEGEND = (
    "Projections: grey is zero; full contrast at the 99.5th percentile of each one's magnitude."
)


def overview(
    found: "Projection",
    images: Pictures,
    names: Sequence[str],
    field: ReceptiveField | None = None,
    most: tuple[int, int] = (24, 9),
) -> Figure:
    """Several images at a glance: each beside the projections of its strongest units.

    Args:
        found: projections of N images.
        images: the N images, (H, W, 3) uint8.
        names: what they are called.
        field: the layer's receptive field, to which the projections are cut.
        most: how many images and units there is room for: the first.
    """
    rows, units = min(len(images), most[0]), min(found.channels.shape[1], most[1])
    figure = Figure(figsize=(1.05 * (1 + units), 1.2 * rows + 0.4), layout="constrained")
    cells = figure.subplots(rows, 1 + units, squeeze=False)
    for index, (first, *rest) in enumerate(cells):
        panel(first, images[index], _shortened(names[index]))
        shown = [projected for _, projected in stimuli(found, images, field, index)[:units]]
        cell = np.max([picture.shape[:2] for picture in shown], axis=0)
        for number, (axes, picture) in enumerate(zip(rest, shown, strict=True)):
            panel(axes, picture, f"map {found.channels[index, number]}")
            _within(cell, axes, picture, INK, 0.5)
    left = "" if rows == len(images) else f" The first {rows} of {len(images)} images."
    figure.supxlabel(f"{found.layer}. {LEGEND}{left}", fontsize=SMALL, color=INK)
    return figure


def _shortened(name: str, most: int = 16) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"


def framed(found: "Projection", images: Pictures, field: ReceptiveField, index: int = 0) -> Picture:
    """One image with the receptive field of each projected unit outlined."""
    picture = images[index]
    for number, box in enumerate(_boxes(found, index, field)):
        picture = image.frame(picture, box, COLOURS[number % len(COLOURS)])
    return picture


def _boxes(found: "Projection", index: int, field: ReceptiveField | None) -> list[Box]:
    height, width = found.pixels.shape[2:4]
    if field is None:
        return [(0, 0, height, width)] * found.pixels.shape[1]
    return [
        field.box((int(row), int(column)), (height, width))
        for row, column in found.positions[index]
    ]


def _cut(pixels: np.ndarray, box: Box, nothing: int) -> np.ndarray:
    """The pixels in a box; one of `nothing` where a unit sees only padding."""
    top, left, bottom, right = box
    found = pixels[top:bottom, left:right]
    return found if found.size else np.full((1, 1, pixels.shape[2]), nothing, pixels.dtype)


# === Captions ===


def short(value: float) -> str:
    """A number for a caption.

    Example:
        >>> short(2963.4), short(0.01234)
        ('2,963', '0.0123')
    """
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def class_name(number: int, class_names: Sequence[str] | None) -> str:
    """A class' name, or its number where the names are unknown."""
    return f"class {number}" if class_names is None else str(class_names[number])


# === Curves ===


def curves(
    history: Mapping[str, Sequence[float]], metrics: Sequence[str] = ("loss", "accuracy")
) -> Figure:
    """Training curves, one panel a metric: solid for the training set, dashed for validation.

    Args:
        history: what `keras.callbacks.History.history` holds: name -> its value after each epoch.
        metrics: names to draw; those not in the history are left out.
    """
    present = [name for name in metrics if name in history]
    if not present:
        raise ValueError(
            f"There is nothing to draw. Expected a history with one of {list(metrics)}. "
            f"Received: history with {sorted(history)}"
        )
    figure = Figure(figsize=(3.6 * len(present), 2.5), layout="constrained")
    for axes, name in zip(np.atleast_1d(figure.subplots(1, len(present))), present, strict=True):
        for key, colour, words in ((name, BLUE, "training"), (f"val_{name}", RUST, "validation")):
            if key in history:
                epochs = range(1, len(history[key]) + 1)
                axes.plot(epochs, history[key], color=colour, marker="o", ms=3, lw=1.6, label=words)
        axes.set_title(name, fontsize=MEDIUM, color=INK, loc="left")
        axes.set_xlabel("epoch", fontsize=SMALL, color=INK)
        axes.locator_params(axis="x", integer=True)
        axes.tick_params(labelsize=SMALL, colors=INK)
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["bottom", "left"]].set_color(INK)
        axes.legend(fontsize=SMALL, frameon=False, labelcolor=INK)
    return figure


# === Panels ===


def panel(
    axes: Axes,
    picture: np.ndarray,
    title: str = "",
    colour: ColorType | None = None,
    colours: ListedColormap | None = None,
) -> Axes:
    """A picture, or numbers in colours, in a thin frame or a coloured one."""
    picture = image.to_rgb(picture) if np.ndim(picture) == 3 else picture
    axes.imshow(picture, cmap=colours or VIRIDIS, interpolation="nearest")
    axes.set(xticks=[], yticks=[], anchor="N")
    axes.set_title(title, fontsize=SMALL, color=INK, pad=3)
    for spine in axes.spines.values():
        spine.set(color=INK if colour is None else colour, linewidth=0.5 if colour is None else 1.5)
    return axes


def _within(
    cell: np.ndarray, axes: Axes, picture: np.ndarray, colour: ColorType, width: float = 1.5
) -> None:
    """Shows a picture in the middle of a cell that may be larger, framed without the rest of it."""
    (height, breadth), (down, across) = picture.shape[:2], cell
    axes.set_xlim((breadth - across) / 2 - 0.5, (breadth + across) / 2 - 0.5)
    axes.set_ylim((height + down) / 2 - 0.5, (height - down) / 2 - 0.5)
    axes.set_frame_on(False)
    _outline(axes, (0, 0, height, breadth), colour, width)


def _outline(axes: Axes, box: Box, colour: ColorType | None, width: float) -> None:
    top, left, bottom, right = box
    corner, size = (left - 0.5, top - 0.5), (right - left, bottom - top)
    frame = Rectangle(corner, *size, fill=False, edgecolor=colour, linewidth=width, clip_on=False)
    axes.add_patch(frame)


def _pin(axes: Axes, place: tuple[float, float], number: int, colour: ColorType) -> None:
    """A number in a coloured disc, at (row, column) or as near as the picture goes."""
    row, column = (
        min(max(at, 0.04 * length), 0.96 * length)
        for at, length in zip(place, axes.images[0].get_size(), strict=True)
    )
    disc = {"boxstyle": "circle,pad=0.2", "facecolor": colour, "edgecolor": "white", "lw": 0.5}
    text = axes.text(column, row, str(number), size=6, color="white", weight="bold", bbox=disc)
    text.set(ha="center", va="center")


def unit(colour: Colour) -> tuple[float, float, float]:
    """A colour of 0..255 as matplotlib takes it."""
    red, green, blue = colour
    return red / 255, green / 255, blue / 255


VIRIDIS = ListedColormap(image.colour_map(np.linspace(0, 1, 256)) / 255.0)
LOW_IS_BRIGHT = VIRIDIS.reversed()
