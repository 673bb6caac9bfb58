"""The page at ``/``: which models are here, and how to ask them."""

import html
from collections.abc import Iterable
from urllib.parse import quote

from zfkeras.server.errors import ServingError
from zfkeras.server.versions import Model

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>zfkeras: models</title>
<meta name="viewport" content="width=device-width">
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 56rem; margin: 3rem auto;
 padding: 0 1rem }}
code {{ font-size: .9em; background: #f4f4f2; border-radius: 4px; padding: .1em .3em }}
td {{ padding: .15rem 1.2rem .15rem 0; vertical-align: top }}
@media (prefers-color-scheme: dark) {{ body {{ background: #1b1b1d; color: #e6e6e3 }}
 code {{ background: #2a2a2d }} a {{ color: #8ab4f8 }} }}
</style>
<h1>Models</h1>
{models}
"""
_MODEL = """<h2>{name}</h2>
<p>{versions}. <a href="/v1/models/{path}">Status</a>,
<a href="/v1/models/{path}/metadata">metadata</a>.</p>
<table>{signatures}</table>
"""
_ROW = "<tr><td><code>{}</code><td>{}<td>&rarr; {}</tr>"


def index_page(models: Iterable[Model]) -> str:
    """HTML that lists models, versions and signatures."""
    return _PAGE.format(models="\n".join(map(_model, models)))


def _model(model: Model) -> str:
    states = [
        f"version {v}: {s.state} {s.error_message}".strip() for v, s in model.states().items()
    ]
    return _MODEL.format(
        name=html.escape(model.config.name),
        path=quote(model.config.name, safe=""),
        versions=html.escape(", ".join(states) or "no version yet"),
        signatures="".join(_signatures(model)),
    )


def _signatures(model: Model) -> Iterable[str]:
    try:
        definitions = model.servable()[1].signature_defs
    except ServingError:  # nothing is up yet
        return
    for name, definition in sorted(definitions.items()):
        if not name.startswith("__"):
            cells = (name, _names(definition.inputs), _names(definition.outputs))
            yield _ROW.format(*map(html.escape, cells))


def _names(tensors: Iterable[str]) -> str:
    return ", ".join(sorted(tensors))
