"""The user's own layers and rules, by the modules that define them."""

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zfkeras.deconvnet.rules import Rules


def import_layers(names: Sequence[str]) -> None:
    """Imports modules by name or file, and lets Keras load the layers that they define."""
    import keras

    for name in names:
        found = vars(user_module(name, "--import")).values()
        layers = [cls for cls in found if inspect.isclass(cls) and _is_keras(cls)]
        keras.saving.get_custom_objects().update({cls.__name__: cls for cls in layers})


def _is_keras(cls: type) -> bool:
    import keras

    return issubclass(cls, keras.Layer) and not cls.__module__.startswith("keras.")


def open_rules(text: str) -> "Rules | None":
    """The mapping of reverse rules that ``MODULE:NAME`` stands for; None for nothing."""
    if not text:
        return None
    module, colon, name = text.rpartition(":")
    if not colon or not module or not name:
        raise ValueError(
            "--rules must be the module or .py file and the name of a dict in it, such as "
            f"my_rules.py:RULES. Received: --rules {text}"
        )
    rules = getattr(user_module(module, "--rules"), name, None)
    if rules is None:
        raise ValueError(f"--rules must name a dict of {module}. Received: --rules {text}")
    return rules


def user_module(name: str, option: str) -> ModuleType:
    """A module by its name, seen from the working directory, or by the path of its file."""
    if not name.endswith(".py"):
        try:
            sys.path.insert(0, "")
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            raise ValueError(
                f"There is no such module ({error}); allowed is one that Python finds from here, "
                f"or the path of a .py file. Received: {option} {name}"
            ) from None
        finally:
            sys.path.remove("")
    path = Path(name)
    if not path.is_file():
        raise ValueError(f"There is no such file; allowed is a .py file. Received: {option} {name}")
    if path.stem in sys.modules:
        return sys.modules[path.stem]
    spec: Any = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # before it runs, as an import statement would
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[path.stem]
        raise
    finally:
        sys.path.remove(str(path.parent))
    return module
