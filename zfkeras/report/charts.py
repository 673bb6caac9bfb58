"""What charts and picture grids have in common: quiet axes, small type, one set of colours."""

from collections.abc import Iterable
from typing import Any

from matplotlib.axes import Axes
from matplotlib.typing import ColorType
from numpy.typing import ArrayLike

from zfkeras import image
from zfkeras.report.figures import COLOURS, INK, MEDIUM, SMALL

LINES = [(red / 255, green / 255, blue / 255) for red, green, blue in COLOURS]


def tidy(axes: Axes, title: str = "", below: str = "", beside: str = "") -> Axes:
    """A chart without box: title at the left, small labels."""
    axes.set_title(title, fontsize=MEDIUM, color=INK, loc="left")
    axes.set_xlabel(below, fontsize=SMALL, color=INK)
    axes.set_ylabel(beside, fontsize=SMALL, color=INK)
    axes.tick_params(labelsize=SMALL, colors=INK, width=0.6, length=2.5)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["bottom", "left"]].set(color=INK, linewidth=0.6)
    return axes


def show(
    axes: Axes, picture: ArrayLike, title: str = "", below: str = "", colour: ColorType = INK
) -> Axes:
    """A picture without axes, with a word above and below it."""
    axes.imshow(image.to_rgb(picture), interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    axes.set_title(title, fontsize=SMALL, color=INK, pad=3)
    axes.set_xlabel(below, fontsize=SMALL, color=INK, labelpad=3)
    for spine in axes.spines.values():
        spine.set(color=colour, linewidth=0.5 if colour == INK else 2)
    return axes


def answer_name(score_name: str) -> str:
    """What an axis of a class' probabilities, or of its scores, is called."""
    return "P(class)" if score_name == "probability" else "score of the class"


def legend(owner: Any, handles: Iterable[Any] | None = None, **options: Any) -> None:
    """A legend without frame, in small type."""
    given = {} if handles is None else {"handles": list(handles)}
    owner.legend(**given, fontsize=SMALL, labelcolor=INK, frameon=False, **options)
