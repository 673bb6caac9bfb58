"""``zfkeras serve``: export, serve and query."""

import typer


def register(app: typer.Typer) -> None:
    """Adds this module's commands to `app`."""
