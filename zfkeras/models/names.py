"""The edits behind the named variants. Imports no Keras."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Edit:
    """What a variant changes in its net.

    Attributes:
        removed: Numbers of the layers that are left out, convolutional or fully connected.
        filters: Pairs of a convolutional layer's number and its number of filters.
        fc_units: Units of each fully connected layer, or None as they are.
    """

    removed: tuple[int, ...] = ()
    filters: tuple[tuple[int, int], ...] = ()
    fc_units: int | None = None


_WIDE = ((3, 512), (4, 1024), (5, 512))

VARIANTS: dict[str, dict[str, Edit]] = {
    "alexnet": {
        "layers 3,4 removed": Edit(removed=(3, 4)),
        "layer 7 removed": Edit(removed=(7,)),
        "layers 6,7 removed": Edit(removed=(6, 7)),
        "layers 3,4,6,7 removed": Edit(removed=(3, 4, 6, 7)),
        "layers 6,7: 2048 units": Edit(fc_units=2048),
        "layers 6,7: 8192 units": Edit(fc_units=8192),
    },
    "zfnet": {
        "layers 6,7: 2048 units": Edit(fc_units=2048),
        "layers 6,7: 8192 units": Edit(fc_units=8192),
        "layers 3,4,5: 512,1024,512 maps": Edit(filters=_WIDE),
        "layers 6,7: 8192 units, layers 3,4,5: 512,1024,512 maps": Edit((), _WIDE, 8192),
        # Not in the paper's table, but what it asks of the other net.
        "layers 3,4 removed": Edit(removed=(3, 4)),
        "layer 7 removed": Edit(removed=(7,)),
        "layers 6,7 removed": Edit(removed=(6, 7)),
        "layers 3,4,6,7 removed": Edit(removed=(3, 4, 6, 7)),
    },
}
"""Table 3 of Zeiler & Fergus: by net and by name, what each row changes."""
