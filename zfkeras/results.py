"""Results: what every analysis and projection returns, kept in files and shown in notebooks."""

import base64
import dataclasses
import importlib
import io
import json
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from zfkeras.files import write_atomically
from zfkeras.types import Json

_SETTINGS = "settings"  # the entry that holds, as JSON, all fields that are no arrays
_CLASS = "result"  # and, among them, the class


class Result:
    """A frozen dataclass of arrays, numbers, strings, tuples of these, None and smaller results.

    Subclasses are decorated with ``dataclass(frozen=True, eq=False, repr=False)``: two results are
    equal if they are one, and are printed on one line.

    Where `_parts` names fields that hold smaller results (or None), with their classes, the fields
    of these can be had from the whole, too: as None where there is no such part.

    Example:
        >>> import tempfile
        >>> @dataclasses.dataclass(frozen=True, eq=False, repr=False)
        ... class Curve(Result):
        ...     heights: np.ndarray
        ...     name: str
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Curve.load(Curve(np.arange(3), "up").save(f"{folder}/curve.npz"))
        Curve(heights=(3,), name='up')
    """

    _parts: ClassVar[dict[str, type["Result"]]] = {}
    _compressed: ClassVar[bool] = True  # False: its arrays are noise to a compressor

    @classmethod
    def of(cls, **values: Any) -> Self:
        """A result from its fields and those of its parts, all by name."""
        for name, part in cls._parts.items():
            mine = {key: values.pop(key) for key in _names(part) if key in values}
            is_there = any(mine.get(key) is not None for key in _names(part, required=True))
            values.setdefault(name, part.of(**mine) if is_there else None)
        return cls(**values)

    def flat(self) -> Json:
        """All fields by name, those of the parts instead of the parts."""
        found: Json = {}
        for name, value in vars(self).items():
            if name not in self._parts:
                found[name] = value
            elif value is not None:
                found |= value.flat()
        return found

    def replace(self, **changes: Any) -> Self:
        """The same but for some fields, its own or its parts'."""
        return type(self).of(**self.flat() | changes)

    def __getattr__(self, name: str) -> Any:
        for part, cls in type(self)._parts.items():
            if name in _names(cls):
                return getattr(vars(self)[part], name, None)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Writes everything to one .npz file, whole or not at all; it holds no pickle."""
        flat = self.flat()
        arrays = {name: value for name, value in flat.items() if isinstance(value, np.ndarray)}
        others = {name: value for name, value in flat.items() if name not in arrays}
        others[_CLASS] = type(self).__name__
        arrays[_SETTINGS] = np.array(json.dumps(others, default=np.generic.item))
        buffer = io.BytesIO()
        write = np.savez_compressed if self._compressed else np.savez
        write(buffer, **arrays)  # type: ignore[arg-type]
        return write_atomically(path, buffer.getvalue())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Reads what `save` wrote; runs no code from the file.

        Raises:
            ValueError: The file holds something else.
        """
        try:
            values, name = _read(path)
            if name not in (None, cls.__name__):
                raise ValueError(f"it holds a {name}")
            return cls.of(**values)
        except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(
                f"This file holds no {cls.__name__.lower()}. Expected an .npz file written by "
                f"{cls.__name__}.save. Received: path={os.fspath(path)!r}"
            ) from error

    def __repr__(self) -> str:
        facts = ", ".join(_facts(self.flat()))
        facts = facts if len(facts) <= 160 else facts[:160].rpartition(", ")[0] + ", …"
        return f"{type(self).__name__}({facts})"

    def plot(self, *args: Any, **options: Any) -> Any:
        """Draws the result; see `zfkeras.report.plots` for what else each kind takes.

        Returns:
            A matplotlib figure, which notebooks show.
        """
        # By its name: drawing lies above everything that can be drawn, and needs matplotlib.
        plots = importlib.import_module("zfkeras.report.plots")
        return plots.plot(self, *args, **options)

    def _repr_html_(self) -> str:
        buffer = io.BytesIO()
        self.plot().savefig(buffer, format="png", dpi=100)
        data = base64.b64encode(buffer.getvalue()).decode()
        return f'<img alt="{type(self).__name__}" src="data:image/png;base64,{data}">'


def load_results(path: str | os.PathLike[str]) -> Any:
    """Reads any file that a result's `save`, a search or the command line wrote.

    Returns:
        The result, of the class that was saved; of a search {layer: `TopActivations`}.

    Raises:
        ValueError: The file holds no result of ours.
    """
    zfkeras = importlib.import_module("zfkeras")
    try:
        values, name = _read(path)
    except KeyError:  # that of a search
        return zfkeras.TopActivations.load_all(path)
    except (ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise _no_result(path) from error
    cls = getattr(zfkeras, name or "", None) if name in zfkeras.__all__ else None
    if not (isinstance(cls, type) and issubclass(cls, Result)):
        raise _no_result(path)
    return cls.of(**values)


def _no_result(path: str | os.PathLike[str]) -> ValueError:
    return ValueError(
        "This file holds no result that names its kind. Expected an .npz file that a result's "
        "`save` wrote; older ones are read by their class' `load`. "
        f"Received: path={os.fspath(path)!r}"
    )


def _read(path: str | os.PathLike[str]) -> tuple[Json, str | None]:
    """The fields in a file by name, and the class that was saved, if the file tells."""
    # Opened here, for np.load would leave a damaged file open.
    with Path(path).open("rb") as stream, np.load(stream, allow_pickle=False) as file:
        found = {name: file[name] for name in file.files}
    settings = json.loads(str(found.pop(_SETTINGS)))
    name = settings.pop(_CLASS, None)
    return found | {key: _tuples(value) for key, value in settings.items()}, name


def _tuples(value: object) -> object:
    """JSON's lists as the tuples they were."""
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def _names(cls: type[Result], required: bool = False) -> list[str]:
    fields = dataclasses.fields(cls)  # type: ignore[arg-type]
    return [f.name for f in fields if not required or f.default is dataclasses.MISSING]


def _facts(values: Json) -> Iterator[str]:
    """Arrays by their shapes, other values as they are; what isn't there isn't said."""
    for name, value in values.items():
        if isinstance(value, np.ndarray):
            yield f"{name}={value.shape}"
        elif value not in (None, "", ()):
            text = repr(value)
            yield f"{name}={text if len(text) < 40 else text[:39] + '…'}"
