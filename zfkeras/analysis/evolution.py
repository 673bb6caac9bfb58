"""How features come about in training (paper Sect. 4, Fig. 4; method.md, Strongest units).

At chosen epochs the strongest activation of some feature maps over a data set is found anew and
projected down to the pixels. Where a picture jumps from one epoch to the next, another image has
become the strongest.
"""

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from zfkeras import image
from zfkeras.analysis.top_activations import top_activations
from zfkeras.analysis.top_result import TopActivations
from zfkeras.data.stream import Dataset, Stream, stream
from zfkeras.deconvnet.net import DeconvNet
from zfkeras.deconvnet.rules import Rules
from zfkeras.files import file_name
from zfkeras.graph.feature_layers import convolutions
from zfkeras.graph.walking import walk
from zfkeras.results import Result

PAPER_EPOCHS = (1, 2, 5, 10, 20, 30, 40, 64)
Maps = int | Mapping[str, Sequence[int]]


@dataclass(frozen=True, eq=False, repr=False)
class Snapshot(Result):
    """What M feature maps of a layer look for after an epoch.

    Attributes:
        layer: Name of the layer.
        epoch: Epochs trained, from 1.
        channels: (M,) the feature maps.
        pixels: (M, h, w, 3) float32: projection of each map's strongest unit, on the unit's
            receptive field; zero where that hangs over the image's border.
        patches: (M, h, w, 3) float32: the image there, mid-grey where there is none.
        values: (M,) the strongest activation.
        keys: (M,) number of the image in the data set.
        files: (M,) its file, "" where there is none.
    """

    layer: str
    epoch: int
    channels: NDArray[np.int64]
    pixels: NDArray[np.float32]
    patches: NDArray[np.float32]
    values: NDArray[np.float32]
    keys: NDArray[np.int64]
    files: NDArray[np.str_]


class FeatureEvolution(keras.callbacks.Callback):
    """Keeps what feature maps look for at chosen epochs of `fit`: the data of Fig. 4.

    Writes one file per layer and epoch, so a training that is resumed goes on with the series;
    `load_evolution` reads them all. Under `tf.distribute.MirroredStrategy` the search uses every
    replica.

    Args:
        dataset: Images to search: whatever `top_activations` takes.
        layers: Names of layers; None for all convolutions.
        maps: Number of maps of each layer, spread evenly, or {layer: channels}.
        epochs: After which epochs to look, from 1; the paper's by default.
        folder: Where to write; made if it does not exist.
        tensorboard: Folder of TensorBoard logs to write the pictures to as well; None for none.
        batch_size: Images at a time.
        rules: Your own reverse rules, as for `DeconvNet`.

    Raises:
        ValueError: Epochs below 1 or maps that the model does not have (at the start of `fit`).

    Example:
        >>> pixels = keras.Input((12, 10, 3))
        >>> maps = keras.layers.Conv2D(4, 3, activation="relu", name="conv1")(pixels)
        >>> net = keras.Model(pixels, keras.layers.Dense(2)(keras.layers.Flatten()(maps)))
        >>> net.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        >>> images = np.random.default_rng(0).uniform(0, 1, (8, 12, 10, 3)).astype("float32")
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     callback = FeatureEvolution(images, ["conv1"], 2, epochs=[1, 3], folder=folder)
        ...     history = net.fit(images, np.arange(8) % 2, epochs=3, verbose=0, callbacks=callback)
        ...     [(s.epoch, s.pixels.shape) for s in load_evolution(folder)["conv1"]]
        [(1, (2, 3, 3, 3)), (3, (2, 3, 3, 3))]
    """

    def __init__(
        self,
        dataset: Dataset,
        layers: Sequence[str] | None = None,
        maps: Maps = 6,
        epochs: Collection[int] = PAPER_EPOCHS,
        folder: str | os.PathLike[str] = "evolution",
        tensorboard: str | os.PathLike[str] | None = None,
        batch_size: int = 32,
        rules: Rules | None = None,
    ) -> None:
        super().__init__()
        if not epochs or min(epochs) < 1:
            raise ValueError(
                f"`epochs` must name some epochs, counted from 1. Received: epochs={epochs}"
            )
        self._dataset, self._layers, self._maps = dataset, layers, maps
        self._epochs, self._folder = frozenset(epochs), Path(folder)
        self._writer = (
            None if tensorboard is None else tf.summary.create_file_writer(os.fspath(tensorboard))
        )
        self._batch_size, self._rules = batch_size, rules

    def on_train_begin(self, logs: dict | None = None) -> None:  # noqa: ARG002
        """Checks layers and maps, before hours have been spent."""
        self._channels = chosen_maps(self.model, self._layers, self._maps)
        size = walk(self.model).shapes[0][1:]
        self._stream = stream(self._dataset, size)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:  # noqa: ARG002
        """Looks, if this is one of the epochs."""
        if epoch + 1 not in self._epochs:
            return
        with self.model.distribute_strategy.scope():
            found = snapshots(
                self.model,
                self._stream,
                self._channels,
                epoch + 1,
                self._batch_size,
                rules=self._rules,
            )
        for snapshot in found:
            save_snapshot(snapshot, self._folder)
            self._summarise(snapshot)

    def _summarise(self, snapshot: Snapshot) -> None:
        if self._writer is None:
            return
        pictures = [image.to_display(pixels) for pixels in snapshot.pixels]
        with self._writer.as_default():
            tf.summary.image(
                f"evolution/{snapshot.layer}", image.grid(pictures)[None], step=snapshot.epoch
            )
        self._writer.flush()


def chosen_maps(
    model: keras.Model, layers: Sequence[str] | None = None, maps: Maps = 6
) -> dict[str, list[int]]:
    """The feature maps to watch: {layer: channels}.

    Args:
        model: The model.
        layers: Names of layers; None for all convolutions, or those that `maps` names.
        maps: Number of maps of each layer, spread evenly, or {layer: channels}.

    Raises:
        ValueError: A layer or channel that the model does not have.

    Example:
        >>> net = keras.Sequential([keras.Input((9, 8, 3)), keras.layers.Conv2D(9, 3, name="c")])
        >>> chosen_maps(net, maps=3)
        {'c': [0, 3, 6]}
    """
    graph = walk(model)
    if layers is None:
        layers = list(maps) if isinstance(maps, Mapping) else convolutions(model)
    chosen = {}
    for layer in layers:
        depth = int(graph.shapes[graph.find(layer)][-1] or 0)
        if isinstance(maps, Mapping):
            wanted = [int(channel) for channel in maps.get(layer, ())]
        else:
            count = min(maps, depth)
            wanted = [depth * i // count for i in range(count)]
        if not wanted or not 0 <= min(wanted) <= max(wanted) < depth:
            raise ValueError(
                f"`maps` must name feature maps of layer {layer!r}, 0 to {depth - 1}, or say how "
                f"many. Received: maps={maps!r}"
            )
        chosen[layer] = wanted
    return chosen


def snapshots(
    model: keras.Model,
    dataset: Dataset,
    channels: Mapping[str, Sequence[int]],
    epoch: int,
    batch_size: int = 32,
    progress: bool = False,
    rules: Rules | None = None,
) -> list[Snapshot]:
    """What the given feature maps look for now, one `Snapshot` per layer.

    Args:
        model: The model as it is after `epoch`.
        dataset: Images to search: whatever `top_activations` takes.
        channels: {layer: feature maps}.
        epoch: Number to write on it.
        batch_size: Images at a time.
        progress: Whether to show progress bars.
        rules: Your own reverse rules, as for `DeconvNet`.
    """
    row = stream(dataset, walk(model).shapes[0][1:])
    top = top_activations(model, row, list(channels), k=1, batch_size=batch_size, progress=progress)
    deconv = DeconvNet(model, rules=rules)
    return [
        _snapshot(deconv, row, top[layer], np.array(wanted), epoch, batch_size)
        for layer, wanted in channels.items()
    ]


def _snapshot(
    deconv: DeconvNet,
    row: Stream,
    top: TopActivations,
    channels: NDArray,
    epoch: int,
    batch_size: int,
) -> Snapshot:
    keys, index = np.unique(top.keys[channels, 0], return_inverse=True)
    images, _, _ = row.pick(keys)
    units = np.column_stack([index, top.positions[channels, 0], channels])
    found = deconv.project_units(images, top.layer, units, batch_size)
    return Snapshot(
        layer=top.layer,
        epoch=epoch,
        channels=channels,
        pixels=found.pixels,
        patches=np.asarray(found.patches(images, fill_value=128.0), "float32"),
        values=found.values,
        keys=top.keys[channels, 0],
        files=top.files[channels, 0],
    )


def save_snapshot(snapshot: Snapshot, folder: str | os.PathLike[str]) -> Path:
    """Writes a snapshot to its file in `folder`, whole or not at all."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    name = f"{file_name(snapshot.layer)}-epoch-{snapshot.epoch:04d}.npz"
    return snapshot.save(Path(folder) / name)


def load_evolution(folder: str | os.PathLike[str]) -> dict[str, list[Snapshot]]:
    """All snapshots of a folder: {layer: snapshots in the order of their epochs}.

    Raises:
        ValueError: There are none.
    """
    found = [Snapshot.load(path) for path in sorted(Path(folder).glob("*-epoch-*.npz"))]
    if not found:
        raise ValueError(
            "There is no evolution here; needed is a folder that FeatureEvolution wrote to, or one "
            "of models epoch-NUMBER.keras and pictures to show them (zfkeras evolution --data). "
            f"Received: folder={os.fspath(folder)!r}"
        )
    layers = dict.fromkeys(snapshot.layer for snapshot in found)
    return {
        layer: sorted((s for s in found if s.layer == layer), key=lambda s: s.epoch)
        for layer in layers
    }
