"""What the commands are told about a net's output: which it is, and what its scores mean."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    import keras

SOFTMAX = typer.Option(
    None,
    "--softmax/--no-softmax",
    help="Take the softmax of the net's scores, or take them as they are [default: a softmax of "
    "two or more scores from a layer without activation].",
)
SIGMOID = typer.Option(False, "--sigmoid", help="The net's scores are logits: take their sigmoid.")
OUTPUT_NAME = typer.Option(None, "--output-name", help="Of a net's several outputs, this one.")


def head_options(
    softmax: bool | None, sigmoid: bool, output: str | None, scores: bool = True
) -> dict[str, Any]:
    """The options as the library's functions take them.

    Example:
        >>> head_options(None, True, None), head_options(False, False, "kind")
        ({'scores': 'sigmoid', 'output': None}, {'scores': 'raw', 'output': 'kind'})
    """
    if sigmoid and softmax is not None:
        raise ValueError(
            "What the scores mean is said twice. Expected one of --softmax, --no-softmax and "
            f"--sigmoid. Received: --sigmoid and --{'' if softmax else 'no-'}softmax"
        )
    if not scores:
        if sigmoid or softmax is not None or output is not None:
            raise ValueError(
                "Without scores there is nothing to make of them. Expected --no-scores without "
                "--softmax, --no-softmax, --sigmoid and --output-name. Received: --no-scores, "
                f"softmax={softmax}, sigmoid={sigmoid}, output-name={output!r}"
            )
        return {"scores": False}
    said = {None: True, True: "softmax", False: "raw"}[softmax]
    return {"scores": "sigmoid" if sigmoid else said, "output": output}


def class_names(
    net: "keras.Model", model: str, labels: Path | None, head: dict[str, Any]
) -> tuple[str, ...] | None:
    """The names of a model's classes where they are known, one for each score."""
    from zfkeras.graph.predictor import Predictor
    from zfkeras.models.loading import load_class_names

    return Predictor(net, **head).class_names(load_class_names(model, labels))
