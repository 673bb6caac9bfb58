"""``zfkeras evaluate``: top-1 and top-5 accuracy of a net on labelled pictures."""

import json

import typer

from zfkeras.cli import options
from zfkeras.cli.data import DATA_HELP, open_source, report_skipped
from zfkeras.cli.groups import Head, Loader, spread
from zfkeras.cli.quiet import load_tensorflow


def register(app: typer.Typer) -> None:
    """Adds the command to `app`."""
    app.command()(evaluate)


@spread
def evaluate(
    model: str = typer.Argument(
        callback=options.known_model, help="A .keras file, or a bundled net: imagenette."
    ),
    data: str = typer.Option(..., callback=options.known_data, help=DATA_HELP),
    ten_crop: bool = typer.Option(False, "--ten-crop", help="Average over the papers' ten crops."),
    batch_size: int = typer.Option(64, help="Crops to classify at a time."),
    *,
    loader: Loader,
    head: Head,
    fit: str = options.FIT,
    as_json: bool = options.JSON,
) -> None:
    """Measure top-1 and top-5 accuracy of a net on labelled pictures."""
    load_tensorflow()
    from zfkeras.data.inputs import input_size
    from zfkeras.models.loading import load_labels
    from zfkeras.training import evaluation

    net = loader.load(model)
    source = open_source(
        data, True, None, input_size(net)[0], not as_json, load_labels(model, head.labels), fit
    )
    report_skipped([source])
    result = evaluation.evaluate(
        net,
        source,
        ten_crop,
        batch_size=batch_size,
        progress=not as_json,
        **head.asked,
    )
    numbers = {
        "pictures": len(result.labels),
        "crops": 10 if ten_crop else 1,
        "top1": result.accuracy,
        "top5": result.top(5),
        "loss": result.loss,
        "skipped": len(source.skipped),
    }
    if as_json:
        typer.echo(json.dumps(numbers))
    else:
        typer.echo("\n".join(f"{name:8} {value:.6g}" for name, value in numbers.items()))
