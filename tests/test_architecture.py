"""The import order of design.md: a file imports only from strictly lower levels."""

import ast
from pathlib import Path

import pytest

import zfkeras

PACKAGE = Path(zfkeras.__file__).parent

# First match wins. Within `models` and `data` the order is that of the list.
LEVELS = [
    ("version", 0),
    ("image", 0),
    ("results", 1),
    ("pictures", 1),
    ("landmarks", 1),
    ("transforms", 1),
    ("answers", 5),
    ("copies", 6),
    ("geometry", 0),
    ("protos", 0),
    ("ops", 1),
    ("warmup", 1),
    ("occluder", 1),
    ("data.decode", 1),
    ("data.preprocess", 1),
    ("layers", 2),
    ("convolution", 2),
    ("constraints", 2),
    ("optimizer", 2),
    ("data.sources", 2),
    ("data.batches", 3),
    ("data.folders", 3),
    ("data.generated", 3),
    ("data.stream", 4),
    ("models.architecture", 3),
    ("models.weights", 3),
    ("models.loading", 5),
    ("models", 4),
    ("fields", 3),
    ("graph", 4),
    ("incremental", 5),
    ("reverse", 5),
    ("rules", 6),
    ("descent", 7),
    ("deconvnet", 8),
    ("local", 8.5),
    ("recipes", 6),
    ("run_state", 6),
    ("evaluation", 6),
    ("analysis.explanations", 9.5),
    ("analysis.sanity", 9.6),
    ("analysis.faithfulness", 9.7),
    ("analysis.evolution", 9.5),
    ("analysis.filters", 9.5),
    ("analysis", 9),
    ("training", 9),
    ("saved_model", 10),
    ("beam", 10),
    ("server", 10),
    ("client", 10),
    ("report", 11),
    ("atlas", 12),
    ("experiments", 12),
    ("demo", 12),
    ("cli", 13),
]
MODULES = sorted(
    path.relative_to(PACKAGE).with_suffix("").as_posix().replace("/", ".")
    for path in PACKAGE.rglob("*.py")
    if path.name != "__init__.py"
)


def level(module):
    for prefix, value in LEVELS:
        if module == prefix or module.startswith(prefix + "."):
            return value
    raise AssertionError(f"{module} has no level: give it one in LEVELS")


def imports(module):
    """The package's modules that `module` imports, at its top or inside its functions."""
    tree = ast.parse((PACKAGE / (module.replace(".", "/") + ".py")).read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import"
            # `from zfkeras import ops` names a module, `from zfkeras.ops import Pair` an object.
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] == "zfkeras":
                yield from (m for m in MODULES if m in (".".join(parts[1:]), ".".join(parts[1:-1])))


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_from_lower_levels(module):
    for imported in imports(module):
        same_package = "." in module and imported.split(".")[0] == module.split(".")[0]
        if same_package and level(imported) == level(module):
            assert imported < module or module.split(".")[0] in (
                "cli",
                "server",
                "report",
                "saved_model",
            ), f"{module} imports its sibling {imported}"
            continue
        assert level(imported) < level(module), f"{module} must not import {imported}"


@pytest.mark.parametrize("module", MODULES)
def test_a_module_is_small(module):
    """The package budget of design.md: a module over 350 lines usually holds two ideas."""
    source = (PACKAGE / (module.replace(".", "/") + ".py")).read_text()
    assert source.count("\n") <= 350
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef):
            docstring = len((ast.get_docstring(node) or "").splitlines())
            assert node.end_lineno - node.lineno + 1 - docstring <= 60, f"{module}.{node.name}"


def test_every_public_name_exists_and_is_documented():
    for name in zfkeras.__all__:
        assert name == "__version__" or getattr(zfkeras, name).__doc__, name


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Deconvnet'"):
        zfkeras.Deconvnet  # noqa: B018
