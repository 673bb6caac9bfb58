"""A generated set of pictures, for when there are no others: demos, tests, first steps.

Each picture shows one object of eight kinds on a background. Nothing in it is a photograph, but
it asks for what photographs ask for: edges (outlines at any angle), textures (bricks, scales,
fractal backgrounds), parts (spots, spokes, eyes, stalks) and whole objects that differ in place,
size, tilt, colour and light. The backgrounds hold scraps of the objects' textures, so that
texture alone does not tell the class. Where the object is is known, so that an occlusion map can
be held against it. Picture `i` of a split is a function of (seed, split, i, size) only.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from zfkeras.data.sources import Source, from_arrays

SPLITS = ("train", "validation")
Array = np.ndarray


@dataclass(frozen=True)
class Scenes:
    """Generated pictures.

    Attributes:
        images: uint8 (N, size, size, 3).
        labels: int64 (N,).
        boxes: int64 (N, 4), the object's top, left, bottom, right, half-open.
        class_names: the name of each label.
    """

    images: Array
    labels: Array
    boxes: Array
    class_names: tuple[str, ...]


def generated(
    split: str = "train", count: int = 2000, image_size: int = 96, seed: int = 0
) -> Source:
    """The generated set as a source of labelled pictures.

    Args:
        split: "train" or "validation".
        count: number of pictures; the classes take turns.
        image_size: side of the pictures, from 16.
        seed: of everything.

    >>> generated(count=3, image_size=32).cardinality
    3
    """
    made = scenes(split, count, image_size, seed)
    return from_arrays(made.images, made.labels, made.class_names, f"generated:{split}")


def scenes(split: str = "train", count: int = 2000, image_size: int = 96, seed: int = 0) -> Scenes:
    """The generated set as arrays, with the objects' boxes; arguments as in `generated`.

    >>> scenes(count=3, image_size=32).boxes.shape
    (3, 4)
    """
    if split not in SPLITS:
        raise ValueError(
            f"The generated set has no such split. Allowed: {', '.join(SPLITS)}. "
            f"Received: split={split!r}"
        )
    if count < 1 or image_size < 16:
        raise ValueError(
            "At least 1 picture of 16 x 16 pixels can be generated. "
            f"Received: count={count}, image_size={image_size}"
        )
    names = tuple(_PAINTERS)
    labels = np.arange(count) % len(names)
    made = [
        _scene(np.random.default_rng([seed, SPLITS.index(split), i]), names[label], image_size)
        for i, label in enumerate(labels)
    ]
    return Scenes(np.stack([m[0] for m in made]), labels, np.array([m[1] for m in made]), names)


# === One picture ===


class _Canvas:
    """An image under way, and how much of each pixel the object covers.

    `u` and `v` are the object's own coordinates: right and down, its radius is 1.
    """

    def __init__(self, rng: np.random.Generator, size: int) -> None:
        self.rng = rng
        self.image = _background(rng, size)
        self.covered = np.zeros((size, size))
        axis = (np.arange(size) + 0.5) / size * 2 - 1
        radius = rng.uniform(0.42, 0.68)
        centre = rng.uniform(-1, 1, 2) * (0.95 - radius)
        x, y = (axis[None] - centre[0]) / radius, (axis[:, None] - centre[1]) / radius
        angle = rng.uniform(-0.5, 0.5)
        self.u = x * np.cos(angle) + y * np.sin(angle)
        self.v = y * np.cos(angle) - x * np.sin(angle)
        self._pixel = 2 / size / radius

    def paint(self, distance: Array, colour: Array, part_of_object: bool = True) -> None:
        """Paints where a signed distance (in radii) is negative, with soft edges."""
        share = np.clip(0.5 - distance / self._pixel, 0, 1)
        if part_of_object:
            self.covered = np.maximum(self.covered, share)
        self.image = self.image * (1 - share[..., None]) + colour * share[..., None]

    def colour(self, *rgb: float, spread: float = 25) -> Array:
        """A colour near the given one."""
        return np.clip(np.array(rgb) + self.rng.normal(0, spread, 3), 5, 250)


def _scene(rng: np.random.Generator, kind: str, size: int) -> tuple[Array, tuple[int, ...]]:
    canvas = _Canvas(rng, size)
    # A soft shadow, then the object.
    canvas.paint(np.hypot(canvas.u - 0.12, canvas.v - 0.15) - 0.95, canvas.image * 0.75, False)
    before = canvas.image
    _PAINTERS[kind](canvas)
    # Light from one side, and grain that is finer than any texture.
    light = 1 + 0.25 * np.clip(_turned(canvas.u, canvas.v, rng.uniform(0, 6.28)), -1, 1)
    lit = np.where(canvas.covered[..., None] > 0, canvas.image * light[..., None], before)
    image = np.clip(lit * rng.uniform(0.8, 1.15) + rng.normal(0, 4, lit.shape), 0, 255)
    rows, columns = np.nonzero(canvas.covered > 0.5)
    box = (rows.min(), columns.min(), rows.max() + 1, columns.max() + 1)
    return image.astype(np.uint8), box


def _background(rng: np.random.Generator, size: int) -> Array:
    """Two colours mixed by a fractal, with scraps of regular texture."""
    low, high = _muted(rng), _muted(rng)
    mix = 0.5 + 0.25 * _fractal(rng, size, rng.uniform(0.8, 1.6))
    image = low + (high - low) * np.clip(mix, 0, 1)[..., None]
    axis = np.arange(size) / size
    for _ in range(3):
        texture = _waves(_turned(axis[None], axis[:, None], rng.uniform(0, np.pi)), 9)
        if rng.random() < 0.5:  # checks instead of stripes
            texture = texture * _waves(_turned(axis[None], axis[:, None], rng.uniform(0, np.pi)), 7)
        where = np.clip(2 * _fractal(rng, size, 1.8) - 1, 0, 1)
        image = image + rng.uniform(-40, 40, 3) * (texture * where)[..., None]
    return np.clip(image, 0, 255)


def _muted(rng: np.random.Generator) -> Array:
    """A colour that is closer to grey than the objects' are."""
    return np.clip(rng.uniform(30, 220) + rng.normal(0, 28, 3), 5, 250)


def _fractal(rng: np.random.Generator, size: int, power: float) -> Array:
    """Noise with the spectrum 1 / f**power of natural scenes; mean 0, deviation 1."""
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None])
    frequency[0, 0] = np.inf
    noise = np.fft.rfft2(rng.normal(size=(size, size))) / frequency**power
    field = np.fft.irfft2(noise, (size, size))
    return (field - field.mean()) / field.std()


def _turned(x: Array, y: Array, angle: float) -> Array:
    return x * np.cos(angle) + y * np.sin(angle)


def _waves(x: Array, frequency: float) -> Array:
    """A square wave, -1 to 1, with edges soft enough not to alias."""
    return np.clip(3 * np.sin(2 * np.pi * frequency * x), -1, 1)


# === The objects: outlines by signed distance, then textures and parts ===


def _ladybird(c: _Canvas) -> None:
    dark = c.colour(20, 18, 18, spread=8)
    c.paint(np.hypot(c.u, c.v + 0.75) - 0.35, dark)
    c.paint(np.hypot(c.u / 0.85, c.v - 0.1) - 0.85, c.colour(205, 40, 25))
    c.paint(np.maximum(np.abs(c.u) - 0.04, np.hypot(c.u, c.v - 0.1) - 0.85), dark)
    for u, v in ((0.35, -0.25), (0.4, 0.25), (0.25, 0.62)):
        c.paint(np.hypot(np.abs(c.u) - u, c.v - v) - 0.15, dark)
    c.paint(np.hypot(np.abs(c.u) - 0.16, c.v + 0.85) - 0.07, np.full(3, 240.0))


def _wheel(c: _Canvas) -> None:
    radius = np.hypot(c.u, c.v)
    turn = np.arctan2(c.v, c.u) * c.rng.integers(5, 9) + c.rng.uniform(0, 6)
    c.paint(radius - 0.95, c.colour(35, 35, 40, spread=10))
    c.paint(radius - 0.68, c.colour(90, 95, 105))
    metal = c.colour(200, 200, 205)
    c.paint(np.maximum(radius - 0.7, 0.12 - 0.3 * radius * np.cos(turn)), metal)
    c.paint(np.abs(radius - 0.68) - 0.05, metal)
    c.paint(radius - 0.2, metal * 0.7)


def _house(c: _Canvas) -> None:
    row = np.floor((c.v + 1) * 7)
    brick = np.mod(c.u * 4 + 0.5 * np.mod(row, 2), 1)
    mortar = (brick < 0.12) | (np.mod((c.v + 1) * 7, 1) < 0.16)
    wall = np.where(mortar[..., None], 205.0, c.colour(165, 75, 55))
    c.paint(np.maximum(np.abs(c.u) - 0.68, np.abs(c.v - 0.4) - 0.5), wall)
    tiles = c.colour(85, 50, 45) * (1 + 0.35 * np.sin(c.v * 40))[..., None]
    c.paint(np.maximum(np.abs(c.u) - 0.9 * (c.v + 0.95) / 0.9, c.v + 0.08), tiles)
    c.paint(np.maximum(np.abs(c.u) - 0.17, np.abs(c.v - 0.6) - 0.3), c.colour(70, 45, 30))
    pane = np.maximum(np.abs(np.abs(c.u) - 0.43) - 0.14, np.abs(c.v - 0.3) - 0.16)
    c.paint(pane, c.colour(170, 205, 235))


def _fish(c: _Canvas) -> None:
    skin, fin = c.colour(230, 150, 40, spread=35), c.colour(190, 90, 40, spread=35)
    c.paint(np.maximum(np.abs(c.v) - 0.75 * (c.u - 0.3), c.u - 0.95), fin)
    c.paint(np.hypot(c.u + 0.05, c.v + 0.3) - 0.3, fin)
    scales = np.hypot(np.mod(c.u * 8, 1) - 0.5, np.mod(c.v * 8, 1) - 0.5)
    body = np.hypot((c.u + 0.2) / 0.75, c.v / 0.45) - 1
    c.paint(body * 0.45, skin * (0.75 + 0.5 * scales)[..., None])
    stripes = np.abs(np.mod(c.u * 2.5, 1) - 0.5) - 0.14
    c.paint(np.maximum(body * 0.45, np.maximum(stripes * 0.4, -c.u - 0.45)), np.full(3, 240.0))
    c.paint(np.hypot(c.u + 0.66, c.v + 0.1) - 0.1, np.full(3, 245.0))
    c.paint(np.hypot(c.u + 0.68, c.v + 0.1) - 0.05, np.full(3, 10.0))


def _flower(c: _Canvas) -> None:
    radius, turn = np.hypot(c.u, c.v), np.arctan2(c.v, c.u)
    petals = int(c.rng.integers(5, 9))
    veins = 0.85 + 0.15 * np.sin(turn * petals * 5)
    outline = radius - 0.5 - 0.42 * np.abs(np.cos(turn * petals / 2))
    c.paint(outline * 0.6, c.colour(225, 130, 190, spread=40) * veins[..., None])
    dots = np.sin(c.u * 45) * np.sin(c.v * 45)
    c.paint(radius - 0.3, c.colour(225, 180, 40) * (0.8 + 0.3 * dots)[..., None])


def _mushroom(c: _Canvas) -> None:
    stripes = 0.9 + 0.1 * np.sin(c.u * 40)
    stalk = c.colour(225, 215, 195, spread=12) * stripes[..., None]
    c.paint(np.maximum(np.abs(c.u) - 0.24 - 0.1 * c.v, np.abs(c.v - 0.45) - 0.5), stalk)
    cap = np.maximum(np.hypot(c.u, c.v - 0.1) - 0.95, c.v - 0.12)
    c.paint(cap, c.colour(190, 50, 40, spread=35))
    for u, v, size in (
        (0.0, -0.5, 0.15),
        (-0.48, -0.2, 0.12),
        (0.5, -0.25, 0.13),
        (0.1, -0.1, 0.1),
    ):
        c.paint(np.maximum(np.hypot(c.u - u, c.v - v) - size, cap), np.full(3, 240.0))


def _chessboard(c: _Canvas) -> None:
    edge = np.maximum(np.abs(c.u), np.abs(c.v))
    c.paint(edge - 0.85, c.colour(95, 60, 35, spread=15))
    odd = _waves(c.u, 1.6) * _waves(c.v, 1.6) > 0
    squares = np.where(
        odd[..., None], c.colour(235, 220, 190, spread=12), c.colour(70, 50, 40, spread=12)
    )
    c.paint(edge - 0.74, squares)


def _leaf(c: _Canvas) -> None:
    green = c.colour(70, 140, 55, spread=30)
    c.paint(np.maximum(np.abs(c.u) - 0.05, np.abs(c.v - 0.75) - 0.25), green * 0.6)
    blade = np.hypot(np.abs(c.u) + 0.6, c.v + 0.1) - 1.12
    veins = np.abs(np.mod((c.v + 0.9 * np.abs(c.u)) * 5, 1) - 0.5) < 0.1
    rib = np.abs(c.u) < 0.04
    c.paint(blade, np.where((veins | rib)[..., None], green * 1.5, green))


_PAINTERS: dict[str, Callable[[_Canvas], None]] = {
    "ladybird": _ladybird,
    "wheel": _wheel,
    "house": _house,
    "fish": _fish,
    "flower": _flower,
    "mushroom": _mushroom,
    "chessboard": _chessboard,
    "leaf": _leaf,
}
