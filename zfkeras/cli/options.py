"""What several commands are told: options, and what their texts mean."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer

# === What can be known to be wrong before TensorFlow is loaded ===


def known_model(model: str) -> str:
    """A bundled net or a file that may be a model."""
    from zfkeras.models.files import check_model_file

    check_model_file(model)
    return model


def known_paths(paths: list[Path] | Path | None) -> list[Path] | Path | None:
    """Files and folders that exist."""
    for path in [paths] if isinstance(paths, Path) else paths or []:
        if not path.exists():
            raise ValueError(
                "No such file or folder. Expected the path of one that is there. "
                f"Received: path={str(path)!r}"
            )
    return paths


def known_data(data: str) -> str:
    """A folder that exists, or something that is none; "" for nothing."""
    if data and not data.startswith(("tfds:", "generated")) and not Path(data).is_dir():
        raise ValueError(
            "There is no such folder of pictures. Expected a folder CLASS/PICTURE, tfds:NAME/SPLIT "
            f"or generated:SPLIT. Received: {data!r}"
        )
    return data


def one_of(option: str, *allowed: str) -> Callable[[str], str]:
    """One of some words."""

    def known(word: str) -> str:
        if word not in allowed:
            raise ValueError(
                f"{option} is none of those there are. Expected {', '.join(allowed)}. "
                f"Received: {option.strip('-')}={word!r}"
            )
        return word

    return known


def known_fit(how: str) -> str:
    """A way to fit pictures."""
    from zfkeras.fitting import check_fit

    return check_fit(how)


def known_size(text: str) -> str:
    """A size, as text, or nothing."""
    size("--image-size", text)
    return text


# === Options ===

IMAGES = typer.Argument(..., callback=known_paths, help="Pictures, or folders of pictures.")
MODEL = typer.Option(
    "imagenette", callback=known_model, help="A .keras file, or the bundled net: imagenette."
)
IMPORT = typer.Option(
    [], "--import", help="Module or .py file that defines the model's own layers; repeatable."
)
LABELS = typer.Option(
    None,
    callback=known_paths,
    help="Text file with the name of a class, or wnid and name, on each line [default: labels.txt "
    "beside the model, or bundled].",
)
LAYERS = typer.Option("", help="Layers, with commas between.")
CLASSES = typer.Option("", "--classes", help="Class, or one for each picture [default: predicted].")
IMAGE_SIZE = typer.Option(
    "",
    callback=known_size,
    help="HEIGHT,WIDTH of the pictures, for a net that takes any [default: as they are].",
)
FIT = typer.Option(
    "crop",
    callback=known_fit,
    help="How pictures are brought to the net's size: crop (to its shape), stretch, or pad (with "
    "grey).",
)
JSON = typer.Option(False, "--json", help="Print the result as JSON, nothing else.")
RULE = typer.Option(
    "deconvnet",
    callback=one_of("--rule", "deconvnet", "guided", "gradient"),
    help="What ReLUs do to the signal.",
)
RULES = typer.Option("", help="Reverse rules of your own: MODULE:NAME or FILE.py:NAME of a dict.")
SOFTMAX = typer.Option(
    None,
    "--softmax/--no-softmax",
    help="Take the softmax of the net's scores, or take them as they are [default: a softmax of "
    "two or more scores from a layer without activation].",
)
SIGMOID = typer.Option(False, "--sigmoid", help="The net's scores are logits: take their sigmoid.")
OUTPUT_NAME = typer.Option(None, "--output-name", help="Of a net's several outputs, this one.")


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


def size(option: str, text: str) -> tuple[int, int] | None:
    """A height and a width; one number is both.

    Example:
        >>> size("--image-size", "224"), size("--image-size", "")
        ((224, 224), None)
    """
    found = numbers(option, text)
    pair = (found, found) if isinstance(found, int) else found
    if pair is not None and len(pair) != 2:
        raise ValueError(
            f"{option} must be HEIGHT,WIDTH, or one number for both. Received: {option} {text}"
        )
    return pair


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


def names(text: str) -> list[str]:
    """Names with commas between them.

    Example:
        >>> names("conv1, conv2"), names("")
        (['conv1', 'conv2'], [])
    """
    return [name.strip() for name in text.split(",") if name.strip()]


def colour(text: str) -> Any:
    """What an occluder shows: grey, R,G,B, or one of the names that `occlusion` knows.

    Example:
        >>> colour("128"), colour("0,0,255"), colour("blur")
        (128.0, (0.0, 0.0, 255.0), 'blur')
    """
    return text if text in ("mean", "blur") else numbers("--fill-value", text, float)
