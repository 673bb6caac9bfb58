"""The whole atlas: search, projections, pictures, tables, page."""

import json
import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import keras
import numpy as np
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
    arrays: bool = True,
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
        arrays: Whether winners/*.npz hold patches and projections too, not just boxes and values.
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
    job = _Job(
        DeconvNet(model, rule=rule, rules=rules), row, root, 4 * math.prod(size), arrays, progress
    )
    told: list[Json] = []
    seen: dict[int, list[str]] = {}
    for number, (layer, top) in enumerate(results.items()):
        stem, shape = site.place(number, layer), graph.shapes[graph.find(layer)][1:-1]
        drawn = job.layer(top, _shown(top, maps), stem)
        field, why = field_or_reason(model, layer)
        if field is not None and shape and (why := job.deconv.why_whole(layer)):
            field = None
        facts = site.about(top, shape, field, why, drawn)
        told.append(facts | {"data": site.write_layer(root, stem, top, drawn)})
        seen |= site.pictures(top, drawn)
    return site.write_index(root, title or model.name, results, told, seen, size[:2])


def _shown(top: TopActivations, maps: int | None) -> list[int]:
    """The maps to show, by number: all, or the strongest."""
    return sorted(np.argsort(-top.values[:, 0], kind="stable")[:maps].tolist())


@dataclass(frozen=True)
class _Job:
    """Projects and draws, but for what is there already."""

    deconv: DeconvNet
    row: Stream
    root: Path
    image_bytes: int
    arrays: bool
    progress: bool

    def layer(self, top: TopActivations, maps: list[int], stem: str) -> list[DrawnMap]:
        """All maps of a layer that are shown."""
        total = 2 * len(projecting.winning(top, maps))  # each is projected, then drawn
        drawn: list[DrawnMap] = []
        with tqdm(
            desc=f"drawing {top.layer}", total=total, unit="picture", disable=not self.progress
        ) as bar:
            for number, part in enumerate(projecting.parts(top, maps, self.image_bytes)):
                drawn += self._part(top, part, f"{stem}-{number:03d}", stem, bar)
        return drawn

    def _part(
        self, top: TopActivations, maps: list[int], name: str, stem: str, bar: tqdm
    ) -> list[DrawnMap]:
        """Some maps; a note, written last, says that they are done, and what they were."""
        note, kept = (self.root / f"winners/{name}{suffix}" for suffix in (".json", ".npz"))
        origin = projecting.origin(self.deconv, top, maps)
        drawn = _noted(note, origin, self.arrays)
        if drawn is not None:
            bar.update(2 * sum(len(one.boxes) for one in drawn))
            return drawn
        winners = _kept(kept, origin)
        if winners is None:
            winners = self._projected(top, maps, bar)
        else:
            bar.update(len(winners.units))
        drawn = sheets.draw(winners, self.root, f"sheets/{stem}", top.values.shape[1])
        bare = replace(winners, patches=None, projections=None)
        (winners if self.arrays else bare).save(kept)
        facts = _facts(origin, self.arrays) | {"drawn": [asdict(one) for one in drawn]}
        write_atomically(note, json.dumps(facts).encode())
        bar.update(len(winners.units))
        return drawn

    def _projected(self, top: TopActivations, maps: list[int], bar: tqdm) -> Winners:
        """The winners of some maps; their images go to the site."""
        winners, images = projecting.project(self.deconv, self.row, top, maps, bar.update)
        for key, picture in images.items():
            path = self.root / site.picture_file(key)
            image.save(path, projecting.to_bytes(picture))
        return winners


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
