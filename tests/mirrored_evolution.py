"""Run by test_evolution: FeatureEvolution in a training on two logical CPUs."""

import json
import os
import sys
import warnings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf
from test_evolution import MAPS, check, fit, net, photos

from zfkeras.analysis.evolution import FeatureEvolution, load_evolution

warnings.simplefilter("ignore")  # Keras' own, of MirroredStrategy
CPU = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(CPU, [tf.config.LogicalDeviceConfiguration()] * 2)

strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    model = net()
fit(model, FeatureEvolution(photos(), maps=MAPS, epochs=[1, 2], folder=sys.argv[1]), epochs=2)
kept = load_evolution(sys.argv[1])
alone = net()
alone.set_weights(model.get_weights())
for found in kept.values():
    check(alone, found[-1])
print(
    json.dumps(
        {
            "replicas": strategy.num_replicas_in_sync,
            "epochs": [snapshot.epoch for snapshot in kept["conv1"]],
        }
    )
)
