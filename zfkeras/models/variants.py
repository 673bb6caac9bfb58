"""Table 3 of Zeiler & Fergus: nets with layers left out, narrower or wider."""

import dataclasses
from typing import Any

import keras

from zfkeras.models import alexnet, zfnet
from zfkeras.models.architecture import FIRST_FC, Architecture
from zfkeras.models.names import VARIANTS, Edit
from zfkeras.models.weights import STANDARD, built, merged_arguments
from zfkeras.validate import choice


def variants(net: str) -> tuple[str, ...]:
    """The names of a net's variants, as `variant` takes them.

    Args:
        net: "zfnet" or "alexnet".

    Raises:
        ValueError: There are no variants of such a net.

    Example:
        >>> variants("alexnet")[:2]
        ('layers 3,4 removed', 'layer 7 removed')
    """
    return tuple(VARIANTS[choice("net", net, VARIANTS)])


def variant(
    net: str,
    edit: str,
    classes: int | None = None,
    input_shape: tuple[int | None, int | None, int] | None = None,
    width: float | None = None,
    weights: str | None = None,
    include_top: bool = True,
    groups: int | None = None,
    dropout: float = 0.5,
    **options: Any,
) -> keras.Model:
    """An ablation of Table 3: ZFNet or AlexNet with a named edit, trained from scratch.

    The layers that stay keep their names: without layers 3 and 4 `conv5` reads `norm2`.

    Args:
        net: "zfnet" or "alexnet".
        edit: One of `variants(net)`, such as "layers 3,4 removed".
        classes: Number of classes; 1000 unless `weights` say otherwise.
        input_shape: (H, W, 3); (224, 224, 3) unless `weights` say otherwise.
        width: Factor on the number of filters and units.
        weights: None, or the path of a file that `zfkeras.models.weights.save_weights` wrote.
        include_top: Whether to go beyond `pool5`.
        groups: Of an AlexNet: 2 (the default) or 1.
        dropout: Rate after the fully connected layers.
        **options: `classifier_activation`, `kernel_initializer`, `max_filter_rms` and `name`, as
            `ZFNet` and `AlexNet` take them.

    Returns:
        A Functional Keras model; images (N, H, W, 3) in, (N, classes) logits out.

    Raises:
        ValueError: There is no such net or edit, or arguments contradict each other.

    Example:
        >>> model = variant("zfnet", "layers 3,4 removed", classes=5, width=0.05)
        >>> [layer.name for layer in model.layers if layer.name.startswith("conv")]
        ['conv1_pad', 'conv1', 'conv2', 'conv5']
    """
    edits = VARIANTS[choice("net", net, VARIANTS)]
    if edit not in edits:
        raise ValueError(
            f"There is no such variant of {net}. Expected one of {', '.join(map(repr, edits))}. "
            f"Received: edit={edit!r}"
        )
    if groups is not None and (net != "alexnet" or groups not in (1, 2)):
        raise ValueError(
            f"`groups` must be 1 or 2, of an AlexNet. Received: groups={groups!r} of {net!r}"
        )
    given = {"classes": classes, "input_shape": input_shape, "width": width, "groups": groups}
    defaults = STANDARD | {"groups": 2}
    chosen = merged_arguments(f"{net}:{edit}", weights, given, defaults) | {"fc_units": None}
    rms = 0.1 if net == "zfnet" else None
    return built(
        edited(_base(net, chosen["groups"]), edits[edit]),
        chosen,
        weights,
        include_top=include_top,
        dropout=dropout,
        **{"name": net, "max_filter_rms": rms} | options,
    )


def edited(architecture: Architecture, edit: Edit) -> Architecture:
    """The architecture with the edit made."""
    filters = dict(edit.filters)
    convs = tuple(
        dataclasses.replace(conv, filters=filters.get(int(conv.index), conv.filters))
        for conv in architecture.convs
        if conv.index not in edit.removed
    )
    units = tuple(
        edit.fc_units or units
        for layer, units in enumerate(architecture.fc_units, FIRST_FC)
        if layer not in edit.removed
    )
    return dataclasses.replace(architecture, convs=convs, fc_units=units)


def _base(net: str, groups: int) -> Architecture:
    return zfnet.ALIGNMENTS["symmetric"] if net == "zfnet" else alexnet.architecture(groups)
