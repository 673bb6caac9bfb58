"""What a net answers while the occluder sweeps over several images, exactly or coarse to fine."""

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from tqdm import tqdm

from zfkeras.analysis.incremental import coarse
from zfkeras.analysis.incremental.planning import Lines, Task
from zfkeras.analysis.incremental.sweep import Sweep
from zfkeras.analysis.plain_sweep import Request

STEP = 3  # grid lines from one coarse line to the next
TOLERANCE = 0.25  # of the range of the probabilities over the coarse grid …
LEAST = 0.02  # … but at least this difference

Activate = Callable[[Any], Any]


def sweep_exactly(
    sweep: Sweep, request: Request, activate: Activate, progress: bool = False
) -> dict[str, Any]:
    """Every place of every image.

    Args:
        sweep: The occluder's sweep.
        request: What is asked.
        activate: Makes of the model's own outputs the scores to record.
        progress: Whether to show a progress bar.

    Returns:
        "probabilities" (N, R, S, K), "predicted" (N, R, S) and "activation" (N, R, S), as wanted.
    """
    tasks, views = sweep.tasks(), []
    for view in _views(sweep, request, activate, progress):
        view.look(tasks)
        views.append(view.closed())
    return _joined(views, request)


def sweep_coarsely(
    sweep: Sweep, request: Request, activate: Activate, progress: bool = False
) -> dict[str, Any]:
    """A coarse grid of places, and every place where it shows strong change.

    Returns:
        As `sweep_exactly`; and "evaluated" (N, R, S), the places that were looked at, and "error"
        (N,), the largest error of what goes from coarse to fine, interpolated at places held out:
        the probabilities or, where these are not wanted, the activation.
    """
    views, errors = [], []
    for view in _views(sweep, request, activate, progress):
        errors.append(_refine(sweep, view))
        views.append(view.closed())
    evaluated = np.stack([view.seen for view in views])
    return _joined(views, request) | {
        "evaluated": evaluated,
        "error": np.array(errors, np.float32),
    }


def _refine(sweep: Sweep, view: "_View") -> float:
    """Fills in one image's view; returns the largest error at places held out."""
    rows, columns = (coarse.coarse_lines(count, STEP) for count in view.predicted.shape)
    view.look(sweep.tasks(Lines(rows, columns)))
    at = np.ix_(rows, columns)
    guess = coarse.interpolated(view.values[at], rows, columns)
    classes = coarse.nearest(view.predicted[at], rows, columns)
    guide = view.values[at][..., : view.guides]
    # Probabilities are of order 1; a map's totals may be of any.
    scale = 1.0 if view.kept else np.abs(guide).max()
    cells = coarse.restless_cells(guide, TOLERANCE, LEAST * scale)
    restless = coarse.places_of(cells, rows, columns)
    for found in (coarse.held_out(rows, columns), *coarse.rectangles(restless & ~view.seen)):
        if not view.seen[np.ix_(*found)].all():
            view.look(sweep.tasks(Lines(*found)))
    tested = np.zeros_like(view.seen)
    tested[np.ix_(*coarse.held_out(rows, columns))] = True
    tested &= ~restless
    errors = np.abs(guess - view.values)[tested][:, : view.guides]
    view.values[~view.seen] = guess[~view.seen]
    view.predicted[~view.seen] = classes[~view.seen]
    return float(errors.max(initial=0.0))


class _View:
    """What is known of one image, place by place.

    Attributes:
        values: (R, S, K or K + 1) probabilities and, if wanted, the map's sum.
        kept: K; 0 where no scores are wanted.
        guides: How many of the values say where to look more closely: K, or 1 for the sum.
        predicted: (R, S)
        seen: (R, S) which places were looked at.
    """

    def __init__(
        self, sweep: Sweep, request: Request, activate: Activate, index: int, bar: tqdm
    ) -> None:
        self._sweep, self._activate = sweep, activate
        self._request = request
        self._index = index
        self._bar = bar
        channel = 0 if request.channel is None else int(request.channel[index])
        self._clean: Any = sweep.clean(request.images[index], channel)
        self.kept = 0 if request.classes is None else request.classes.shape[1]
        self.guides = self.kept or 1
        width = self.kept + (request.channel is not None)
        self.values = np.zeros((*sweep.grid, width), np.float32)
        self.predicted = np.zeros(sweep.grid, np.int64)
        self.seen = np.zeros(sweep.grid, bool)

    def look(self, tasks: Iterable[Task]) -> None:
        """Looks at the places of some tasks."""
        request, n = self._request, self._index
        for task in tasks:
            at = np.ix_(*task.lines)
            scores, sums = self._sweep.run(task, self._clean, request.fill[n])
            if request.classes is not None:
                answers = np.asarray(self._activate(scores))
                self.values[..., : self.kept][at] = answers[..., request.classes[n]]
                self.predicted[at] = answers.argmax(axis=-1)
            if sums is not None:
                self.values[..., -1][at] = sums
            self._bar.update(int((~self.seen[at]).sum()))
            self.seen[at] = True

    def closed(self) -> "_View":
        """The view without the maps of its image."""
        self._clean = None
        return self


def _views(sweep: Sweep, request: Request, activate: Activate, progress: bool) -> Iterator[_View]:
    count, places = len(request.images), math.prod(sweep.grid)
    with tqdm(total=count * places, desc="occluding", unit="place", disable=not progress) as bar:
        for n in range(count):
            yield _View(sweep, request, activate, n, bar)
            bar.update((n + 1) * places - bar.n)  # a coarse view leaves places out


def _joined(views: list[_View], request: Request) -> dict[str, Any]:
    values = np.stack([view.values for view in views])
    found = {}
    if request.classes is not None:
        found["probabilities"] = values[..., : request.classes.shape[1]]
        found["predicted"] = np.stack([view.predicted for view in views])
    if request.channel is not None:
        found["activation"] = values[..., -1]
    return found
