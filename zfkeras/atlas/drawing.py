"""Sheets of pictures: many in one file, so that a page of a thousand maps opens at once.

Every picture lies in the corner of a cell; cells of JPEG files are multiples of its blocks, so that
neighbours don't bleed into one another.
"""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from zfkeras import image
from zfkeras.atlas.projecting import Winners

STYLE = 1  # to be raised with any change of what is drawn: finished atlases draw themselves anew
LARGEST = 160  # side of a picture on the page of its map
TINY = 32  # pictures up to this side are shown pixel by pixel
CONTRAST = 99.5  # percentile of a projection's magnitudes that becomes black or white
BLOCK, QUALITY = 8, 88  # of JPEG
MOSAIC = 128  # side of a map's nine pictures on the page of its layer
MAPS_A_SHEET = 32


@dataclass(frozen=True)
class Sheet:
    """A file of pictures in cells, for the site's script.

    Attributes:
        file: Its path from the site's root.
        columns, rows: Number of cells.
        cell: (height, width) of a cell in pixels.
        tile: (height, width) of the picture in its top left corner.
    """

    file: str
    columns: int
    rows: int
    cell: tuple[int, int]
    tile: tuple[int, int]


@dataclass(frozen=True)
class DrawnMap:
    """A feature map whose pictures are there.

    Attributes:
        map: Its number.
        boxes: (top, left, bottom, right) of each unit's pictures, the strongest first.
        sheet: The units' pictures; None for a map that never fires.
        mosaics: Where its mosaics are.
        column: Their column there.
    """

    map: int
    boxes: list[list[int]]
    sheet: Sheet | None
    mosaics: Sheet
    column: int

    @classmethod
    def from_json(cls, facts: dict[str, Any]) -> "DrawnMap":
        """What `dataclasses.asdict` and JSON made of one."""
        sheet = facts["sheet"] and Sheet(**facts["sheet"])
        return cls(**facts | {"sheet": sheet, "mosaics": Sheet(**facts["mosaics"])})


def draw(winners: Winners, folder: Path, place: str, k: int) -> list[DrawnMap]:
    """Writes all pictures of some maps.

    Args:
        winners: Their strongest units, with pictures.
        folder: The site.
        place: Where in the site.
        k: Units of each map.
    """
    sheets, mosaics = _draw_sheets(winners, folder, place), _draw_mosaics(winners, folder, place, k)
    return [
        DrawnMap(
            channel,
            winners.boxes[winners.units[:, 0] == channel].tolist(),
            sheets.get(channel),
            *mosaics[channel],
        )
        for channel in winners.maps.tolist()
    ]


def _draw_sheets(winners: Winners, folder: Path, place: str) -> dict[int, Sheet]:
    """A sheet for each map that fires: patches above, projections below, the strongest first."""
    patches = _scaled(_grey_to_rgb(winners.patches), LARGEST)
    projections = _scaled(_grey_to_rgb(_displayed(winners)), LARGEST)
    drawn = {}
    for channel in np.unique(winners.units[:, 0]).tolist():
        chosen = np.flatnonzero(winners.units[:, 0] == channel)
        rows = [patches[chosen], projections[chosen]]
        drawn[channel] = _write(rows, folder, f"{place}/{channel:04d}")
    return drawn


def _draw_mosaics(
    winners: Winners, folder: Path, place: str, k: int
) -> dict[int, tuple[Sheet, int]]:
    """Sheets of small mosaics, a column for each map: its patches, its projections below."""
    columns = math.ceil(math.sqrt(k))
    side = (MOSAIC + 1) // columns - 1
    rows = [
        _scaled(_grey_to_rgb(pictures), side, enlarge=True)
        for pictures in (winners.patches, _displayed(winners))
    ]
    drawn = {}
    for first in range(0, len(winners.maps), MAPS_A_SHEET):
        maps = winners.maps[first : first + MAPS_A_SHEET].tolist()
        mosaics = [
            np.stack([_mosaic(row[winners.units[:, 0] == one], k, columns) for one in maps])
            for row in rows
        ]
        sheet = _write(mosaics, folder, f"{place}/mosaics-{maps[0]:04d}")
        drawn |= {channel: (sheet, column) for column, channel in enumerate(maps)}
    return drawn


def _mosaic(pictures: NDArray, k: int, columns: int) -> NDArray:
    """At most k pictures in rows; mid-grey where there are fewer."""
    missing = [(0, k - len(pictures))] + [(0, 0)] * 3
    tiles = np.pad(pictures, missing, constant_values=128)
    return image.grid(list(tiles), columns, padding=1, background=128)[1:-1, 1:-1]


def _displayed(winners: Winners) -> NDArray[np.uint8]:
    """Few pixels tower above the rest; the paper enhances contrast too (spec C4)."""
    return image.to_display(winners.projections, CONTRAST)


def _grey_to_rgb(pictures: NDArray) -> NDArray:
    return pictures.repeat(3, 3) if pictures.shape[3] == 1 else pictures


def _scaled(pictures: NDArray, side: int, enlarge: bool = False) -> NDArray:
    """Pictures fitted into a square of this side, larger ones or all."""
    height, width = pictures.shape[1:3]
    factor = side / max(height, width)
    if factor == 1 or (factor > 1 and not enlarge):
        return pictures
    size = max(1, round(width * factor)), max(1, round(height * factor))
    kind = Image.Resampling.NEAREST if factor > 1 else Image.Resampling.BOX
    scaled = [np.asarray(Image.fromarray(one).resize(size, kind)) for one in pictures]
    return np.stack(scaled) if scaled else np.zeros((0, size[1], size[0], 3), np.uint8)


def _write(rows: Sequence[NDArray], folder: Path, name: str) -> Sheet:
    """Writes rows of pictures as one file: small ones as they are, others as JPEG."""
    height, width = rows[0].shape[1:3]
    tiny = max(height, width) <= TINY
    down, across = ((size if tiny else -(-size // BLOCK) * BLOCK) for size in (height, width))
    margins = [(0, 0), (0, down - height), (0, across - width), (0, 0)]
    cells = [picture for row in rows for picture in np.pad(row, margins, mode="edge")]
    picture = image.grid(cells, len(rows[0]), padding=0)
    file = f"{name}.{'png' if tiny else 'jpg'}"
    image.write_atomically(folder / file, image.encode(picture) if tiny else _jpeg(picture))
    return Sheet(file, len(rows[0]), len(rows), (down, across), (height, width))


def _jpeg(picture: NDArray) -> bytes:
    """With colours in full: halved ones would bleed into the neighbour's cell."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=QUALITY, subsampling=0)
    return buffer.getvalue()
