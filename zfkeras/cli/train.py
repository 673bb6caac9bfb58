"""``zfkeras train``: a net by a recipe; killed runs go on."""

import enum
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from zfkeras.cli import options
from zfkeras.cli.data import DATA_HELP, open_source, report_skipped
from zfkeras.cli.quiet import load_tensorflow
from zfkeras.types import Json

if TYPE_CHECKING:
    import keras

    from zfkeras.data.sources import Source
    from zfkeras.training.recipes import Recipe


class Net(enum.StrEnum):
    """Nets that can be trained."""

    zfnet = "zfnet"
    alexnet = "alexnet"


class Strategy(enum.StrEnum):
    """Ways to use several devices."""

    none = "none"
    mirrored = "mirrored"


def register(app: typer.Typer) -> None:
    """Adds the command to `app`."""
    app.command()(train)


def train(
    data: str = typer.Option(..., callback=options.known_data, help=DATA_HELP),
    output: Path = typer.Option(..., help="Folder of the run. If it holds one, it goes on."),
    model: Net = typer.Option(Net.zfnet, help="The net."),
    recipe: str = typer.Option("zeiler-fergus", help="zeiler-fergus, krizhevsky or imagenette."),
    validation_data: str = typer.Option("", help="What to validate on, as --data."),
    hold_out: int = typer.Option(0, help="Without it: validate on every n-th example instead."),
    image_size: int = typer.Option(224, help="Side of the net's input."),
    width: float = typer.Option(1.0, help="Multiplies the number of filters and units."),
    fc_units: int | None = typer.Option(None, help="Units of fc6 and fc7 [default: 4096 width]."),
    epochs: int | None = typer.Option(None, help="Instead of the recipe's."),
    batch_size: int | None = typer.Option(None, help="Instead of the recipe's."),
    learning_rate: float | None = typer.Option(None, help="Instead of the recipe's."),
    class_weight: str | None = typer.Option(
        None, help="balanced: all classes count alike, however many pictures they have."
    ),
    change: list[str] = typer.Option([], "--set", help="KEY=VALUE of the recipe; repeatable."),
    seed: int = typer.Option(0, help="Of weights, dropout, shuffling and augmentation."),
    strategy: Strategy = typer.Option(Strategy.none, help="mirrored: all devices at once."),
    snapshot: list[int] = typer.Option([], help="Epoch whose model to keep; repeatable."),
    tensorboard: bool = typer.Option(False, "--tensorboard", help="Log for TensorBoard."),
    check: bool = typer.Option(True, help="Decode every picture of a folder once beforehand."),
    as_json: bool = options.JSON,
) -> None:
    """Train a net; killed runs go on where they were when the command is given again."""
    load_tensorflow()
    import keras

    from zfkeras.training import fit as training

    shorthand: Json = {"epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate}
    shorthand["class_weight"] = class_weight
    settings = _recipe(recipe, change, shorthand)
    output.mkdir(parents=True, exist_ok=True)
    checked = output / "checked.json" if check else None
    source = open_source(data, check, checked, image_size, not as_json)
    validation = None
    if validation_data:
        validation = open_source(validation_data, check, checked, image_size, not as_json)
    elif hold_out:
        source, validation = _hold_out(source, hold_out)
    report_skipped([source] if validation is None else [source, validation])
    keras.utils.set_random_seed(seed)
    with training.strategy(strategy.value).scope():
        net, architecture = _build(model, settings, image_size, width, fc_units, source)
    try:
        history = training.train(
            net,
            source,
            settings,
            output,
            validation,
            seed,
            snapshots=snapshot,
            tensorboard=tensorboard,
            progress=0 if as_json else "auto" if sys.stdout.isatty() else 2,
        )
    except KeyboardInterrupt:
        typer.echo(f"Interrupted. The same command goes on from {output}.", err=True)
        raise typer.Exit(130) from None
    _finish(net, output, architecture, source, history, seed, as_json)


def _recipe(name: str, changes: list[str], shorthand: Json) -> "Recipe":
    from zfkeras.training.recipes import recipe

    given = {key: value for key, value in shorthand.items() if value is not None}
    for change in changes:
        key, equals, value = change.partition("=")
        if not equals:
            raise ValueError(
                f"A change of the recipe must be KEY=VALUE. Received: --set {change!r}"
            )
        given[key] = _value(value)
    return recipe(name, **given)


def _value(text: str) -> Any:
    """0.5 and [1.1, 1.6] and null as in JSON, anything else as text."""
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        return text
    return tuple(value) if isinstance(value, list) else value


def _hold_out(source: "Source", every: int) -> "tuple[Source, Source]":
    from zfkeras.data.sources import hold_out

    return hold_out(source, every)


def _build(
    model: Net,
    settings: "Recipe",
    image_size: int,
    width: float,
    fc_units: int | None,
    source: "Source",
) -> tuple["keras.Model", Json]:
    """The net, and the arguments that make it again."""
    if settings.kernel_initializer == "paper" and width < 1:
        typer.echo(
            "Warning: the paper's initial weights, N(0, 0.01^2), fade in a net of width "
            f"{width:g}: the loss may stay at chance. Try --recipe imagenette, or "
            "--set kernel_initializer=null with a lower --learning-rate.",
            err=True,
        )
    from zfkeras.models.alexnet import AlexNet
    from zfkeras.models.zfnet import ZFNet

    kind: Any = {Net.zfnet: ZFNet, Net.alexnet: AlexNet}[model]
    shape = {
        "classes": len(source.class_names),
        "input_shape": (image_size, image_size, 3),
        "width": width,
        "fc_units": fc_units,
    }
    net = kind(
        **shape,
        dropout=settings.dropout,
        kernel_initializer=settings.kernel_initializer,
        max_filter_rms=settings.max_filter_rms,
    )
    return net, {"model": kind.__name__, **shape}


def _finish(
    net: "keras.Model",
    output: Path,
    architecture: Json,
    source: "Source",
    history: list[dict[str, float]],
    seed: int,
    as_json: bool,
) -> None:
    from zfkeras.models.weights import save_weights

    save_weights(
        net, output / "weights.npz", architecture, source.class_names, data=source.name, seed=seed
    )
    (output / "labels.txt").write_text("\n".join(source.class_names) + "\n")
    if as_json:
        typer.echo(json.dumps({"output": str(output), "history": history}))
    else:
        typer.echo(f"Model, weights, labels and history are in {output}.")
