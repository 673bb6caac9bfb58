"""What the documentation names exists, and the code cites only what readers have."""

import importlib
import re
from pathlib import Path

import pytest

import zfkeras

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    path
    for path in [*ROOT.glob("*.md"), *ROOT.glob("*/*.md"), *ROOT.glob("*/*/*.md")]
    if not {"node_modules", ".venv"} & set(path.parts) and path.name != "CHANGELOG.md"
)
SECTIONS = set(re.findall("^#+ (.+)$", (ROOT / "docs" / "method.md").read_text(), re.M)) | set(
    re.findall(r"^\*\*(.+?)\.?\*\*", (ROOT / "docs" / "method.md").read_text(), re.M)
)


def programs():
    return [
        path
        for folder in ("zfkeras", "tests", "benchmarks")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if path != Path(__file__)
    ]


def test_cited_sections_exist():
    """`method.md, NAME` names a section of docs/method.md."""
    found = 0
    for path in programs():
        text = re.sub(r"\s+", " ", path.read_text())
        for rest in re.findall(r"method\.md, ([A-Z].{0,60})", text):
            assert any(rest.startswith(name) for name in SECTIONS), f"{path.name}: {rest}"
            found += 1
    assert found > 20


def test_nothing_cites_the_developers_notes():
    numbered = r"\b[sS]pec ([A-K]\d?|\d\.\d)\b|\b[A-K]\d\.\d\b|\bJ\d+\b"
    files = r"\b(design|house|spec|pitfalls|peers|performance)\.md\b"
    cited = re.compile(f"{numbered}|{files}")
    for path in [*programs(), *PAGES]:
        match = cited.search(path.read_text())
        assert match is None, f"{path}: {match and match[0]}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_names_of_a_page_exist(page):
    text = page.read_text()
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", text):
        assert (page.parent / target).exists(), target
    for name in set(re.findall(r"\bzf\.(\w+)", text)):
        assert hasattr(zfkeras, name), f"zf.{name}"
    for module in set(re.findall(r"\bfrom (zfkeras(?:\.\w+)*) import", text)):
        assert exists(module), module
    for name in set(re.findall(r"`(zfkeras(?:\.\w+)+)`", text)) - {"zfkeras.json"}:
        assert exists(name), name


def exists(name):
    """Whether a dotted name is a module, or something in one."""
    if name == "zfkeras.analysis.beam":
        return (ROOT / "zfkeras/analysis/beam.py").exists()  # its dependency is optional
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:count]))
        except ImportError:
            continue
        for part in parts[count:]:
            if not hasattr(found, part):
                return False
            found = getattr(found, part)
        return True
    return False


def test_the_rooms_of_contributing_are_the_tree():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    for path in set(re.findall(r"`((?:\w+/)+(?:\w+\.py)?|\w+\.py)`", text)):
        if "NAME" in path or path == "alexnet.py":
            continue
        assert any((ROOT / base / path).exists() for base in (".", "zfkeras")), path
    packages = {path.parent.name for path in (ROOT / "zfkeras").glob("*/__init__.py")}
    assert packages <= set(re.findall(r"`(\w+)/`", text))


def test_every_page_is_in_the_index():
    index = (ROOT / "docs" / "README.md").read_text()
    for page in (ROOT / "docs").glob("*.md"):
        assert page.name == "README.md" or f"({page.name})" in index, page.name


def test_commands_of_the_docs_are_commands():
    """Their names and options; that they run is the README's test's business."""
    options = {}
    for page in PAGES:
        for block in re.findall(r"```sh\n(.*?)```", page.read_text(), re.S):
            for line in block.replace("\\\n", " ").splitlines():
                match = re.match(r"zfkeras (\w+)(.*)", line.split("#")[0])
                if match:
                    options.setdefault(match[1], set()).update(re.findall(r" (--[\w-]+)", match[2]))
    assert options.keys() >= {"project", "atlas", "export"}
    for command, used in options.items():
        shown = help_of(command)
        missing = [option for option in used if option not in shown]
        assert not missing, f"zfkeras {command}: {missing}"


def help_of(command):
    from typer.testing import CliRunner

    from zfkeras.cli import app

    result = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0, command
    return result.output
