"""The search for top activations as an Apache Beam transform, for sets of many millions of images.

Beam brings the machines (Flink, Spark, Dataflow, or processes on this one); the work of one is a
shard of `top_activations`, and what they send is its small mergeable result. Needs the extra
``pip install zfkeras[beam]``.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import apache_beam as beam

from zfkeras.analysis.top_result import Results, merge_results


class MergeResults(beam.CombineFn):
    """Joins the results of shards, in whatever order and grouping Beam likes.

    Example:
        >>> combine = MergeResults()
        >>> combine.extract_output(combine.create_accumulator())
        {}
    """

    def create_accumulator(self) -> Results:
        """Nothing yet."""
        return {}

    def add_input(self, mutable_accumulator: Results, element: Results) -> Results:
        """One more shard."""
        return self.merge_accumulators([mutable_accumulator, element])

    def merge_accumulators(self, accumulators: Iterable[Results]) -> Results:
        """Several at once."""
        found = [results for results in accumulators if results]
        return merge_results(*found) if found else {}

    def extract_output(self, accumulator: Results) -> Results:
        """{layer: TopActivations}."""
        return accumulator


# (model, data set), made on the worker
Load = Callable[[], tuple[Any, Any]]


class TopActivations(beam.PTransform):
    """From the numbers of shards, 0 to `shards` - 1, to one {layer: TopActivations}.

    The result equals that of one process to the bit.

    Args:
        load: returns (model, data set) as `zfkeras.top_activations` takes them. It is called
            once in each worker, so it must be a function that can be pickled, of files that all
            workers can read.
        shards: number of parts; several times that of the workers, so that none waits long for
            another.
        layers: names of layers; None for all convolutions.
        **settings: `k`, `batch_size` and `scale` of `zfkeras.top_activations`.

    Example:
        ::

            with beam.Pipeline(options=options) as pipeline:
                (
                    pipeline
                    | beam.Create(range(64))
                    | TopActivations(load, shards=64, layers=["conv5"])
                    | beam.Map(save_results, "top.npz")
                )
    """

    def __init__(
        self,
        load: Load,
        shards: int,
        layers: Sequence[str] | None = None,
        **settings: Any,
    ) -> None:
        super().__init__()
        self._search = _SearchShard(load, shards, layers, settings)

    def expand(self, input_or_inputs: beam.PCollection) -> beam.PCollection:
        """Spreads the shards over the workers and joins what they find."""
        spread = input_or_inputs | "Spread" >> beam.Reshuffle()
        found = spread | "Search" >> beam.ParDo(self._search)
        return found | "Merge" >> beam.CombineGlobally(MergeResults())


class _SearchShard(beam.DoFn):
    """Searches one shard; model and data set are loaded when the worker starts."""

    def __init__(
        self,
        load: Load,
        shards: int,
        layers: Sequence[str] | None,
        settings: dict[str, Any],
    ) -> None:
        self._load = load
        self._shards = shards
        self._settings = {"layers": layers, **settings}

    def setup(self) -> None:
        self._model, self._dataset = self._load()

    def process(self, element: int) -> Iterator[Results]:
        # Here, because TensorFlow may only be imported in the workers.
        from zfkeras.analysis.top_activations import top_activations

        shard = (element, self._shards)
        yield top_activations(self._model, self._dataset, shard=shard, **self._settings)
