"""Training with plain `compile` and `fit`, after the papers' recipes; killed runs resume exactly.

A run lives in a folder: `state.npz` (everything the next epoch depends on), `history.json`,
`model.keras` once it is done, `snapshots/` and `tensorboard/` if asked for.
"""

import importlib.util
import math
import os
from collections.abc import Collection
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from zfkeras.data.batches import evaluation_batches, training_batches
from zfkeras.data.inputs import picture_shape
from zfkeras.data.preprocess import Augmentation
from zfkeras.data.sources import Source
from zfkeras.deprecation import renamed
from zfkeras.graph.heads import ends_in_softmax
from zfkeras.layers import PixelMean
from zfkeras.training.evaluation import Classifier, check_classes
from zfkeras.training.fingerprint import fingerprint
from zfkeras.training.optimizer import CoupledSGD, LearningRate
from zfkeras.training.recipes import Recipe
from zfkeras.training.run_state import RunState

STRATEGIES = ("none", "mirrored")


def strategy(name: str = "none") -> tf.distribute.Strategy:
    """The distribution strategy to build a model under.

    Args:
        name: "none" (one device) or "mirrored" (all GPUs of this machine, or else all its
            logical CPU devices).

    Returns:
        A strategy; make the model inside its `scope()` and `train` will use it.

    >>> strategy().num_replicas_in_sync
    1
    """
    if name not in STRATEGIES:
        raise ValueError(
            f"An unknown strategy. Allowed: {', '.join(STRATEGIES)}. Received: strategy={name!r}"
        )
    if name == "none":
        return tf.distribute.get_strategy()
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return tf.distribute.MirroredStrategy([device.name for device in devices])


@renamed(source="dataset", output="folder", verbose="progress")
def train(
    model: keras.Model,
    dataset: Source,
    recipe: Recipe,
    folder: str | os.PathLike,
    validation: Source | None = None,
    seed: int = 0,
    snapshots: Collection[int] = (),
    tensorboard: bool = False,
    callbacks: Collection[keras.callbacks.Callback] = (),
    progress: str | int = "auto",
) -> list[dict[str, float]]:
    """Trains a model, or goes on with a training that was interrupted in the same folder.

    The result of an interrupted training is the same, to the bit, as if it had not been (on the
    same machine): call again with the same arguments. An interrupted epoch is done again.

    Args:
        model: classifier of images (N, H, W, 3), RGB 0..255; trained in place. If it was made in
            a strategy's scope, it is trained there. Its `PixelMean` is adapted to the source.
        dataset: examples to learn from.
        recipe: settings.
        folder: folder of the run; made if it does not exist.
        validation: examples to measure on after each epoch, always whole and on one device; the
            schedule "plateau" needs them.
        seed: of the shuffling and augmentation. (Initial weights and dropout are the model's:
            call `keras.utils.set_random_seed` before making it.)
        snapshots: numbers of epochs, from 1, after which to keep `snapshots/epoch-0001.keras`.
        tensorboard: whether to log for TensorBoard.
        callbacks: more Keras callbacks. What they remember is not part of the saved state.
        progress: how much of it to show: `verbose` of Keras' `fit`.

    Returns:
        One dict of numbers for each epoch, as in `history.json`.

    Raises:
        ValueError: if the arguments do not fit together, or the folder holds another run.
        DivergedError: if the loss is no longer a number.
    """
    _check(model, dataset, recipe, validation)
    height, width, channels = picture_shape(model)
    size = height, width
    steps = dataset.cardinality // recipe.batch_size
    with model.distribute_strategy.scope():
        _compile(model, recipe, steps)
    state = RunState(model, Path(folder), fingerprint(model, dataset, recipe, seed))
    if not state.restore():
        _adapt_mean(model, dataset, recipe)
    if state.epoch < recipe.epochs:
        augmentation = Augmentation(
            size, recipe.scale, recipe.crop, recipe.flip, recipe.colour, channels
        )
        batches = training_batches(
            dataset, augmentation, recipe.batch_size, seed, recipe.epochs, state.epoch
        )
        model.fit(
            batches,
            steps_per_epoch=steps,
            initial_epoch=state.epoch,
            epochs=recipe.epochs,
            shuffle=False,
            verbose=progress,
            class_weight=_class_weight(dataset, recipe),
            callbacks=[
                *_callbacks(recipe, state, validation, snapshots, tensorboard),
                *callbacks,
            ],
        )
    model.save(state.folder / "model.keras")
    return state.history


class DivergedError(ValueError):
    """The loss of a training is not a finite number any more."""


# === Preparation ===


def _check(model: keras.Model, source: Source, recipe: Recipe, validation: Source | None) -> None:
    check_classes(model.output_shape, source)
    if len(source.class_names) < 2:
        raise ValueError(
            "With a single class there is nothing to tell apart: any net is right at once. "
            "Expected pictures of two classes or more, a directory for each. "
            f"Received: {source.name} with the classes {', '.join(source.class_names) or 'none'}"
        )
    if validation is not None and validation.class_names != source.class_names:
        raise ValueError(
            f"The validation pictures must have the classes {source.class_names}. "
            f"Received: validation.class_names={validation.class_names}"
        )
    if recipe.schedule == "plateau" and validation is None:
        raise ValueError(
            "The plateau schedule watches the validation error. Needed are validation pictures, "
            "or the schedule 'cosine'. Received: validation=None"
        )
    replicas = model.distribute_strategy.num_replicas_in_sync
    if recipe.batch_size % replicas:
        raise ValueError(
            f"The batch is spread over {replicas} devices. Allowed are multiples of {replicas}. "
            f"Received: batch_size={recipe.batch_size}"
        )
    if recipe.batch_size > source.cardinality:
        raise ValueError(
            f"A batch must have 1 to {source.cardinality} examples, all there are in "
            f"{source.name}. Received: batch_size={recipe.batch_size}"
        )


def _compile(model: keras.Model, recipe: Recipe, steps: int) -> None:
    rate: LearningRate = recipe.learning_rate
    if recipe.schedule == "cosine":
        rate = _cosine(recipe, steps)
    from_logits = not ends_in_softmax(model)
    model.compile(
        _optimizer(recipe, rate),
        keras.losses.SparseCategoricalCrossentropy(from_logits=from_logits),
        metrics=[keras.metrics.SparseCategoricalAccuracy("accuracy")],
    )
    model.optimizer.build(model.trainable_variables)


def _optimizer(recipe: Recipe, rate: LearningRate) -> keras.optimizers.Optimizer:
    if recipe.optimizer == "sgd":
        return CoupledSGD(rate, recipe.momentum, recipe.weight_decay)
    optimizer = keras.optimizers.AdamW(rate, recipe.weight_decay)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    return optimizer


def _cosine(recipe: Recipe, steps: int) -> keras.optimizers.schedules.LearningRateSchedule:
    warmup = round(min(recipe.warmup_epochs, recipe.epochs) * steps)
    decay = max(1, recipe.epochs * steps - warmup)
    schedule = keras.optimizers.schedules.CosineDecay
    if not warmup:
        return schedule(recipe.learning_rate, decay)
    return schedule(0.0, decay, warmup_target=recipe.learning_rate, warmup_steps=warmup)


def _adapt_mean(model: keras.Model, source: Source, recipe: Recipe) -> None:
    """Sets the pixel mean to that of the central crops of all training pictures (method.md)."""
    layers = [layer for layer in model.layers if isinstance(layer, PixelMean)]
    height, width, channels = picture_shape(model)
    for layer in layers:
        batches = evaluation_batches(
            source, (height, width), scale=recipe.scale[0], channels=channels
        )
        layer.adapt(batches)


def _class_weight(source: Source, recipe: Recipe) -> dict[int, float] | None:
    """What an example of each class counts: all classes alike, however many examples they have."""
    if recipe.class_weight == "none":
        return None
    labels = np.array([label for label, _ in source.labels_and_files()])
    counts = np.bincount(labels, minlength=len(source.class_names))
    weights = len(labels) / (np.count_nonzero(counts) * np.maximum(counts, 1))
    return dict(enumerate(weights.tolist()))


# === Callbacks ===


def _callbacks(
    recipe: Recipe,
    state: RunState,
    validation: Source | None,
    snapshots: Collection[int],
    tensorboard: bool,
) -> list[keras.callbacks.Callback]:
    """In the order they must run: measure, anneal, and only then remember."""
    callbacks: list[keras.callbacks.Callback] = [StopOnNaN()]
    if validation is not None:
        callbacks.append(Validate(validation))
    if recipe.schedule == "plateau":
        callbacks.append(Anneal(recipe, state))
    callbacks.append(Remember(state))
    if snapshots:
        callbacks.append(Snapshots(state.folder / "snapshots", snapshots))
    if tensorboard:
        callbacks.append(_tensorboard(state.folder / "tensorboard"))
    return callbacks


def _tensorboard(folder: Path) -> keras.callbacks.Callback:
    if importlib.util.find_spec("tensorboard") is None:
        raise ValueError(
            "TensorBoard is not installed. Needed is `pip install zfkeras[tensorboard]`. "
            "Received: tensorboard=True"
        )
    return keras.callbacks.TensorBoard(folder, write_graph=False)


class StopOnNaN(keras.callbacks.Callback):
    """Ends a training, naming epoch and step, as soon as the loss is not finite."""

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:  # noqa: ARG002
        """Notes the epoch."""
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Checks the epoch's mean loss so far: one nan step makes it nan."""
        loss = float((logs or {}).get("loss", 0.0))
        if not math.isfinite(loss):
            raise DivergedError(
                f"The loss is {loss} in epoch {self._epoch + 1}, step {batch + 1}. It must be "
                "finite: try a lower learning rate; the folder still holds the epoch before. "
                f"Received: learning_rate={float(self.model.optimizer.learning_rate):g}"
            )


class Validate(keras.callbacks.Callback):
    """Adds val_loss, val_accuracy and val_top5 to an epoch's numbers.

    Outside `fit`, because under a strategy a last batch that is smaller than the number of
    devices ends Keras' own validation with an error.
    """

    def __init__(self, validation: Source) -> None:
        super().__init__()
        self._validation = validation

    def on_train_begin(self, logs: dict | None = None) -> None:  # noqa: ARG002
        """Compiles the model for it, once."""
        self._classify = Classifier(self.model)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:  # noqa: ARG002
        """Classifies the validation pictures."""
        if logs is not None:
            result = self._classify(self._validation)
            logs |= {
                "val_loss": result.loss,
                "val_accuracy": result.accuracy,
                "val_top5": result.top(5),
            }


class Anneal(keras.callbacks.Callback):
    """Lowers the learning rate when the validation error has stalled (method.md, Training)."""

    def __init__(self, recipe: Recipe, state: RunState) -> None:
        super().__init__()
        self._recipe = recipe
        self._kept = state.kept
        for name, start in (("best", -1.0), ("wait", 0), ("drops", 0)):
            self._kept.setdefault(name, start)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:  # noqa: ARG002
        """Counts epochs without a better accuracy."""
        kept, accuracy = self._kept, (logs or {})["val_accuracy"]
        if accuracy > kept["best"]:
            kept["best"], kept["wait"] = accuracy, 0
            return
        kept["wait"] += 1
        if kept["wait"] >= self._recipe.patience and kept["drops"] < self._recipe.max_drops:
            optimizer = self.model.optimizer
            optimizer.learning_rate = float(optimizer.learning_rate) * self._recipe.factor
            kept["wait"], kept["drops"] = 0, kept["drops"] + 1


class Remember(keras.callbacks.Callback):
    """Writes the state of the run after each epoch."""

    def __init__(self, state: RunState) -> None:
        super().__init__()
        self._state = state

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Adds the learning rate to the numbers and saves."""
        if logs is not None:
            logs["learning_rate"] = float(self.model.optimizer.learning_rate)
        numbers = {name: float(value) for name, value in (logs or {}).items()}
        self._state.save({"epoch": epoch + 1} | numbers)


class Snapshots(keras.callbacks.Callback):
    """Keeps the model of chosen epochs, to look at the evolution of its features."""

    def __init__(self, folder: Path, epochs: Collection[int]) -> None:
        super().__init__()
        self._folder, self._epochs = folder, set(epochs)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:  # noqa: ARG002
        """Saves the model if this is one of the epochs."""
        if epoch + 1 in self._epochs:
            self._folder.mkdir(parents=True, exist_ok=True)
            self.model.save(self._folder / f"epoch-{epoch + 1:04d}.keras")
