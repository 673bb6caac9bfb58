"""The strip of Fig. 4: what feature maps look for, epoch after epoch."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from zfkeras import image
from zfkeras.image import Picture
from zfkeras.report.figures import INK, MEDIUM, SMALL

if TYPE_CHECKING:
    from zfkeras.analysis.evolution import Snapshot

GAP = 0.06  # between tiles, in tiles


def strip(snapshots: "Sequence[Snapshot]", patches: bool = False) -> Figure:
    """A row for each map, a column for each epoch; a jump means that another image won.

    Args:
        snapshots: Those of one layer, in the order of their epochs.
        patches: Whether to show under each projection the patch it explains.

    Raises:
        ValueError: There are none, or they are of different layers or maps.
    """
    _check(snapshots)
    first, count = snapshots[0], len(snapshots)
    lines = len(first.channels) * (2 if patches else 1)
    picture = tiles(snapshots, patches)
    height, width = picture.shape[0] / lines, picture.shape[1] / count
    size = 6.6 / max(count, 6)
    figure = Figure(
        figsize=(size * count + 0.6, size * lines * height / width + 0.6), layout="constrained"
    )
    axes = figure.subplots()
    axes.imshow(picture, interpolation="nearest")
    axes.set_xticks((np.arange(count) + 0.5) * width, [str(one.epoch) for one in snapshots])
    rows = (np.arange(len(first.channels)) + 0.5) * picture.shape[0] / len(first.channels)
    axes.set_yticks(rows, [str(channel) for channel in first.channels])
    axes.set_title(f"{first.layer}: maps by epochs", fontsize=MEDIUM, color=INK, loc="left", pad=4)
    axes.tick_params(length=0, labelsize=SMALL, labelcolor=INK, labelbottom=False, labeltop=True)
    axes.spines[:].set_visible(False)
    return figure


def tiles(snapshots: "Sequence[Snapshot]", patches: bool = False) -> Picture:
    """The strip's pictures alone."""
    columns = [image.to_display(one.pixels, image.CONTRAST) for one in snapshots]
    seen = [np.rint(np.clip(one.patches, 0, 255)).astype(np.uint8) for one in snapshots]
    rows = []
    for channel in range(len(snapshots[0].channels)):
        rows += [column[channel] for column in columns]
        rows += [column[channel] for column in seen] if patches else []
    padding = max(1, round(GAP * max(columns[0].shape[1:3])))
    return image.grid(rows, len(snapshots), padding)


def _check(snapshots: "Sequence[Snapshot]") -> None:
    kinds = {(one.layer, tuple(one.channels.tolist())) for one in snapshots}
    if len(kinds) != 1:
        raise ValueError(
            "A strip shows the snapshots of one layer, all of the same maps. "
            f"Received: snapshots of {sorted(kinds)}"
        )
