"""Independent oracles: slow NumPy loops that share no code with the package."""

import numpy as np


def pooled_size(size, window, stride, padding):
    """Output length and padding in front of one axis, straight from the definitions."""
    if padding == "valid":
        return (size - window) // stride + 1, 0
    if padding == "same":
        out = int(np.ceil(size / stride))
        return out, max(0, (out - 1) * stride + window - size) // 2
    out = 1
    while (out - 1) * stride + window < size:  # until every pixel is covered …
        out += 1
    if (out - 1) * stride >= size:  # … by windows that start inside
        out -= 1
    return out, 0


def max_pool(x, window, stride, padding):
    """Maxima and first-in-row-major switches over the unpadded map, one window at a time."""
    n, height, width, channels = x.shape
    (h, top), (w, left) = (
        pooled_size(size, k, s, padding)
        for size, k, s in zip((height, width), window, stride, strict=True)
    )
    values = np.empty((n, h, w, channels), x.dtype)
    switches = np.empty((n, h, w, channels), np.int64)
    for image, i, j, c in np.ndindex(n, h, w, channels):
        best = None
        for row in range(i * stride[0] - top, i * stride[0] - top + window[0]):
            for column in range(j * stride[1] - left, j * stride[1] - left + window[1]):
                if not (0 <= row < height and 0 <= column < width):
                    continue
                value = x[image, row, column, c]
                if best is None or value > best[0]:
                    best = value, (row * width + column) * channels + c
        values[image, i, j, c], switches[image, i, j, c] = best
    return values, switches


def max_unpool(values, switches, output_shape, overlap):
    """Values at their switches, one at a time, in row-major order."""
    n, channels = values.shape[0], values.shape[3]
    out = np.zeros((n, *output_shape, channels), values.dtype)
    for image in range(n):
        flat = out[image].reshape(-1)
        for value, switch in zip(values[image].flat, switches[image].flat, strict=True):
            flat[switch] = value + (flat[switch] if overlap == "sum" else 0)
    return out


def local_response_normalization(x, depth_radius, bias, alpha, beta):
    """Krizhevsky's formula, channel by channel, in float64."""
    x = x.astype("float64")
    out = np.empty_like(x)
    channels = x.shape[-1]
    for c in range(channels):
        low, high = max(0, c - depth_radius), min(channels - 1, c + depth_radius)
        scale = bias + alpha * (x[..., low : high + 1] ** 2).sum(-1)
        out[..., c] = x[..., c] / scale**beta
    return out
