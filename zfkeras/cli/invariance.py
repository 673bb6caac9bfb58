"""``zfkeras invariance``: how far features move with the picture (Fig. 5)."""

from pathlib import Path

import typer

from zfkeras.cli import options
from zfkeras.cli.groups import Head, Loader, spread
from zfkeras.cli.quiet import load_tensorflow
from zfkeras.cli.telling import gathered, layer_names, say


def register(app: typer.Typer) -> None:
    """Adds the command to `app`."""
    app.command()(invariance)


@spread
def invariance(
    images: list[Path] = options.IMAGES,
    model: str = options.MODEL,
    layers: str = options.LAYERS,
    kinds: str = typer.Option("", help="vertical,horizontal,scale,rotation [default: all]."),
    classes: str = options.CLASSES,
    *,
    loader: Loader,
    head: Head,
    fit: str = options.FIT,
    output: Path = typer.Option(Path("invariance"), help="Folder for pictures and arrays."),
    as_json: bool = options.JSON,
) -> None:
    """Move, enlarge and turn pictures; watch layers and answer (Fig. 5)."""
    load_tensorflow()
    from zfkeras.analysis.invariance import PAPER
    from zfkeras.experiments import fig5

    net = loader.load(model)
    wanted = options.names(kinds) if kinds else list(PAPER)
    result = fig5.run(
        net,
        gathered(images, net, fit),
        output,
        layer_names(net, layers, ("norm1", "fc7")),
        head.class_names(net, model),
        progress=not as_json,
        classes=options.numbers("--classes", classes),
        transforms={kind: PAPER.get(kind, ()) for kind in wanted},
        **head.asked,
    )
    say(result, output / "invariance.json", as_json)
