"""The plain way to occlude, the measure of all others: the net runs on every occluded image."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tqdm import tqdm

from zfkeras.analysis.incremental.watch import Question
from zfkeras.analysis.occluder import occlude
from zfkeras.graph.walking import walk

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]
Watcher = Callable[[tf.Tensor], tuple[tf.Tensor | None, tf.Tensor | None]]


def watcher(
    model: keras.Model, layer: str | None, scores: bool = True, softmax: bool = False
) -> Watcher:
    """A function from images to class scores [N, classes] and the sum of each map [N, maps].

    What is not wanted is None, and nothing is computed for it alone. All is in float32, whatever
    the model computes in.

    Args:
        model: Any model; with `layer` it must be one that can be walked.
        layer: Whose maps are summed up, or None.
        scores: Whether the scores are wanted.
        softmax: Whether to turn them into probabilities.
    """

    def answer(outputs: tf.Tensor) -> tf.Tensor:
        outputs = tf.cast(outputs, tf.float32)
        return tf.nn.softmax(outputs) if softmax else outputs

    def total(maps: tf.Tensor) -> tf.Tensor:  # a dense layer's units are maps of one place
        return tf.reduce_sum(tf.cast(maps, tf.float32), axis=list(range(1, maps.shape.rank - 1)))

    if layer is None:
        return lambda images: (answer(model(images, training=False)), None)
    graph = walk(model)
    # A model with one output computes it in its last step.
    last, tapped = graph.steps[-1].outputs[0], graph.find(layer)
    steps = graph.steps if scores else graph.steps_to(tapped)

    def watch(images: tf.Tensor) -> tuple[tf.Tensor | None, tf.Tensor]:
        values = graph.run(images, steps)
        return answer(values[last]) if scores else None, total(values[tapped])

    return watch


def whole_images(
    watch: Watcher, images: Floats, batch_size: int
) -> tuple[Floats | None, Floats | None]:
    """What a watcher tells of images as they are."""
    run = tf.function(watch, reduce_retracing=True)
    batches = [
        run(tf.constant(images[start : start + batch_size]))
        for start in range(0, len(images), batch_size)
    ]
    scores, sums = (
        None if parts[0] is None else np.concatenate(parts) for parts in zip(*batches, strict=True)
    )
    return scores, sums


def sweep_plainly(
    watch: Watcher,
    question: Question,
    rows: Integers,
    columns: Integers,
    patch: tuple[int, int],
    batch_size: int,
    progress: bool = False,
) -> dict[str, Any]:
    """Every place of every image, `batch_size` at a time.

    Returns:
        As `zfkeras.analysis.incremental.watch.sweep_exactly`.
    """

    @tf.function(reduce_retracing=True)
    def look(batch, row, column, shown, classes, channel):  # type: ignore[no-untyped-def]
        scores, sums = watch(occlude(batch, row, column, patch, shown))
        seen = {}
        if scores is not None:
            seen["probabilities"] = tf.gather(scores, classes, axis=1, batch_dims=1)
            seen["predicted"] = tf.argmax(scores, axis=1)
        if sums is not None:
            seen["activation"] = tf.gather(sums, channel, axis=1, batch_dims=1)
        return seen

    images, classes, channel = question.images, question.classes, question.channel
    places = (len(images), len(rows), len(columns))
    count, parts = int(np.prod(places)), []
    starts = range(0, count, batch_size)
    for start in tqdm(starts, desc="occluding", unit="batch", disable=not progress):
        image, row, column = np.unravel_index(
            np.arange(start, min(start + batch_size, count)), places
        )
        wanted = None if classes is None else classes[image]
        strongest = None if channel is None else channel[image]
        seen = look(images[image], rows[row], columns[column], question.fill[image], wanted,
                    strongest)  # fmt: skip
        parts.append({name: values.numpy() for name, values in seen.items()})
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return {name: values.reshape(*places, *values.shape[1:]) for name, values in joined.items()}
