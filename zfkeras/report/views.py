"""Results as what the templates show: pictures with their captions, nothing computed anew."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from zfkeras.image import Pictures
from zfkeras.regions.receptive_field import ReceptiveField
from zfkeras.report import figures, occlusion as drawing
from zfkeras.types import Json

if TYPE_CHECKING:
    from zfkeras.analysis.occlusion_result import Occlusion
    from zfkeras.deconvnet.net import Projection


def answers(
    probabilities: np.ndarray, class_names: Sequence[str] | None, k: int = 3
) -> list[tuple[str, float]]:
    """The k most probable classes and their probabilities (C,), best first.

    Example:
        >>> answers(np.array([0.25, 0.75]), ["church", "tench"], k=1)
        [('tench', 0.75)]
    """
    best = np.argsort(-probabilities, kind="stable")[:k]
    return [(figures.class_name(c, class_names), float(probabilities[c])) for c in best]


def layer(found: "Projection", images: Pictures, field: ReceptiveField, index: int = 0) -> Json:
    """One image's strongest units of a layer: patches beside projections."""
    rows, columns = (
        min(int(size), limit)
        for size, limit in zip(field.size, found.pixels.shape[2:4], strict=True)
    )
    pairs = figures.stimuli(found, images, field, index)
    numbers = zip(found.channels[index], found.values[index], strict=True)
    return {
        "name": found.layer,
        "sees": f"{rows} by {columns}",
        "maps": [
            {"number": int(number), "value": float(value), "patch": patch, "projection": shown}
            for (number, value), (patch, shown) in zip(numbers, pairs, strict=True)
            if value > 0
        ],
    }


def occlusion(
    found: "Occlusion",
    images: Pictures,
    index: int,
    name: str,
    class_names: Sequence[str] | None = None,
) -> Json:
    """The panels of Fig. 7 for one image, with captions, scales and the legend."""
    pictures = drawing.panels(found, images, index)
    captions, limits = _captions(found, index, class_names), _limits(found, index)
    legend = [
        (figures.class_name(number, class_names), colour)
        for number, colour in list(drawing.classes_seen(found, index).items())[:6]
    ]
    return {
        "name": name,
        "words": _words(found, index, class_names),
        "panels": [
            {
                "letter": letter,
                "picture": pictures[letter],
                "alt": f"{captions[letter]}, for {name}",
                "caption": captions[letter],
                "limits": limits.get(letter),
                "legend": legend if letter == "e" else None,
            }
            for letter in sorted(pictures)
        ],
    }


def _captions(
    found: "Occlusion", index: int, class_names: Sequence[str] | None
) -> Mapping[str, str]:
    named = drawing.map_name(found, index)
    return {
        "a": "the image, the square where it hurts most",
        "b": f"total activation of {named}, its strongest map here",
        "c": f"the strongest unit of {named}, projected",
        "d": f"{found.score_name} of {drawing.watched(found, index, class_names)}, over the image",
        "e": f"the {drawing.best(found)}",
    }


def _limits(found: "Occlusion", index: int) -> dict[str, tuple[str, str]]:
    """What the dark and the bright end of a panel's colours stand for."""
    limits = {}
    if found.probabilities is not None:
        heat = found.heat_map()[index]
        limits["d"] = (figures.short(heat.max()), figures.short(heat.min()))
    if found.activation is not None:
        places = found.activation[index]
        limits["b"] = (figures.short(places.max()), figures.short(places.min()))
    return limits


def _words(found: "Occlusion", index: int, class_names: Sequence[str] | None) -> str:
    places, whole = found.response[index], found.baseline_response[index]
    watched = drawing.watched(found, index, class_names)
    if found.predicted is None:
        return (
            f"The total of {watched} is {figures.short(whole)} for the whole image and "
            f"{figures.short(places.min())} with the square where it hurts most."
        )
    row, column = np.unravel_index(places.argmin(), places.shape)
    then = figures.class_name(found.predicted[index, row, column], class_names)
    verdict = f"The net still says {then}." if then == watched else f"The net then says {then}."
    return (
        f"The {found.score_name} of {watched} is {whole:.2f} for the whole image and "
        f"{places[row, column]:.2f} with the square where it hurts most. {verdict}"
    )


def outcome(
    pictures: Pictures,
    probabilities: np.ndarray,
    truth: Sequence[int] | np.ndarray,
    class_names: Sequence[str],
) -> list[Json]:
    """Classified images as samples: picture, answer, its probability, truth."""
    best = probabilities.argmax(axis=1)
    return [
        {
            "picture": picture,
            "answer": class_names[answer],
            "share": float(row[answer]),
            "truth": class_names[label],
        }
        for picture, row, answer, label in zip(pictures, probabilities, best, truth, strict=True)
    ]
