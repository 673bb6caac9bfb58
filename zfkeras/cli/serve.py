"""``zfkeras serve``: TensorFlow Serving's REST API and flags, on this machine."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from zfkeras.cli.quiet import load_tensorflow

if TYPE_CHECKING:
    from zfkeras.server import ModelConfig


def register(app: typer.Typer) -> None:
    """Adds the command to `app`."""
    app.command()(serve)


def serve(
    model_base_path: Path | None = typer.Option(
        None, "--model_base_path", help="Directory that holds one directory per version."
    ),
    model_name: str = typer.Option("default", "--model_name", help="The model's name in URLs."),
    model_config_file: Path | None = typer.Option(
        None, "--model_config_file", help="A models.config, instead of the two above."
    ),
    rest_api_port: int = typer.Option(8501, "--rest_api_port", help="Port; 0 takes a free one."),
    host: str = typer.Option("127.0.0.1", "--host", help="Address; 0.0.0.0 for all of them."),
    file_system_poll_wait_seconds: float = typer.Option(
        1.0, "--file_system_poll_wait_seconds", help="How often to look for new versions."
    ),
) -> None:
    """Serve exported models: TensorFlow Serving's REST API and flags, on this machine."""
    if (model_base_path is None) == (model_config_file is None):
        raise ValueError(
            "What to serve is said by either --model_base_path or --model_config_file. Received: "
            f"model_base_path={model_base_path}, model_config_file={model_config_file}"
        )
    load_tensorflow()
    from zfkeras.server import ModelConfig, Server, read_config

    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.INFO)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    if model_base_path is not None:
        configs = [ModelConfig(model_name, model_base_path.absolute())]
    else:
        configs = read_config(model_config_file)  # type: ignore[arg-type]
    server = Server(configs, host, rest_api_port, file_system_poll_wait_seconds)
    typer.echo(_greeting(configs, server.url))
    server.run()


def _greeting(configs: "list[ModelConfig]", url: str) -> str:
    lines = [f"{config.name}: {url}/v1/models/{config.name}" for config in configs]
    waiting = [c.base_path for c in configs if not c.base_path.is_dir()]
    lines += [f"There is no {path} yet; it is watched." for path in waiting]
    return "\n".join([*lines, f"Models and signatures: {url}/  Ctrl-C stops."])
