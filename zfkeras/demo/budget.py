"""How much work the demo does."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Budget:
    """How much the demo does; as it stands, about two minutes on two cores.

    Attributes:
        image_size: side of the generated images.
        width: of the net trained on them.
        examples: number of them.
        epochs: passes over them.
        model: the net that looks at photographs: a bundled one or a .keras file.
        layers: layers to project from.
        maps: strongest maps of each.
        places: the occluder's places a side.
    """

    image_size: int = 96
    width: float = 0.25
    examples: int = 2000
    epochs: int = 8
    model: str = "imagenette"
    layers: tuple[str, ...] = ("conv2", "conv3", "conv5")
    maps: int = 3
    places: int = 28
