"""``zfkeras invariance, correspond, check, compare, faithfulness``: what to make of pictures."""

import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from zfkeras.cli.heads import OUTPUT_NAME, SIGMOID, SOFTMAX, class_names, head_options
from zfkeras.cli.look import numbers
from zfkeras.cli.quiet import load_tensorflow

if TYPE_CHECKING:
    import keras

    from zfkeras.analysis.faithfulness import Faithfulness
    from zfkeras.image import Pictures

IMAGES = typer.Argument(..., help="Pictures, or folders of pictures.")
MODEL = typer.Option("imagenette", help="A .keras file, or the bundled net: imagenette.")
LABELS = typer.Option(None, help="Text file with the name of a class on each line.")
LAYERS = typer.Option("", help="Layers, with commas between [default: of the bundled net].")
CLASSES = typer.Option("", "--classes", help="Class, or one for each picture [default: predicted].")
JSON = typer.Option(False, "--json", help="Print the result as JSON, nothing else.")
METHODS = typer.Option("", help="Heat maps, with commas between [default: all].")
QUICK = typer.Option("", help="Heat maps, with commas between [default: all but the slow ones].")


def register(app: typer.Typer) -> None:
    """Adds this module's commands to `app`."""
    for command in (invariance, correspond, check, compare, faithfulness):
        app.command()(command)


def invariance(
    images: list[Path] = IMAGES,
    model: str = MODEL,
    layers: str = LAYERS,
    kinds: str = typer.Option("", help="vertical,horizontal,scale,rotation [default: all]."),
    classes: str = CLASSES,
    softmax: bool | None = SOFTMAX,
    sigmoid: bool = SIGMOID,
    output_name: str | None = OUTPUT_NAME,
    labels: Path | None = LABELS,
    output: Path = typer.Option(Path("invariance"), help="Folder for pictures and arrays."),
    as_json: bool = JSON,
) -> None:
    """Move, enlarge and turn pictures; watch layers and answer (Fig. 5)."""
    head = head_options(softmax, sigmoid, output_name)
    load_tensorflow()
    from zfkeras.analysis.invariance import PAPER
    from zfkeras.experiments import fig5
    from zfkeras.models.loading import load_model

    net = load_model(model)
    wanted = kinds.split(",") if kinds else list(PAPER)
    result = fig5.run(
        net,
        gathered(images, net),
        output,
        layer_names(net, layers, ("norm1", "fc7")),
        class_names(net, model, labels, head),
        progress=not as_json,
        classes=numbers("--classes", classes),
        transforms={kind: PAPER.get(kind, ()) for kind in wanted},
        **head,
    )
    say(result, output / "invariance.json", as_json)


def correspond(
    landmarks: Path = typer.Argument(..., help="JSON list of pictures and their parts."),
    images: Path | None = typer.Option(None, help="Folder of the pictures [default: beside it]."),
    model: str = MODEL,
    layers: str = LAYERS,
    patch_size: int | None = typer.Option(None, help="Side [default: a fifth of the picture]."),
    draws: int = typer.Option(10, help="Random parts in each picture."),
    seed: int = typer.Option(0, help="Of the random parts."),
    softmax: bool | None = SOFTMAX,
    sigmoid: bool = SIGMOID,
    output_name: str | None = OUTPUT_NAME,
    labels: Path | None = LABELS,
    output: Path = typer.Option(Path("correspondence"), help="Folder for pictures and arrays."),
    as_json: bool = JSON,
) -> None:
    """Hide the same part in several pictures: does it mean the same everywhere? (Table 1)."""
    head = head_options(softmax, sigmoid, output_name)
    load_tensorflow()
    from zfkeras.analysis.landmarks import load_landmarks
    from zfkeras.data.inputs import input_size
    from zfkeras.experiments import fig8, table1
    from zfkeras.models.loading import load_model

    net = load_model(model)
    marks = load_landmarks(landmarks, input_size(net), images)
    names = class_names(net, model, labels, head)
    options: dict[str, Any] = {"patch_size": patch_size, "draws": draws, "seed": seed, **head}
    where = layer_names(net, layers, ("pool5", "fc7"))
    result = table1.run(net, marks, output, where, progress=not as_json, **options)
    result["fig8"] = fig8.run(net, marks, output, where[-1:], names, **options)
    say(result, output / "correspondence.json", as_json)


def check(model: str = typer.Argument("imagenette", help=MODEL.help), as_json: bool = JSON) -> None:
    """Tell what the deconvnet will meet in a model; exit code 1 if something can't be projected."""
    load_tensorflow()
    from zfkeras.analysis.checks import check_model
    from zfkeras.models.loading import load_model

    found = check_model(load_model(model))
    typer.echo(json.dumps(found.to_dict(), indent=2) if as_json else str(found))
    raise typer.Exit(0 if found.ok else 1)


def compare(
    images: list[Path] = IMAGES,
    model: str = MODEL,
    methods: str = METHODS,
    classes: str = CLASSES,
    steps: int = typer.Option(24, help="Steps of deletion and insertion."),
    layer: str = typer.Option("", help="Whose units the deconvnet shows [default: last maps]."),
    softmax: bool | None = SOFTMAX,
    sigmoid: bool = SIGMOID,
    output_name: str | None = OUTPUT_NAME,
    labels: Path | None = LABELS,
    output: Path = typer.Option(Path("comparison"), help="Folder for pictures and arrays."),
    as_json: bool = JSON,
) -> None:
    """Put deconvnet, occlusion and the usual heat maps side by side, with their scores."""
    found, pictures, names = _tested(
        images,
        model,
        methods,
        classes,
        steps,
        layer,
        labels,
        False,
        as_json,
        head_options(softmax, sigmoid, output_name),
    )
    from zfkeras.report import trust
    from zfkeras.report.figures import save

    result = _scores(found) | {
        "picture": str(save(trust.comparison(found, pictures, names), output / "comparison.png")),
        "curves": str(save(trust.curves(found), output / "curves.png")),
        "arrays": str(found.save(output / "comparison.npz")),
    }
    say(result, output / "comparison.json", as_json)


def faithfulness(
    images: list[Path] = IMAGES,
    model: str = MODEL,
    methods: str = QUICK,
    classes: str = CLASSES,
    steps: int = typer.Option(24, help="Steps of deletion and insertion."),
    layer: str = typer.Option("", help="Whose units the deconvnet shows [default: last maps]."),
    softmax: bool | None = SOFTMAX,
    sigmoid: bool = SIGMOID,
    output_name: str | None = OUTPUT_NAME,
    labels: Path | None = LABELS,
    output: Path = typer.Option(Path("faithfulness"), help="Folder for pictures and arrays."),
    as_json: bool = JSON,
) -> None:
    """Test heat maps: deletion, insertion, likeness, and nets with shuffled weights."""
    found, pictures, names = _tested(
        images,
        model,
        methods,
        classes,
        steps,
        layer,
        labels,
        True,
        as_json,
        head_options(softmax, sigmoid, output_name),
    )
    from zfkeras.report import trust
    from zfkeras.report.figures import save

    figures = {
        "picture": trust.comparison(found, pictures, names),
        "curves": trust.curves(found),
        "similarity": trust.similarity(found),
        "randomisation": trust.randomisation(found),
    }
    result = _scores(found)
    for name, figure in figures.items():
        result[name] = str(save(figure, output / f"{name}.png"))
    result["arrays"] = str(found.save(output / "faithfulness.npz"))
    say(result, output / "faithfulness.json", as_json)


# === What the commands share ===


def gathered(paths: Sequence[Path], net: "keras.Model") -> "Pictures":
    """The pictures at some paths, files or folders, as the net takes them: (N, H, W, 3) uint8."""
    import numpy as np

    from zfkeras.data.inputs import input_size
    from zfkeras.data.pictures import pictures

    return np.concatenate([pictures(path, input_size(net)) for path in paths])


def layer_names(net: "keras.Model", text: str, usual: tuple[str, ...]) -> tuple[str, ...]:
    """Names with commas between them; default: those of our own nets."""
    if text:
        return tuple(name.strip() for name in text.split(","))
    known = [layer.name for layer in net.layers]
    if not set(usual) <= set(known):
        raise ValueError(
            f"This net has no layers {' and '.join(usual)}: say which to use with --layers. Its "
            f"layers are {', '.join(known)}. Received: --layers ''"
        )
    return usual


def say(result: dict[str, Any], path: Path, as_json: bool) -> None:
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
    lines = [f"{'':18}" + "".join(f"{column:>12}" for column in columns)]
    for method, row in scores.items():
        lines.append(f"{method:18}" + "".join(f"{row[column]:>12.3f}" for column in columns))
    return lines


def _tested(
    images: list[Path],
    model: str,
    methods: str,
    classes: str,
    steps: int,
    layer: str,
    labels: Path | None,
    randomize: bool,
    quiet: bool,
    head: dict[str, Any],
) -> "tuple[Faithfulness, Pictures, tuple[str, ...] | None]":
    """The tests of `compare` and `faithfulness`, the pictures, and the classes' names."""
    load_tensorflow()
    from zfkeras.analysis.explanations import Settings
    from zfkeras.analysis.faithfulness import faithfulness as measure
    from zfkeras.models.loading import load_model

    net = load_model(model)
    pictures, names = gathered(images, net), class_names(net, model, labels, head)
    found = measure(
        net,
        pictures,
        tuple(methods.split(",")) if methods else _usual_methods(few=randomize),
        classes=numbers("--classes", classes),
        steps=steps,
        randomize=randomize,
        settings=Settings(layer=layer or None),
        progress=not quiet,
        **head,
    )
    for method, reason in found.skipped:
        typer.echo(f"skipped {method}: {reason}", err=True)
    return found, pictures, names


def _usual_methods(few: bool) -> tuple[str, ...]:
    """All that can be had, or the quick ones only where every layer asks for two more nets."""
    from zfkeras.analysis.baselines import BASELINES
    from zfkeras.analysis.explanations import METHODS

    slow: tuple[str, ...] = ("smoothgrad", "gradcam++", "scorecam") if few else ()
    if importlib.util.find_spec("tf_keras_vis") is None:
        typer.echo(f"Without {', '.join(BASELINES)}: pip install zfkeras[baselines]", err=True)
        slow = BASELINES
    return tuple(method for method in METHODS if method not in slow)


def _scores(found: "Faithfulness") -> dict[str, Any]:
    """Means over images: both areas and, where made, what shuffled weights leave of the maps."""
    columns = {way: area.mean(1) for way, area in found.areas().items()}
    if found.layers:
        columns["cascading"] = found.cascading.mean((1, 2))
        columns["all shuffled"] = found.cascading[:, :, -1].mean(1)
        columns["independent"] = found.independent.mean((1, 2))
    return {
        "classes": found.classes.tolist(),
        "p": found.baseline_probabilities.tolist(),
        "score_name": found.score_name,
        "skipped": dict(found.skipped),
        "scores": {
            method: {name: float(values[row]) for name, values in columns.items()}
            for row, method in enumerate(found.methods)
        },
    }
