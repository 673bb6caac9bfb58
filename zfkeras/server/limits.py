"""What keeps a server answering: time for a request, order among requests, room for their bodies.

Work runs in threads, a `Queue` for each model and one for reading JSON. It is stopped
between two of its steps (`Job.check`) or, in TensorFlow, between two operations (`Job.stops`).
"""

import contextlib
import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from zfkeras.server.errors import ServingError

HEAVY = 0.1
"""Seconds from which on work is heavy: it must leave threads to what is light."""
_PATIENCE = 10  # work waits behind what came up to this many times its cost later
_HEAVY_THREADS = max(1, (os.cpu_count() or 1) // 4)  # TensorFlow gives each of them every core


@dataclass(frozen=True)
class Limits:
    """What a server bears.

    Attributes:
        timeout: seconds that a request may take once it is read; then 504.
        arrival: seconds in which its head, and then its body, must arrive; then 408.
        grace: seconds that requests under way get when the server ends.
        body: bytes of a request's body, also when inflated; above it 413.
        bodies: bytes of all bodies in memory; above it 503.
        queue: requests of a model that may wait; above it 503.
        connections: of clients; further ones are closed.
        threads: that answer light requests of a model; heavy ones have others.
    """

    timeout: float = 30.0
    arrival: float = 20.0
    grace: float = 10.0
    body: int = 64 << 20
    bodies: int = 256 << 20
    queue: int = 128
    connections: int = 512
    threads: int = max(2, os.cpu_count() or 1)

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise ValueError(f"A limit must be above 0. Received: {name}={value}")


class Job:
    """A request under way: until when, and whether anybody still waits for it.

    Args:
        seconds: how long it may take.
    """

    def __init__(self, seconds: float) -> None:
        self._deadline = time.monotonic() + seconds
        self._error: ServingError | None = None
        self._lock = threading.Lock()
        self._interrupt: Callable[[], None] | None = None

    def left(self) -> float:
        """Seconds left."""
        return max(0.0, self._deadline - time.monotonic())

    def stop(self, error: ServingError) -> None:
        """Ends it as soon as may be, from any thread."""
        with self._lock:
            self._error = self._error or error
            if self._interrupt:
                self._interrupt()

    def check(self) -> None:
        """To be called between steps of long work.

        Raises:
            ServingError: time is up, or nobody waits any more.
        """
        if self._error is None and not self.left():
            self.stop(timed_out())
        if self._error:
            raise self._error

    @contextlib.contextmanager
    def stops(self, interrupt: Callable[[], None]) -> Iterator[None]:
        """While in the block, `stop` calls `interrupt`."""
        with self._lock:
            self._interrupt = interrupt
            if self._error:
                interrupt()
        try:
            yield
        finally:
            with self._lock:
                self._interrupt = None


def timed_out() -> ServingError:
    """What is answered when time is up, in TensorFlow Serving's words."""
    return ServingError("Timed out waiting for notification", "DEADLINE_EXCEEDED")


def busy(what: str, seconds: float) -> ServingError:
    """What is answered when there is no room; worth another try after some seconds."""
    return ServingError(f"{what}; try again later", "UNAVAILABLE", max(1, math.ceil(seconds)))


@dataclass(frozen=True)
class _Task:
    future: "Future[Any]"
    function: Callable[[], Any]
    cost: Callable[[], float | None]
    arrived: float

    def heavy(self) -> bool:
        """Whether it may take all cores for long; what nobody knows may."""
        cost = self.cost()
        return cost is None or cost > HEAVY

    def turn(self) -> float:
        """The cheap ones first, but none waits for ever."""
        return self.arrived + _PATIENCE * (self.cost() or 0.0)


class Queue:
    """Threads that work off tasks, the cheap ones first; heavy ones leave threads to the light.

    Args:
        name: in messages.
        waiting: how many may wait.
        threads: for light tasks.
    """

    def __init__(self, name: str, waiting: int, threads: int) -> None:
        self._name, self._most = name, waiting
        self._tasks: list[_Task] = []
        self._changed = threading.Condition()
        self._heavy = 0
        for _ in range(threads + _HEAVY_THREADS):
            threading.Thread(target=self._work, name=name, daemon=True).start()

    def submit(
        self, function: Callable[[], Any], cost: Callable[[], float | None]
    ) -> "Future[Any]":
        """Runs a function when its turn comes; a future that is cancelled leaves the queue.

        Args:
            function: what to run.
            cost: seconds that it will take, asked when a thread is free; None: nobody knows.

        Raises:
            ServingError: too many wait.
        """
        task = _Task(Future(), function, cost, time.monotonic())
        with self._changed:
            self._tasks = [t for t in self._tasks if not t.future.cancelled()]
            if len(self._tasks) >= self._most:
                wait = sum(t.cost() or 0.0 for t in self._tasks) / _HEAVY_THREADS
                raise busy(f"The queue of {self._name} is full ({self._most} requests wait)", wait)
            self._tasks.append(task)
            self._changed.notify_all()
        return task.future

    def _work(self) -> None:
        while True:
            task, heavy = self._next()
            try:
                if task.future.set_running_or_notify_cancel():
                    _finish(task)
            finally:
                with self._changed:
                    self._heavy -= heavy
                    self._changed.notify_all()
            del task  # and what it holds, while this thread waits

    def _next(self) -> tuple[_Task, bool]:
        with self._changed:
            while not (ready := self._ready()):
                self._changed.wait()
            task = min(ready, key=_Task.turn)
            self._tasks.remove(task)
            heavy = task.heavy()
            self._heavy += heavy
            return task, heavy

    def _ready(self) -> list[_Task]:
        return [t for t in self._tasks if self._heavy < _HEAVY_THREADS or not t.heavy()]


def _finish(task: _Task) -> None:
    try:
        result = task.function()
    except BaseException as error:
        task.future.set_exception(error)
    else:
        task.future.set_result(result)


class Costs:
    """How long a row of each signature takes, from the last calls."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}

    def add(self, signature: str, rows: int, seconds: float) -> None:
        """Remembers a call."""
        new = seconds / max(1, rows)
        self._seconds[signature] = (self._seconds.get(signature, new) + new) / 2

    def of(self, signature: str, rows: int) -> float | None:
        """Seconds that a call will take; None: there was none yet."""
        seconds = self._seconds.get(signature)
        return None if seconds is None else seconds * max(1, rows)


class Room:
    """Bytes that requests may hold together.

    Args:
        size: how many.
    """

    def __init__(self, size: int) -> None:
        self._left = size

    @contextlib.contextmanager
    def holding(self) -> Iterator[Callable[[int], None]]:
        """A function that takes bytes, which are given back after the block.

        Raises:
            ServingError: by that function: there is no room.
        """
        held = 0

        def take(count: int) -> None:
            nonlocal held
            if count > self._left:
                raise busy("The server has no room for another body", 1)
            self._left -= count
            held += count

        try:
            yield take
        finally:
            self._left += held
