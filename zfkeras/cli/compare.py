"""``zfkeras compare`` and ``faithfulness``: what heat maps are worth."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from zfkeras.cli import options
from zfkeras.cli.nets import class_names, open_model, open_rules
from zfkeras.cli.quiet import load_tensorflow
from zfkeras.cli.telling import gathered, say
from zfkeras.types import Json

if TYPE_CHECKING:
    from zfkeras.analysis.faithfulness import Faithfulness
    from zfkeras.image import Pictures

_METHODS = typer.Option("", help="Heat maps, with commas between [default: all].")
_QUICK = typer.Option("", help="Heat maps, with commas between [default: all but the slow ones].")


def register(app: typer.Typer) -> None:
    """Adds the commands to `app`."""
    app.command()(compare)
    app.command()(faithfulness)


def compare(
    images: list[Path] = options.IMAGES,
    model: str = options.MODEL,
    methods: str = _METHODS,
    classes: str = options.CLASSES,
    steps: int = typer.Option(24, help="Steps of deletion and insertion."),
    layer: str = typer.Option("", help="Whose units the deconvnet shows [default: last maps]."),
    softmax: bool | None = options.SOFTMAX,
    sigmoid: bool = options.SIGMOID,
    output_name: str | None = options.OUTPUT_NAME,
    rules: str = options.RULES,
    imports: list[str] = options.IMPORT,
    image_size: str = options.IMAGE_SIZE,
    fit: str = options.FIT,
    labels: Path | None = options.LABELS,
    output: Path = typer.Option(Path("comparison"), help="Folder for pictures and arrays."),
    as_json: bool = options.JSON,
) -> None:
    """Put deconvnet, occlusion and the usual heat maps side by side, with their scores."""
    found, pictures, names = _tested(
        images,
        model,
        methods,
        classes,
        steps,
        layer,
        rules,
        imports,
        image_size,
        fit,
        labels,
        False,
        as_json,
        options.head_options(softmax, sigmoid, output_name),
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
    images: list[Path] = options.IMAGES,
    model: str = options.MODEL,
    methods: str = _QUICK,
    classes: str = options.CLASSES,
    steps: int = typer.Option(24, help="Steps of deletion and insertion."),
    layer: str = typer.Option("", help="Whose units the deconvnet shows [default: last maps]."),
    softmax: bool | None = options.SOFTMAX,
    sigmoid: bool = options.SIGMOID,
    output_name: str | None = options.OUTPUT_NAME,
    rules: str = options.RULES,
    imports: list[str] = options.IMPORT,
    image_size: str = options.IMAGE_SIZE,
    fit: str = options.FIT,
    labels: Path | None = options.LABELS,
    output: Path = typer.Option(Path("faithfulness"), help="Folder for pictures and arrays."),
    as_json: bool = options.JSON,
) -> None:
    """Test heat maps: deletion, insertion, likeness, and nets with shuffled weights."""
    found, pictures, names = _tested(
        images,
        model,
        methods,
        classes,
        steps,
        layer,
        rules,
        imports,
        image_size,
        fit,
        labels,
        True,
        as_json,
        options.head_options(softmax, sigmoid, output_name),
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


def _tested(
    images: list[Path],
    model: str,
    methods: str,
    classes: str,
    steps: int,
    layer: str,
    rules: str,
    imports: list[str],
    image_size: str,
    fit: str,
    labels: Path | None,
    randomize: bool,
    quiet: bool,
    head: Json,
) -> "tuple[Faithfulness, Pictures, tuple[str, ...] | None]":
    """The tests of `compare` and `faithfulness`, the pictures, and the classes' names."""
    load_tensorflow()
    from zfkeras.analysis.explanations import Settings
    from zfkeras.analysis.faithfulness import faithfulness as measure

    net = open_model(model, imports, image_size)
    pictures, names = gathered(images, net, fit), class_names(net, model, labels, head)
    found = measure(
        net,
        pictures,
        tuple(options.names(methods)) if methods else _usual_methods(few=randomize),
        classes=options.numbers("--classes", classes),
        steps=steps,
        randomize=randomize,
        settings=Settings(layer=layer or None, rules=open_rules(rules)),
        progress=not quiet,
        **head,
    )
    for method, reason in found.skipped:
        typer.echo(f"skipped {method}: {reason}", err=True)
    return found, pictures, names


def _usual_methods(few: bool) -> tuple[str, ...]:
    """All, or the quick ones only where every layer asks for two more nets."""
    from zfkeras.analysis.explanations import METHODS

    slow = ("smoothgrad", "gradcam++", "scorecam") if few else ()
    return tuple(method for method in METHODS if method not in slow)


def _scores(found: "Faithfulness") -> Json:
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
