"""Results in one file: what every analysis returns can be saved and loaded without pickle."""

import io
import json
import os
import zipfile
from pathlib import Path
from typing import Any, Self

import numpy as np

from zfkeras.image import write_atomically

_SETTINGS = "settings"  # the entry that holds, as JSON, all fields that are no arrays


class Result:
    """A frozen dataclass of arrays, numbers, strings, tuples of these and None, kept in a file.

    Example:
        >>> import dataclasses, tempfile
        >>> @dataclasses.dataclass(frozen=True, eq=False)
        ... class Curve(Result):
        ...     heights: np.ndarray
        ...     name: str
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Curve.load(Curve(np.arange(3), "up").save(f"{folder}/curve.npz"))
        Curve(heights=array([0, 1, 2]), name='up')
    """

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Writes everything to one .npz file, whole or not at all."""
        arrays = {k: value for k, value in vars(self).items() if isinstance(value, np.ndarray)}
        others = {k: value for k, value in vars(self).items() if k not in arrays}
        buffer = io.BytesIO()
        arrays[_SETTINGS] = np.array(json.dumps(others, default=np.generic.item))
        np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
        return write_atomically(path, buffer.getvalue())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Reads what `save` wrote; runs no code from the file.

        Raises:
            ValueError: The file holds something else.
        """
        try:
            # Opened here, for np.load would leave a damaged file open.
            with Path(path).open("rb") as stream, np.load(stream, allow_pickle=False) as file:
                found = {name: file[name] for name in file.files}
            settings = json.loads(str(found.pop(_SETTINGS)))
            return cls(**found, **{name: _tuples(value) for name, value in settings.items()})
        except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(
                f"This file holds no {cls.__name__.lower()}. Expected an .npz file written by "
                f"{cls.__name__}.save. Received: path={os.fspath(path)!r}"
            ) from error


def _tuples(value: Any) -> Any:
    """JSON's lists as the tuples they were."""
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value
