"""``zfkeras reproduce``: the paper's figures and tables on a net and pictures at hand."""

import enum
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from zfkeras.cli import options, telling
from zfkeras.cli.nets import class_names, open_model
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


def reproduce(
    what: Figure = typer.Argument(..., help="fig5, fig7, fig8 or table1."),
    images: list[Path] = typer.Option(
        [], callback=options.known_paths, help="Pictures or folders [default: two photographs]."
    ),
    others: list[Path] = typer.Option(
        [],
        callback=options.known_paths,
        help="Of fig7: where else to project a picture's map from [default: the others].",
    ),
    landmarks: Path | None = typer.Option(
        None, callback=options.known_paths, help="Of fig8, table1: JSON of pictures and parts."
    ),
    model: str = options.MODEL,
    layers: str = options.LAYERS,
    classes: str = options.CLASSES,
    patch_size: int | None = typer.Option(None, help="Occluder [default: a fifth of the picture]."),
    imports: list[str] = options.IMPORT,
    image_size: str = options.IMAGE_SIZE,
    fit: str = options.FIT,
    labels: Path | None = options.LABELS,
    softmax: bool | None = options.SOFTMAX,
    sigmoid: bool = options.SIGMOID,
    output_name: str | None = options.OUTPUT_NAME,
    output: Path = typer.Option(Path("reproduced"), help="Folder for pictures and arrays."),
    as_json: bool = options.JSON,
) -> None:
    """Reproduce a figure or table of the paper."""
    if what in (Figure.fig8, Figure.table1) and landmarks is None:
        raise ValueError(
            f"{what.value} needs --landmarks: a JSON file that says where the parts are in each "
            "picture. Received: no --landmarks"
        )
    watched = options.numbers("--classes", classes)
    load_tensorflow()
    net = open_model(model, imports, image_size)
    head = options.head_options(softmax, sigmoid, output_name)
    names = class_names(net, model, labels, head)
    job = _Job(
        net,
        names,
        head,
        fit,
        images,
        others,
        landmarks,
        layers,
        watched,
        patch_size,
        output,
        progress=not as_json,
    )
    result = {"figure": what.value} | _EXPERIMENTS[what](job)
    telling.say(result, output / f"{what.value}.json", as_json)


@dataclass(frozen=True)
class _Job:
    """The command's options, read."""

    net: "keras.Model"
    names: tuple[str, ...] | None
    head: Json
    fit: str
    images: list[Path]
    others: list[Path]
    landmarks: Path | None
    layers: str
    classes: Any
    patch_size: int | None
    output: Path
    progress: bool

    @property
    def pictures(self) -> "Pictures":
        import sklearn.datasets

        photographs = Path(sklearn.datasets.__file__).parent / "images"
        return telling.gathered(self.images or [photographs], self.net, self.fit)

    @property
    def marks(self) -> "Landmarks":
        folder = self.images[0] if self.images else None
        return telling.marked(self.landmarks or Path(), self.net, folder, self.fit)

    def where(self, *usual: str) -> tuple[str, ...]:
        return telling.layer_names(self.net, self.layers, usual)


def _fig5(job: _Job) -> Json:
    from zfkeras.experiments import fig5

    layers, chosen = job.where("norm1", "fc7"), {"classes": job.classes, "progress": job.progress}
    return fig5.run(job.net, job.pictures, job.output, layers, job.names, **chosen, **job.head)


def _fig7(job: _Job) -> Json:
    from zfkeras.experiments import fig7

    chosen = {"patch_size": job.patch_size, "classes": job.classes, "progress": job.progress}
    layer = job.where("conv5")[0]
    others = telling.gathered(job.others, job.net, job.fit) if job.others else None
    pictures, chosen = job.pictures, chosen | {"others": others} | job.head
    return fig7.run(job.net, pictures, job.output, layer, job.names, **chosen)


def _fig8(job: _Job) -> Json:
    from zfkeras.experiments import fig8

    chosen = {"patch_size": job.patch_size, "progress": job.progress}
    layers, chosen = job.where("pool5", "fc7"), chosen | job.head
    return fig8.run(job.net, job.marks, job.output, layers, job.names, **chosen)


def _table1(job: _Job) -> Json:
    from zfkeras.experiments import table1

    chosen: Json = {"patch_size": job.patch_size, "progress": job.progress}
    return table1.run(
        job.net, job.marks, job.output, job.where("pool5", "fc7"), **chosen, **job.head
    )


_EXPERIMENTS = {
    Figure.fig5: _fig5,
    Figure.fig7: _fig7,
    Figure.fig8: _fig8,
    Figure.table1: _table1,
}
