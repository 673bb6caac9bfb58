"""``zfkeras serve``: TensorFlow Serving's REST API and flags, on this machine."""

import logging
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from zfkeras.cli.groups import spread
from zfkeras.cli.quiet import load_tensorflow

if TYPE_CHECKING:
    from zfkeras.server import Limits, ModelConfig


def register(app: typer.Typer) -> None:
    """Adds the command to `app`."""
    app.command()(serve)


@dataclass(frozen=True)
class Bounds:
    """What the server bears, and who may ask."""

    rest_api_timeout_in_ms: int = typer.Option(
        30000, "--rest_api_timeout_in_ms", min=1, help="Time for a request; then 504."
    )
    rest_api_num_threads: int | None = typer.Option(
        None, "--rest_api_num_threads", min=1, help="Threads for light requests of a model."
    )
    rest_api_enable_cors_support: str = typer.Option(
        "false",
        "--rest_api_enable_cors_support",
        metavar="BOOLEAN",
        help="Pages of every origin may ask.",
    )
    monitoring_config_file: Path | None = typer.Option(
        None, "--monitoring_config_file", help="Turns on metrics for Prometheus."
    )
    max_body_mb: int = typer.Option(64, "--max_body_mb", min=1, help="Largest body of a request.")
    max_queue: int = typer.Option(
        128, "--max_queue", min=1, help="How many requests of a model may wait; then 503."
    )
    grace_seconds: float = typer.Option(
        10.0, "--grace_seconds", min=0.1, help="Time for requests under way when it is stopped."
    )

    def limits(self) -> "Limits":
        """What the server bears."""
        from zfkeras.server import Limits

        threads = {"threads": self.rest_api_num_threads} if self.rest_api_num_threads else {}
        return Limits(
            timeout=self.rest_api_timeout_in_ms / 1000,
            body=self.max_body_mb << 20,
            bodies=max(4 * self.max_body_mb, 256) << 20,
            queue=self.max_queue,
            grace=self.grace_seconds,
            **threads,
        )

    def cors(self) -> bool:
        """Whether pages of every origin may ask."""
        return _truth("rest_api_enable_cors_support", self.rest_api_enable_cors_support)

    def metrics_path(self) -> str | None:
        """Where Prometheus finds metrics."""
        from zfkeras.server import read_monitoring

        file = self.monitoring_config_file
        return None if file is None else read_monitoring(file)


@dataclass(frozen=True)
class Refused:
    """Flags of TensorFlow Serving that can't be honoured."""

    port: int = typer.Option(0, "--port", help="Of gRPC, which this server has not: 0.")
    enable_batching: str = typer.Option(
        "false",
        "--enable_batching",
        metavar="BOOLEAN",
        help="This server does not batch: false.",
    )
    batching_parameters_file: Path | None = typer.Option(
        None, "--batching_parameters_file", help="This server does not batch."
    )

    def check(self) -> None:
        """Says so, if they are given."""
        if self.port:
            raise ValueError(
                "`zfkeras serve` answers REST only, so --port must be left out or 0; TensorFlow "
                f"Serving has gRPC. Received: port={self.port}"
            )
        if _truth("enable_batching", self.enable_batching) or self.batching_parameters_file:
            raise ValueError(
                "`zfkeras serve` does not batch: each request is answered by itself, so "
                "--enable_batching must be false and --batching_parameters_file be left out. "
                f"Received: enable_batching={self.enable_batching}, "
                f"batching_parameters_file={self.batching_parameters_file}"
            )


def _truth(name: str, text: str) -> bool:
    values = {"true": True, "1": True, "false": False, "0": False}
    if text.lower() not in values:
        raise ValueError(f"--{name} must be true or false. Received: {name}={text!r}")
    return values[text.lower()]


@spread
def serve(
    *,
    model_base_path: Path | None = typer.Option(
        None, "--model_base_path", help="Directory that holds one directory per version."
    ),
    model_name: str = typer.Option("default", "--model_name", help="The model's name in URLs."),
    model_config_file: Path | None = typer.Option(
        None, "--model_config_file", help="A models.config, instead of the two above."
    ),
    rest_api_port: int = typer.Option(
        8501, "--rest_api_port", min=0, max=65535, help="Port; 0 takes a free one."
    ),
    host: str = typer.Option("127.0.0.1", "--host", help="Address; 0.0.0.0 for all of them."),
    file_system_poll_wait_seconds: float = typer.Option(
        1.0, "--file_system_poll_wait_seconds", help="How often to look for new versions."
    ),
    bounds: Bounds,
    refused: Refused,
) -> None:
    """Serve exported models: TensorFlow Serving's REST API and flags, on this machine."""
    if (model_base_path is None) == (model_config_file is None):
        raise ValueError(
            "What to serve is said by either --model_base_path or --model_config_file. Received: "
            f"model_base_path={model_base_path}, model_config_file={model_config_file}"
        )
    refused.check()
    load_tensorflow()
    from zfkeras.server import ModelConfig, Server, read_config

    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.INFO)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    if model_base_path is not None:
        configs = [ModelConfig(model_name, model_base_path.absolute())]
    else:
        configs = read_config(model_config_file)  # type: ignore[arg-type]
    server = Server(
        configs,
        host,
        rest_api_port,
        file_system_poll_wait_seconds,
        bounds.limits(),
        bounds.cors(),
        bounds.metrics_path(),
    )
    typer.echo(_greeting(configs, server.url))
    # Threads that compute give way to the one that answers: 1 ms each, not 5.
    sys.setswitchinterval(0.001)
    server.run()


def _greeting(configs: "list[ModelConfig]", url: str) -> str:
    lines = [f"{config.name}: {url}/v1/models/{config.name}" for config in configs]
    waiting = [c.base_path for c in configs if not c.base_path.is_dir()]
    lines += [f"There is no {path} yet; it is watched." for path in waiting]
    return "\n".join([*lines, f"Models and signatures: {url}/  Ctrl-C stops."])
