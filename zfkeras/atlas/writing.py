"""The whole atlas: search, projections, pictures, tables, page."""

import json
import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from zfkeras import image
from zfkeras.analysis.top_activations import top_activations
from zfkeras.analysis.top_index import write_maps, write_units
from zfkeras.analysis.top_result import TopActivations
from zfkeras.atlas import projecting, sheets, site
from zfkeras.atlas.projecting import Winners
from zfkeras.atlas.sheets import DrawnMap
from zfkeras.data.inputs import picture_shape
from zfkeras.data.stream import Dataset, Stream, stream
from zfkeras.deconvnet.net import DeconvNet
from zfkeras.deconvnet.rules import Rules
from zfkeras.files import write_atomically
from zfkeras.graph.receptive_fields import field_or_reason
from zfkeras.graph.walking import walk
from zfkeras.types import Json
from zfkeras.validate import whole_number


def write_atlas(
    model: keras.Model,
    dataset: Dataset,
    folder: str | os.PathLike[str],
    layers: Sequence[str] | None = None,
    k: int = 9,
    maps: int | None = None,
    title: str | None = None,
    batch_size: int = 32,
    save_every: int = 20,
    arrays: bool = False,
    progress: bool = False,
    rule: str = "deconvnet",
    rules: Rules | None = None,
) -> Path:
    """Writes a site of what the feature maps of a net look for, and the numbers behind it.

    The strongest units of every map over a data set, one per image, are projected to the pixels
    and shown beside the patches they see (Fig. 2). The site needs no server and no network:
    `index.html` opens from the disk. A call that was killed goes on when repeated, and ends with
    the same bytes; what is finished is not computed again.

    The folder holds index.html with data, sheets and images, and for going on in a notebook
    top.npz (`load_results`), units.csv, maps.csv and winners/*.npz (`Winners.load`).

    Args:
        model: Functional or Sequential Keras model of one image input, pixels 0..255.
        dataset: Images, as for `top_activations`.
        folder: Where to write; made if it does not exist.
        layers: Names of layers with feature maps; None for all convolutions.
        k: Units to show of each map.
        maps: How many maps to show of each layer, those of the strongest activations; None for
            all. The search is of all of them anyway.
        title: What the site is called; default: the model's name.
        batch_size: Images at a time.
        save_every: Batches between two savings of the search.
        arrays: Whether winners/*.npz hold patches and projections too, not just boxes and values;
            the disk space is some nine times as large.
        progress: Whether to show progress bars.
        rule: Of `DeconvNet`, as `rules`.
        rules: Your own reverse rules.

    Returns:
        The path of index.html.

    Raises:
        ValueError: As `top_activations`; `maps` below 1; images of neither 1 nor 3 channels; a
            folder that holds the atlas of another search.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> pixels = keras.Input((12, 10, 3))
        >>> conv = keras.layers.Conv2D(4, 3, activation="relu", name="conv1")(pixels)
        >>> photos = np.random.default_rng(0).integers(0, 256, (20, 12, 10, 3)).astype("uint8")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     page = write_atlas(keras.Model(pixels, conv), photos, folder, k=4)
        ...     page.name, sorted(path.name for path in page.parent.glob("*.*"))
        ('index.html', ['index.html', 'maps.csv', 'top.npz', 'units.csv'])
    """
    graph, root = walk(model), Path(folder)
    size = picture_shape(model)
    maps = None if maps is None else whole_number("maps", maps)
    root.mkdir(parents=True, exist_ok=True)
    row = stream(dataset, size, progress=progress)
    results = top_activations(
        model,
        row,
        layers,
        k,
        batch_size,
        path=root / "top.npz",
        save_every=save_every,
        progress=progress,
    )
    write_units(results, root / "units.csv")
    write_maps(results, root / "maps.csv")
    job = _Job(DeconvNet(model, rule=rule, rules=rules), row, root, arrays)
    places = {layer: site.place(number, layer) for number, layer in enumerate(results)}
    shown = {layer: _shown(top, maps) for layer, top in results.items()}
    drawn = job.draw(
        [
            _Part(top, some, f"{places[layer]}-{number:03d}", places[layer])
            for layer, top in results.items()
            for number, some in enumerate(projecting.parts(top, shown[layer], 4 * math.prod(size)))
        ],
        progress,
    )
    told: list[Json] = []
    seen: dict[int, list[str]] = {}
    for layer, top in results.items():
        shape = graph.shapes[graph.find(layer)][1:-1]
        field, why = field_or_reason(model, layer)
        if field is not None and shape and (why := job.deconv.why_whole(layer)):
            field = None
        facts = site.about(top, shape, field, why, drawn[layer])
        told.append(facts | {"data": site.write_layer(root, places[layer], top, drawn[layer])})
        seen |= site.pictures(top, drawn[layer])
    return site.write_index(root, title or model.name, results, told, seen, size[:2])


def _shown(top: TopActivations, maps: int | None) -> list[int]:
    """The maps to show, by number: all, or the strongest."""
    return sorted(np.argsort(-top.values[:, 0], kind="stable")[:maps].tolist())


@dataclass(frozen=True)
class _Part:
    """Some maps of a layer: what was found in it, their numbers, the part's name, the layer's."""

    top: TopActivations
    maps: list[int]
    name: str
    stem: str

    @property
    def units(self) -> int:
        return len(projecting.winning(self.top, self.maps))


class _Job:
    """Projects and draws, but for what is there already."""

    def __init__(self, deconv: DeconvNet, row: Stream, root: Path, arrays: bool) -> None:
        self.deconv, self._root, self._arrays = deconv, root, arrays
        self._photographs = projecting.Photographs(row, self._save)
        self._saved: set[int] = set()

    def draw(self, parts: list[_Part], progress: bool) -> dict[str, list[DrawnMap]]:
        """Each part is drawn while the next is projected; the maps by layer."""
        drawn: dict[str, list[DrawnMap]] = {part.top.layer: [] for part in parts}
        total = 2 * sum(part.units for part in parts)  # each is projected, then drawn
        bar = tqdm(desc="drawing", total=total, unit="picture", disable=not progress)

        def finish(part: _Part, drawing: Future[list[DrawnMap]]) -> None:
            drawn[part.top.layer] += drawing.result()
            bar.update(part.units)

        with bar, ThreadPoolExecutor(1) as pool:
            before: tuple[_Part, Future[list[DrawnMap]]] | None = None
            for part in parts:
                bar.set_postfix_str(part.top.layer)
                draw = self._projected(part, bar.update)
                if before is not None:
                    finish(*before)
                before = part, pool.submit(draw)
            if before is not None:
                finish(*before)
        return drawn

    def _projected(self, part: _Part, done: Callable[[int], Any]) -> Callable[[], list[DrawnMap]]:
        """Projects a part unless it is there; what is returned draws it."""
        note, kept = (self._root / f"winners/{part.name}{end}" for end in (".json", ".npz"))
        origin = projecting.origin(self.deconv, part.top, part.maps)
        drawn = _noted(note, origin, self._arrays)
        if drawn is not None:
            done(part.units)
            return lambda: drawn
        winners = _kept(kept, origin)
        if winners is None:
            winners = projecting.project(self.deconv, self._photographs, part.top, part.maps, done)
        else:
            done(part.units)
        return lambda: self._drawn(part, winners, note, kept)

    def _drawn(self, part: _Part, winners: Winners, note: Path, kept: Path) -> list[DrawnMap]:
        """Draws a part; a note, written last, says that it is done, and what it was."""
        drawn = sheets.draw(winners, self._root, f"sheets/{part.stem}", part.top.values.shape[1])
        bare = replace(winners, patches=None, projections=None)
        (winners if self._arrays else bare).save(kept)
        facts = _facts(winners.origin, self._arrays) | {"drawn": [asdict(one) for one in drawn]}
        write_atomically(note, json.dumps(facts).encode())
        return drawn

    def _save(self, key: int, picture: NDArray) -> None:
        """Writes a picture of the data set, once."""
        if key not in self._saved:
            image.save(self._root / site.picture_file(key), projecting.to_bytes(picture))
            self._saved.add(key)


def _facts(origin: str, arrays: bool) -> Json:
    return {"origin": origin, "arrays": arrays, "style": sheets.STYLE}


def _noted(note: Path, origin: str, arrays: bool) -> list[DrawnMap] | None:
    """What was drawn, if it was of this origin and style."""
    facts = json.loads(note.read_text()) if note.exists() else {}
    if not _facts(origin, arrays).items() <= facts.items():
        return None
    return [DrawnMap.from_json(one) for one in facts["drawn"]]


def _kept(path: Path, origin: str) -> Winners | None:
    """Winners that were projected before, if they are of this origin and with their pictures."""
    winners = Winners.load(path) if path.exists() else None
    if winners is None or winners.origin != origin or winners.projections is None:
        return None
    return winners
