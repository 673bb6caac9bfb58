"""Which models to serve, from the flags or from a ``models.config`` of TensorFlow Serving."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from google.protobuf import text_format

from zfkeras.protos import ModelServerConfig, MonitoringConfig

_log = logging.getLogger(__name__)
_METRICS_PATH = "/monitoring/prometheus/metrics"


@dataclass(frozen=True)
class ModelConfig:
    """A model to serve.

    Attributes:
        name: the name in URLs.
        base_path: the directory that holds one directory per version.
        versions: picks what to serve from the versions that exist (ascending).
        labels: version of each label that URLs may use.
    """

    name: str
    base_path: Path
    versions: Callable[[list[int]], list[int]] = lambda found: found[-1:]
    labels: dict[str, int] = field(default_factory=dict)


def _policy(config: Any) -> Callable[[list[int]], list[int]]:
    policy = config.model_version_policy
    if policy.HasField("all"):
        return lambda found: found
    if policy.HasField("specific"):
        wanted = set(policy.specific.versions)
        return lambda found: [version for version in found if version in wanted]
    count = policy.latest.num_versions or 1
    return lambda found: found[-count:]


def _model(config: Any, path: Path) -> ModelConfig:
    if not config.name or not Path(config.base_path).is_absolute():
        raise ValueError(
            f"A model in {path} lacks a name or an absolute base_path; TensorFlow Serving "
            f"needs both. Received: name={config.name!r}, base_path={config.base_path!r}"
        )
    if config.model_platform != "tensorflow":
        raise ValueError(
            f"A model in {path} is on an unknown platform; allowed: 'tensorflow'. "
            f"Received: model_platform={config.model_platform!r}"
        )
    if config.HasField("logging_config"):
        _log.warning("%s: logging_config is passed over, requests are not logged", config.name)
    return ModelConfig(
        name=config.name,
        base_path=Path(config.base_path),
        versions=_policy(config),
        labels={entry.key: entry.value for entry in config.version_labels},
    )


def read_config(path: str | Path) -> list[ModelConfig]:
    """Reads a ``models.config`` (text form of TensorFlow Serving's ModelServerConfig).

    Args:
        path: the file.

    Returns:
        The models in it, in its order.

    Raises:
        ValueError: it does not parse, or names no model, or the same name twice.
        OSError: it cannot be read.
    """
    path = Path(path)
    config = _parsed(
        path, ModelServerConfig(), "model_config_list { config { … } }", "model_config_file"
    )
    models = [_model(model, path) for model in config.model_config_list.config]
    names = [model.name for model in models]
    if not names or len(set(names)) < len(names):
        raise ValueError(
            f"The model config must list one or more models of different names. Received: "
            f"model_config_file={str(path)!r} with names={names}"
        )
    return models


def read_monitoring(path: str | Path) -> str | None:
    """Reads a ``monitoring.config`` (text form of TensorFlow Serving's MonitoringConfig).

    Args:
        path: the file.

    Returns:
        The path of a URL where Prometheus finds metrics; None: they are off.

    Raises:
        ValueError: it does not parse, or the path does not start with "/".
        OSError: it cannot be read.
    """
    form = "prometheus_config { enable: true }"
    config = _parsed(Path(path), MonitoringConfig(), form, "monitoring_config_file")
    found = config.prometheus_config.path or _METRICS_PATH
    if not found.startswith("/"):
        raise ValueError(
            f"The path of the metrics must start with '/'. Received: path={found!r} in {path}"
        )
    return found if config.prometheus_config.enable else None


def _parsed(path: Path, message: Any, form: str, argument: str) -> Any:
    try:
        return text_format.Parse(path.read_text(), message)
    except text_format.ParseError as error:
        raise ValueError(
            f"The config is not text of the form `{form}`: {error}. Received: "
            f"{argument}={str(path)!r}"
        ) from error
