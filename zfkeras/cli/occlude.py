"""``zfkeras occlude``: where a picture must not be hidden."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from zfkeras.cli import options
from zfkeras.cli.groups import Head, Loader, spread
from zfkeras.cli.modules import open_rules
from zfkeras.cli.quiet import load_tensorflow
from zfkeras.cli.telling import files_of, gathered, say_each, stems
from zfkeras.types import Json

if TYPE_CHECKING:
    from zfkeras.analysis.occlusion_result import Occlusion


_METHOD = typer.Option(
    "auto",
    callback=options.one_of("--method", "auto", "plain", "incremental", "coarse"),
    help="auto: the faster of plain and incremental, which find the same.",
)
_BORDER = typer.Option(
    "cover",
    callback=options.one_of("--border", "cover", "inside"),
    help="cover hides every pixel; inside stays wholly on the picture.",
)
_OTHERS = typer.Option(
    None,
    callback=options.known_paths,
    help="Folder: project the map from these pictures, too [default: from one another].",
)


def register(app: typer.Typer) -> None:
    """Adds the command to `app`."""
    app.command()(occlude)


@spread
def occlude(
    images: list[Path] = options.IMAGES,
    model: str = options.MODEL,
    patch_size: str = typer.Option("", help="H or H,W pixels [default: a fifth of the input]."),
    strides: str = typer.Option("", help="S or DOWN,ACROSS pixels [default: 28 places a side]."),
    fill_value: str = typer.Option("128", help="Grey value, R,G,B, mean or blur."),
    layer: str = typer.Option("", help="Of panels b and c [default: last convolution]."),
    watch: int | None = typer.Option(None, "--class", help="Number of the class [default: top]."),
    method: str = _METHOD,
    border: str = _BORDER,
    batch_size: int = typer.Option(64, help="Pictures in memory at a time."),
    others: Path | None = _OTHERS,
    scores: bool = typer.Option(True, help="Watch the answer; or only the map."),
    *,
    loader: Loader,
    head: Head,
    rules: str = options.RULES,
    fit: str = options.FIT,
    output: Path = typer.Option(Path("occlusion"), help="Folder for the pictures and arrays."),
    as_json: bool = options.JSON,
) -> None:
    """Hide each part of a picture in turn and watch the net: the five panels of Fig. 7."""
    patch = options.numbers("--patch-size", patch_size)
    steps = options.numbers("--strides", strides)
    fill = options.colour(fill_value)
    scored = head.asked if scores else head.unasked()
    load_tensorflow()
    from zfkeras.analysis.occlusion import occlusion
    from zfkeras.analysis.painting import a_fifth, a_grid
    from zfkeras.graph.feature_layers import default_layer
    from zfkeras.report.occlusion import save_all

    net, files = loader.load(model), files_of(images)
    pictures = gathered(images, net, fit)
    names = head.class_names(net, model) if scores else None
    beside = files if others is None else files_of([others])
    pool = pictures if others is None else gathered([others], net, fit)
    found = occlusion(
        net,
        pictures,
        patch_size=a_fifth(pictures.shape[1:3]) if patch is None else patch,
        strides=a_grid(pictures.shape[1:3]) if steps is None else steps,
        fill_value=fill,
        layer=layer or default_layer(net, head.output_name),
        classes=watch,
        method=method,
        border=border,
        batch_size=batch_size,
        progress=not as_json,
        **scored,
        others=None if others is None else pool,
        rules=open_rules(rules),
    )
    arrays = found.save(output / "occlusion.npz")
    places = [output / f"{stem}-occlusion.png" for stem in stems(files)]
    drawn = zip(files, save_all(found, pictures, pool, places, names), strict=True)
    told = [
        {"image": str(file), "arrays": str(arrays)} | _summary(found, number, names, beside, *paths)
        for number, (file, paths) in enumerate(drawn)
    ]
    say_each(told, as_json, _lines)


def _summary(
    found: "Occlusion",
    index: int,
    names: Sequence[str] | None,
    beside: Sequence[Path],
    picture: Path,
    sheet: Path | None,
) -> Json:
    from zfkeras.report import figures, occlusion as drawing

    told: Json = {
        "picture": str(picture),
        "method": found.method,
        "watched": drawing.watched(found, index, names),
        "whole": float(found.baseline_response[index]),
        "lowest": float(found.response[index].min()),
        "lowest_box": list(drawing.worst_box(found, index)),
    }
    if sheet is not None:
        told["others_picture"] = str(sheet)
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


def _lines(result: Json) -> list[str]:
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
