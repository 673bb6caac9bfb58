"""Options that several commands take together."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zfkeras.cli import options
from zfkeras.types import Json

if TYPE_CHECKING:
    import keras

    from zfkeras.graph.predictor import Predictor


def spread(command: Callable[..., None]) -> Callable[..., None]:
    """A command whose parameters that are groups, dataclasses of options, are told one by one.

    Typer reads options from a function's signature, so the signature is what is written anew.

    Example:
        >>> @spread
        ... def show(*, loader: Loader) -> None:
        ...     print(loader.image_size)
        >>> list(inspect.signature(show).parameters)
        ['imports', 'image_size']
        >>> show(imports=[], image_size="64")
        64
    """
    parameters = inspect.signature(command, eval_str=True).parameters
    groups: dict[str, Any] = {
        name: one.annotation for name, one in parameters.items() if is_dataclass(one.annotation)
    }

    @functools.wraps(command)
    def told(**given: Any) -> None:
        for name, group in groups.items():
            own = {field.name: given.pop(field.name) for field in fields(group)}
            given[name] = group(**own)
        command(**given)

    flat = [
        option
        for name, one in parameters.items()
        for option in (_options(groups[name]) if name in groups else [one])
    ]
    keyword = inspect.Parameter.KEYWORD_ONLY
    told.__signature__ = inspect.Signature([one.replace(kind=keyword) for one in flat])  # type: ignore[attr-defined]
    told.__annotations__ = {one.name: one.annotation for one in flat}
    return told


def _options(group: Any) -> list[inspect.Parameter]:
    return list(inspect.signature(group, eval_str=True).parameters.values())


@dataclass(frozen=True)
class Loader:
    """How a model is opened: what it needs to be known, and the size of what it sees."""

    imports: list[str] = options.IMPORT
    image_size: str = options.IMAGE_SIZE

    def load(self, model: str) -> "keras.Model":
        """The model by its name or file, once the modules that define its layers are imported."""
        from zfkeras.cli.modules import import_layers
        from zfkeras.data.inputs import fixed_size
        from zfkeras.models.loading import load_model

        import_layers(self.imports)
        return fixed_size(load_model(model), options.size("--image-size", self.image_size))


@dataclass(frozen=True)
class Head:
    """What a model's scores mean, and how its classes are called.

    Example:
        >>> Head(None, True, None, None).asked, Head(False, False, "kind", None).asked
        ({'scores': 'sigmoid', 'output': None}, {'scores': 'raw', 'output': 'kind'})
    """

    softmax: bool | None = options.SOFTMAX
    sigmoid: bool = options.SIGMOID
    output_name: str | None = options.OUTPUT_NAME
    labels: Path | None = options.LABELS

    def __post_init__(self) -> None:
        if self.sigmoid and self.softmax is not None:
            raise ValueError(
                "What the scores mean is said twice. Expected one of --softmax, --no-softmax and "
                f"--sigmoid. Received: --sigmoid and --{'' if self.softmax else 'no-'}softmax"
            )

    @property
    def asked(self) -> Json:
        """What `Predictor`, and every function that asks a net, takes."""
        said = {None: True, True: "softmax", False: "raw"}[self.softmax]
        return {"scores": "sigmoid" if self.sigmoid else said, "output": self.output_name}

    def unasked(self) -> Json:
        """The same where scores are not wanted, of which nothing may have been said."""
        if self.sigmoid or self.softmax is not None or self.output_name is not None:
            raise ValueError(
                "Without scores there is nothing to make of them. Expected --no-scores without "
                "--softmax, --no-softmax, --sigmoid and --output-name. Received: --no-scores, "
                f"softmax={self.softmax}, sigmoid={self.sigmoid}, output-name={self.output_name!r}"
            )
        return {"scores": False}

    def predictor(self, net: "keras.Model") -> "Predictor":
        """The net, asked so."""
        from zfkeras.graph.predictor import Predictor

        return Predictor(net, **self.asked)

    def class_names(self, net: "keras.Model", model: str) -> tuple[str, ...] | None:
        """The names of a model's classes where they are known, one for each score."""
        from zfkeras.models.loading import load_class_names

        return self.predictor(net).class_names(load_class_names(model, self.labels))
