"""Web pages from results: one HTML file each, pictures inside, nothing fetched from anywhere."""

import base64
import os
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from zfkeras import image
from zfkeras.files import write_atomically
from zfkeras.image import Picture
from zfkeras.report.figures import short


def write(path: str | os.PathLike[str], template: str, **content: Any) -> Path:
    """Fills a template of this package and writes the page, whole or not at all.

    Args:
        path: where the page goes.
        template: file name in `zfkeras/report/templates`.
        content: what the template shows; a name it lacks is an error, not a gap.

    Returns:
        The path written.
    """
    page = _environment().get_template(template).render(**content)
    return write_atomically(path, page.encode())


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("zfkeras.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "photo": lambda picture: _data_uri(picture, "JPEG"),
        "drawing": lambda picture: _data_uri(picture, "PNG"),
        "percent": lambda share: f"{100 * share:.0f}\N{NO-BREAK SPACE}%",
        "duration": _duration,
        "short": short,
        "css": lambda colour: "rgb({}, {}, {})".format(*colour),
    }
    return environment


def _data_uri(picture: Picture, format: str) -> Markup:
    encoded = base64.b64encode(image.encode(picture, format)).decode()
    return Markup(f"data:image/{format.lower()};base64,{encoded}")


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"
