"""What kinds of layers there are: the one table that everything goes by which meets a layer.

Reverse rules, receptive fields, projection on crops, incremental occlusion, `check_model` and the
export all look a layer up here and act by its `Kind`. To teach them a layer is to add a line to
`_LAYERS`, or to `_OPERATIONS` for one of Keras' functional operations.
"""

import functools
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import keras
import tensorflow as tf

from zfkeras import layers
from zfkeras.graph import layer_windows, linear_parts
from zfkeras.graph.kinds import UNKNOWN, Kind, Role
from zfkeras.graph.layer_windows import Size
from zfkeras.graph.walking import Slot, Step
from zfkeras.regions.windows import Windows
from zfkeras.types import Tensor

L = keras.layers


def kind_of(step: Step) -> Kind:
    """The kind of layer that a step calls.

    A subclass is of the kind of the layer it derives from, unless it overrides its `call`: then it
    may do anything, and is unknown.

    Example:
        >>> from zfkeras.graph.walking import walk
        >>> pixels = keras.Input((9, 8, 3))
        >>> model = keras.Model(pixels, keras.layers.RandomFlip()(pixels))
        >>> [kind_of(step).role for step in walk(model).steps]
        [<Role.NEUTRAL: 'nothing'>]
    """
    name = op_name(step.operation)
    entry = _OPERATIONS.get(name) if name else _LAYERS.get(known_type(step.operation, _LAYERS))
    if entry is None:
        return activation_kind(step.operation)
    kind = entry if isinstance(entry, Kind) else entry(step)
    if is_quantised(step.operation):
        kind = replace(kind, role=Role.LINEAR)  # with a kernel that is not the weights
    leaves = [x for x in keras.tree.flatten(step.arguments) if not isinstance(x, Slot)]
    constants = [x.shape for x in leaves if hasattr(x, "shape")]
    if constants:  # at most a number for each channel is the same in every place
        is_uniform = kind.is_uniform and all(set(shape[:-1]) <= {1} for shape in constants)
        kind = replace(kind, is_uniform=is_uniform)
    return replace(kind, role=Role.AFFINE) if constants and kind.role is Role.MERGE else kind


def layer_kind(layer: keras.Layer) -> Kind:
    """The kind of a layer that is called on one input."""
    return kind_of(Step(layer, layer.name, (0,), (1,), ((Slot(0),), {})))


def activation_kind(function: Any) -> Kind:
    """The kind of an activation function, or of a layer that serves as one."""
    if isinstance(function, keras.layers.Layer) and known_type(function, _LAYERS):
        return layer_kind(function)
    return _ACTIVATIONS.get(function, UNKNOWN) if isinstance(function, Hashable) else UNKNOWN


def windows_of(step: Step, size: Size) -> Windows:
    """What a step's units see of an input of this size, along rows and columns.

    Raises:
        ValueError: It is not known how far the layer sees, or the size is needed and unknown.
    """
    windows = kind_of(step).windows
    if windows is not None:
        return windows(step.operation, size)
    raise ValueError(
        "`receptive_field` knows convolution, pooling, padding, upsampling and pointwise layers, "
        f"but not how far this one sees. Received: layer '{step.path}' of type "
        f"{type(step.operation).__name__}"
    )


def merged_windows(step: Step, sizes: Sequence[Size]) -> Windows:
    """`windows_of` a step of inputs of these (H, W); raises if they aren't alike, too.

    Of a smaller map rows and columns are repeated: a unit sees other places than its own.
    """
    if len(set(sizes)) > 1:
        raise ValueError(
            f"Layer '{step.path}' has inputs of unequal sizes, of which it repeats the smaller. "
            f"Expected maps of one size. Received: {list(sizes)}"
        )
    return windows_of(step, sizes[0])


def linear_part(layer: keras.Layer) -> Callable[[Tensor], Tensor]:
    """A layer without its bias and built-in activation."""
    linear = layer_kind(layer).linear
    if linear is None or is_quantised(layer):
        allowed = "Only convolutions and dense layers that are not quantized have a linear part."
        raise ValueError(f"{allowed} Received: layer={layer!r}")
    return functools.partial(linear, layer)


def preactivation(layer: keras.Layer, x: Tensor) -> Tensor:
    """What a layer with an activation built in computes before that activation."""
    x = x if x.dtype == tf.float64 else tf.cast(x, tf.float32)
    output = linear_part(layer)(x)
    return output + tf.cast(layer.bias, x.dtype) if layer.bias is not None else output


def known_type(operation: keras.Operation, table: Iterable[type]) -> Any:
    """The class in `table` that `operation` is; None too for one that overrides what it does."""
    kind: Any = type(operation)
    for cls in kind.__mro__:
        if cls in table:
            same = all(getattr(kind, how, None) is getattr(cls, how, None) for how in _DOING)
            return cls if same and not _DOING.intersection(vars(operation)) else None
    return None


# In these methods layers do what they do; the last is that of Keras' augmentation.
_DOING = frozenset({"__call__", "call", "transform_images"})


def is_quantised(operation: keras.Operation) -> bool:
    """Whether a layer's weights are integers that stand for others, as after `quantize("int8")`."""
    return getattr(operation, "quantization_mode", None) is not None


def op_name(operation: keras.Operation) -> str:
    """The class name of one of Keras' functional operations, "" for a layer."""
    if isinstance(operation, keras.layers.Layer):
        return ""
    return type(operation).__name__ if type(operation).__module__.startswith("keras.") else ""


def ceiling(operation: keras.Operation) -> float | None:
    """The value above which a rectifier, or a layer's built-in one, is flat; None: there is none.

    Example:
        >>> ceiling(keras.layers.ReLU(3.0)), ceiling(keras.activations.relu6)
        (3.0, 6.0)
    """
    function = getattr(operation, "activation", operation)
    if known_type(function, (L.ReLU,)):
        return function.max_value
    six = (keras.activations.relu6, keras.ops.relu6, tf.nn.relu6)
    return 6.0 if function in six or op_name(function) == "Relu6" else None


# === Kinds that depend on a layer's settings or a call's arguments ===


def _convolution(step: Step) -> Kind:
    """Keras lets a Conv2D have a `convolution_op` of its own: linear, but with any filters."""
    kind = Kind(Role.CONVOLUTION, layer_windows.sliding, linear=linear_parts.convolve)
    own = type(step.operation).convolution_op is not L.Conv2D.convolution_op
    return replace(kind, role=Role.LINEAR) if own else kind


def _over_channels(kind: Kind) -> Callable[[Step], Kind]:
    """`kind` where the operation's axis is that of the channels; else it couples places."""

    def decide(step: Step) -> Kind:
        over_channels = _axes(step.operation) in ((-1,), (3,))
        return kind if over_channels else replace(kind, windows=None)

    return decide


def _by_place(kind: Kind) -> Callable[[Step], Kind]:
    """`kind`, whose weights are for channels (then it does the same in every place) or places."""

    def decide(step: Step) -> Kind:
        return replace(kind, is_uniform=_has_weights_for_channels(step.operation))

    return decide


def _has_weights_for_channels(layer: keras.Layer) -> bool:
    if isinstance(layer, L.PReLU):
        return list(layer.shared_axes or ()) == [1, 2]
    if isinstance(layer, L.Rescaling):
        shapes = [tf.convert_to_tensor(x).shape for x in (layer.scale, layer.offset)]
        return all(set(shape[-3:-1]) <= {1} for shape in shapes)
    return _axes(layer) in ((-1,), (3,), ())


def _axes(operation: keras.Operation) -> tuple[int, ...]:
    axis = operation.axis
    if axis is None:
        return ()
    return tuple(axis) if isinstance(axis, list | tuple) else (axis,)


def _in_place(one: Role, several: Role) -> Callable[[Step], Kind]:
    """An operation on the numbers in one place, of one map (and constants) or several."""

    here = layer_windows.here
    return lambda step: Kind(several if len(step.inputs) > 1 else one, here)


def _bilinear(step: Step) -> Kind:
    """Affine as long as only one of the operands comes from the image."""
    return Kind(Role.AFFINE) if len(step.inputs) == 1 else UNKNOWN


def _divide(step: Step) -> Kind:
    """The image may be divided, but not divide."""
    divides = len(step.inputs) > 1 or not isinstance(step.arguments[0][0], Slot)
    return _in_place(Role.ELEMENTWISE if divides else Role.AFFINE, Role.COMBINE)(step)


def _get_item(step: Step) -> Kind:
    windows = layer_windows.here if _picks_channels(*step.arguments[0][1:]) else None
    return Kind(Role.AFFINE, windows)


def _picks_channels(key: Any) -> bool:
    """Whether an index such as ``[..., ::-1]`` leaves the positions in a map as they are."""
    if not isinstance(key, tuple | list):  # a list where the model comes from a file
        return False
    spatial = key[:-1] if key[0] is Ellipsis or len(key) == 4 else key
    return all(part is Ellipsis or part == slice(None) for part in spatial)


# === The tables ===

_NEUTRAL = Kind(Role.NEUTRAL, layer_windows.here)
_RELU = Kind(Role.RELU, layer_windows.here)
_ELEMENTWISE = Kind(Role.ELEMENTWISE, layer_windows.here)
_ACROSS_CHANNELS = Kind(Role.ACROSS_CHANNELS, layer_windows.here)
_AFFINE = Kind(Role.AFFINE)

Entry = Kind | Callable[[Step], Kind]


def _named(names: str, entry: Entry) -> dict[type, Entry]:
    """Layers by name, as not every version of Keras has all of them."""
    found = (getattr(L, name, None) for name in names.split())
    return {cls: entry for cls in found if cls is not None}


_LAYERS: dict[type, Entry] = {
    L.Conv1D: Kind(Role.LINEAR, linear=linear_parts.convolve),
    L.Conv2D: _convolution,
    L.Conv2DTranspose: Kind(
        Role.LINEAR, layer_windows.transposed, linear=linear_parts.transpose_convolve
    ),
    L.Dense: Kind(Role.DENSE, layer_windows.here, linear=linear_parts.dense),
    L.DepthwiseConv2D: Kind(Role.DEPTHWISE, layer_windows.sliding, linear=linear_parts.depthwise),
    L.EinsumDense: Kind(Role.LINEAR, linear=linear_parts.einsum),
    L.SeparableConv2D: Kind(Role.SEPARABLE, layer_windows.sliding, linear=linear_parts.separable),
    **dict.fromkeys(
        (L.MaxPooling2D, layers.MaxPoolWithArgmax2D), Kind(Role.MAX_POOL, layer_windows.sliding)
    ),
    L.GlobalMaxPooling2D: Kind(Role.GLOBAL_MAX_POOL, layer_windows.whole),
    L.AveragePooling2D: Kind(Role.AVERAGE_POOL, layer_windows.sliding),
    L.GlobalAveragePooling2D: Kind(Role.GLOBAL_AVERAGE, layer_windows.whole),
    L.ZeroPadding2D: Kind(Role.MOVE, layer_windows.padded),
    L.Cropping2D: Kind(Role.MOVE, layer_windows.cropped),
    L.CenterCrop: Kind(Role.MOVE, layer_windows.centre_cropped),
    L.UpSampling2D: Kind(Role.MOVE, layer_windows.upsampled),
    L.Flatten: Kind(Role.AFFINE, layer_windows.whole),
    **_named("AveragePooling1D GlobalAveragePooling1D Permute RepeatVector Reshape", _AFFINE),
    **_named("AdaptiveAveragePooling2D Resizing", _AFFINE),
    **_named("BatchNormalization Normalization", _by_place(Kind(Role.SCALE, layer_windows.here))),
    L.Rescaling: _by_place(Kind(Role.SCALE, layer_windows.here)),
    layers.PixelMean: Kind(Role.SHIFT, layer_windows.here),
    **_named("Add Average Subtract", Kind(Role.MERGE, layer_windows.here)),
    L.Concatenate: _over_channels(Kind(Role.MERGE, layer_windows.here)),
    **_named("Maximum Minimum Multiply", Kind(Role.COMBINE, layer_windows.here)),
    layers.LocalResponseNormalization: Kind(Role.CONTRAST, layer_windows.here),
    L.Activation: lambda step: activation_kind(step.operation.activation),
    L.ReLU: lambda step: _ELEMENTWISE if step.operation.negative_slope else _RELU,
    L.PReLU: _by_place(_ELEMENTWISE),
    **_named("ELU LeakyReLU", _ELEMENTWISE),
    **_named(
        "LayerNormalization RMSNormalization Softmax UnitNormalization",
        _over_channels(_ACROSS_CHANNELS),
    ),
    **_named(
        "ActivityRegularization AlphaDropout AugMix CutMix Dropout GaussianDropout "
        "GaussianNoise Identity MaxNumBoundingBoxes MixUp RandAugment RandomBrightness "
        "RandomColorDegeneration RandomColorJitter RandomContrast RandomElasticTransform "
        "RandomErasing RandomFlip RandomGaussianBlur RandomGrayscale RandomHue RandomInvert "
        "RandomPerspective RandomPosterization RandomRotation RandomSaturation RandomSharpness "
        "RandomShear RandomTranslation RandomZoom Solarization SpatialDropout1D SpatialDropout2D",
        _NEUTRAL,
    ),
}

_OPERATIONS: dict[str, Entry] = {
    # Operations of `keras.ops` and operators on Keras tensors, by the names of their classes,
    # which aren't public.
    **dict.fromkeys(["Relu", "Relu6"], _RELU),
    **dict.fromkeys(
        "Absolute Celu Clip Elu Exp Expm1 Gelu HardSigmoid HardSilu HardTanh LeakyRelu Log Log1p "
        "LogSigmoid Mish Rsqrt Selu Sigmoid Silu Softplus Softsign Sqrt Square Tanh".split(),
        _in_place(Role.ELEMENTWISE, Role.COMBINE),
    ),
    **dict.fromkeys(["Maximum", "Minimum", "Power"], _in_place(Role.ELEMENTWISE, Role.COMBINE)),
    **dict.fromkeys(["LogSoftmax", "Softmax"], _over_channels(_ACROSS_CHANNELS)),
    **dict.fromkeys(["Add", "Subtract"], _in_place(Role.AFFINE, Role.MERGE)),
    **dict.fromkeys(["Cast", "Identity", "Negative"], _in_place(Role.AFFINE, Role.AFFINE)),
    "Multiply": _in_place(Role.AFFINE, Role.COMBINE),
    **dict.fromkeys(["Divide", "TrueDivide"], _divide),
    "Concatenate": _over_channels(Kind(Role.MERGE, layer_windows.here)),
    "GetItem": _get_item,
    "AveragePool": Kind(Role.AVERAGE_POOL, layer_windows.sliding),
    "MaxPool": Kind(Role.MAX_POOL, layer_windows.sliding),
    **dict.fromkeys(
        "DepthToSpace ExpandDims Flip Mean Moveaxis Pad Repeat Reshape Resize SpaceToDepth Split "
        "Squeeze Sum Swapaxes Transpose Unstack".split(),
        _AFFINE,
    ),
    **dict.fromkeys(
        "Conv ConvTranspose DepthwiseConv Einsum Matmul SeparableConv".split(), _bilinear
    ),
}

_ACTIVATIONS: dict[Any, Kind] = {
    None: _NEUTRAL,
    keras.activations.linear: _NEUTRAL,
    **dict.fromkeys(
        (
            keras.activations.relu,
            keras.activations.relu6,
            keras.ops.relu,
            keras.ops.relu6,
            tf.nn.relu,
            tf.nn.relu6,
        ),
        _RELU,
    ),
    **dict.fromkeys((keras.activations.softmax, keras.activations.log_softmax), _ACROSS_CHANNELS),
    **dict.fromkeys(
        (
            getattr(keras.activations, name)
            for name in (
                "celu elu exponential gelu hard_shrink hard_sigmoid hard_silu hard_tanh "
                "leaky_relu log_sigmoid mish selu sigmoid silu soft_shrink softplus softsign "
                "sparse_plus squareplus tanh tanh_shrink threshold"
            ).split()
        ),
        _ELEMENTWISE,
    ),
}
