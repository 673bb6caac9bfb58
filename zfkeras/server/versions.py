"""The versions of a model: found by polling its directory, loaded beside the old, swapped in."""

import logging
import threading
from dataclasses import dataclass
from pathlib import Path

from zfkeras.server.config import ModelConfig
from zfkeras.server.errors import ServingError
from zfkeras.server.servable import Servable

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class VersionState:
    """Where a version stands: LOADING, AVAILABLE or END, with the error that ended it."""

    state: str
    error_code: str = "OK"
    error_message: str = ""


def versions_in(base_path: Path) -> dict[int, Path]:
    """Version directories (their names are ASCII digits, an int64), in ascending order."""
    try:
        paths = [p for p in base_path.iterdir() if _is_version(p.name) and p.is_dir()]
    except OSError:  # missing, or gone while we looked
        return {}
    return dict(sorted((int(path.name), path) for path in paths))


def _is_version(name: str) -> bool:
    return name.isascii() and name.isdigit() and int(name) < 2**63


def _fingerprint(path: Path) -> frozenset[tuple[str, int, int]]:
    """Changes when a file under `path` does: what failed to load is tried again only then."""
    try:
        stats = [(str(file), file.stat()) for file in path.rglob("*")]
    except OSError:
        return frozenset()
    return frozenset((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats)


class Model:
    """A model's loaded versions.

    Availability comes first: a version goes only after every wanted one is up, and one that
    fails to load (or to answer its warm-up records) leaves the old ones serving.

    Args:
        config: what to serve.
    """

    def __init__(self, config: ModelConfig):
        self.config = config
        self._states: dict[int, VersionState] = {}
        self._servables: dict[int, Servable] = {}
        self._failed: dict[int, frozenset[tuple[str, int, int]]] = {}
        self._polling = threading.Lock()

    def poll(self) -> None:
        """Looks at the directory once: loads what is new and unloads what is not wanted."""
        with self._polling:
            found = versions_in(self.config.base_path)
            while missing := self._wanted(found) - self._servables.keys():
                self._load(min(missing), found[min(missing)])
            if not found or self._wanted(found):
                self._unload(self._servables.keys() - self._wanted(found))

    def _wanted(self, found: dict[int, Path]) -> set[int]:
        """What the policy picks of the versions that have not failed as they are now."""
        return set(self.config.versions([v for v, p in found.items() if not self._broken(v, p)]))

    def _broken(self, version: int, path: Path) -> bool:
        return version in self._failed and self._failed[version] == _fingerprint(path)

    def _load(self, version: int, path: Path) -> None:
        fingerprint = _fingerprint(path)
        self._states[version] = VersionState("LOADING")
        try:
            servable = Servable(path)
        except Exception as error:
            # Whatever is wrong with a file, the server and its other versions live on.
            self._failed[version] = fingerprint
            self._fail(version, error)
        else:
            self._servables = {**self._servables, version: servable}
            self._states[version] = VersionState("AVAILABLE")
            _log.info("%s: version %d is available", self.config.name, version)

    def _fail(self, version: int, error: Exception) -> None:
        code = getattr(error, "code", None)
        message = f"{type(error).__name__}: {error}"
        self._states[version] = VersionState(
            "END", code if isinstance(code, str) else "UNKNOWN", message
        )
        _log.warning("%s: version %d failed to load: %s", self.config.name, version, message)

    def _unload(self, versions: set[int]) -> None:
        # Requests that hold an old servable finish with it: the dictionary is replaced.
        self._servables = {v: s for v, s in self._servables.items() if v not in versions}
        for version in versions:
            self._states[version] = VersionState("END")
            _log.info("%s: version %d is unloaded", self.config.name, version)

    def states(self) -> dict[int, VersionState]:
        """All versions seen so far, newest first."""
        return dict(sorted(self._states.items(), reverse=True))

    def servable(
        self, version: int | None = None, label: str | None = None
    ) -> tuple[int, Servable]:
        """The version to answer with (the newest available by default), and its number.

        Raises:
            ServingError: there is none.
        """
        servables = self._servables
        if label is not None:
            if label not in self.config.labels:
                raise ServingError(f"Unrecognized servable version label: {label}")
            version = self.config.labels[label]
        wanted = max(servables, default=None) if version is None else version
        if wanted not in servables or wanted is None:
            name = self.config.name
            what = f"Latest({name})" if version is None else f"Specific({name}, {version})"
            raise ServingError(f"Servable not found for request: {what}", "NOT_FOUND")
        return wanted, servables[wanted]
