"""The command line: one module a command, all thin shells over the library."""

import sys

import typer

from zfkeras.cli import (
    atlas,
    check,
    compare,
    correspond,
    demo,
    evaluate,
    evolution,
    export,
    filters,
    invariance,
    occlude,
    project,
    query,
    reproduce,
    serve,
    top,
    train,
)
from zfkeras.version import __version__

app = typer.Typer(
    name="zfkeras",
    help="See what a Keras convnet has learned: train, project, occlude, export, serve.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for group in (
    demo,
    train,
    evaluate,
    project,
    occlude,
    top,
    atlas,
    filters,
    evolution,
    invariance,
    correspond,
    check,
    compare,
    reproduce,
    export,
    serve,
    query,
):
    group.register(app)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"zfkeras {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version and exit."
    ),
) -> None:
    """See what a Keras convnet has learned: train, project, occlude, export, serve."""


def main() -> None:
    """Runs the command line; bad input is one line on stderr and exit code 2."""
    try:
        app()
    except (ValueError, TypeError, OSError, ImportError) as error:
        typer.echo(f"zfkeras: {error}", err=True)
        sys.exit(2)
