"""Sheets of pictures: many in one file, so that a page of a thousand maps opens at once.

Every picture lies in the corner of a cell; cells of JPEG files are multiples of its blocks, so that
neighbours don't bleed into one another.
"""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from zfkeras import image
from zfkeras.atlas.projecting import Winners
from zfkeras.files import write_atomically
from zfkeras.types import Json

STYLE = 4  # to be raised with any change of what is drawn: finished atlases draw themselves anew
LARGEST = 160  # side of a picture on the page of its map
TINY = 32  # pictures up to this side are shown pixel by pixel
SPARED = 0.05  # share of its signal that a map's mosaic may leave out
BLOCK, QUALITY = 8, 88  # of JPEG
MOSAIC = 128  # side of a map's nine pictures on the page of its layer
MAPS_A_SHEET = 32
COMMON = 8  # maps, at least, whose colour can be called common


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
    def from_json(cls, facts: Json) -> "DrawnMap":
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
    pictures = _Pictures.of(winners)
    sheets = _draw_sheets(pictures, folder, place)
    mosaics = _draw_mosaics(pictures, winners.maps.tolist(), folder, place, k)
    return [
        DrawnMap(
            channel,
            winners.boxes[winners.units[:, 0] == channel].tolist(),
            sheets.get(channel),
            *mosaics[channel],
        )
        for channel in winners.maps.tolist()
    ]


@dataclass(frozen=True)
class _Pictures:
    """What there is to draw of U units: their maps, patches, projections, and these as shown.

    `cast` is the mean colour that all projections have in common, relative to their magnitude.
    """

    maps: NDArray[np.int64]
    patches: NDArray[np.uint8]
    projections: NDArray[np.float16]
    shown: NDArray[np.uint8]
    cast: NDArray[np.float32]

    @classmethod
    def of(cls, winners: Winners) -> "_Pictures":
        if winners.patches is None or winners.projections is None:
            raise ValueError(
                "Only winners that were kept with their patches and projections can be drawn. "
                f"Received: winners of layer '{winners.layer}' without"
            )
        # Few pixels tower above the rest; the paper enhances contrast too.
        shown = _grey_to_rgb(image.to_display(winners.projections, image.CONTRAST))
        patches = _grey_to_rgb(winners.patches)
        cast = _cast(winners.projections, len(np.unique(winners.units[:, 0])))
        return cls(winners.units[:, 0], patches, winners.projections, shown, cast)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.patches.shape[1], self.patches.shape[2]


def _cast(projections: NDArray, maps: int) -> NDArray[np.float32]:
    """The mean colour of all maps, for each unit of magnitude; black where they are too few.

    Shrinking averages the checkerboard of deep layers to one tint, which would drown all form.
    What every map has tells nothing of any; what only some have stays, as the colours of a first
    layer's filters do.
    """
    if maps < COMMON:
        return np.zeros(projections.shape[3], np.float32)
    total, magnitude = np.zeros(projections.shape[3], np.float64), np.finfo(np.float32).tiny
    for one in projections:  # not at once: it would be twice as large, and out of the cache
        signal = one.astype(np.float32)
        total += signal.sum((0, 1))
        magnitude += float(np.abs(signal, out=signal).sum()) / len(total)
    return (total / magnitude).astype(np.float32)


def _draw_sheets(pictures: _Pictures, folder: Path, place: str) -> dict[int, Sheet]:
    """A sheet for each map that fires: patches above, projections below, the strongest first."""
    size = _fitted(pictures.size, LARGEST)
    rows = [_scaled(row, size) for row in (pictures.patches, pictures.shown)]
    return {
        channel: _write(
            [row[pictures.maps == channel] for row in rows], folder, f"{place}/{channel:04d}"
        )
        for channel in np.unique(pictures.maps).tolist()
    }


def _draw_mosaics(
    pictures: _Pictures, maps: list[int], folder: Path, place: str, k: int
) -> dict[int, tuple[Sheet, int]]:
    """Sheets of small mosaics, a column for each map: its patches, its projections below."""
    columns = math.ceil(math.sqrt(k))
    side = (MOSAIC + 1) // columns - 1
    drawn: dict[int, tuple[Sheet, int]] = {}
    for first in range(0, len(maps), MAPS_A_SHEET):
        some = maps[first : first + MAPS_A_SHEET]
        pairs = [_close_up(pictures, channel, side) for channel in some]
        rows = [np.stack([_mosaic(pair[i], k, columns) for pair in pairs]) for i in (0, 1)]
        sheet = _write(rows, folder, f"{place}/mosaics-{some[0]:04d}")
        drawn |= {channel: (sheet, column) for column, channel in enumerate(some)}
    return drawn


def _close_up(pictures: _Pictures, channel: int, side: int) -> tuple[NDArray, NDArray]:
    """A map's patches and projections where the signal reaches, small.

    What a unit can see is far more than what moves it, and would be lost in a small picture.
    """
    chosen = pictures.maps == channel
    size = _fitted(pictures.size, side, enlarge=True)
    signal = pictures.projections[chosen].astype(np.float32)
    rows, columns = _where(signal)
    signal = signal[:, rows, columns]
    signal -= pictures.cast * np.abs(signal).mean(3, keepdims=True)
    shown = image.to_display(_smoothly(signal, size), image.CONTRAST)
    return _scaled(pictures.patches[chosen][:, rows, columns], size), _grey_to_rgb(shown)


def _where(projections: NDArray) -> tuple[slice, slice]:
    """The rows and columns around the centre that hold nearly all of a map's signal."""
    height, width = projections.shape[1:3]
    signal = np.abs(projections).sum((0, 3))
    rows, columns = (np.minimum(np.arange(n), np.arange(n)[::-1]) / n for n in (height, width))
    rings = np.floor(np.minimum(rows[:, None], columns) * min(height, width)).astype(int)
    outside = np.cumsum(np.bincount(rings.ravel(), signal.ravel()))
    margin = np.searchsorted(outside, SPARED * outside[-1]) / min(height, width)
    down, across = round(margin * height), round(margin * width)
    return slice(down, height - down), slice(across, width - across)


def _mosaic(pictures: NDArray, k: int, columns: int) -> NDArray:
    """At most k pictures in rows; mid-grey where there are fewer."""
    missing = [(0, k - len(pictures))] + [(0, 0)] * 3
    tiles = np.pad(pictures, missing, constant_values=128)
    return image.grid(list(tiles), columns, padding=1, background=128)[1:-1, 1:-1]


def _grey_to_rgb(pictures: NDArray) -> NDArray:
    return pictures.repeat(3, 3) if pictures.shape[3] == 1 else pictures


def _fitted(size: Sequence[int], side: int, enlarge: bool = False) -> tuple[int, int]:
    """(height, width) fitted into a square of this side, if larger or if asked."""
    factor = side / max(size)
    if factor > 1 and not enlarge:
        return size[0], size[1]
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def _scaled(pictures: NDArray, size: tuple[int, int]) -> NDArray:
    """Pictures in another (height, width)."""
    if pictures.shape[1:3] == size:
        return pictures
    larger = size[0] > pictures.shape[1]
    kind = Image.Resampling.NEAREST if larger else Image.Resampling.BOX
    scaled = [np.asarray(Image.fromarray(one).resize(size[::-1], kind)) for one in pictures]
    return np.stack(scaled) if scaled else np.zeros((0, *size, 3), np.uint8)


def _smoothly(pictures: NDArray, size: tuple[int, int]) -> NDArray[np.float32]:
    """Signed float pictures in another (height, width), without aliases."""
    kind = Image.Resampling.NEAREST if size[0] > pictures.shape[1] else Image.Resampling.LANCZOS
    planes = np.moveaxis(pictures, 3, 1).reshape(-1, *pictures.shape[1:3])
    scaled = [np.asarray(Image.fromarray(plane).resize(size[::-1], kind)) for plane in planes]
    stacked = np.reshape(scaled, (len(pictures), pictures.shape[3], *size))
    return np.moveaxis(stacked, 1, 3).astype(np.float32)


def _write(rows: Sequence[NDArray], folder: Path, name: str) -> Sheet:
    """Writes rows of pictures as one file: small ones as they are, others as JPEG."""
    height, width = rows[0].shape[1:3]
    tiny = max(height, width) <= TINY
    down, across = ((size if tiny else -(-size // BLOCK) * BLOCK) for size in (height, width))
    margins = [(0, 0), (0, down - height), (0, across - width), (0, 0)]
    cells = [picture for row in rows for picture in np.pad(row, margins, mode="edge")]
    picture = image.grid(cells, len(rows[0]), padding=0)
    file = f"{name}.{'png' if tiny else 'jpg'}"
    write_atomically(folder / file, image.encode(picture) if tiny else _jpeg(picture))
    return Sheet(file, len(rows[0]), len(rows), (down, across), (height, width))


def _jpeg(picture: NDArray) -> bytes:
    """With colours in full: halved ones would bleed into the neighbour's cell."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=QUALITY, subsampling=0)
    return buffer.getvalue()
