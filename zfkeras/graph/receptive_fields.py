"""How far units see: windows folded from the pixels up (method.md, Receptive fields)."""

import functools

import keras

from zfkeras.graph.layer_kinds import merged_windows
from zfkeras.graph.walking import IMAGES, Shape, walk
from zfkeras.regions.receptive_field import ReceptiveField


def receptive_field(
    model: keras.Model, layer: str, image_size: tuple[int, int] | None = None
) -> ReceptiveField:
    """The box of pixels that can influence a unit of a layer (method.md, Receptive fields).

    Branches are united: the result holds every pixel that any path reaches. Contrast
    normalisation couples channels, not positions, and doesn't widen it.

    Args:
        model: Functional or Sequential Keras model; see `walk`.
        layer: Name of the layer.
        image_size: (H, W), for models that don't fix it.

    Returns:
        The `ReceptiveField`; its `box(position, image_size)` gives the pixels of one unit.

    Raises:
        ValueError: Unknown layer; a layer on the way of which it isn't known how far it sees;
            branches that meet with different strides.

    Example:
        >>> pixels = keras.Input((224, 224, 3))
        >>> maps = keras.layers.Conv2D(4, 7, strides=2, name="conv1")(pixels)
        >>> model = keras.Model(pixels, keras.layers.MaxPooling2D(3, 2, name="pool1")(maps))
        >>> receptive_field(model, "pool1")
        ReceptiveField(size=(11, 11), jump=(4, 4), start=(5.0, 5.0))
    """
    graph = walk(model)
    target = graph.find(layer)
    steps = graph.steps_to(target)
    shapes = graph.shapes_for(image_size, steps)
    fields = {IMAGES: ReceptiveField()}
    for step in steps:
        below = functools.reduce(ReceptiveField.union, [fields[i] for i in step.inputs])
        field = below.over(merged_windows(step, [_size(shapes[i]) for i in step.inputs]))
        fields.update(dict.fromkeys(step.outputs, field))
    return fields[target]


def _size(shape: Shape) -> Shape:
    """(H, W) of maps, nothing for anything else."""
    return shape[1:3] if len(shape) == 4 else ()


def field_or_reason(
    model: keras.Model, layer: str, image_size: tuple[int, int] | None = None
) -> tuple[ReceptiveField | None, str]:
    """A layer's receptive field; or None, and why its units have to be shown with whole images.

    The reason is "" for layers without maps, whose units see the whole image by their nature.
    """
    graph = walk(model)
    try:
        return receptive_field(model, layer, image_size), ""
    except ValueError as error:
        is_dense = len(graph.shapes[graph.find(layer)]) != 4
        return None, "" if is_dense else str(error)
