"""``zfkeras check``: what the deconvnet will meet in a model."""

import json

import typer

from zfkeras.cli import options
from zfkeras.cli.groups import Loader, spread
from zfkeras.cli.modules import open_rules
from zfkeras.cli.quiet import load_tensorflow


def register(app: typer.Typer) -> None:
    """Adds the command to `app`."""
    app.command()(check)


@spread
def check(
    model: str = typer.Argument(
        "imagenette", callback=options.known_model, help=options.MODEL.help
    ),
    rules: str = options.RULES,
    *,
    loader: Loader,
    as_json: bool = options.JSON,
) -> None:
    """Tell what the deconvnet will meet in a model; exit code 1 if something can't be projected."""
    load_tensorflow()
    from zfkeras.analysis.model_check import check_model

    found = check_model(loader.load(model), open_rules(rules))
    typer.echo(json.dumps(found.to_dict(), indent=2) if as_json else str(found))
    raise typer.Exit(0 if found.ok else 1)
