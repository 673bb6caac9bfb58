"""`zfkeras project` and `zfkeras occlude` as people run them."""

import json

import numpy as np
import pytest

import zfkeras
from zfkeras import cli, image
from zfkeras.analysis.occlusion_result import Occlusion
from zfkeras.deconvnet.net import DeconvNet

HEIGHT, WIDTH = 64, 80


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny net and two pictures, one of them of another size."""
    import keras

    keras.utils.set_random_seed(1)
    path = tmp_path_factory.mktemp("look")
    net = zfkeras.ZFNet(classes=5, input_shape=(HEIGHT, WIDTH, 3), width=0.05, fc_units=8)
    net.save(path / "net.keras")
    rng = np.random.default_rng(3)
    image.save(path / "a.png", rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8))
    image.save(path / "b.jpg", rng.integers(0, 256, (90, 71, 3), dtype=np.uint8))
    (path / "names.txt").write_text("ant\nbee\ncow\ndog\nelk\n")
    (path / "two.txt").write_text("ant\nbee\n")
    return path


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs a command line; returns (exit code, stdout, stderr)."""

    def run(*words):
        monkeypatch.setattr("sys.argv", ["zfkeras", *map(str, words)])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        return stopped.value.code or 0, *capsys.readouterr()

    return run


def test_project_writes_pictures_and_arrays(run, folder, tmp_path):
    code, out, _ = run(
        "project", folder / "a.png", folder / "b.jpg", "--model", folder / "net.keras",
        "--layer", "conv3", "--channels", "4,1", "--output", tmp_path, "--json",
    )  # fmt: skip
    assert code == 0
    results = json.loads(out)
    pictures = np.stack(
        [image.fit(image.load(folder / n), (HEIGHT, WIDTH)) for n in ("a.png", "b.jpg")]
    )
    net = zfkeras.models.loading.load_model(folder / "net.keras")
    expected = DeconvNet(net).project(pictures, "conv3", [4, 1])
    with np.load(results[0]["arrays"]) as arrays:
        np.testing.assert_allclose(arrays["pixels"], expected.pixels, rtol=1e-5, atol=1e-6)
    for index, result in enumerate(results):
        assert image.load(result["picture"]).shape[2] == 3
        assert [one["channel"] for one in result["maps"]] == [4, 1]
        np.testing.assert_allclose(
            [one["value"] for one in result["maps"]], expected.values[index], rtol=1e-5
        )
        box = zfkeras.receptive_field(net, "conv3").box(
            tuple(expected.positions[index, 0].tolist()), (HEIGHT, WIDTH)
        )
        assert result["maps"][0]["box"] == list(box)
        assert result["overview"] == str(tmp_path / "conv3-overview.png")
    assert image.load(results[0]["overview"]).shape[0] > 200


def test_project_says_what_it_did(run, folder, tmp_path):
    code, out, _ = run(
        "project", folder / "a.png", "--model", folder / "net.keras", "--layer", "conv2",
        "--channels", "2", "--position", "1,2", "--output", tmp_path,
    )  # fmt: skip
    assert code == 0
    assert "a.png: conv2 -> " in out
    assert out.count("at row 1, column 2, sees rows") == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a-conv2.png", "conv2.npz"]


def test_project_whole_maps_of_every_channel(run, folder, tmp_path):
    code, out, _ = run(
        "project", folder / "a.png", "--model", folder / "net.keras", "--layer", "conv1",
        "--channels", "all", "--position", "all", "--rule", "guided", "--output", tmp_path,
        "--json",
    )  # fmt: skip
    assert code == 0
    maps = json.loads(out)[0]["maps"]
    assert [one["channel"] for one in maps] == list(range(len(maps)))
    assert maps[0]["box"] is None


def test_the_rule_changes_the_projection(run, folder, tmp_path):
    pixels = []
    for rule in ("deconvnet", "gradient"):
        words = ["project", folder / "a.png", "--model", folder / "net.keras", "--layer", "conv3"]
        code, _, _ = run(*words, "--channels", "2", "--rule", rule, "--output", tmp_path)
        assert code == 0
        with np.load(tmp_path / "conv3.npz") as arrays:
            pixels.append(arrays["pixels"])
    assert not np.allclose(*pixels)


def test_occlude_writes_the_five_panels(run, folder, tmp_path):
    code, out, _ = run(
        "occlude", folder / "a.png", folder / "b.jpg", "--model", folder / "net.keras",
        "--patch-size", "20,30", "--strides", "16", "--fill-value", "mean", "--class", "3",
        "--labels", folder / "names.txt", "--output", tmp_path, "--json",
    )  # fmt: skip
    assert code == 0
    results = json.loads(out)
    found = Occlusion.load(results[0]["arrays"])
    assert found.patch_size == (20, 30)
    assert found.strides == (16, 16)
    assert found.layer == "conv5"
    for index, result in enumerate(results):
        assert result["class"] == "dog"
        assert result["lowest"] == pytest.approx(found.probabilities[index].min())
        assert set(result["classes_seen"]) <= {"ant", "bee", "cow", "dog", "elk"}
        assert image.load(result["picture"]).shape[1] > 1000


def test_occlude_defaults_are_the_papers_parts(run, folder, tmp_path):
    """A fifth of the input, and 28 places or a few more a side."""
    code, out, _ = run(
        "occlude", folder / "a.png", "--model", folder / "net.keras", "--output", tmp_path
    )
    assert code == 0
    assert "class " in out
    found = Occlusion.load(tmp_path / "occlusion.npz")
    assert found.patch_size == (13, 13)
    assert found.strides == (2, 2)


def test_occlude_shows_others_of_the_map(run, folder, tmp_path):
    """From one another; or from a folder, where the picture itself is no other."""
    words = ["--model", folder / "net.keras", "--strides", "13", "--output", tmp_path]
    a, b = folder / "a.png", folder / "b.jpg"
    code, out, _ = run("occlude", a, b, *words, "--json")
    assert code == 0
    results = json.loads(out)
    assert [one["others"] for one in results] == [[str(b)], [str(a)]]
    assert image.load(results[0]["others_picture"]).shape[0] > 300
    pool = tmp_path / "pool"
    pool.mkdir()
    for file in (a, b):
        (pool / file.name).write_bytes(file.read_bytes())
    code, out, _ = run("occlude", a, *words, "--others", pool)
    assert code == 0
    assert f"in b.jpg -> {tmp_path / 'a-occlusion-others.png'}" in out
    code, out, _ = run("occlude", a, *words, "--json")
    assert code == 0
    assert "others" not in json.loads(out)[0]


def test_occlude_watches_the_map_alone(run, folder, tmp_path):
    words = ["occlude", folder / "a.png", "--model", folder / "net.keras", "--strides", "13"]
    code, out, _ = run(*words, "--no-scores", "--method", "incremental", "--output", tmp_path)
    assert code == 0
    found = Occlusion.load(tmp_path / "occlusion.npz")
    assert found.probabilities is None
    assert f"a.png: map {found.channel[0]} of conv5 {found.baseline_activation[0]:.3f}" in out
    assert f"lowest {found.activation.min():.3f} with rows" in out
    assert "most probable" not in out


def test_occlude_blurs(run, folder, tmp_path):
    words = ["occlude", folder / "a.png", "--model", folder / "net.keras", "--strides", "13"]
    code, _, _ = run(*words, "--fill-value", "blur", "--output", tmp_path)
    assert code == 0
    assert Occlusion.load(tmp_path / "occlusion.npz").fill_value.shape == (1, HEIGHT, WIDTH, 3)


def test_occlude_says_why_there_is_no_panel_c(run, folder, tmp_path):
    import keras

    layers = keras.layers
    net = keras.Sequential([
        keras.Input((HEIGHT, WIDTH, 3)), layers.Conv2D(3, 5, 4, activation="gelu", name="smooth"),
        layers.Flatten(), layers.Dense(5),
    ])  # fmt: skip
    net.save(folder / "gelu.keras")
    words = ["--model", folder / "gelu.keras", "--layer", "smooth", "--output", tmp_path]
    code, out, _ = run("occlude", folder / "a.png", *words)
    assert code == 0
    assert "no panel c: Layer 'smooth' has the activation gelu" in out


def test_pictures_of_one_name_do_not_overwrite_each_other(run, folder, tmp_path):
    (folder / "other").mkdir(exist_ok=True)
    image.save(folder / "other" / "a.png", image.load(folder / "b.jpg"))
    code, _, _ = run(
        "project", folder / "a.png", folder / "other" / "a.png", "--model",
        folder / "net.keras", "--layer", "conv1", "--channels", "1", "--output", tmp_path,
    )  # fmt: skip
    assert code == 0
    assert {"a-1-conv1.png", "a-2-conv1.png"} <= {path.name for path in tmp_path.iterdir()}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["project", "gone.png"], "gone.png"),
        (["project", "a.png", "--layer", "conv9"], "conv9"),
        (["project", "a.png", "--channels", "x"], "--channels x"),
        (["project", "a.png", "--channels", "0,999"], "999"),
        (["project", "a.png", "--position", "1"], "position"),
        (["project", "a.png", "--position", "99,0"], "99"),
        (["project", "a.png", "--rule", "lrp"], "lrp"),
        (["project", "names.txt"], "names.txt"),
        (["occlude", "a.png", "--strides", "0"], "strides=0"),
        (["occlude", "a.png", "--patch-size", "a,b"], "--patch-size a,b"),
        (["occlude", "a.png", "--fill-value", "red"], "--fill-value red"),
        (["occlude", "a.png", "--class", "7"], "classes=7"),
        (["occlude", "a.png", "--method", "fast"], "method='fast'"),
        (["occlude", "a.png", "--layer", "conv9"], "conv9"),
        (["occlude", "a.png", "--labels", "gone.txt"], "gone.txt"),
        (["occlude", "a.png", "--others", "gone"], "path='gone'"),
        (["occlude", "a.png", "--no-scores", "--class", "1"], "classes=1"),
        (["occlude", "a.png", "--labels", "two.txt"], "5 classes. Received: 2 labels"),
        (["occlude", "a.png", "--model", "gone.keras"], "gone.keras"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(run, folder, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(folder)
    if "--model" not in words:
        words = [*words, "--model", "net.keras"]
    code, out, err = run(*words, "--output", tmp_path, "--json")
    assert code == 2
    assert out == ""
    assert message in err
    assert len(err.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())
