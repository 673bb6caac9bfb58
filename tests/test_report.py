"""What is drawn is what was computed; pages stand on their own."""

import re

import numpy as np
import pytest

from zfkeras import image
from zfkeras.analysis.occlusion_result import Occlusion
from zfkeras.deconvnet.net import Projection
from zfkeras.regions.receptive_field import ReceptiveField
from zfkeras.report import figures, occlusion as drawing, page, views

HEIGHT, WIDTH = 20, 33
NAMES = ["tench", "church & <tower>", "golf ball", "parachute"]


@pytest.fixture
def pictures(rng):
    return rng.integers(0, 256, (2, HEIGHT, WIDTH, 3), dtype=np.uint8)


@pytest.fixture
def projections(rng):
    """Two images, three maps; the last one's field hangs over the corner."""
    positions = np.array([[[0, 0], [1, 2], [3, 6]], [[2, 2], [2, 2], [0, 6]]])
    return Projection(
        pixels=rng.normal(size=(2, 3, HEIGHT, WIDTH, 3)).astype(np.float32),
        values=np.array([[1234.5, 2.5, 0.0], [3.0, 2.0, 1.0]], np.float32),
        positions=positions,
        channels=np.array([[7, 1, 12], [4, 5, 6]]),
        layer="conv3",
    )


FIELD = ReceptiveField(size=(9, 7), jump=(5, 5), start=(2.0, 1.0))


@pytest.fixture
def occlusion(rng):
    """A 3 x 4 grid whose lowest probability is in the lower right corner of image 0."""
    probabilities = np.full((2, 3, 4, 1), 0.8, np.float32)
    probabilities[0, 2, 3] = 0.125
    predicted = np.array(
        [[[1, 1, 1, 1], [1, 1, 2, 2], [1, 0, 2, 2]], [[3] * 4] * 3], dtype=np.int64
    )
    return Occlusion.of(
        rows=np.array([0, 8, 16]),
        columns=np.array([0, 10, 20, 30]),
        classes=np.array([[1], [3]]),
        probabilities=probabilities,
        predicted=predicted,
        activation=rng.random((2, 3, 4)).astype(np.float32),
        channel=np.array([5, 6]),
        baseline_probabilities=np.array([[0.9], [0.8]], np.float32),
        baseline_predicted=np.array([1, 3]),
        baseline_activation=np.array([4.0, 4.0], np.float32),
        image_size=(HEIGHT, WIDTH),
        patch_size=(8, 10),
        strides=(8, 10),
        projection=rng.normal(size=(2, HEIGHT, WIDTH, 3)).astype(np.float32),
        others=np.array([[1], [0]]),
        other_projections=rng.normal(size=(2, 1, HEIGHT, WIDTH, 3)).astype(np.float32),
        fill_value=np.array([[[[128.0, 0, 255]]]] * 2, np.float32),
        layer="conv3",
    )


def texts(figure):
    return [axes.get_title() for axes in figure.axes]


# === Projections ===


def test_stimuli_are_cut_like_the_receptive_field(projections, pictures):
    boxes = {  # (image, map) -> rows and columns by hand: 9 x 7 around (2 + 5 i, 1 + 5 j)
        (0, 0): (slice(0, 7), slice(0, 5)),
        (0, 1): (slice(3, 12), slice(8, 15)),
        (0, 2): (slice(13, 20), slice(28, 33)),
        (1, 2): (slice(0, 7), slice(28, 33)),
    }
    for (index, number), box in boxes.items():
        patch, shown = figures.stimuli(projections, pictures, FIELD, index)[number]
        np.testing.assert_array_equal(patch, pictures[index][box])
        expected = image.to_display(projections.pixels[index, number][box], percentile=99.5)
        np.testing.assert_array_equal(shown, expected)


def test_without_a_field_nothing_is_cut(projections, pictures):
    patch, shown = figures.stimuli(projections, pictures, index=1)[2]
    np.testing.assert_array_equal(patch, pictures[1])
    assert shown.shape == (HEIGHT, WIDTH, 3)


def test_projection_figure_names_maps_and_values(projections, pictures, tmp_path):
    figure = figures.projection(projections, pictures, FIELD, index=0)
    assert texts(figure)[0] == "conv3"
    assert [title for title in texts(figure) if title][1:] == [
        "1: map 7\n1,234",
        "2: map 1\n2.5",
        "3: map 12\n0",
    ]
    assert len(figure.axes[0].patches) == 3  # the three fields, outlined on the image
    assert [text.get_text() for text in figure.axes[0].texts] == ["1", "2", "3"]
    drawn = image.load(figures.save(figure, tmp_path / "p.png"))
    assert drawn.shape[0] > 200
    assert "photo.jpg" in texts(figures.projection(projections, pictures, FIELD, 0, "photo.jpg"))[0]


def test_cells_of_a_projection_figure_are_alike(projections, pictures):
    """All at one scale: clipped fields are small pictures in cells as large as the others'."""
    figure = figures.projection(projections, pictures, FIELD, index=0)
    _, *cells = figure.axes
    assert len({np.ptp(axes.get_xlim()) for axes in cells}) == 1
    assert len({np.ptp(axes.get_ylim()) for axes in cells}) == 1
    shapes = {axes.images[0].get_array().shape[:2] for axes in cells}
    assert len(shapes) > 1
    assert figure._supxlabel.get_text().startswith("Projections: grey is zero")


def test_an_overview_has_all_images(projections, pictures):
    figure = figures.overview(projections, pictures, ["a.png", "a very long name.png"], FIELD)
    rows = np.reshape(figure.axes, (2, 4))
    for index, row in enumerate(rows):
        np.testing.assert_array_equal(row[0].images[0].get_array(), pictures[index])
        told = [axes.get_title() for axes in row[1:]]
        assert told == [f"map {channel}" for channel in projections.channels[index]]
    assert rows[1, 0].get_title() == "a very long nam…"
    some = figures.overview(projections, pictures, ["a", "b"], FIELD, most=(1, 2))
    assert len(some.axes) == 3
    assert "The first 1 of 2 images" in some._supxlabel.get_text()


def test_projection_figure_shows_the_image_asked_for(projections, pictures):
    for index in range(2):
        shown = figures.projection(projections, pictures, FIELD, index).axes[0].images[0]
        np.testing.assert_array_equal(shown.get_array(), pictures[index])


def test_many_maps_wrap_and_none_is_lost(pictures, rng):
    many = Projection(
        pixels=rng.normal(size=(1, 14, HEIGHT, WIDTH, 3)).astype(np.float32),
        values=np.ones((1, 14), np.float32),
        positions=np.zeros((1, 14, 2), int),
        channels=np.arange(14)[None],
        layer="conv3",
    )
    figure = figures.projection(many, pictures[:1], FIELD)
    assert sum("map" in title for title in texts(figure)) == 14
    assert len(figure.axes) == 1 + 2 * 14


# === Occlusion ===


def test_worst_box_is_clipped(occlusion):
    assert drawing.worst_box(occlusion, 0) == (12, 25, 20, 33)


def test_panel_a_wears_the_occluder_and_nothing_else(occlusion, pictures):
    shown = drawing.panels(occlusion, pictures, 0)["a"]
    assert (shown[12:20, 25:33] == [128, 0, 255]).all()
    shown[12:20, 25:33] = pictures[0, 12:20, 25:33]
    np.testing.assert_array_equal(shown, pictures[0])


def test_panel_a_wears_a_picture(occlusion, pictures):
    """What "blur" paints: another picture, seen where the occluder is."""
    inverse = 255.4 - pictures.astype(np.float32)
    found = occlusion.replace(fill_value=inverse)
    shown = drawing.occluded(found, pictures[0], 0)
    np.testing.assert_array_equal(shown[12:20, 25:33], 255 - pictures[0, 12:20, 25:33])
    shown[12:20, 25:33] = pictures[0, 12:20, 25:33]
    np.testing.assert_array_equal(shown, pictures[0])


def test_panel_e_shows_each_class_in_its_colour(occlusion, pictures):
    colours = drawing.classes_seen(occlusion, 0)
    assert list(colours) == [1, 2, 0]  # the most frequent first
    shown = drawing.panels(occlusion, pictures, 0)["e"]
    for y in range(HEIGHT):
        for x in range(WIDTH):
            row, column = min((y + 4) // 8, 2), min((x + 4) // 10, 3)
            if y % 8 != 4 and x % 10 != 5:  # not halfway between two centres
                assert tuple(shown[y, x]) == colours[occlusion.predicted[0, row, column]]


def test_panel_d_is_the_heat_map_over_the_image(occlusion, pictures):
    """Bright where hiding lowers the probability."""
    shown = drawing.panels(occlusion, pictures, 0)["d"]
    expected = image.overlay(pictures[0], 0.9 - occlusion.heat_map()[0])
    np.testing.assert_array_equal(shown, expected)
    alone = image.overlay(np.zeros_like(pictures[0]), occlusion.importance()[0], alpha=1)
    brightest = np.unravel_index(alone.sum(2).argmax(), alone.shape[:2])
    top, left, bottom, right = drawing.worst_box(occlusion, 0)
    assert top <= brightest[0] < bottom
    assert left <= brightest[1] < right


def test_b_and_d_of_the_figure_are_bright_where_they_are_low(occlusion, pictures):
    figure = drawing.figure(occlusion, pictures, 0, NAMES)
    for letter in "bd":
        (axes,) = (one for one in figure.axes if one.get_title().startswith(f"({letter})"))
        shown = axes.images[0]
        low, high = (shown.cmap(shown.norm(value)) for value in shown.get_clim())
        assert sum(low[:3]) > sum(high[:3])


def test_a_silent_map_says_so(occlusion, rng):
    pool = rng.integers(0, 256, (3, HEIGHT, WIDTH, 3), dtype=np.uint8)
    projections = rng.normal(size=(2, 2, HEIGHT, WIDTH, 3)).astype(np.float32)
    projections[1, 1] = 0
    found = occlusion.replace(others=np.array([[1, 0], [2, 0]]), other_projections=projections)
    for index, silent in ((0, 0), (1, 1)):
        figure = drawing.others_figure(found, pool, index)
        words = [text.get_text() for axes in figure.axes for text in axes.texts]
        assert words == ["does not fire"] * silent
    assert drawing.others_figure(found.replace(others=None, other_projections=None), pool) is None


def test_occlusion_figure_has_the_five_panels(occlusion, pictures, tmp_path):
    figure = drawing.figure(occlusion, pictures, 0, NAMES)
    titles = [title for title in texts(figure) if title]
    assert [title[:3] for title in titles] == ["(a)", "(b)", "(c)", "(d)", "(e)"]
    assert "church" in titles[3]
    assert "map 5" in titles[1]
    legend = next(axes.get_legend() for axes in figure.axes if axes.get_legend())
    assert [text.get_text() for text in legend.get_texts()] == [NAMES[1], NAMES[2], NAMES[0]]
    assert image.load(figures.save(figure, tmp_path / "o.png")).shape[1] > 1000


def test_panel_c_is_the_projection(occlusion, pictures):
    shown = drawing.panels(occlusion, pictures, 1)["c"]
    expected = image.to_display(occlusion.projection[1], percentile=99.5)
    np.testing.assert_array_equal(shown, expected)


def test_others_stand_above_their_projections(occlusion, rng):
    pool = rng.integers(0, 256, (5, HEIGHT, WIDTH, 3), dtype=np.uint8)
    projections = rng.normal(size=(2, 3, HEIGHT, WIDTH, 3)).astype(np.float32)
    found = occlusion.replace(
        others=np.array([[1, 0, 4], [4, 2, 0]]), other_projections=projections
    )
    sheet = drawing.others(found, pool, 1)
    shown = image.to_display(projections[1], percentile=99.5)
    np.testing.assert_array_equal(sheet, image.grid([*pool[[4, 2, 0]], *shown], columns=3))
    none = found.replace(others=np.zeros((2, 0), int), other_projections=projections[:, :0])
    assert drawing.others(none, pool, 1) is None
    none = found.replace(others=None, other_projections=None)
    assert drawing.others(none, pool, 1) is None


@pytest.fixture
def map_alone(occlusion):
    """What there is without scores."""
    return occlusion.replace(
        classes=None, probabilities=None, predicted=None,
        baseline_probabilities=None, baseline_predicted=None,
    )  # fmt: skip


def test_without_scores_the_figure_has_the_maps_panels(map_alone, pictures):
    titles = [title for title in texts(drawing.figure(map_alone, pictures, 1, NAMES)) if title]
    assert [title[:3] for title in titles] == ["(a)", "(b)", "(c)"]
    row, column = np.argwhere(map_alone.activation[1] == map_alone.activation[1].min())[0]
    top, left, _, _ = drawing.worst_box(map_alone, 1)
    assert (top, left) == (max(0, 8 * row - 4), max(0, 10 * column - 5))


def test_without_scores_the_words_are_about_the_map(map_alone, pictures):
    told = views.occlusion(map_alone, pictures, 0, "china.jpg", NAMES)
    lowest = figures.short(map_alone.activation[0].min())
    assert told["words"].startswith(
        f"The total of map 5 of conv3 is 4 for the whole image and {lowest}"
    )
    assert [one["letter"] for one in told["panels"]] == ["a", "b", "c"]


def test_occlusion_figure_without_layer_or_names(occlusion, pictures):
    bare = occlusion.replace(activation=None, channel=None, layer=None, projection=None)
    titles = [title for title in texts(drawing.figure(bare, pictures, 1)) if title]
    assert [title[:3] for title in titles] == ["(a)", "(d)", "(e)"]
    assert "class 3" in titles[1]


# === Curves ===


def test_curves_draw_the_history():
    history = {"loss": [2.0, 1.0], "val_loss": [2.5, 1.5], "accuracy": [0.1, 0.9]}
    figure = figures.curves(history)
    losses, accuracy = figure.axes
    assert [line.get_ydata().tolist() for line in losses.lines] == [[2.0, 1.0], [2.5, 1.5]]
    assert [line.get_ydata().tolist() for line in accuracy.lines] == [[0.1, 0.9]]
    assert losses.lines[0].get_xdata().tolist() == [1, 2]
    with pytest.raises(ValueError, match=r"loss.*Received: history with \['lr'\]"):
        figures.curves({"lr": [1]})


def test_svg_takes_the_colour_of_the_page():
    history = {"loss": [2.0, 1.0]}
    drawing = figures.svg(figures.curves(history))
    assert drawing.startswith("<svg")
    assert "currentColor" in drawing
    assert figures.INK not in drawing


# === The page ===


@pytest.fixture
def content(projections, occlusion, pictures):
    """A demo page's content, as zfkeras.demo makes it."""
    history = {"loss": [2.0, 1.0], "accuracy": [0.1, 0.9]}
    probabilities = np.array([[0.1, 0.2, 0.7, 0], [0, 0, 0, 1.0]])
    return {
        "training": {
            "words": "words",
            "facts": [("97 %", "right")],
            "summary": "from 2 to 1",
            "curves": [page.Markup(figures.svg(figures.curves(history)))],
            "samples": views.outcome(pictures, probabilities, [2, 0], NAMES),
        },
        "looking": {
            "words": "words",
            "looks": [
                {
                    "name": "china.jpg",
                    "picture": pictures[0],
                    "caption": "a temple",
                    "answers": views.answers(probabilities[0], NAMES),
                    "layers": [views.layer(projections, pictures, FIELD, 0)],
                }
            ],
        },
        "occlusions": [views.occlusion(occlusion, pictures, 0, "china.jpg", NAMES)],
        "served": None,
        "steps": [("Train", 61.2), ("Look", 3.0)],
        "total": 64.2,
        "footer": "made by zfkeras",
    }


@pytest.fixture
def html(content, tmp_path):
    return page.write(tmp_path / "index.html", "demo.html", **content).read_text()


def test_the_page_fetches_nothing(html):
    sources = re.findall(r"""(?:src|href)=["']([^"']*)""", html)
    assert sources
    assert all(source.startswith(("data:", "#")) for source in sources)
    assert "@import" not in html
    assert "url(http" not in html


def test_every_picture_has_a_text_and_a_size(html):
    tags = re.findall(r"<img[^>]*>", html)
    assert len(tags) == 2 + 1 + 2 * 2 + 5
    for tag in tags:
        assert re.search(r'alt="[^"]+"', tag), tag[-120:]
        assert re.search(r'width="\d+" height="\d+"', tag), tag[-120:]


def test_names_are_escaped(html):
    assert "church &amp; &lt;tower&gt;" in html
    assert "<tower>" not in html


def test_the_page_says_what_was_found(html):
    text = re.sub(r"\s+", " ", html)
    assert "probability of church &amp; &lt;tower&gt; is 0.90 for the whole image and 0.12" in text
    assert "The net then says golf ball." in text
    assert "map 7, activation 1,234" in text
    assert "map 12" not in text  # it did not fire
    assert "each unit sees 9 by 7 pixels" in text
    assert "is: tench" in text  # the wrong answer is marked
    assert "1 min 4 s" in text


def test_a_gap_in_the_content_is_an_error(content, tmp_path):
    del content["looking"]
    with pytest.raises(page.jinja2.UndefinedError, match="looking"):
        page.write(tmp_path / "index.html", "demo.html", **content)
    assert not list(tmp_path.iterdir())


# === What strangers' pictures and nets do to figures ===


def shown(count, maps, size, channels=3, field=True, **change):
    """Projections of `count` images of a size, `maps` units each, and the images."""
    rng = np.random.default_rng(7)
    found = Projection(
        pixels=rng.normal(size=(count, maps, *size, channels)).astype(np.float32),
        values=rng.uniform(0, 3, (count, maps)).astype(np.float32),
        positions=rng.integers(0, 4, (count, maps, 2)),
        channels=np.tile(np.arange(maps), (count, 1)),
        layer="backbone/conv:1",
    )
    pictures = rng.integers(0, 256, (count, *size, channels), dtype=np.uint8)
    return found.replace(**change), pictures, FIELD if field is True else field


SITUATIONS = {
    "one map of one image": shown(1, 1, (20, 33)),
    "fourteen maps": shown(1, 14, (20, 33)),
    "tall": shown(2, 3, (60, 9)),
    "wide": shown(2, 3, (9, 60)),
    "grey": shown(2, 3, (20, 33), channels=1),
    "no field": shown(2, 3, (20, 33), field=None),
    "a field larger than the image": shown(2, 3, (20, 33), field=ReceptiveField((90, 80), (5, 5))),
    "units at the corners": shown(1, 2, (20, 33), positions=np.array([[[0, 0], [9, 9]]])),
    "silent": shown(1, 2, (20, 33), pixels=np.zeros((1, 2, 20, 33, 3), np.float32)),
    "units that see padding alone": shown(1, 2, (9, 9), positions=np.array([[[7, 0], [0, 7]]])),
    "thirty images": shown(30, 2, (8, 9)),
    "large values": shown(1, 2, (20, 33), values=np.array([[1e12, 1e-12]], np.float32)),
}
NAMES_OF_FILES = [
    "photo.jpg",
    "$5 and $6.png",
    "a_{b^c.png",
    "größe é.png",
    "x" * 90,
    "50%.png",
]


@pytest.mark.parametrize("name", SITUATIONS)
@pytest.mark.parametrize("kind", ["projection", "overview"])
def test_figures_of_any_pictures(kind, name, tmp_path):
    found, pictures, field = SITUATIONS[name]
    if kind == "projection":
        drawn = figures.projection(found, pictures, field, 0, "photo.jpg")
    else:
        drawn = figures.overview(found, pictures, ["photo.jpg"] * len(pictures), field)
    saved = image.load(figures.save(drawn, tmp_path / "f.png"))
    assert min(saved.shape[:2]) > 100
    assert max(saved.shape[:2]) < 6000
    assert (saved != 255).any()


@pytest.mark.parametrize("name", NAMES_OF_FILES)
def test_names_are_shown_as_they_are(name, projections, pictures, occlusion, tmp_path):
    drawn = figures.projection(projections, pictures, FIELD, 0, name)
    figures.save(drawn, tmp_path / "p.png")
    assert drawn.axes[0].title.get_text().startswith(name)
    assert not drawn.axes[0].title.get_parse_math()
    figures.save(figures.overview(projections, pictures, [name] * 2), tmp_path / "o.png")
    figures.save(drawing.figure(occlusion, pictures, 0, [name] * 4), tmp_path / "c.png")
    assert name[:3].replace("&", "&amp;") in figures.svg(
        drawing.figure(occlusion, pictures, 0, [name] * 4)
    )


@pytest.mark.parametrize("values", [0.0, 1.0, -3.5, 1e-9, 1e9])
def test_occlusion_that_changes_nothing_is_drawn(values, occlusion, pictures, tmp_path):
    flat = np.full((2, 3, 4, 1), values, np.float32)
    found = occlusion.replace(probabilities=flat, activation=flat[..., 0], score_name="score")
    figures.save(drawing.figure(found, pictures, 0, NAMES), tmp_path / "o.png")
    bare = drawing.panels(found, pictures, 0)
    assert len(np.unique(bare["b"].reshape(-1, 3), axis=0)) == 1
