"""ZFNet: Fig. 3 of the paper (method.md, The nets)."""

import dataclasses

import keras

from zfkeras.models.architecture import Architecture, Conv, Initializer
from zfkeras.models.weights import STANDARD, built, merged_arguments
from zfkeras.validate import choice

_SYMMETRIC = Architecture(
    (
        Conv(1, 96, 7, strides=2, padding=1, stages=("pool", "norm")),
        Conv(2, 256, 5, strides=2, stages=("pool", "norm")),
        Conv(3, 384, 3, padding=1),
        Conv(4, 384, 3, padding=1),
        Conv(5, 256, 3, padding=1, stages=("pool",)),
    )
)

ALIGNMENTS = {
    "symmetric": _SYMMETRIC,
    # cuda-convnet pads nothing in front and rounds up: the whole net sees one pixel further
    # to the right and down.
    "cuda-convnet": dataclasses.replace(
        _SYMMETRIC,
        convs=(
            dataclasses.replace(_SYMMETRIC.convs[0], padding="ceil"),
            dataclasses.replace(_SYMMETRIC.convs[1], padding="ceil"),
            *_SYMMETRIC.convs[2:],
        ),
    ),
}

_DEFAULTS = STANDARD | {"alignment": "symmetric"}


def ZFNet(
    classes: int | None = None,
    input_shape: tuple[int | None, int | None, int] | None = None,
    width: float | None = None,
    weights: str | None = None,
    include_top: bool = True,
    alignment: str | None = None,
    fc_units: int | None = None,
    dropout: float = 0.5,
    classifier_activation: str | None = None,
    kernel_initializer: Initializer = None,
    max_filter_rms: float | None = 0.1,
    name: str = "zfnet",
) -> keras.Model:
    """The convnet of Zeiler & Fergus, Fig. 3: from raw RGB pixels (0..255) to logits.

    Five convolutional layers `conv1` … `conv5` (rectified), with `pool1`, `norm1`, `pool2`,
    `norm2` and `pool5`, then `fc6`, `fc7` and `logits`. At 224x224 the maps are 110, 55, 26, 13,
    13, 13, 13 and 6 pixels wide; with 1000 classes there are 62,357,608 parameters.

    Args:
        classes: Number of classes; 1000 unless `weights` say otherwise.
        input_shape: (H, W, 3); (224, 224, 3) unless `weights` say otherwise. H and W may be None
            if `include_top` is False.
        width: Factor on the number of filters and units: a small net is ``width=0.25``.
        weights: None for fresh ones, "imagenette" for the bundled net, or the path of a file that
            `zfkeras.models.weights.save_weights` wrote. What the file says of its architecture
            is the default of the arguments that are not given.
        include_top: Whether to go beyond `pool5`.
        alignment: Where the filters sit: "symmetric" pads conv1 by one pixel on every side,
            "cuda-convnet" only at the right and bottom. Both give the paper's sizes (method.md).
        fc_units: Units of fc6 and fc7; None means ``4096 * width``.
        dropout: Rate after fc6 and fc7.
        classifier_activation: "softmax" appends a layer `predictions`; None ends in logits.
        kernel_initializer: None: He's for hidden layers, N(0, 0.01²) for conv1 and logits;
            "paper": N(0, 0.01²) everywhere (only sensible at width 1); or any of Keras'.
        max_filter_rms: Radius of `FilterRMS` on the convolutions; None for no renormalisation.
        name: The model's name.

    Returns:
        A Functional Keras model; images (N, H, W, 3) in, (N, classes) logits out.

    Raises:
        ValueError: The input is too small, or arguments contradict the weights.

    Example:
        >>> model = ZFNet(classes=10, input_shape=(96, 64, 3), width=0.125)
        >>> model.get_layer("conv5").output.shape
        (None, 5, 3, 32)
    """
    given = {
        "classes": classes,
        "input_shape": input_shape,
        "width": width,
        "alignment": alignment,
        "fc_units": fc_units,
    }
    chosen = merged_arguments("ZFNet", weights, given, _DEFAULTS)
    choice("alignment", chosen["alignment"], sorted(ALIGNMENTS))
    return built(
        ALIGNMENTS[chosen["alignment"]],
        chosen,
        weights,
        include_top=include_top,
        dropout=dropout,
        classifier_activation=classifier_activation,
        kernel_initializer=kernel_initializer,
        max_filter_rms=max_filter_rms,
        name=name,
    )
