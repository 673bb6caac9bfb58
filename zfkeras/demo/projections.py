"""Second and third step: projections and occlusion, of photographs and generated images."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from sklearn.datasets import load_sample_images

from zfkeras import image
from zfkeras.analysis.occlusion import occlusion
from zfkeras.data.inputs import input_size
from zfkeras.deconvnet.net import DeconvNet
from zfkeras.demo.budget import Budget
from zfkeras.demo.learning import Trained
from zfkeras.graph.predictor import Predictor
from zfkeras.graph.receptive_fields import receptive_field
from zfkeras.image import Picture, Pictures
from zfkeras.models.loading import load_class_names, load_model
from zfkeras.report import figures, occlusion as drawing, views
from zfkeras.types import Json

CREDITS = {
    "china.jpg": "Photograph by danielbuechele, CC BY 2.0, from scikit-learn.",
    "flower.jpg": "Photograph by vultilion, CC BY 2.0, from scikit-learn.",
}


@dataclass(frozen=True)
class Net:
    """A net and the names of its classes, where they are known."""

    model: keras.Model
    class_names: Sequence[str] | None

    @classmethod
    def load(cls, model: str) -> "Net":
        """A bundled net by its name, or a .keras file."""
        return cls(load_model(model), load_class_names(model))

    @property
    def words(self) -> str:
        """What one should know before believing its answers."""
        if self.class_names is None:
            return "Photographs that come with scikit-learn, as one convnet sees them."
        return (
            "Photographs that come with scikit-learn, as a trained net sees them. It knows "
            f"{len(self.class_names)} classes and nothing else: {', '.join(self.class_names)}. "
            "Whatever it is shown, it has to call it one of these."
        )


def photographs(net: Net) -> dict[str, Picture]:
    """The real photographs that scikit-learn ships, cut to a net's input."""
    samples = load_sample_images()
    return {
        Path(name).name: image.fit(picture, input_size(net.model))
        for name, picture in zip(samples.filenames, samples.images, strict=True)
    }


def look(budget: Budget, net: Net, photos: dict[str, Picture], folder: Path) -> list[Json]:
    """Classifies photographs and projects the strongest maps of several layers."""
    pictures = np.stack(list(photos.values()))
    probabilities = Predictor(net.model)(pictures).scores
    looks: list[Json] = [
        {
            "name": name,
            "picture": picture,
            "caption": CREDITS[name],
            "answers": views.answers(probabilities[index], net.class_names),
            "layers": [],
        }
        for index, (name, picture) in enumerate(photos.items())
    ]
    deconv = DeconvNet(net.model)
    for layer in budget.layers:
        found = deconv.project(pictures, layer, channels=budget.maps)
        seen = receptive_field(net.model, layer)
        for index, shown in enumerate(looks):
            shown["layers"].append(views.layer(found, pictures, seen, index))
            figure = figures.projection(found, pictures, seen, index)
            figures.save(figure, folder / "pictures" / f"{Path(shown['name']).stem}-{layer}.png")
    return looks


# === Occlude ===


def occlude(budget: Budget, net: Net, photos: dict[str, Picture], folder: Path) -> list[Json]:
    """Hides each part of each photograph in turn."""
    pictures = np.stack(list(photos.values()))
    return _occlude(budget, net, pictures, list(photos), folder, part=1 / 5)


def occlude_known(budget: Budget, trained: Trained, folder: Path) -> list[Json]:
    """The same for two generated images, where it is known what the net should look at.

    Their objects are large, and so is the occluder.
    """
    scene = trained.unseen
    right = np.flatnonzero(trained.probabilities.argmax(axis=1) == scene.labels)
    chosen = right[:2] if len(right) else np.arange(1)
    titles = [f"generated {scene.class_names[scene.labels[i]]} {i}" for i in chosen]
    net = Net(trained.model, scene.class_names)
    shown = _occlude(budget, net, scene.images[chosen], titles, folder, part=1 / 3)
    for one, index in zip(shown, chosen, strict=True):
        top, left, bottom, right = scene.boxes[index].tolist()
        box, panel = (top, left, bottom, right), one["panels"][0]
        panel["picture"] = image.frame(panel["picture"], box, colour=(255, 255, 255), thickness=1)
        panel["caption"] += "; the white frame is where the object is"
    return shown


def _occlude(
    budget: Budget,
    net: Net,
    pictures: Pictures,
    titles: Sequence[str],
    folder: Path,
    part: float,
) -> list[Json]:
    side, layer = min(input_size(net.model)), budget.layers[-1]
    found = occlusion(
        net.model,
        pictures,
        patch_size=max(1, round(side * part)),
        strides=max(1, side // budget.places),
        layer=layer,
        top_others=0,
        progress=True,
    )
    for index, title in enumerate(titles):
        figure = drawing.figure(found, pictures, index, net.class_names)
        name = Path(title).stem.replace(" ", "-")
        figures.save(figure, folder / "pictures" / f"{name}-occlusion.png")
    return [
        views.occlusion(found, pictures, index, title, net.class_names)
        for index, title in enumerate(titles)
    ]
