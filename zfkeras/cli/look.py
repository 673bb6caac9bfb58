"""``zfkeras project`` and ``zfkeras occlude``: what a model makes of some pictures."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from zfkeras.cli.heads import OUTPUT_NAME, SIGMOID, SOFTMAX, class_names, head_options
from zfkeras.cli.quiet import load_tensorflow

if TYPE_CHECKING:
    import keras
    import numpy as np

    from zfkeras.analysis.occlusion_result import Occlusion
    from zfkeras.deconvnet.net import Projection
    from zfkeras.regions.receptive_field import ReceptiveField

_IMAGES = typer.Argument(..., help="Picture files.")
_MODEL = typer.Option("imagenette", help="A .keras file, or the bundled net: imagenette.")
_LABELS = typer.Option(
    None, help="Class names, a line each [default: labels.txt beside the file, or bundled]."
)
_JSON = typer.Option(False, "--json", help="Print the result as JSON, nothing else.")


def register(app: typer.Typer) -> None:
    """Adds this module's commands to `app`."""
    app.command()(project)
    app.command()(occlude)


def project(
    images: list[Path] = _IMAGES,
    model: str = _MODEL,
    layer: str = typer.Option("conv5", help="The layer whose maps are projected."),
    channels: str = typer.Option("9", help="K: the K strongest; 12,40: these maps; all."),
    position: str = typer.Option("max", help="max: a map's strongest unit; all; ROW,COLUMN."),
    rule: str = typer.Option("deconvnet", help="deconvnet, guided or gradient."),
    output: Path = typer.Option(Path("projections"), help="Folder for the pictures and arrays."),
    as_json: bool = _JSON,
) -> None:
    """Show what makes the maps of a layer fire: patches beside deconvnet projections."""
    wanted, where = parse_channels(channels), parse_position(position)
    load_tensorflow()
    from zfkeras.deconvnet.net import DeconvNet
    from zfkeras.models.loading import load_model
    from zfkeras.report import figures

    net = load_model(model)
    pictures = fitted(images, net)
    found = DeconvNet(net, rule=rule).project(
        pictures, layer, channels=wanted, position=where, progress=not as_json
    )
    field = None if where == "all" else field_or_none(net, layer)
    kind = layer.replace("/", "-")
    arrays = found.save(output / f"{kind}.npz")
    results = []
    for index, name in enumerate(_stems(images)):
        path = output / f"{name}-{kind}.png"
        figures.save(figures.projection(found, pictures, field, index), path)
        results.append(
            {
                "image": str(images[index]),
                "picture": str(path),
                "arrays": str(arrays),
                "layer": layer,
                "maps": _described(found, index, field),
            }
        )
    _report(results, as_json, _project_lines)


def occlude(
    images: list[Path] = _IMAGES,
    model: str = _MODEL,
    patch_size: str = typer.Option("", help="H or H,W pixels [default: a fifth of the input]."),
    strides: str = typer.Option("", help="S or DOWN,ACROSS pixels [default: 28 places a side]."),
    fill_value: str = typer.Option("128", help="Grey value, R,G,B, mean or blur."),
    layer: str = typer.Option("", help="Of panels b and c [default: conv5 where there is one]."),
    watch: int | None = typer.Option(None, "--class", help="Number of the class [default: top]."),
    method: str = typer.Option("plain", help="plain, incremental (the same, faster) or coarse."),
    batch_size: int = typer.Option(64, help="Pictures in memory at a time."),
    others: Path | None = typer.Option(
        None, help="Folder: project the map from these pictures, too [default: from one another]."
    ),
    scores: bool = typer.Option(True, help="Watch the answer; or only the map."),
    softmax: bool | None = SOFTMAX,
    sigmoid: bool = SIGMOID,
    output_name: str | None = OUTPUT_NAME,
    labels: Path | None = _LABELS,
    output: Path = typer.Option(Path("occlusion"), help="Folder for the pictures and arrays."),
    as_json: bool = _JSON,
) -> None:
    """Hide each part of a picture in turn and watch the net: the five panels of Fig. 7."""
    patch, steps = numbers("--patch-size", patch_size), numbers("--strides", strides)
    is_named = fill_value in ("mean", "blur")
    fill = fill_value if is_named else numbers("--fill-value", fill_value, float)
    head = head_options(softmax, sigmoid, output_name, scores)
    load_tensorflow()
    from zfkeras.analysis.occlusion import occlusion
    from zfkeras.analysis.painting import a_fifth
    from zfkeras.data.pictures import picture_files
    from zfkeras.models.loading import load_model

    net = load_model(model)
    pictures = fitted(images, net)
    names = class_names(net, model, labels, head) if scores else None
    beside = images if others is None else picture_files(others)
    pool = pictures if others is None else fitted(beside, net)
    side = min(pictures.shape[1:3])
    layer = layer or ("conv5" if "conv5" in [one.name for one in net.layers] else "")
    found = occlusion(
        net,
        pictures,
        patch_size=a_fifth(pictures.shape[1:3]) if patch is None else patch,
        strides=max(1, side // 28) if steps is None else steps,
        fill_value=fill,
        layer=layer or None,
        classes=watch,
        method=method,
        batch_size=batch_size,
        progress=not as_json,
        **head,
        others=None if others is None else pool,
    )
    arrays = found.save(output / "occlusion.npz")
    paths = _draw_all(found, pictures, pool, [output / stem for stem in _stems(images)], names)
    results = [
        {"image": str(images[index]), "arrays": str(arrays)}
        | drawn
        | _summary(found, index, names, beside)
        for index, drawn in enumerate(paths)
    ]
    _report(results, as_json, _occlude_lines)


# === What the options mean ===


def numbers(option: str, text: str, kind: Callable[[str], Any] = int) -> Any:
    """Numbers with commas between them: one alone, several as a tuple, none as None.

    Example:
        >>> numbers("--strides", "8"), numbers("--strides", "8,4"), numbers("--strides", "")
        (8, (8, 4), None)
    """
    try:
        found = tuple(kind(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise ValueError(
            f"{option} must be numbers with commas between them, such as 8 or 8,4. "
            f"Received: {option} {text}"
        ) from None
    return (found[0] if "," not in text else found) if found else None


def parse_channels(text: str) -> int | list[int] | None:
    """K strongest maps, a list of maps, or all of them.

    Example:
        >>> parse_channels("9"), parse_channels("12,40"), parse_channels("7,")
        (9, [12, 40], [7])
    """
    if text == "all":
        return None
    found = numbers("--channels", text)
    return list(found) if isinstance(found, tuple) else found


def parse_position(text: str) -> str | tuple[int, int]:
    """The strongest unit, the whole map, or the unit at ROW,COLUMN.

    Example:
        >>> parse_position("max"), parse_position("6,7")
        ('max', (6, 7))
    """
    return text if text in ("max", "all") else numbers("--position", text)


# === What both commands do ===


def fitted(paths: Sequence[Path], net: "keras.Model") -> "np.ndarray":
    """The pictures as the net takes them, (N, H, W, 3) uint8."""
    import numpy as np

    from zfkeras import image
    from zfkeras.data.inputs import input_size

    return np.stack([image.fit(image.load(path), input_size(net)) for path in paths])


def field_or_none(net: "keras.Model", layer: str) -> "ReceptiveField | None":
    """A layer's receptive field; none where units have no field of their own (dense layers)."""
    from zfkeras.graph.receptive_fields import receptive_field

    try:
        return receptive_field(net, layer)
    except ValueError:
        return None


def _draw_all(
    found: "Occlusion",
    pictures: "np.ndarray",
    pool: "np.ndarray",
    stems: Sequence[Path],
    names: Sequence[str] | None,
) -> list[dict[str, str]]:
    """Saves each picture's figure and, where there is one, its sheet of other pictures."""
    from zfkeras.report import occlusion as drawing

    paths = []
    for index, stem in enumerate(stems):
        target = stem.with_name(f"{stem.name}-occlusion.png")
        picture, sheet = drawing.save(found, pictures, pool, index, target, names)
        paths.append({"picture": str(picture)})
        if sheet is not None:
            paths[-1]["others_picture"] = str(sheet)
    return paths


def _stems(paths: Sequence[Path]) -> list[str]:
    """File names without suffix; numbered where several pictures share one."""
    stems = [path.stem for path in paths]
    return [
        stem if stems.count(stem) == 1 else f"{stem}-{index + 1}"
        for index, stem in enumerate(stems)
    ]


# === What both commands say ===


def _described(
    found: "Projection", index: int, field: "ReceptiveField | None"
) -> list[dict[str, Any]]:
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


def _project_lines(result: dict[str, Any]) -> list[str]:
    lines = [f"{result['image']}: {result['layer']} -> {result['picture']}"]
    for one in result["maps"]:
        row, column = one["position"]
        line = f"  map {one['channel']:>4}  {one['value']:>10.4g}  at row {row}, column {column}"
        if one["box"] is not None:
            top, left, bottom, right = one["box"]
            line += f", sees rows {top}..{bottom - 1}, columns {left}..{right - 1}"
        lines.append(line)
    return lines


def _summary(
    found: "Occlusion", index: int, names: Sequence[str] | None, beside: Sequence[Path]
) -> dict[str, Any]:
    from zfkeras.report import figures
    from zfkeras.report import occlusion as drawing

    told: dict[str, Any] = {
        "watched": drawing.watched(found, index, names),
        "whole": float(found.baseline_response[index]),
        "lowest": float(found.response[index].min()),
        "lowest_box": list(drawing.worst_box(found, index)),
    }
    if found.classes is not None:
        told |= {
            "class": told["watched"],
            found.score_name: told["whole"],
            "classes_seen": [
                figures.class_name(number, names) for number in drawing.classes_seen(found, index)
            ],
        }
    if found.channel is not None and found.baseline_activation is not None:
        told["map"] = int(found.channel[index])
        told["map_total"] = float(found.baseline_activation[index])
    if found.others is not None and found.others[index].size:
        told["others"] = [str(beside[number]) for number in found.others[index]]
    if found.projection_error is not None:
        told["projection_error"] = found.projection_error
    return told


def _occlude_lines(result: dict[str, Any]) -> list[str]:
    top, left, bottom, right = result["lowest_box"]
    lines = [
        f"{result['image']}: {result['watched']} {result['whole']:.3f} -> {result['picture']}",
        f"  lowest {result['lowest']:.3f} with rows {top}..{bottom - 1}, columns "
        f"{left}..{right - 1} hidden",
    ]
    if "classes_seen" in result:
        lines[1] += f"; most probable anywhere: {', '.join(result['classes_seen'])}"
    if "others" in result:
        names = ", ".join(Path(path).name for path in result["others"])
        lines.append(f"  map {result['map']} in {names} -> {result['others_picture']}")
    if "projection_error" in result:
        lines.append(f"  no panel c: {result['projection_error']}")
    return lines


def _report(
    results: list[dict[str, Any]], as_json: bool, lines: Callable[[dict[str, Any]], list[str]]
) -> None:
    if as_json:
        typer.echo(json.dumps(results, indent=2))
        return
    for result in results:
        typer.echo("\n".join(lines(result)))
    typer.echo(f"arrays: {results[0]['arrays']}")
