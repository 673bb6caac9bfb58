"""Keras layers that Keras lacks: thin shells over `zfkeras.ops`."""

from collections.abc import Iterable, Iterator
from typing import Any

import keras
import numpy as np
from numpy.typing import ArrayLike

from zfkeras import ops
from zfkeras.ops import Pair, Tensor

_PADDINGS = ("valid", "same", "ceil")


@keras.saving.register_keras_serializable(package="zfkeras")
class MaxPoolWithArgmax2D(keras.layers.Layer):
    """Max pooling that can also return its switches.

    Recording switches costs about 25 times the pooling itself on a CPU, so it happens only where
    a call asks for it; otherwise the layer is as fast as `keras.layers.MaxPooling2D`.

    Args:
        pool_size: Window, an int or (rows, columns).
        strides: Steps, an int or (rows, columns); None means `pool_size`.
        padding: "valid", "same", or "ceil": as "valid", but the last window may hang over the
            right and bottom edge, so that no pixel is left out (the convention of cuda-convnet
            and Caffe, which gives the sizes of the paper's Fig. 3; method.md, The nets).
        **kwargs: Keras' own, such as `name`.

    Call arguments:
        inputs: Tensor (N, H, W, C).
        return_switches: Whether to return the switches too (TensorFlow only, and not under XLA).

    Returns:
        The maxima (N, h, w, C) or, with `return_switches`, the pair (maxima, switches): int64
        positions ``(row * W + column) * C + channel`` over the unpadded map, for `MaxUnpool2D`.

    Example:
        >>> x = np.random.default_rng(0).normal(size=(2, 13, 9, 4)).astype("float32")
        >>> pooled, switches = MaxPoolWithArgmax2D(3, 2, "ceil")(x, return_switches=True)
        >>> pooled.shape, switches.dtype
        (TensorShape([2, 6, 4, 4]), tf.int64)
    """

    def __init__(
        self,
        pool_size: int | Pair = (2, 2),
        strides: int | Pair | None = None,
        padding: str = "valid",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if padding not in _PADDINGS:
            raise ValueError(f"`padding` must be one of {_PADDINGS}. Received: padding={padding!r}")
        self.pool_size = _pair("pool_size", pool_size)
        self.strides = _pair("strides", pool_size if strides is None else strides)
        self.padding = padding
        self.input_spec = keras.layers.InputSpec(ndim=4)

    def call(self, inputs: Tensor, return_switches: bool = False) -> Tensor | tuple[Tensor, Tensor]:
        """Pools `inputs`; see the class."""
        if not return_switches:
            return ops.max_pool(inputs, self.pool_size, self.strides, self.padding)
        self.supports_jit = False  # XLA has no kernel that records switches
        return ops.max_pool_with_argmax(inputs, self.pool_size, self.strides, self.padding)

    def get_config(self) -> dict:
        """The constructor's arguments."""
        mine = {"pool_size": self.pool_size, "strides": self.strides, "padding": self.padding}
        return super().get_config() | mine


@keras.saving.register_keras_serializable(package="zfkeras")
class MaxUnpool2D(keras.layers.Layer):
    """Places values at the positions that switches name, zeros elsewhere (method.md, Unpooling).

    Args:
        overlap: Where overlapping windows share a switch, "sum" adds their values (the exact
            adjoint of the pooling), "overwrite" keeps the last window's in row-major order.
        **kwargs: Keras' own, such as `name`.

    Call arguments:
        inputs: The pair (values, switches), both (N, h, w, C), as `MaxPoolWithArgmax2D` returns.
        output_shape: (H, W) of the map that was pooled. It can't be told from the inputs: a 13
            and a 14 pixel wide map pool to the same size.

    Returns:
        Tensor (N, H, W, C).

    Example:
        >>> x = np.random.default_rng(0).normal(size=(2, 13, 9, 4)).astype("float32")
        >>> pair = MaxPoolWithArgmax2D(3, 2)(x, return_switches=True)
        >>> MaxUnpool2D()(pair, output_shape=(13, 9)).shape
        TensorShape([2, 13, 9, 4])
    """

    def __init__(self, overlap: str = "sum", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if overlap not in ("sum", "overwrite"):
            raise ValueError(
                "`overlap` says how windows that share a switch combine; it must be 'sum' or "
                f"'overwrite'. Received: overlap={overlap!r}"
            )
        self.overlap = overlap
        self.supports_jit = False

    def call(self, inputs: tuple[Tensor, Tensor], output_shape: Pair) -> Tensor:
        """Unpools `inputs`; see the class."""
        values, switches = inputs
        return ops.max_unpool(values, switches, output_shape, self.overlap)

    def get_config(self) -> dict:
        """The constructor's arguments."""
        return super().get_config() | {"overlap": self.overlap}


@keras.saving.register_keras_serializable(package="zfkeras")
class LocalResponseNormalization(keras.layers.Layer):
    """The paper's contrast normalisation across feature maps, with Krizhevsky's constants.

    ``x / (bias + alpha * sum of squares over 2 * depth_radius + 1 channels) ** beta``.

    Args:
        depth_radius: Channels summed on either side.
        bias: Krizhevsky's k.
        alpha: Weight of the sum of squares.
        beta: Exponent.
        alpha_is_per_element: True multiplies each square by `alpha` (Krizhevsky's formula and
            TensorFlow's); False divides `alpha` by the number of channels first (cuda-convnet2,
            Caffe, PyTorch).
        **kwargs: Keras' own, such as `name`.

    Call arguments:
        inputs: Tensor (..., C) of floats; the output has its shape and dtype.

    Example:
        >>> LocalResponseNormalization()(np.ones((1, 5, 4, 3), "float32")).shape
        TensorShape([1, 5, 4, 3])
    """

    def __init__(
        self,
        depth_radius: int = 2,
        bias: float = 2.0,
        alpha: float = 1e-4,
        beta: float = 0.75,
        alpha_is_per_element: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.depth_radius = depth_radius
        self.bias = bias
        self.alpha = alpha
        self.beta = beta
        self.alpha_is_per_element = alpha_is_per_element

    def call(self, inputs: Tensor) -> Tensor:
        """Normalises `inputs`; see the class."""
        count = 1 if self.alpha_is_per_element else 2 * self.depth_radius + 1
        return ops.local_response_normalization(
            inputs, self.depth_radius, self.bias, self.alpha / count, self.beta
        )

    def get_config(self) -> dict:
        """The constructor's arguments."""
        names = ("depth_radius", "bias", "alpha", "beta", "alpha_is_per_element")
        return super().get_config() | {name: getattr(self, name) for name in names}


@keras.saving.register_keras_serializable(package="zfkeras")
class PixelMean(keras.layers.Layer):
    """Subtracts the mean image of the training set: the first layer of our models.

    Inside the model, so that occluders, exports and clients all speak raw pixels. The mean is
    zero until `adapt` or loaded weights set it.

    Args:
        per_pixel: True keeps one mean per pixel and channel (Zeiler & Fergus, Krizhevsky), False
            one per channel (VGG; needed where the input size is not fixed).
        **kwargs: Keras' own, such as `name`.

    Call arguments:
        inputs: Tensor (N, H, W, C) of pixels, 0..255.

    Example:
        >>> layer = PixelMean(per_pixel=False)
        >>> layer.adapt(np.full((4, 6, 5, 3), 100.0))
        >>> float(layer(np.full((1, 6, 5, 3), 130.0))[0, 0, 0, 0])
        30.0
    """

    def __init__(self, per_pixel: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.per_pixel = per_pixel
        self.input_spec = keras.layers.InputSpec(ndim=4)

    def build(self, input_shape: tuple) -> None:
        """Creates the mean: (H, W, C), or (C,) per channel."""
        shape = tuple(input_shape[1:] if self.per_pixel else input_shape[3:])
        if None in shape:
            raise ValueError(
                "A mean per pixel needs a fixed input size; allowed is a full input shape, or "
                f"PixelMean(per_pixel=False). Received: input_shape={tuple(input_shape)}"
            )
        self.mean = self.add_weight(
            name="mean",
            shape=shape,
            initializer="zeros",
            trainable=False,
            dtype="float32",
            autocast=False,  # a 16-bit mean would be off by up to 1/16
        )

    def call(self, inputs: Tensor) -> Tensor:
        """Returns `inputs` minus the mean, in the layer's compute dtype."""
        return keras.ops.cast(keras.ops.cast(inputs, "float32") - self.mean, self.compute_dtype)

    def adapt(self, data: ArrayLike | Iterable) -> None:
        """Sets the mean to that of `data`.

        Args:
            data: Images (N, H, W, C), or an iterable (such as a `tf.data.Dataset`) of batches
                (n, H, W, C) or of (batch, labels) pairs. It is read once.

        Raises:
            ValueError: `data` is empty or its images have another size than the layer.
        """
        total: Any = 0.0
        count = 0
        for batch in _batches(data):
            if not self.built:
                self.build(batch.shape)
            total, count = total + batch.sum(axis=0, dtype="float64"), count + len(batch)
        if not count:
            raise ValueError("The mean needs at least one image. Received: an empty data set")
        mean = total / count if self.per_pixel else np.mean(total / count, axis=(0, 1))
        if mean.shape != tuple(self.mean.shape):
            raise ValueError(
                f"The images must have the layer's input shape {tuple(self.mean.shape)}. "
                f"Received: images of shape {mean.shape}"
            )
        self.mean.assign(mean)

    def get_config(self) -> dict:
        """The constructor's arguments."""
        return super().get_config() | {"per_pixel": self.per_pixel}


def _pair(name: str, value: Any) -> Pair:
    """An int, or two, as (rows, columns)."""
    pair = (value, value) if isinstance(value, int) else tuple(value)
    if len(pair) != 2 or not all(isinstance(v, int) and v > 0 for v in pair):
        raise ValueError(
            f"`{name}` must be a positive int or two of them, (rows, columns). "
            f"Received: {name}={value!r}"
        )
    return pair


def _batches(data: Any) -> Iterator[np.ndarray]:
    """Batches of images, without their labels, as NumPy arrays."""
    batches: Iterable = [data] if hasattr(data, "ndim") else data
    for batch in batches:
        images = batch[0] if isinstance(batch, tuple) else batch
        yield keras.ops.convert_to_numpy(images)
