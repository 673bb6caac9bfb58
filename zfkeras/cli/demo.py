"""``zfkeras demo``: the whole job on one machine."""

from pathlib import Path

import typer

from zfkeras.cli.quiet import load_tensorflow


def register(app: typer.Typer) -> None:
    """Adds this module's commands to `app`."""
    app.command()(demo)


def demo(
    output: Path = typer.Option(Path("zfkeras-demo"), help="Folder for everything it makes."),
    serve: bool = typer.Option(True, help="Also export the net, serve it and ask it over HTTP."),
    model: str = typer.Option("imagenette", help="The net that looks at photographs."),
    epochs: int = typer.Option(8, help="Times through the generated images."),
) -> None:
    """Train, look, occlude and serve, offline, in a few minutes; ends with a web page."""
    load_tensorflow()
    from zfkeras.demo import Budget, run

    try:
        page = run(output, Budget(model=model, epochs=epochs), serving=serve, say=typer.echo)
    except KeyboardInterrupt:
        typer.echo(f"\nInterrupted. What was done so far is in {output}.", err=True)
        raise typer.Exit(130) from None
    typer.echo(f"\nOpen {page.resolve().as_uri()} in a browser.")
    typer.echo(f"The pictures are in {output / 'pictures'}.")
