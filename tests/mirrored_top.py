"""Run by test_top_activations: a search on two logical CPUs against one on a single CPU."""

import json
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
from test_top_activations import LAYERS, contents, small_net

from zfkeras.analysis.top_activations import merge_results, top_activations
from zfkeras.analysis.top_search import Searcher

CPU = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(CPU, [tf.config.LogicalDeviceConfiguration()] * 2)

images = np.random.default_rng(0).integers(0, 256, (26, 13, 18, 3)).astype("uint8")
settings = {"layers": LAYERS, "k": 3, "batch_size": 4}  # 7 batches: the last pair has one
alone = top_activations(small_net(), images, **settings)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    net = small_net()
    net.set_weights(small_net().get_weights())
    together = top_activations(net, images, **settings)
    shards = [top_activations(net, images, shard=(i, 3), **settings) for i in range(3)]
    replicas = Searcher(net, LAYERS, 3).replicas
print(
    json.dumps(
        {
            "replicas": replicas,
            "equal": contents(alone) == contents(together),
            "shards_equal": contents(alone) == contents(merge_results(*shards)),
        }
    )
)
