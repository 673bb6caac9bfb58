"""``zfkeras export``, ``zfkeras serve`` and ``zfkeras query``."""

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from zfkeras.cli import options
from zfkeras.cli.data import warnings_as_lines
from zfkeras.cli.groups import Head, Loader, spread
from zfkeras.cli.modules import open_rules
from zfkeras.cli.quiet import load_tensorflow
from zfkeras.types import Json

if TYPE_CHECKING:
    from zfkeras.client import Client
    from zfkeras.image import Picture
    from zfkeras.server import ModelConfig


def register(app: typer.Typer) -> None:
    """Adds this module's commands to `app`."""
    app.command()(export)
    app.command()(serve)
    app.command()(query)


# --- export


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


# --- serve


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


# --- query


def query(
    image: Path = typer.Argument(callback=options.known_paths, help="A picture."),
    url: str = typer.Option("http://localhost:8501", help="Where the server listens."),
    model: str = typer.Option("zfnet", help="The model's name there."),
    version: int | None = typer.Option(None, help="Its version [default: the newest]."),
    signature: str = typer.Option(
        "classify", help="What to ask: classify, deconv, occlusion, or another that it answers."
    ),
    layer: str = typer.Option("conv5", help="deconv: the layer."),
    channel: int = typer.Option(-1, help="deconv: the feature map; -1 is the strongest."),
    patch_size: int | None = typer.Option(None, help="occlusion: side [default: a fifth]."),
    fill_value: float = typer.Option(128.0, help="occlusion: grey of the occluder, 0..255."),
    output: Path | None = typer.Option(None, help="deconv, occlusion: PNG to write."),
    as_json: bool = typer.Option(False, "--json", help="Print the answer as JSON, nothing else."),
) -> None:
    """Ask a served model to classify or explain a picture; any TensorFlow Serving will do."""
    from zfkeras.client import Client

    if output is not None and signature == "classify":
        raise ValueError(
            "classify has no picture to write; deconv and occlusion have. "
            f"Received: output={str(output)!r}"
        )
    with Client(url, model, version) as client:
        if signature == "classify":
            answer, pictures = _classify(client, image)
        elif signature == "deconv":
            answer, pictures = _deconv(client, image, layer, channel)
        elif signature == "occlusion":
            answer, pictures = _occlusion(client, image, patch_size, fill_value)
        else:
            answer, pictures = client.ask(signature, image)
    if output is not None:
        if not pictures:
            raise ValueError(
                f"{signature} has no picture to write; deconv and occlusion have. "
                f"Received: output={str(output)!r}"
            )
        from zfkeras.image import grid, save

        save(output, grid(pictures, columns=2))
        answer["output"] = str(output)
    typer.echo(json.dumps(answer) if as_json else _text(answer))


_SEVERAL = {"probability": "probabilities", "score": "scores"}
_Answer = tuple[Json, "list[Picture]"]


def _classify(client: "Client", image: Path) -> _Answer:
    found = client.classify(image)
    return {
        "classes": list(found.classes),
        "class_ids": found.class_ids.tolist(),
        _SEVERAL[found.score_name]: found.probabilities.tolist(),
    }, []


def _deconv(client: "Client", image: Path, layer: str, channel: int) -> _Answer:
    from zfkeras.image import frame

    found = client.deconv(image, layer, channel)
    answer = {
        "layer": found.layer,
        "channel": found.channel,
        "value": found.value,
        "position": list(found.position),
        "box": list(found.box),
    }
    return answer, [frame(found.image, found.box), found.projection]


def _occlusion(client: "Client", image: Path, patch_size: int | None, fill_value: float) -> _Answer:
    found = client.occlusion(image, patch_size, fill_value)
    answer = {
        "class": found.class_name,
        "class_id": found.class_id,
        found.score_name: found.probability,
        "patch_size": found.patch_size,
        "rows": found.rows.tolist(),
        "columns": found.columns.tolist(),
        "channel": found.channel,
        "activation": found.activation,
        _SEVERAL[found.score_name]: found.probabilities.tolist(),
        "activations": found.activations.tolist(),
        "predicted_classes": found.predicted_classes.tolist(),
    }
    return answer, [found.image, found.heat_map]


def _text(answer: Json) -> str:
    """The answer to read: a line per class, or per value; of a grid only the extremes."""
    scores = next((name for name in _SEVERAL.values() if name in answer), "")
    if "classes" in answer:
        form = "{:7.2%}  {}" if scores == "probabilities" else "{:9.4g}  {}"
        return "\n".join(map(form.format, answer[scores], answer["classes"]))
    if "predicted_classes" in answer:
        ranges = {name: _range(answer.pop(name)) for name in (scores, "activations")}
        names = {name for row in answer.pop("predicted_classes") for name in row}
        places = f"{len(answer.pop('rows'))} x {len(answer.pop('columns'))}"
        answer |= {
            "places": places,
            **{f"{name} when hidden": text for name, text in ranges.items()},
            "predicted when hidden": ", ".join(sorted(names)),
        }
    width = max(map(len, answer))
    return "\n".join(f"{name:{width}}  {value}" for name, value in answer.items())


def _range(grid: list[list[float]]) -> str:
    values = [value for row in grid for value in row]
    return f"{min(values):.4g} to {max(values):.4g}"
