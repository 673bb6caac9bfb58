"""``zfkeras export``: a net as the next version of a served model."""

import json
from pathlib import Path

import typer

from zfkeras.cli import options
from zfkeras.cli.data import warnings_as_lines
from zfkeras.cli.groups import Head, Loader, spread
from zfkeras.cli.modules import open_rules
from zfkeras.cli.quiet import load_tensorflow


def register(app: typer.Typer) -> None:
    """Adds the command to `app`."""
    app.command()(export)


@spread
def export(
    model: str = typer.Argument(
        callback=options.known_model, help="A .keras file, or a bundled net: imagenette."
    ),
    directory: Path = typer.Argument(help="Holds one directory per version; made if need be."),
    layer: list[str] = typer.Option(
        [], help="Layer that deconv offers; repeatable [default: all convolutions]."
    ),
    occlusion_strides: int | None = typer.Option(
        None, help="Pixels between the occluder's places [default: a grid of about 14 x 14]."
    ),
    occlusion_layer: str | None = typer.Option(
        None, help="Layer whose strongest map occlusion watches [default: the last of the above]."
    ),
    top: int = typer.Option(5, help="How many classes classify names."),
    *,
    loader: Loader,
    head: Head,
    rule: str = options.RULE,
    rules: str = options.RULES,
    fit: str = options.FIT,
    as_json: bool = options.JSON,
) -> None:
    """Export a net as the next version of a served model."""
    load_tensorflow()
    from zfkeras.models.loading import load_class_names
    from zfkeras.saved_model import export as export_model

    with warnings_as_lines():
        version = export_model(
            loader.load(model),
            directory,
            class_names=load_class_names(model, head.labels),
            layers=layer or None,
            occlusion_strides=occlusion_strides,
            occlusion_layer=occlusion_layer,
            top=top,
            rule=rule,
            rules=open_rules(rules),
            fit=fit,
            **head.asked,
        )
    if as_json:
        typer.echo(json.dumps({"version": int(version.name), "path": str(version)}))
        return
    typer.echo(f"Version {version.name} is in {version}. To serve it:")
    path, name = directory.resolve(), directory.resolve().name
    typer.echo(f"zfkeras serve --model_base_path {path} --model_name {name}")
