"""The state of a training on disk: all that its next epoch depends on, written atomically."""

import json
import os
from pathlib import Path

import keras
import numpy as np

from zfkeras.types import Json


class RunState:
    """Saves and restores weights, optimizer, random states and the numbers of a training.

    Keras' own `BackupAndRestore` does not bring back the states of dropout's random generators,
    so that a training resumed with it is another one.

    Args:
        model: compiled, with a built optimizer.
        folder: where to keep the state.
        fingerprint: JSON-like description of the training; a folder with another one is refused.

    Attributes:
        history: one dict of numbers for each finished epoch.
        kept: what callbacks want to remember between epochs.
    """

    def __init__(self, model: keras.Model, folder: Path, fingerprint: Json) -> None:
        self.folder = folder
        self.history: list[dict[str, float]] = []
        self.kept: Json = {}
        self._model = model
        # Through JSON, so that it equals what is read back (tuples become lists).
        self._fingerprint = json.loads(json.dumps(fingerprint))
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def epoch(self) -> int:
        """Number of finished epochs."""
        return len(self.history)

    @property
    def _path(self) -> Path:
        return self.folder / "state.npz"

    @property
    def _variables(self) -> list[keras.Variable]:
        # A layer's random generator keeps its state in one of the model's variables too.
        return [*self._model.variables, *self._model.optimizer.variables]

    def save(self, numbers: dict[str, float]) -> None:
        """Adds an epoch's numbers to the history and writes everything."""
        self.history.append(numbers)
        notes = {
            "fingerprint": self._fingerprint,
            "history": self.history,
            "kept": self.kept,
        }
        arrays = {f"{i:04d}": keras.ops.convert_to_numpy(v) for i, v in enumerate(self._variables)}
        partial = self._path.with_suffix(".partial")
        with partial.open("wb") as file:
            np.savez(file, notes=np.array(json.dumps(notes)), **arrays)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self._path)
        (self.folder / "history.json").write_text(json.dumps(self.history, indent=1))

    def restore(self) -> bool:
        """Goes back to the last finished epoch; False if there is none.

        Raises:
            ValueError: if the folder holds the state of another training.
        """
        if not self._path.exists():
            return False
        with np.load(self._path, allow_pickle=False) as stored:
            notes = json.loads(str(stored["notes"]))
            self._compare(notes["fingerprint"])
            for i, variable in enumerate(self._variables):
                variable.assign(stored[f"{i:04d}"])
        self.history, self.kept = notes["history"], notes["kept"]
        return True

    def _compare(self, stored: Json) -> None:
        for key, value in self._fingerprint.items():
            if stored.get(key, value) != value:  # older runs know fewer facts
                raise ValueError(
                    f"The folder {self.folder} holds a training with another {key}. Allowed is "
                    f"the same, to go on with it, or another folder. Stored: {stored.get(key)}. "
                    f"Received: {value}"
                )
