"""``zfkeras reproduce``: the paper's figures and tables on a net and pictures at hand."""

import enum
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from zfkeras.cli import options, telling
from zfkeras.cli.groups import Head, Loader, spread
from zfkeras.cli.quiet import load_tensorflow
from zfkeras.types import Json

if TYPE_CHECKING:
    import keras

    from zfkeras.analysis.landmarks import Landmarks
    from zfkeras.image import Pictures


class Figure(enum.StrEnum):
    """What can be reproduced."""

    fig5 = "fig5"
    fig7 = "fig7"
    fig8 = "fig8"
    table1 = "table1"


def register(app: typer.Typer) -> None:
    """Adds this module's commands to `app`."""
    app.command()(reproduce)


@dataclass(frozen=True)
class Material:
    """What a figure is made of."""

    images: list[Path] = typer.Option(
        [], callback=options.known_paths, help="Pictures or folders [default: two photographs]."
    )
    others: list[Path] = typer.Option(
        [],
        callback=options.known_paths,
        help="Of fig7: where else to project a picture's map from [default: the others].",
    )
    landmarks: Path | None = typer.Option(
        None, callback=options.known_paths, help="Of fig8, table1: JSON of pictures and parts."
    )
    layers: str = options.LAYERS
    classes: str = options.CLASSES
    patch_size: int | None = typer.Option(None, help="Occluder [default: a fifth of the picture].")
    fit: str = options.FIT
    output: Path = typer.Option(Path("reproduced"), help="Folder for pictures and arrays.")


@spread
def reproduce(
    what: Figure = typer.Argument(..., help="fig5, fig7, fig8 or table1."),
    model: str = options.MODEL,
    *,
    material: Material,
    loader: Loader,
    head: Head,
    as_json: bool = options.JSON,
) -> None:
    """Reproduce a figure or table of the paper."""
    if what in (Figure.fig8, Figure.table1) and material.landmarks is None:
        raise ValueError(
            f"{what.value} needs --landmarks: a JSON file that says where the parts are in each "
            "picture. Received: no --landmarks"
        )
    watched = options.numbers("--classes", material.classes)
    load_tensorflow()
    net = loader.load(model)
    names = head.class_names(net, model)
    job = _Job(material, net, names, watched, {"progress": not as_json, **head.asked})
    result = {"figure": what.value} | _EXPERIMENTS[what](job)
    telling.say(result, material.output / f"{what.value}.json", as_json)


@dataclass(frozen=True)
class _Job:
    """The net, what to show it, and how it is asked."""

    material: Material
    net: "keras.Model"
    names: tuple[str, ...] | None
    classes: Any
    asked: Json

    @property
    def pictures(self) -> "Pictures":
        import sklearn.datasets

        photographs = Path(sklearn.datasets.__file__).parent / "images"
        return self.gathered(self.material.images or [photographs])

    @property
    def marks(self) -> "Landmarks":
        told = self.material
        folder = told.images[0] if told.images else None
        return telling.marked(told.landmarks or Path(), self.net, folder, told.fit)

    def gathered(self, paths: list[Path]) -> "Pictures":
        return telling.gathered(paths, self.net, self.material.fit)

    def where(self, *usual: str) -> tuple[str, ...]:
        return telling.layer_names(self.net, self.material.layers, usual)


def _fig5(job: _Job) -> Json:
    from zfkeras.experiments import fig5

    layers, chosen = job.where("norm1", "fc7"), {"classes": job.classes, **job.asked}
    return fig5.run(job.net, job.pictures, job.material.output, layers, job.names, **chosen)


def _fig7(job: _Job) -> Json:
    from zfkeras.experiments import fig7

    told = job.material
    others = job.gathered(told.others) if told.others else None
    chosen = {"patch_size": told.patch_size, "classes": job.classes, "others": others}
    layer, chosen = job.where("conv5")[0], chosen | job.asked
    return fig7.run(job.net, job.pictures, told.output, layer, job.names, **chosen)


def _fig8(job: _Job) -> Json:
    from zfkeras.experiments import fig8

    told, layers = job.material, job.where("pool5", "fc7")
    chosen = {"patch_size": told.patch_size, **job.asked}
    return fig8.run(job.net, job.marks, told.output, layers, job.names, **chosen)


def _table1(job: _Job) -> Json:
    from zfkeras.experiments import table1

    told, layers = job.material, job.where("pool5", "fc7")
    chosen: Json = {"patch_size": told.patch_size, **job.asked}
    return table1.run(job.net, job.marks, told.output, layers, **chosen)


_EXPERIMENTS = {
    Figure.fig5: _fig5,
    Figure.fig7: _fig7,
    Figure.fig8: _fig8,
    Figure.table1: _table1,
}
