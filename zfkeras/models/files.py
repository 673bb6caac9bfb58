"""Which nets are bundled, and what else people take for the file of a model. Imports no Keras."""

from pathlib import Path

BUNDLED = {"imagenette": Path(__file__).with_name("imagenette.npz")}
"""Names of the bundled nets, and their weights."""


def check_model_file(source: str | Path) -> None:
    """Raises a ValueError, at once and with advice, where there is no model to load.

    Example:
        >>> check_model_file("imagenette")
        >>> check_model_file("imagenett")
        Traceback (most recent call last):
        ValueError: There is no such model. Expected 'imagenette' or the path of a .keras file. ...
    """
    path = Path(source)
    if str(source) in BUNDLED:
        return
    if not path.exists() or not str(source):
        problem = "There is no such model", f"{_names()} or the path of a .keras file"
    elif path.is_dir() and (path / "saved_model.pb").is_file():
        problem = (
            "A SavedModel answers questions, but has no layers to look into",
            "the .keras file of the same model, which `model.save('net.keras')` writes",
        )
    elif path.is_dir():
        problem = "A folder is no model", f"{_names()} or the path of a .keras file in it"
    elif path.name.endswith((".weights.h5", ".weights.npz", ".ckpt", ".index")):
        problem = (
            "Weights alone are no model",
            "a .keras file: build the model, let it `load_weights` and `save` it",
        )
    else:
        return
    raise ValueError(f"{problem[0]}. Expected {problem[1]}. Received: {str(source)!r}")


def _names() -> str:
    return " or ".join(repr(name) for name in BUNDLED)
