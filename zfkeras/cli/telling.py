"""What several commands do with pictures and results."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from zfkeras.cli import options
from zfkeras.types import Json

if TYPE_CHECKING:
    import keras
    import numpy as np
    from numpy.typing import NDArray

    from zfkeras.analysis.landmarks import Landmarks


def files_of(paths: Sequence[Path]) -> list[Path]:
    """The picture files at some paths, files or folders."""
    from zfkeras.data.pictures import picture_files

    return [file for path in paths for file in (picture_files(path) if path.is_dir() else [path])]


def gathered(paths: Sequence[Path], net: "keras.Model", fit: str = "crop") -> "NDArray[np.uint8]":
    """The pictures at some paths, files or folders, as the net takes them: (N, H, W, C) uint8.

    For a net of any size they are as large as they are, all alike.
    """
    import numpy as np

    from zfkeras.data.inputs import image_shape, picture_channels
    from zfkeras.data.pictures import pictures

    _, height, width, _ = image_shape(net)
    channels = picture_channels(net)
    found = [pictures(path, (height, width), channels, fit) for path in paths]
    sizes = {images.shape[1:3] for images in found}
    if len(sizes) > 1:
        raise ValueError(
            "The net takes pictures of any size, but together only of one. Expected --image-size "
            f"HEIGHT,WIDTH to fit them to. Received: pictures of {sorted(sizes)}"
        )
    return np.concatenate(found)


def marked(
    landmarks: Path, net: "keras.Model", folder: Path | None, fit: str = "crop"
) -> "Landmarks":
    """Pictures and their parts, as the net takes them; the pictures of a folder, or beside."""
    from zfkeras.analysis.landmarks import load_landmarks
    from zfkeras.data.inputs import picture_shape

    height, width, channels = picture_shape(net)
    return load_landmarks(landmarks, (height, width), folder, channels, fit)


def check_layers(net: "keras.Model", layers: Sequence[str]) -> None:
    """Raises for a layer that is not there, before a folder of pictures is looked through."""
    from zfkeras.graph.walking import walk

    if layers:
        graph = walk(net)
        for layer in layers:
            graph.find(layer)


def layer_names(net: "keras.Model", text: str, usual: tuple[str, ...]) -> tuple[str, ...]:
    """Names with commas between them; default: those of our own nets."""
    if text:
        return tuple(options.names(text))
    known = [layer.name for layer in net.layers]
    if not set(usual) <= set(known):
        raise ValueError(
            f"This net has no layers {' and '.join(usual)}: say which to use with --layers. Its "
            f"layers are {', '.join(known)}. Received: --layers ''"
        )
    return usual


def stems(paths: Sequence[Path]) -> list[str]:
    """File names without suffix; numbered where several pictures share one."""
    stems = [path.stem for path in paths]
    return [
        stem if stems.count(stem) == 1 else f"{stem}-{index + 1}"
        for index, stem in enumerate(stems)
    ]


def say(result: Json, path: Path, as_json: bool) -> None:
    """Writes the result to a JSON file; prints it, or where it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    if as_json:
        typer.echo(json.dumps(result, indent=2))
        return
    for name, value in result.items():
        if isinstance(value, str):
            typer.echo(f"{name:14} {value}")
        elif name == "scores":
            typer.echo("\n".join(_score_lines(value)))
    typer.echo(f"{'numbers':14} {path}")


def _score_lines(scores: dict[str, dict[str, float]]) -> list[str]:
    columns = list(next(iter(scores.values())))
    lines = [f"{'':18}" + "".join(f"{column:>14}" for column in columns)]
    for method, row in scores.items():
        lines.append(f"{method:18}" + "".join(f"{row[column]:>14.3f}" for column in columns))
    return lines


def say_each(results: list[Json], as_json: bool, lines: Callable[[Json], list[str]]) -> None:
    """Prints a result for each picture."""
    if as_json:
        typer.echo(json.dumps(results, indent=2))
        return
    for result in results:
        typer.echo("\n".join(lines(result)))
    typer.echo(f"arrays: {results[0]['arrays']}")
