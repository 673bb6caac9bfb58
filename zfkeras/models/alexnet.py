"""AlexNet: the net of Krizhevsky et al. (2012) that the paper replicates (method.md, The nets)."""

import keras

from zfkeras.models.architecture import Architecture, Conv, Initializer
from zfkeras.models.weights import STANDARD, built, merged_arguments


def architecture(groups: int = 2) -> Architecture:
    """The layers of AlexNet; with 2 groups conv2, conv4 and conv5 see half of the maps below.

    Padding "ceil" makes 55 pixels of 224 (the last window hangs 3 pixels over the edge, as in
    cuda-convnet) and of 227 alike.
    """
    return Architecture(
        (
            Conv(1, 96, 11, strides=4, padding="ceil", stages=("norm", "pool")),
            Conv(2, 256, 5, padding=2, groups=groups, stages=("norm", "pool"), paper_bias=1.0),
            Conv(3, 384, 3, padding=1),
            Conv(4, 384, 3, padding=1, groups=groups, paper_bias=1.0),
            Conv(5, 256, 3, padding=1, groups=groups, stages=("pool",), paper_bias=1.0),
        ),
        paper_fc_bias=1.0,
    )


_DEFAULTS = STANDARD | {"groups": 2}


def AlexNet(
    classes: int | None = None,
    input_shape: tuple[int | None, int | None, int] | None = None,
    width: float | None = None,
    weights: str | None = None,
    include_top: bool = True,
    groups: int | None = None,
    fc_units: int | None = None,
    dropout: float = 0.5,
    classifier_activation: str | None = None,
    kernel_initializer: Initializer = None,
    max_filter_rms: float | None = None,
    name: str = "alexnet",
) -> keras.Model:
    """AlexNet, from raw RGB pixels (0..255) to logits.

    Layers `conv1` … `conv5` (rectified), `norm1`, `pool1`, `norm2`, `pool2`, `pool5`, `fc6`,
    `fc7`, `logits`: here the normalisation precedes the pooling. With 1000 classes there are
    60,965,224 parameters with two groups and 62,378,344 without.

    Args:
        classes: Number of classes; 1000 unless `weights` say otherwise.
        input_shape: (H, W, 3); (224, 224, 3) unless `weights` say otherwise. H and W may be None
            if `include_top` is False and the size is not needed for padding.
        width: Factor on the number of filters and units.
        weights: None, or the path of a file that `zfkeras.models.weights.save_weights` wrote.
        include_top: Whether to go beyond `pool5`.
        groups: 2 as Krizhevsky's two GPUs (the default), 1 for dense connections.
        fc_units: Units of fc6 and fc7; None means ``4096 * width``.
        dropout: Rate after fc6 and fc7.
        classifier_activation: "softmax" appends a layer `predictions`; None ends in logits.
        kernel_initializer: None: He's for hidden layers, N(0, 0.01²) for conv1 and logits;
            "paper": N(0, 0.01²) everywhere and Krizhevsky's biases; or any of Keras'.
        max_filter_rms: Radius of `FilterRMS`; Krizhevsky used none.
        name: The model's name.

    Returns:
        A Functional Keras model; images (N, H, W, 3) in, (N, classes) logits out.

    Raises:
        ValueError: The input is too small, or arguments contradict the weights.

    Example:
        >>> model = AlexNet(classes=10, input_shape=(96, 128, 3), width=0.125)
        >>> model.get_layer("conv5").output.shape
        (None, 5, 7, 32)
    """
    given = {
        "classes": classes,
        "input_shape": input_shape,
        "width": width,
        "groups": groups,
        "fc_units": fc_units,
    }
    chosen = merged_arguments("AlexNet", weights, given, _DEFAULTS)
    if chosen["groups"] not in (1, 2):
        raise ValueError(f"`groups` must be 1 or 2. Received: groups={groups!r}")
    return built(
        architecture(chosen["groups"]),
        chosen,
        weights,
        include_top=include_top,
        dropout=dropout,
        classifier_activation=classifier_activation,
        kernel_initializer=kernel_initializer,
        max_filter_rms=max_filter_rms,
        name=name,
    )
