"""``zfkeras correspond``: whether a part means the same in every picture (Table 1, Fig. 8)."""

from pathlib import Path

import typer

from zfkeras.cli import options
from zfkeras.cli.groups import Head, Loader, spread
from zfkeras.cli.quiet import load_tensorflow
from zfkeras.cli.telling import layer_names, marked, say
from zfkeras.types import Json


def register(app: typer.Typer) -> None:
    """Adds the command to `app`."""
    app.command()(correspond)


@spread
def correspond(
    landmarks: Path = typer.Argument(
        ..., callback=options.known_paths, help="JSON list of pictures and their parts."
    ),
    images: Path | None = typer.Option(None, help="Folder of the pictures [default: beside it]."),
    model: str = options.MODEL,
    layers: str = options.LAYERS,
    patch_size: int | None = typer.Option(None, help="Side [default: a fifth of the picture]."),
    draws: int = typer.Option(10, help="Random parts in each picture."),
    seed: int = typer.Option(0, help="Of the random parts."),
    *,
    loader: Loader,
    head: Head,
    fit: str = options.FIT,
    output: Path = typer.Option(Path("correspondence"), help="Folder for pictures and arrays."),
    as_json: bool = options.JSON,
) -> None:
    """Hide the same part in several pictures: does it mean the same everywhere? (Table 1)."""
    load_tensorflow()
    from zfkeras.experiments import fig8, table1

    net = loader.load(model)
    marks = marked(landmarks, net, images, fit)
    names = head.class_names(net, model)
    chosen: Json = {"patch_size": patch_size, "draws": draws, "seed": seed, **head.asked}
    where = layer_names(net, layers, ("pool5", "fc7"))
    result = table1.run(net, marks, output, where, progress=not as_json, **chosen)
    result["fig8"] = fig8.run(net, marks, output, where[-1:], names, **chosen)
    say(result, output / "correspondence.json", as_json)
