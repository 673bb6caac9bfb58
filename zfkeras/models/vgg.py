"""VGG: the nets of Simonyan & Zisserman (2015), Table 1."""

import keras

from zfkeras.models.architecture import Architecture, Conv, Initializer, Pool
from zfkeras.models.weights import STANDARD, built, merged_arguments
from zfkeras.validate import choice

_KERNELS: dict[str, tuple[tuple[int, ...], ...]] = {
    "A": ((3,), (3,), (3, 3), (3, 3), (3, 3)),
    "A-LRN": ((3,), (3,), (3, 3), (3, 3), (3, 3)),
    "B": ((3, 3),) * 5,
    "C": ((3, 3), (3, 3), (3, 3, 1), (3, 3, 1), (3, 3, 1)),
    "D": ((3, 3), (3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3)),
    "E": ((3, 3), (3, 3), (3,) * 4, (3,) * 4, (3,) * 4),
    "5x5": ((5,),) * 5,
}
VGG_CONFIGURATIONS = tuple(_KERNELS)
"""Columns of Table 1 of Simonyan & Zisserman, and B with a 5x5 layer for each pair of 3x3."""
_FILTERS = (64, 128, 256, 512, 512)
_COPIED = ("conv1_1", "conv2_1", "conv3_1", "conv3_2", "fc6", "fc7", "logits")


def architecture(configuration: str) -> Architecture:
    """The layers of a column of Table 1; "5x5" is B with one 5x5 layer for each pair of 3x3."""
    convs = []
    for block, (kernels, filters) in enumerate(
        zip(_KERNELS[configuration], _FILTERS, strict=True), 1
    ):
        norm = ("norm",) if configuration == "A-LRN" and block == 1 else ()
        for layer, kernel in enumerate(kernels, 1):
            stages = (*norm, "pool") if layer == len(kernels) else ()
            name = f"{block}_{layer}"
            convs.append(Conv(name, filters, kernel, padding=kernel // 2, stages=stages))
    pool = Pool(2, 2, "valid")
    return Architecture(tuple(convs), paper_stddev=0.1, pool=pool, mean_per_pixel=False)


def VGG(
    configuration: str = "D",
    classes: int | None = None,
    input_shape: tuple[int | None, int | None, int] | None = None,
    width: float | None = None,
    weights: str | None = None,
    include_top: bool = True,
    fc_units: int | None = None,
    dropout: float = 0.5,
    classifier_activation: str | None = None,
    kernel_initializer: Initializer = "glorot_uniform",
    max_filter_rms: float | None = None,
    start_from: keras.Model | None = None,
    name: str | None = None,
) -> keras.Model:
    """A very deep convnet of Simonyan & Zisserman, Table 1: from raw RGB (0..255) to logits.

    Layers `conv1_1`, … `conv5_3` (rectified), `pool1` … `pool5` (2x2), `fc6`, `fc7`, `logits`;
    "A-LRN" has `norm1` before `pool1`. With 1000 classes D has 138,357,544 parameters.

    Args:
        configuration: "A", "A-LRN", "B", "C", "D", "E", or "5x5": the shallow control of their
            Section 4.1, B with one 5x5 layer in the place of each pair of 3x3 ones.
        classes: Number of classes; 1000 unless `weights` say otherwise.
        input_shape: (H, W, 3); (224, 224, 3) unless `weights` say otherwise. H and W may be None
            if `include_top` is False.
        width: Factor on the number of filters and units.
        weights: None, or the path of a file that `zfkeras.models.weights.save_weights` wrote.
        include_top: Whether to go beyond `pool5`.
        fc_units: Units of fc6 and fc7; None means ``4096 * width``.
        dropout: Rate after fc6 and fc7.
        classifier_activation: "softmax" appends a layer `predictions`; None ends in logits.
        kernel_initializer: Glorot's, which the authors found to suffice; "paper": N(0, 0.1²);
            None: as `ZFNet`; or any of Keras'.
        max_filter_rms: Radius of `FilterRMS`; the authors used none.
        start_from: A net "A" from which to copy the first four convolutional layers and the fully
            connected ones, as the authors did to train the deeper ones (Section 3.1). Other
            layers stay as initialised.
        name: The model's name; "vgg_d" and so on by default.

    Returns:
        A Functional Keras model; images (N, H, W, 3) in, (N, classes) logits out.

    Raises:
        ValueError: There is no such configuration, the input is too small, or arguments
            contradict the weights or the net to start from.

    Example:
        >>> model = VGG("D", classes=10, input_shape=(64, 96, 3), width=0.0625)
        >>> model.get_layer("conv5_3").output.shape
        (None, 4, 6, 32)
    """
    choice("configuration", configuration, VGG_CONFIGURATIONS)
    given = {"classes": classes, "input_shape": input_shape, "width": width, "fc_units": fc_units}
    chosen = merged_arguments(f"VGG-{configuration}", weights, given, STANDARD)
    model = built(
        architecture(configuration),
        chosen,
        weights,
        include_top=include_top,
        dropout=dropout,
        classifier_activation=classifier_activation,
        kernel_initializer=kernel_initializer,
        max_filter_rms=max_filter_rms,
        name=name or f"vgg_{configuration.lower().replace('-', '_')}",
    )
    if start_from is not None:
        _copy_layers(start_from, model)
    return model


def _copy_layers(shallow: keras.Model, deep: keras.Model) -> None:
    """Layers of net A by name, where the deeper net has them; all are checked, then all copied."""
    there = {layer.name for layer in deep.layers}
    pairs = []
    for name in (name for name in _COPIED if name in there):
        layer = next((one for one in shallow.layers if one.name == name), None)
        found = None if layer is None else [tuple(w.shape) for w in layer.weights]
        needed = [tuple(w.shape) for w in deep.get_layer(name).weights]
        if layer is None or found != needed:
            raise ValueError(
                f"`start_from` doesn't fit this net at {name}. Expected a VGG net, of the same "
                f"width, classes and input, whose {name} has weights {needed}. "
                f"Received: start_from={shallow.name!r} with {found}"
            )
        pairs.append((layer, deep.get_layer(name)))
    for layer, copy in pairs:
        copy.set_weights(layer.get_weights())
