"""Which layers an analysis looks at where none is named."""

import keras

from zfkeras.graph.walking import Graph, Step, walk

L = keras.layers


def convolutions(model: keras.Model) -> list[str]:
    """Names of all 2-D convolutions of a model, in order, by their paths.

    Example:
        >>> net = keras.Sequential([keras.Input((9, 8, 3)), keras.layers.Conv2D(2, 3, name="c")])
        >>> convolutions(net)
        ['c']
    """
    kinds = (L.Conv2D, L.DepthwiseConv2D, L.SeparableConv2D)
    return [step.path for step in walk(model).steps if isinstance(step.operation, kinds)]


def last_maps(model: keras.Model, output: str | None = None) -> str | None:
    """Name of the last layer that gives feature maps of more than one place, below an output."""
    graph = walk(model)
    below = reversed(_below(graph, output))
    return next((step.path for step in below if _has_places(graph, step.path)), None)


def default_layer(model: keras.Model, output: str | None = None) -> str | None:
    """The layer to look at where none is named: the last convolution of more than one place.

    Without a convolution it is the last that makes such maps at all, if there is any. Of a model
    with several outputs it is the last below all that count: `output`, or any where None.

    Example:
        >>> layers = [keras.Input((9, 8, 3)), keras.layers.Conv2D(2, 3, name="c")]
        >>> layers += [keras.layers.MaxPooling2D(), keras.layers.Flatten(), keras.layers.Dense(2)]
        >>> default_layer(keras.Sequential(layers))
        'c'
    """
    graph = walk(model)
    below = {step.path for step in _below(graph, output)}
    found = [name for name in convolutions(model) if name in below and _has_places(graph, name)]
    return found[-1] if found else last_maps(model, output)


def _below(graph: Graph, output: str | None) -> tuple[Step, ...]:
    return graph.steps_to(*(graph.outputs.values() if output is None else [graph.output(output)]))


def _has_places(graph: Graph, layer: str) -> bool:
    shape = graph.shapes[graph.find(layer)] if layer in graph.names else ()
    return len(shape) == 4 and shape[1:3] != (1, 1)
