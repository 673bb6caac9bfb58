"""What is costly to make of a model and good for further calls: plans, traces, walked graphs.

It hangs on the model itself, so it lives no longer, and is made anew once a layer is no longer what
it was. Weights need no watching: whatever is kept reads the model's own variables at each call.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from typing import Generic, TypeVar

import keras

T = TypeVar("T")
_PLACE = "_zfkeras_kept"
_PLAIN = (bool, int, float, str, tuple)
_State = list[tuple[str, object]]


class Kept(Generic[T]):
    """Something made of models, kept for the last few arguments it was asked for with.

    What is kept may refer to its model: both go together.

    Args:
        most: How many to keep for each model.

    Example:
        >>> totals = Kept(most=2)
        >>> net = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        >>> [totals.get(net, "parameters", net.count_params) for _ in range(2)]
        [15, 15]
    """

    def __init__(self, most: int = 8) -> None:
        self._most = most

    def get(self, model: keras.Model, key: Hashable, make: Callable[[], T]) -> T:
        """What `make` makes, or made when it was last asked for with this key.

        Args:
            model: The model it is made of.
            key: Whatever else it depends on.
            make: Makes it.
        """
        if not isinstance(model, keras.Model):
            return make()  # which says what is wrong
        made = self._made(model)
        if key not in made:
            made[key] = make()
        made.move_to_end(key)
        while len(made) > self._most:
            made.popitem(last=False)
        return made[key]

    def _made(self, model: keras.Model) -> OrderedDict[Hashable, T]:
        state = list(_state(model))
        found = vars(model).get(_PLACE)
        if found is None or not found.fits(state):
            # Keras would track what is set as an attribute, and save it with the model.
            found = vars(model)[_PLACE] = _Shelf(state)
        return found.of.setdefault(self, OrderedDict())


class _Shelf:
    """All that is kept of a model, and how the model was then."""

    def __init__(self, state: _State) -> None:
        self._state = state
        self.of: dict[Kept, OrderedDict] = {}

    def fits(self, state: _State) -> bool:
        """Whether the model's layers are what they were."""
        return len(state) == len(self._state) and all(map(_is_same, state, self._state))


def _is_same(a: tuple[str, object], b: tuple[str, object]) -> bool:
    if a[0] != b[0] or type(a[1]) is not type(b[1]):
        return False
    return a[1] is b[1] or (isinstance(a[1], _PLAIN) and a[1] == b[1])


def _state(model: keras.Model) -> Iterator[tuple[str, object]]:
    """The layers, their public attributes (activation, strides, scale, ...) and their variables."""
    for layer in model._flatten_layers(include_self=False):
        yield "layer", layer
        if not isinstance(layer, keras.Model):  # its attributes are about training
            yield from ((k, v) for k, v in vars(layer).items() if not k.startswith("_"))
    yield from (("variable", variable) for variable in model.variables)
