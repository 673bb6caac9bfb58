"""The import order: a package imports only from lower levels, and never in a circle inside."""

import ast
import graphlib
from pathlib import Path

import pytest

import zfkeras

PACKAGE = Path(zfkeras.__file__).parent

LEVELS = {
    "version": 0,
    "files": 0,
    "types": 0,
    "deprecation": 0,
    "validate": 0,
    "reading": 0,
    "fitting": 1,
    "image": 2,
    "results": 3,
    "protos": 0,
    "ops": 1,
    "warmup": 1,
    "layers": 2,
    "constraints": 2,
    "data": 4,
    "regions": 4,
    "graph": 5,
    "training": 6,
    "models": 7,
    "deconvnet": 7,
    "analysis": 8,
    "saved_model": 9,
    "server": 9,
    "client": 9,
    "report": 10,
    "atlas": 11,
    "demo": 11,
    "experiments": 11,
    "cli": 12,
}
MODULES = sorted(
    path.relative_to(PACKAGE).with_suffix("").as_posix().replace("/", ".")
    for path in PACKAGE.rglob("*.py")
    if path.name != "__init__.py"
)


def package(module):
    return module.split(".")[0]


def source(module):
    return (PACKAGE / (module.replace(".", "/") + ".py")).read_text()


def imported_names(module):
    """What `module` imports of zfkeras, at its top or inside its functions, without the prefix."""
    for node in ast.walk(ast.parse(source(module))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import"
            # `from zfkeras import ops` names a module, `from zfkeras.ops import Pair` an object.
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (n.removeprefix("zfkeras.") for n in names if n.startswith("zfkeras."))


def imported_modules(module):
    for name in imported_names(module):
        yield from (m for m in MODULES if m in (name, name.rpartition(".")[0]))


def test_every_package_has_a_level():
    assert {package(module) for module in MODULES} == set(LEVELS)


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_from_lower_levels(module):
    for name in imported_names(module):
        if package(name) not in (package(module), "__version__"):
            assert LEVELS[package(name)] < LEVELS[package(module)], f"it must not import {name}"


def test_no_package_imports_in_a_circle():
    graph = {
        module: {m for m in imported_modules(module) if package(m) == package(module)}
        for module in MODULES
    }
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError


@pytest.mark.parametrize("module", MODULES)
def test_a_module_is_small(module):
    """A module over 350 lines usually holds two ideas."""
    text = source(module)
    assert text.count("\n") <= 350
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            docstring = len((ast.get_docstring(node) or "").splitlines())
            assert node.end_lineno - node.lineno + 1 - docstring <= 60, f"{module}.{node.name}"


def test_signatures_name_their_types():
    """`Any` says nothing: what several modules mean has a name, in `types` or where it is made."""
    anything = 0
    for module in MODULES:
        for node in ast.walk(ast.parse(source(module))):
            if isinstance(node, ast.arg) and node.annotation:
                anything += names_in(node.annotation).count("Any")
            if isinstance(node, ast.FunctionDef) and node.returns:
                anything += names_in(node.returns).count("Any")
    assert anything < 150


def names_in(annotation):
    return [node.id for node in ast.walk(annotation) if isinstance(node, ast.Name)]


def test_every_public_name_exists_and_is_documented():
    for name in zfkeras.__all__:
        text = "" if name == "__version__" else getattr(zfkeras, name).__doc__
        assert name == "__version__" or text, name
        assert not (text or "").startswith(f"{name}("), f"{name}: only what a dataclass writes"


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="No zfkeras attribute Deconvnet"):
        zfkeras.Deconvnet  # noqa: B018
