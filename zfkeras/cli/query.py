"""``zfkeras query``: ask a served model to classify or explain a picture."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from zfkeras.cli import options
from zfkeras.types import Json

if TYPE_CHECKING:
    from zfkeras.client import Client
    from zfkeras.image import Picture


def register(app: typer.Typer) -> None:
    """Adds the command to `app`."""
    app.command()(query)


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
