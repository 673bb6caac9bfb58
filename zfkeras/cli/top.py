"""``zfkeras top`` and ``zfkeras merge``: the strongest units of every feature map."""

import json
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from zfkeras.cli import options
from zfkeras.cli.data import DATA_HELP, opened, report_skipped, warnings_as_lines
from zfkeras.cli.groups import Loader, spread
from zfkeras.cli.quiet import load_tensorflow
from zfkeras.cli.telling import check_layers
from zfkeras.types import Json

if TYPE_CHECKING:
    from zfkeras.analysis.top_result import Results

_OUTPUT = typer.Option(..., help="Folder for the results: top.npz, units.csv, maps.csv.")


def register(app: typer.Typer) -> None:
    """Adds this module's commands to `app`."""
    app.command()(top)
    app.command()(merge)


@spread
def top(
    model: str = typer.Option(
        "imagenette",
        callback=options.known_model,
        help="A .keras file, or a bundled net: imagenette.",
    ),
    data: str = typer.Option(
        ..., callback=options.known_data, help=DATA_HELP + " Or a folder of pictures."
    ),
    layers: str = typer.Option("", help="L1,L2,… [default: every convolution]."),
    k: int = typer.Option(9, help="Units to keep of each map."),
    batch_size: int = typer.Option(32, help="Pictures at a time."),
    output: Path = _OUTPUT,
    shard: str = typer.Option("", help="I/N: search only the I-th of N parts, I from 0."),
    *,
    loader: Loader,
    fit: str = options.FIT,
    labels: Path | None = options.LABELS,
    mirrored: bool = typer.Option(False, "--mirrored", help="Use all devices at once."),
    save_every: int = typer.Option(100, help="Batches between two savings."),
    as_json: bool = options.JSON,
) -> None:
    """Find the K strongest units of every map over a data set; killed searches go on."""
    part = parse_shard(shard)
    load_tensorflow()
    import tensorflow as tf

    from zfkeras.analysis.top_activations import top_activations

    output.mkdir(parents=True, exist_ok=True)
    strategy = tf.distribute.MirroredStrategy() if mirrored else None
    with strategy.scope() if strategy else nullcontext(), warnings_as_lines():
        net = loader.load(model)
        check_layers(net, options.names(layers))
        source = opened(data, output, net, not as_json, fit, labels)
        report_skipped([source])
        try:
            results = top_activations(
                net,
                source,
                options.names(layers) or None,
                k,
                batch_size,
                part,
                path=output / (f"top-{part[0]}-of-{part[1]}.npz" if shard else "top.npz"),
                save_every=save_every,
                progress=not as_json,
            )
        except KeyboardInterrupt:
            typer.echo(f"Interrupted. The same command goes on from {output}.", err=True)
            raise typer.Exit(130) from None
    skipped = [skip.name for skip in source.skipped]
    _report(results, output, as_json, {"skipped": skipped})


def merge(
    parts: list[Path] = typer.Argument(..., help="Result files, or folders of them."),
    output: Path = _OUTPUT,
    as_json: bool = options.JSON,
) -> None:
    """Join what shards of a search have found, or searches that were cut short."""
    from zfkeras.analysis.top_result import load_results, merge_results, save_results

    files = [file for part in parts for file in _result_files(part)]
    results = merge_results(*(load_results(file) for file in files))
    save_results(results, output / "top.npz")
    _report(results, output, as_json, {"parts": [str(file) for file in files]})


def parse_shard(text: str) -> tuple[int, int]:
    """The I-th of N parts.

    Example:
        >>> parse_shard("1/4"), parse_shard("")
        ((1, 4), (0, 1))
    """
    try:
        part, parts = (int(number) for number in (text or "0/1").split("/"))
    except ValueError:
        raise ValueError(
            f"--shard must be I/N, such as 0/4 for the first of four. Received: --shard {text}"
        ) from None
    return part, parts


def _result_files(part: Path) -> list[Path]:
    """A file, or those that `top` has written into a folder."""
    files = sorted(part.glob("top*.npz")) if part.is_dir() else [part]
    if not files or not files[0].is_file():
        raise ValueError(
            f"There is no result here; needed is a top.npz or its folder. Received: {str(part)!r}"
        )
    return files


def _report(results: "Results", output: Path, as_json: bool, extra: Json) -> None:
    """Writes the tables and says what was found."""
    from zfkeras.analysis.top_index import write_maps, write_units

    write_units(results, output / "units.csv")
    write_maps(results, output / "maps.csv")
    some = next(iter(results.values()))
    summary = {
        "output": str(output),
        "images": int(some.statistics.images),
        "complete": some.is_complete,
        "unreadable": some.skipped.tolist(),
        "layers": {layer: len(found.values) for layer, found in results.items()},
    }
    if as_json:
        typer.echo(json.dumps(summary | extra))
        return
    for layer, found in results.items():
        dead = int(found.statistics.is_dead.sum())
        typer.echo(f"{layer:24} {len(found.values):5} maps, {dead} of them never fire")
    seen = ", ".join(f"{start} to {stop}" for start, stop in some.seen)
    whole = "" if some.is_complete else f"; the data set has {some.cardinality}"
    typer.echo(f"{summary['images']} pictures ({seen}){whole}. Results are in {output}.")
