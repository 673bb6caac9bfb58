"""The atlas in a real browser, opened from the disk."""

import re
import shutil
import subprocess
from functools import partial

import pytest
from test_atlas import data, net, photos, site  # noqa: F401

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --virtual-time-budget=8000"
).split()


def opened(page, tmp_path, ready=lambda document: True):
    """The document that the browser has made of a page after its scripts have run.

    A browser that has just been started may give it away before the pictures have come, so it
    gets a few tries to be `ready`.
    """
    for _ in range(5):
        done = subprocess.run(
            [CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path}/profile", "--dump-dom", page],
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
        assert "Uncaught" not in done.stderr, done.stderr
        if ready(done.stdout):
            break
    return done.stdout


def page(site, place, script=""):  # noqa: F811
    """The address of a page; with a script, of a copy that runs it when the page is there."""
    index = site / "index.html"
    if script:
        extra = f"<script>addEventListener('load', () => setTimeout(() => {{{script}}}, 500))"
        index = site / "scripted.html"
        text = (site / "index.html").read_text()
        index.write_text(text.replace("</body>", f"{extra}</script></body>"))
    return f"{index.as_uri()}#{place}"


def sprites(document):
    """How many pictures there are, and how many of them have loaded."""
    kinds = re.findall(r'class="(sprite[^"]*)"', document)
    return len(kinds), sum("shown" in kind for kind in kinds)


@pytest.mark.parametrize(
    ("place", "title", "pictures"),
    [
        ("", "little", 4 + 6),  # of 6 maps each, but for the dead one's layer of 5
        ("layer/conv2", "conv2", 2 * 6),
        ("map/conv2/3", "conv2 map 3", 2 * 4),
    ],
)
def test_pages_open_with_all_their_pictures(site, tmp_path, place, title, pictures):  # noqa: F811
    document = opened(page(site, place), tmp_path, lambda d: sprites(d) == (pictures, pictures))
    heading = re.search(r"<h1>(.*?)</h1>", document, re.DOTALL)[1]
    assert re.sub(r"<[^>]*>", "", heading).strip() == title
    assert sprites(document) == (pictures, pictures)
    assert "missing" not in re.findall(r'class="sprite ([^"]*)"', document)
    assert document.count('role="img" aria-label=""') == 0


def test_a_maps_page_says_what_is_known(site, tmp_path):  # noqa: F811
    document = opened(page(site, "map/conv2/3"), tmp_path)
    assert "<svg" in document
    assert document.count("images: ") + document.count("1 image<") >= 1
    assert "class 0 &amp; &lt;b&gt;" in document  # a folder's name is text, not markup
    assert re.search(r'href="#image/\d+"', document)
    assert 'rel="prev"' in document
    assert 'rel="next"' in document


def test_an_image_lists_the_maps_that_fire_there(site, tmp_path):  # noqa: F811
    document = opened(page(site, "image/3"), tmp_path)
    assert 'src="images/0000003.jpg"' in document
    tiles = re.findall(r'href="#map/(conv\d)/(\d)"', document)
    assert tiles
    assert document.count("<rect") == len(tiles)
    everything = opened(page(site, "images"), tmp_path)
    assert everything.count('loading="lazy"') == len(set(re.findall(r"#image/\d+", everything)))


def test_what_is_not_there_is_said(site, tmp_path):  # noqa: F811
    assert "There is no layer conv9." in opened(page(site, "layer/conv9"), tmp_path)
    assert "conv1 has no map 77 here." in opened(page(site, "map/conv1/77"), tmp_path)


def test_keys_lead_from_map_to_map_and_up(site, tmp_path):  # noqa: F811
    press = "key => dispatchEvent(new KeyboardEvent('keydown', {key}))"
    document = opened(page(site, "map/conv2/3", f"({press})('ArrowRight')"), tmp_path)
    assert "<small>map 4</small>" in document
    document = opened(page(site, "map/conv2/3", f"({press})('u')"), tmp_path)
    assert 'data-page="layer"' in document


def test_maps_are_searched_and_sorted(site, tmp_path):  # noqa: F811
    def numbers(script):
        document = opened(page(site, "layer/conv1", script), tmp_path)
        return [int(number) for number in re.findall(r'href="#map/conv1/(\d)"', document)]

    assert numbers("") == [0, 1, 2, 3, 4]
    change = "const s = {}; s.value = '{}'; s.dispatchEvent(new Event('{}'))".format
    find = partial(change, "document.getElementById('search')")
    assert numbers(find("3", "input")) == [3]
    assert numbers(find("nothing of the kind", "input")) == []
    sort = partial(change, "document.querySelector('select')")
    assert numbers(sort("deadest", "change"))[0] == 2
    strongest = numbers(sort("strongest", "change"))
    assert strongest[-1] == 2
    assert sorted(strongest) == [0, 1, 2, 3, 4]
