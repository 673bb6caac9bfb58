"""``zfkeras demo``: the whole job on one machine."""

import typer


def register(app: typer.Typer) -> None:
    """Adds this module's commands to `app`."""
