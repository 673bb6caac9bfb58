"""What the search for top activations costs, relative to the bare forward pass to conv5.

    python benchmarks/top_activations.py [--images 1024] [--batch-size 32] [--model zfnet]

Both go over the same images; batches alternate between them, so that neighbours on the machine
hurt both alike, and CPU seconds of this process are compared.
"""

import argparse
import resource
import time

import keras
import numpy as np
import tensorflow as tf

from zfkeras.analysis import top_activations as module
from zfkeras.analysis.top_search import Searcher
from zfkeras.data.stream import stream
from zfkeras.graph.walking import walk
from zfkeras.models.zfnet import ZFNet


def pictures(count: int, seed: int = 0) -> np.ndarray:
    """Smooth noise in all strengths, so that the ranking changes to the end."""
    rng = np.random.default_rng(seed)
    small = rng.uniform(0, 255, (count, 14, 14, 3))
    return np.stack([tf.image.resize(image, (224, 224)).numpy() for image in small]).astype("uint8")


def main() -> None:
    """Prints the ratio of CPU seconds."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=1024)
    parser.add_argument("--batch-size", type=int, default=32)
    arguments = parser.parse_args()
    keras.utils.set_random_seed(0)
    model = ZFNet(classes=10, kernel_initializer="he_normal")
    layers = module.convolutions(model)
    graph = walk(model)
    steps, deepest = graph.steps_to(graph.find(layers[-1])), graph.find(layers[-1])
    bare = tf.function(
        lambda x: graph.run(tf.cast(x, graph.dtype), steps)[deepest], autograph=False
    )
    row = stream(pictures(arguments.images), (224, 224, 3))
    searcher = Searcher(model, layers, k=9)
    results = module._empty_results(searcher, row, arguments.batch_size)
    batches = list(row.batches(arguments.batch_size))
    bare(batches[0].images)
    module._searched(searcher, results, batches[:1], 0)  # traced and warm, result dropped
    seconds = {"bare": [], "search": []}
    start = 0
    for batch in batches:
        before = time.process_time()
        bare(batch.images).numpy()
        between = time.process_time()
        results, start = module._searched(searcher, results, [batch], start)
        seconds["bare"].append(between - before)
        seconds["search"].append(time.process_time() - between)
    totals = {name: sum(values) for name, values in seconds.items()}
    ratios = np.array(seconds["search"]) / np.array(seconds["bare"])
    print(f"{arguments.images} images, layers {', '.join(layers)}")
    print("CPU seconds", {name: round(value, 2) for name, value in totals.items()})
    print(
        f"ratio of totals {totals['search'] / totals['bare']:.3f}, median of batches "
        f"{np.median(ratios):.3f}, first four {np.round(ratios[:4], 2)}, "
        f"last quarter {np.median(ratios[-len(ratios) // 4 :]):.3f}"
    )
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")


main()
