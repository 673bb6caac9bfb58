"""Counts and latencies under TensorFlow Serving's names, in Prometheus' text form."""

import bisect
import itertools
import threading
from collections import Counter, defaultdict

_BOUNDS = [10 * 1.8**exponent for exponent in range(33)]  # microseconds
_PREFIX = ":tensorflow:serving:"


class _Histogram:
    """Latencies in microseconds."""

    def __init__(self) -> None:
        self._counts = [0] * (len(_BOUNDS) + 1)
        self._sum = 0.0

    def add(self, value: float) -> None:
        """Counts a value."""
        self._counts[bisect.bisect_left(_BOUNDS, value)] += 1
        self._sum += value

    def lines(self, name: str, labels: str) -> list[str]:
        """Its lines of text."""
        bounds = [*(f"{bound:.6g}" for bound in _BOUNDS), "+Inf"]
        sums = list(itertools.accumulate(self._counts))
        return [
            *(
                f'{name}_bucket{{{labels},le="{bound}"}} {count}'
                for bound, count in zip(bounds, sums, strict=True)
            ),
            f"{name}_sum{{{labels}}} {self._sum:.9g}",
            f"{name}_count{{{labels}}} {sums[-1]}",
        ]


class Metrics:
    """What has been asked so far."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: Counter[str] = Counter()
        self._latencies: dict[tuple[str, str], _Histogram] = defaultdict(_Histogram)

    def request(self, model: str, api: str, status: str, seconds: float) -> None:
        """Counts a request and, of one that was answered, its latency.

        Args:
            model: its model.
            api: "predict", "classify" or "regress".
            status: the name of gRPC's code.
            seconds: how long it took.
        """
        name = f'model_name="{_escaped(model)}"'
        labels = f'{name},API="{api}",entrypoint="REST"'
        with self._lock:
            self._requests[f'{name},status="{status}"'] += 1
            if status == "OK":
                self._latencies["request_latency", labels].add(1e6 * seconds)

    def run(self, model: str, api: str, seconds: float) -> None:
        """Counts how long a graph ran."""
        labels = f'model_name="{_escaped(model)}",API="{api}",runtime="TF2"'
        with self._lock:
            self._latencies["runtime_latency", labels].add(1e6 * seconds)

    def text(self) -> str:
        """All of it, as Prometheus reads it."""
        with self._lock:
            lines = [f"# TYPE {_PREFIX}request_count counter"]
            lines += [
                f"{_PREFIX}request_count{{{labels}}} {count}"
                for labels, count in self._requests.items()
            ]
            for kind, found in itertools.groupby(sorted(self._latencies), key=lambda key: key[0]):
                lines.append(f"# TYPE {_PREFIX}{kind} histogram")
                for key in found:
                    lines += self._latencies[key].lines(_PREFIX + kind, key[1])
        return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
