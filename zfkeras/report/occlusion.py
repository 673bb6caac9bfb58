"""The five panels of Fig. 7 from an `Occlusion`, as bare pictures and as a figure."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from zfkeras import image
from zfkeras.image import Colour, Picture, Pictures
from zfkeras.regions.receptive_field import Box
from zfkeras.report import figures
from zfkeras.report.figures import COLOURS, INK, LOW_IS_BRIGHT, SMALL, class_name, panel, unit

if TYPE_CHECKING:  # results are only read here: drawing needs no TensorFlow
    from zfkeras.analysis.occlusion_result import Occlusion


def panels(found: "Occlusion", images: Pictures, index: int = 0) -> dict[str, Picture]:
    """The panels of Fig. 7 that there are, as bare pictures of the image's size.

    Panel a shows the occluder where it hurts most, d lies over the image; b and d are bright where
    hiding lowers the map and the score. There are b and c where a layer was asked for (and could
    be projected), d and e unless only the layer was.
    """
    picture = images[index]
    bare = {"a": occluded(found, picture, index)}
    if found.activation is not None:
        bare["b"] = image.colour_map(-_over_pixels(found, found.activation[index]))
    if found.projection is not None:
        bare["c"] = image.to_display(found.projection[index], image.CONTRAST)
    if found.predicted is not None:
        bare["d"] = image.overlay(picture, found.importance()[index])
        legend = classes_seen(found, index)
        table = np.zeros((max(legend) + 1, 3), np.uint8)
        for number, colour in legend.items():
            table[number] = colour
        bare["e"] = table[_over_pixels(found, found.predicted[index])]
    return bare


def others(found: "Occlusion", pool: Pictures, index: int = 0) -> Picture | None:
    """The rest of panel c: other images above the same map's projections from them, best first.

    Args:
        found: occlusion of N images.
        pool: what ``found.others`` counts: the images or the others, (H, W, 3) uint8.
        index: which of the N images.

    Returns:
        One picture; None where there are no others.
    """
    if found.others is None or found.other_projections is None or not found.others[index].size:
        return None
    shown = image.to_display(found.other_projections[index], image.CONTRAST)
    above = [pool[number] for number in found.others[index]]
    return image.grid([*above, *shown], columns=len(above))


def save(
    found: "Occlusion",
    images: Pictures,
    pool: Pictures,
    index: int,
    path: Path,
    class_names: Sequence[str] | None = None,
) -> tuple[Path, Path | None]:
    """Saves one image's `figure` and, beside it as NAME-others.png, its `others` if any."""
    figures.save(figure(found, images, index, class_names), path)
    sheet = others_figure(found, pool, index)
    if sheet is None:
        return path, None
    return path, figures.save(sheet, path.with_name(f"{path.stem}-others.png"))


def save_all(
    found: "Occlusion",
    images: Pictures,
    pool: Pictures,
    paths: Sequence[Path],
    class_names: Sequence[str] | None = None,
) -> list[tuple[Path, Path | None]]:
    """`save` of every image."""
    return [save(found, images, pool, i, path, class_names) for i, path in enumerate(paths)]


def others_figure(found: "Occlusion", pool: Pictures, index: int = 0) -> Figure | None:
    """`others` with words: whose map it is, and which images it does not fire for."""
    if found.others is None or found.other_projections is None or not found.others[index].size:
        return None
    count = len(found.others[index])
    drawn = Figure(figsize=(1.4 * count + 0.2, 3.2), layout="constrained")
    above, below = drawn.subplots(2, count, squeeze=False)
    for number, axes, under, pixels in zip(
        found.others[index], above, below, found.other_projections[index], strict=True
    ):
        panel(axes, pool[number])
        panel(under, image.to_display(pixels, image.CONTRAST))
        if not pixels.any():
            middle = {"transform": under.transAxes, "ha": "center", "va": "center"}
            under.text(0.5, 0.5, "does not fire", fontsize=SMALL, color="white", **middle)
    drawn.suptitle(f"{map_name(found, index)} in other images", fontsize=SMALL, color=INK)
    return drawn


def classes_seen(found: "Occlusion", index: int = 0) -> dict[int, Colour]:
    """The colours of panel e: the classes predicted anywhere, the most frequent first."""
    if found.predicted is None:
        return {}
    classes, counts = np.unique(found.predicted[index], return_counts=True)
    ordered = classes[np.argsort(-counts, kind="stable")]
    return {int(number): COLOURS[rank % len(COLOURS)] for rank, number in enumerate(ordered)}


def watched(found: "Occlusion", index: int, class_names: Sequence[str] | None = None) -> str:
    """What `found.response` is of: the first class' name or, without scores, the map's."""
    if found.classes is not None:
        return class_name(found.classes[index, 0], class_names)
    return map_name(found, index)


def map_name(found: "Occlusion", index: int) -> str:
    """The name of the map that was watched."""
    return "" if found.channel is None else f"map {found.channel[index]} of {found.layer}"


def occluded(found: "Occlusion", picture: Picture, index: int = 0) -> Picture:
    """The image with the occluder where it hurts most; see `worst_box`."""
    top, left, bottom, right = worst_box(found, index)
    picture, shown = picture.copy(), np.broadcast_to(found.fill_value[index], picture.shape)
    picture[top:bottom, left:right] = np.rint(shown[top:bottom, left:right]).clip(0, 255)
    return picture


def worst_box(found: "Occlusion", index: int = 0) -> Box:
    """The clipped (top, left, bottom, right) of the occluder that lowers the response most.

    That is the probability of the first class or, without scores, the map's activation.
    """
    places = found.response[index]
    row, column = np.unravel_index(places.argmin(), places.shape)
    starts = (
        int(centre) - size // 2
        for centre, size in zip(
            (found.rows[row], found.columns[column]), found.patch_size, strict=True
        )
    )
    (top, bottom), (left, right) = (
        (max(0, start), min(length, start + size))
        for start, size, length in zip(starts, found.patch_size, found.image_size, strict=True)
    )
    return top, left, bottom, right


def figure(
    found: "Occlusion",
    images: Pictures,
    index: int = 0,
    class_names: Sequence[str] | None = None,
) -> Figure:
    """The panels of Fig. 7 that there are for one image, at most five.

    Args:
        found: occlusion of N images.
        images: the N images, (H, W, 3) uint8.
        index: which of them.
        class_names: names of the model's classes; default: their numbers.
    """
    titles = {
        "a": "(a) image and occluder",
        "b": f"(b) {map_name(found, index)}: total",
        "c": "(c) its strongest unit, projected",
        "d": f"(d) {found.score_name} of {watched(found, index, class_names)}",
        "e": f"(e) {best(found)}",
    }
    shown: dict[str, Any] = dict(panels(found, images, index))
    if found.activation is not None:
        shown["b"] = _over_pixels(found, found.activation[index])
    if found.probabilities is not None:
        shown["d"] = _over_pixels(found, found.probabilities[index, ..., 0])
    drawn, places = _strip(len(shown), found.image_size[0] / found.image_size[1])
    for (axes, below), letter in zip(places, sorted(shown), strict=True):
        panel(
            axes, shown[letter], titles[letter], "black" if letter == "c" else None, LOW_IS_BRIGHT
        )
        if letter in "bd":
            _scale(drawn, axes, below)
        if letter == "e":
            _legend(below, found, index, class_names)
    return drawn


def best(found: "Occlusion") -> str:
    """What panel e shows."""
    is_probability = found.score_name == "probability"
    return "most probable class" if is_probability else "class of the highest score"


def _over_pixels(found: "Occlusion", values: np.ndarray) -> np.ndarray:
    """Grid values (R, S) over the pixels (H, W): each pixel shows its nearest centre."""
    height, width = found.image_size
    nearest_row = np.abs(np.arange(height)[:, None] - found.rows).argmin(axis=1)
    nearest_column = np.abs(np.arange(width)[:, None] - found.columns).argmin(axis=1)
    return values[np.ix_(nearest_row, nearest_column)]


def _strip(count: int, aspect: float) -> tuple[Figure, list[tuple[Axes, Axes]]]:
    """A figure with `count` panels in a row, each with a narrow invisible one below it."""
    side, gap, above, under = 2.2, 0.14, 0.3, 0.62  # inches
    width, height = count * (side + gap), above + side * aspect + under
    drawn, places = Figure(figsize=(width, height)), []
    for number in range(count):
        left = number * (side + gap) / width
        upper = (left, under / height, side / width, side * aspect / height)
        below = (left, 0.0, side / width, (under - 0.05) / height)
        places.append((drawn.add_axes(upper), drawn.add_axes(below, frame_on=False)))
        places[-1][1].set(xticks=[], yticks=[])
    return drawn, places


def _scale(drawn: Figure, axes: Axes, below: Axes) -> None:
    inside = below.inset_axes((0.0, 0.86, 1.0, 0.12))
    bar = drawn.colorbar(axes.images[0], cax=inside, orientation="horizontal")
    bar.ax.tick_params(labelsize=SMALL, colors=INK, width=0.5, length=2)
    bar.outline.set_visible(False)
    bar.ax.set_xlabel("bright: hiding this lowers it", fontsize=SMALL, color=INK, labelpad=1)


def _legend(below: Axes, found: "Occlusion", index: int, class_names: Sequence[str] | None) -> None:
    handles = [
        Patch(facecolor=unit(colour), label=class_name(number, class_names))
        for number, colour in list(classes_seen(found, index).items())[:6]
    ]
    below.legend(
        handles=handles, fontsize=SMALL, labelcolor=INK, frameon=False, ncols=2, loc="upper left",
        borderaxespad=0, borderpad=0, handlelength=1, handleheight=1, columnspacing=1,
    )  # fmt: skip
