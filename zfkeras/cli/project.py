"""``zfkeras project``: the projections of a layer's strongest maps."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from zfkeras.cli import options
from zfkeras.cli.groups import Loader, spread
from zfkeras.cli.modules import open_rules
from zfkeras.cli.quiet import load_tensorflow
from zfkeras.cli.telling import files_of, gathered, say_each, stems
from zfkeras.types import Json

if TYPE_CHECKING:
    import keras

    from zfkeras.deconvnet.net import Projection
    from zfkeras.regions.receptive_field import ReceptiveField

MOST = 9  # maps, by default


def register(app: typer.Typer) -> None:
    """Adds the command to `app`."""
    app.command()(project)


@spread
def project(
    images: list[Path] = options.IMAGES,
    model: str = options.MODEL,
    layer: str = typer.Option("", help="Whose maps are projected [default: last convolution]."),
    channels: str = typer.Option("", help="K: the K strongest; 12,40: these maps; all [9]."),
    position: str = typer.Option("max", help="max: a map's strongest unit; all; ROW,COLUMN."),
    batch_size: int = typer.Option(32, help="Projections at a time."),
    rule: str = options.RULE,
    rules: str = options.RULES,
    *,
    loader: Loader,
    fit: str = options.FIT,
    output: Path = typer.Option(Path("projections"), help="Folder for the pictures and arrays."),
    as_json: bool = options.JSON,
) -> None:
    """Show what makes the maps of a layer fire: patches beside deconvnet projections."""
    wanted, where = options.parse_channels(channels), options.parse_position(position)
    load_tensorflow()
    from zfkeras.deconvnet.net import DeconvNet
    from zfkeras.files import file_name
    from zfkeras.graph.feature_layers import default_layer
    from zfkeras.report import figures

    net, files = loader.load(model), files_of(images)
    pictures, layer = gathered(images, net, fit), layer or default_layer(net) or ""
    deconv = DeconvNet(net, rule=rule, rules=open_rules(rules))
    if not channels:
        wanted = min(MOST, deconv.graph.shapes[deconv.graph.find(layer)][-1] or MOST)
    found = deconv.project(pictures, layer, wanted, where, batch_size, progress=not as_json)
    field = None if where == "all" else said_field(net, layer, pictures.shape[1:3])
    kind = file_name(layer)
    arrays = found.save(output / f"{kind}.npz")
    results = []
    for index, name in enumerate(stems(files)):
        path = output / f"{name}-{kind}.png"
        figure = figures.projection(found, pictures, field, index, files[index].name)
        figures.save(figure, path)
        results.append(
            {
                "image": str(files[index]),
                "picture": str(path),
                "arrays": str(arrays),
                "layer": layer,
                "maps": _described(found, index, field),
            }
        )
    if len(files) > 1:
        drawn = figures.overview(found, pictures, [file.name for file in files], field)
        sheet = figures.save(drawn, output / f"{kind}-overview.png")
        results = [result | {"overview": str(sheet)} for result in results]
    say_each(results, as_json, _lines)


def said_field(
    net: "keras.Model", layer: str, image_size: tuple[int, int]
) -> "ReceptiveField | None":
    """A layer's receptive field; where there is none to know, says why pictures are whole."""
    from zfkeras.graph.receptive_fields import field_or_reason

    field, reason = field_or_reason(net, layer, image_size)
    if reason:
        typer.echo(f"Units of {layer} are shown with the whole picture: {reason}", err=True)
    return field


def _described(found: "Projection", index: int, field: "ReceptiveField | None") -> list[Json]:
    size = found.pixels.shape[2:4]
    return [
        {
            "channel": int(channel),
            "value": float(value),
            "position": position.tolist(),
            "box": None if field is None else field.box(tuple(position.tolist()), size),
        }
        for channel, value, position in zip(
            found.channels[index], found.values[index], found.positions[index], strict=True
        )
    ]


def _lines(result: Json) -> list[str]:
    lines = [f"{result['image']}: {result['layer']} -> {result['picture']}"]
    for one in result["maps"]:
        row, column = one["position"]
        line = f"  map {one['channel']:>4}  {one['value']:>10.4g}  at row {row}, column {column}"
        if one["box"] is not None:
            top, left, bottom, right = one["box"]
            line += f", sees rows {top}..{bottom - 1}, columns {left}..{right - 1}"
        lines.append(line)
    return lines
