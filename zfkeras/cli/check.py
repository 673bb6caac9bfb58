"""``zfkeras check``: what the deconvnet will meet in a model."""

import json

import typer

from zfkeras.cli import options
from zfkeras.cli.nets import open_model, open_rules
from zfkeras.cli.quiet import load_tensorflow


def register(app: typer.Typer) -> None:
    """Adds the command to `app`."""
    app.command()(check)


def check(
    model: str = typer.Argument(
        "imagenette", callback=options.known_model, help=options.MODEL.help
    ),
    rules: str = options.RULES,
    imports: list[str] = options.IMPORT,
    image_size: str = options.IMAGE_SIZE,
    as_json: bool = options.JSON,
) -> None:
    """Tell what the deconvnet will meet in a model; exit code 1 if something can't be projected."""
    load_tensorflow()
    from zfkeras.analysis.model_check import check_model

    found = check_model(open_model(model, imports, image_size), open_rules(rules))
    typer.echo(json.dumps(found.to_dict(), indent=2) if as_json else str(found))
    raise typer.Exit(0 if found.ok else 1)
