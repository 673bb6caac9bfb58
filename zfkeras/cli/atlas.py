"""``zfkeras atlas``: a site of what every feature map looks for (Fig. 2)."""

import json
from pathlib import Path

import typer

from zfkeras.cli import options
from zfkeras.cli.data import DATA_HELP, opened, report_skipped, warnings_as_lines
from zfkeras.cli.groups import Loader, spread
from zfkeras.cli.modules import open_rules
from zfkeras.cli.quiet import load_tensorflow
from zfkeras.cli.telling import check_layers


def register(app: typer.Typer) -> None:
    """Adds the command to `app`."""
    app.command()(atlas)


@spread
def atlas(
    model: str = typer.Argument(
        "imagenette", callback=options.known_model, help="A .keras file, or the bundled net."
    ),
    data: str = typer.Option(
        ..., callback=options.known_data, help=DATA_HELP + " Or a folder of pictures."
    ),
    output: Path = typer.Option(Path("atlas"), help="Folder of the site; holds one, it goes on."),
    layers: str = typer.Option("", help="L1,L2,… [default: every convolution]."),
    k: int = typer.Option(9, help="Units to show of each map."),
    maps: int | None = typer.Option(None, help="Show a layer's strongest [default: all]."),
    title: str = typer.Option("", help="What the site is called [default: as the net]."),
    batch_size: int = typer.Option(32, help="Pictures at a time."),
    save_every: int = typer.Option(20, help="Batches between two savings of the search."),
    arrays: bool = typer.Option(False, help="Keep patches and projections as arrays as well."),
    rule: str = options.RULE,
    rules: str = options.RULES,
    *,
    loader: Loader,
    fit: str = options.FIT,
    labels: Path | None = options.LABELS,
    as_json: bool = options.JSON,
) -> None:
    """Make a site of what every feature map looks for (Fig. 2); killed, it goes on."""
    load_tensorflow()
    from zfkeras.atlas import write_atlas

    output.mkdir(parents=True, exist_ok=True)
    net = loader.load(model)
    check_layers(net, options.names(layers))
    with warnings_as_lines():
        source = opened(data, output, net, not as_json, fit, labels)
        report_skipped([source])
        try:
            page = write_atlas(
                net,
                source,
                output,
                options.names(layers) or None,
                k,
                maps,
                title or Path(model).stem,
                batch_size=batch_size,
                save_every=save_every,
                arrays=arrays,
                progress=not as_json,
                rule=rule,
                rules=open_rules(rules),
            )
        except KeyboardInterrupt:
            typer.echo(f"Interrupted. The same command goes on from {output}.", err=True)
            raise typer.Exit(130) from None
    if as_json:
        skipped = [skip.name for skip in source.skipped]
        typer.echo(json.dumps({"page": str(page), "skipped": skipped}))
    else:
        typer.echo(f"Open {page.resolve().as_uri()} in a browser.")
