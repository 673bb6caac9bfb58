"""The exported file against the library it was traced from, and against what would break it."""

import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from c_api import Session
from PIL import Image
from tensorflow.core.protobuf import saved_model_pb2

import zfkeras as zf
from zfkeras import image, warmup
from zfkeras.analysis.incremental.sweep import Sweep
from zfkeras.data.preprocess import centre_crop, evaluation_picture
from zfkeras.graph.predictor import Predictor
from zfkeras.saved_model import occluding, publishing, signatures
from zfkeras.saved_model.forward import Forward

H, W = 72, 64
STRIDES = (13, 12)
LABELS = np.array(b"ant bee cat dog eel fox gnu".split(), object)
ALL = "classify classify_pixels deconv deconv_pixels occlusion occlusion_pixels".split()


def smooth(rng, shape):
    """Noise with structure at several scales, uint8."""
    noise = sum(
        np.kron(
            rng.uniform(-60, 60, (-(-shape[0] // k), -(-shape[1] // k), 3)), np.ones((k, k, 1))
        )[: shape[0], : shape[1]]
        for k in (1, 4, 16)
    )
    return np.clip(128 + noise, 0, 255).astype(np.uint8)


def jpeg(picture):
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def loaded(exported):
    return tf.saved_model.load(str(exported / "1"))


@pytest.fixture(scope="module")
def ask(loaded):
    def ask(signature, **inputs):
        outputs = loaded.signatures[signature](**{k: tf.constant(v) for k, v in inputs.items()})
        return {name: value.numpy() for name, value in outputs.items()}

    return ask


@pytest.fixture(scope="module")
def pixels():
    rng = np.random.default_rng(11)
    return np.stack([smooth(rng, (H, W)) for _ in range(3)]).astype(np.float32)


@pytest.fixture(scope="module")
def definitions(exported):
    model = saved_model_pb2.SavedModel.FromString((exported / "1/saved_model.pb").read_bytes())
    return model.meta_graphs[0]


# --- What it answers


def test_classify_pixels_is_the_model(ask, tiny, pixels):
    answer = ask("classify_pixels", pixels=pixels)
    expected = keras.ops.softmax(tiny(pixels)).numpy()
    order = np.argsort(-expected, axis=1)[:, :4]
    np.testing.assert_array_equal(answer["class_ids"], order)
    np.testing.assert_allclose(
        answer["probabilities"], np.take_along_axis(expected, order, 1), rtol=1e-4
    )
    np.testing.assert_array_equal(answer["classes"], LABELS[order])


def test_pictures_are_cut_as_in_evaluation(ask, tiny, rng):
    files = [jpeg(smooth(rng, (90, 150))), image.encode(smooth(rng, (200, 64)))]
    files.append(image.encode(np.full((3, 2, 3), 9, np.uint8)))
    images = [centre_crop(evaluation_picture(tf.constant(f), (H, W)), (H, W)) for f in files]
    for signature in ("classify", "serving_default"):
        answer = ask(signature, image_bytes=files)
        expected = ask("classify_pixels", pixels=np.stack(images))
        np.testing.assert_array_equal(answer["class_ids"], expected["class_ids"])
        np.testing.assert_allclose(answer["probabilities"], expected["probabilities"], rtol=1e-4)


def test_pictures_of_every_kind_are_read(ask, rng):
    colour = Image.fromarray(smooth(rng, (80, 90)))
    for mode, kind in (
        ("L", "PNG"),
        ("RGBA", "PNG"),
        ("P", "PNG"),
        ("I;16", "PNG"),
        ("CMYK", "JPEG"),
    ):
        buffer = io.BytesIO()
        picture = Image.fromarray(np.full((80, 90), 40000, np.uint16)) if ";" in mode else colour
        (picture if ";" in mode else picture.convert(mode)).save(buffer, kind)
        answer = ask("classify", image_bytes=[buffer.getvalue()])
        assert np.isfinite(answer["probabilities"]).all(), mode


def test_deconv_pixels_is_the_library(ask, tiny, pixels):
    layers, channels = [b"conv5", b"conv1", b"conv5"], np.array([2, 1, -1], np.int32)
    answer = ask("deconv_pixels", pixels=pixels, layer=layers, channel=channels)
    deconv = zf.DeconvNet(tiny)
    for row, (layer, channel) in enumerate(zip(layers, channels, strict=True)):
        wanted = 1 if channel < 0 else [int(channel)]
        expected = deconv.project(pixels[row : row + 1], layer.decode(), wanted)
        scale = np.abs(expected.pixels).max()
        assert scale > 0
        np.testing.assert_allclose(
            answer["projection"][row], expected.pixels[0, 0], atol=1e-4 * scale
        )
        np.testing.assert_allclose(answer["value"][row], expected.values[0, 0], rtol=1e-4)
        assert (answer["row"][row], answer["column"][row]) == tuple(expected.positions[0, 0])
        assert answer["channel"][row] == expected.channels[0, 0]
        field = zf.receptive_field(tiny, layer.decode())
        box = field.box(expected.positions[0, 0], (H, W))
        assert tuple(answer["box"][row]) == box
        outside = np.ones((H, W), bool)
        outside[box[0] : box[2], box[1] : box[3]] = False
        assert not answer["projection"][row][outside].any()


def test_deconv_shows_the_same_picture_as_the_library(ask, rng):
    picture = smooth(rng, (H, W))
    large = np.kron(picture, np.ones((2, 2, 1), np.uint8))
    answer = ask(
        "deconv", image_bytes=[image.encode(large)], layer=["conv3"], channel=np.int32([1])
    )
    seen = image.load(answer["input_bytes"][0])
    assert seen.shape == (H, W, 3)
    raw = ask("deconv_pixels", pixels=seen[None].astype(np.float32), layer=["conv3"], channel=[1])
    shown, expected = (
        image.load(answer["projection_bytes"][0]),
        image.to_display(raw["projection"][0]),
    )
    # The net saw fractions of grey values, the picture of them does not.
    assert np.abs(shown.astype(int) - expected).mean() < 2
    assert shown.std() > 1


def test_the_display_in_the_graph_is_the_display_of_the_library(rng):
    from zfkeras.saved_model import pictures

    projections = rng.normal(size=(3, 5, 4, 3)).astype(np.float32)
    projections[1] = 0
    np.testing.assert_array_equal(
        pictures.to_display(tf.constant(projections)), image.to_display(projections)
    )
    values = rng.uniform(size=(2, 7)).astype(np.float32)
    steps = np.rint(255 * values) / 255
    np.testing.assert_array_equal(
        pictures.to_colours(tf.constant(values)), image.colour_map(steps, 0.0, 1.0)
    )
    assert image.load(pictures.to_png(image.to_display(projections))[2].numpy()).shape == (5, 4, 3)


def test_the_usual_occluder_goes_the_incremental_way(tiny, pixels):
    """To the plain library's answers, whatever else is in the batch."""
    occluder = occluding.Occluder(tiny.input_shape[1:3], STRIDES)
    size, side = occluder.size, occluder.usual
    sweep = Sweep(tiny, size, *occluder.centres, (side, side), "conv5", batch_size=1)
    forward = Forward(Predictor(tiny, ["conv5"]), tiny.input_shape[1:])
    names = list(map(str, range(7)))
    signature = occluding.occlusion_signature(forward, names, occluder, sweep)
    function = tf.function(signature.function, autograph=False)
    fills = np.array([128, 0, 255], np.float32)
    sizes = np.array([side, side + 3, -1], np.int32)
    answer = function(pixels, sizes, fills)
    assert answer["patch_size"].numpy().tolist() == [side, side + 3, side]
    for row in range(3):
        options = {"fill_value": float(fills[row]), "layer": "conv5", "method": "plain"}
        patch = int(answer["patch_size"][row])
        expected = zf.occlusion(tiny, pixels[row : row + 1], patch, STRIDES, **options)
        np.testing.assert_allclose(
            answer["probabilities"][row], expected.probabilities[0, :6, :6, 0], rtol=1e-4
        )
        np.testing.assert_allclose(
            answer["activations"][row], expected.activation[0, :6, :6], rtol=1e-4
        )
        alone = function(*(part[row : row + 1] for part in (pixels, sizes, fills)))
        for name in ("probabilities", "activations", "heat_map"):
            np.testing.assert_allclose(alone[name][0], answer[name][row], rtol=1e-5)


@pytest.mark.slow
def test_an_export_with_an_incremental_sweep(tmp_path):
    model = zf.ZFNet(weights="imagenette")
    settings = signatures.Settings((), [], (16, 16), "conv5", top=1, scale=1.0)
    occluder = occluding.Occluder(model.input_shape[1:3], (16, 16))
    assert signatures.usual_sweep(model, occluder, settings) is not None
    path = zf.export(model, tmp_path / "bundled", occlusion_strides=16)
    served = tf.saved_model.load(str(path)).signatures["occlusion_pixels"]
    image = np.random.default_rng(0).uniform(0, 255, (1, *model.input_shape[1:])).astype("float32")
    arguments = {"patch_size": tf.constant([-1]), "fill_value": tf.constant([9.0])}
    answer = served(pixels=tf.constant(image), **arguments)
    options = {"fill_value": 9, "layer": "conv5", "method": "plain"}
    expected = zf.occlusion(model, image, occluder.usual, 16, **options)
    found = answer["probabilities"].numpy()[0]
    rows, columns = found.shape
    np.testing.assert_allclose(found, expected.probabilities[0, :rows, :columns, 0], rtol=1e-3)
    np.testing.assert_allclose(
        answer["activations"][0], expected.activation[0, :rows, :columns], rtol=1e-4
    )


def test_an_occluder_that_hides_nearly_everything_goes_the_plain_way(tiny):
    settings = signatures.Settings((), [], (72, 64), "conv5", top=1, scale=1.0)
    occluder = occluding.Occluder(tiny.input_shape[1:3], (72, 64))
    assert signatures.usual_sweep(tiny, occluder, settings) is None


def test_occlusion_pixels_is_the_library(ask, tiny, pixels):
    sizes, fills = np.array([26, 31, 40], np.int32), np.array([128, 0, 255], np.float32)
    answer = ask("occlusion_pixels", pixels=pixels, patch_size=sizes, fill_value=fills)
    assert answer["probabilities"].shape == (3, 6, 6)
    for row, (size, fill) in enumerate(zip(sizes, fills, strict=True)):
        expected = zf.occlusion(
            tiny,
            pixels[row : row + 1],
            int(size),
            strides=STRIDES,
            fill_value=float(fill),
            layer="conv5",
        )
        count = len(expected.rows), len(expected.columns)
        assert count >= (6, 6)
        np.testing.assert_array_equal(answer["rows"][row], expected.rows[:6])
        np.testing.assert_array_equal(answer["columns"][row], expected.columns[:6])
        np.testing.assert_allclose(
            answer["probabilities"][row], expected.probabilities[0, :6, :6, 0], rtol=1e-4
        )
        np.testing.assert_array_equal(answer["predicted"][row], expected.predicted[0, :6, :6])
        assert answer["class_id"][row] == expected.baseline_predicted[0]
        np.testing.assert_allclose(
            answer["probability"][row], expected.baseline_probabilities[0, 0], rtol=1e-4
        )
        np.testing.assert_allclose(
            answer["activations"][row], expected.activation[0, :6, :6], rtol=1e-4
        )
        assert answer["channel"][row] == expected.channel[0]
        np.testing.assert_allclose(
            answer["activation"][row], expected.baseline_activation[0], rtol=1e-4
        )
        assert np.ptp(answer["probabilities"][row]) > 1e-3


def test_the_heat_map_is_the_mean_over_the_occluders_on_a_pixel(ask, pixels):
    for size in (13, 30):
        answer = ask(
            "occlusion_pixels",
            pixels=pixels[:1],
            patch_size=np.int32([size]),
            fill_value=np.float32([77]),
        )
        values, heat = answer["probabilities"][0], answer["heat_map"][0]
        rows, columns = answer["rows"][0], answer["columns"][0]
        for y in range(H):
            for x in (0, 5, 31, W - 1):
                down = [r for r in range(6) if 0 <= y - rows[r] + size // 2 < size]
                across = [c for c in range(6) if 0 <= x - columns[c] + size // 2 < size]
                mean = values[np.ix_(down, across)].mean()
                np.testing.assert_allclose(heat[y, x], mean, rtol=1e-5)


def test_an_occluder_covers_its_pixels_and_no_others():
    from zfkeras.saved_model.occluding import _covers

    covers = _covers(np.int32([0, 5]), 10, tf.constant([5, 8]))
    first = [[1] * 3 + [0] * 7, [0] * 3 + [1] * 5 + [0] * 2]
    second = [[1] * 4 + [0] * 6, [0] + [1] * 8 + [0]]
    np.testing.assert_array_equal(covers, [first, second])


def test_occlusion_of_pictures(ask, rng):
    answer = ask(
        "occlusion",
        image_bytes=[jpeg(smooth(rng, (100, 90)))],
        patch_size=np.int32([30]),
        fill_value=np.float32([128]),
    )
    assert image.load(answer["heat_map_bytes"][0]).shape == (H, W, 3)
    assert image.load(answer["input_bytes"][0]).shape == (H, W, 3)
    assert answer["predicted_classes"].shape == (1, 6, 6)
    np.testing.assert_array_equal(answer["predicted_classes"], LABELS[answer["predicted"]])
    assert answer["class"][0] == LABELS[answer["class_id"][0]]


@pytest.mark.parametrize("signature", ALL)
def test_a_row_does_not_depend_on_its_neighbours(ask, definitions, signature, pixels, rng):
    inputs = {
        "pixels": pixels,
        "image_bytes": np.array([jpeg(smooth(rng, (80, 90))) for _ in range(3)], object),
        "layer": np.array([b"conv3", b"conv1", b"conv3"], object),
        "channel": np.array([0, -1, 1], np.int32),
        "patch_size": np.array([13, 40, 20], np.int32),
        "fill_value": np.array([0, 128, 255], np.float32),
    }
    inputs = {name: inputs[name] for name in definitions.signature_def[signature].inputs}
    together = ask(signature, **inputs)
    for row in range(3):
        alone = ask(signature, **{name: value[row : row + 1] for name, value in inputs.items()})
        assert alone.keys() == together.keys()
        for name, value in alone.items():
            if value.dtype == np.float32:
                scale = np.abs(value).max()
                np.testing.assert_allclose(together[name][row], value[0], atol=1e-5 * scale)
            elif not name.endswith("_bytes"):
                np.testing.assert_array_equal(together[name][row], value[0])


@pytest.mark.parametrize("signature", ALL)
def test_an_empty_batch_is_answered_empty(ask, definitions, signature):
    inputs = {
        "pixels": np.zeros((0, H, W, 3), np.float32),
        "image_bytes": tf.zeros([0], tf.string),
        "layer": tf.zeros([0], tf.string),
        "channel": np.zeros(0, np.int32),
        "patch_size": np.zeros(0, np.int32),
        "fill_value": np.zeros(0, np.float32),
    }
    inputs = {name: inputs[name] for name in definitions.signature_def[signature].inputs}
    for name, value in ask(signature, **inputs).items():
        assert value.shape[0] == 0, name


# --- What it refuses

GOOD = {
    "layer": np.array([b"conv1"], object),
    "channel": np.int32([0]),
    "patch_size": np.int32([20]),
    "fill_value": np.float32([128]),
}


@pytest.mark.parametrize("shape", [(1,), (H, W, 3), (1, H, W, 1), (1, W, H, 3), (1, 1, H, W, 3)])
@pytest.mark.parametrize("signature", ["classify_pixels", "deconv_pixels", "occlusion_pixels"])
def test_a_wrong_shape_is_an_error_not_an_abort(ask, definitions, signature, shape):
    names = set(definitions.signature_def[signature].inputs) - {"pixels"}
    with pytest.raises(tf.errors.InvalidArgumentError, match="not compatible with expected shape"):
        ask(signature, pixels=np.zeros(shape, np.float32), **{n: GOOD[n] for n in names})


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"layer": [b"conv9"]}, "one of conv1, conv3, conv5. Received: layer=conv9"),
        ({"layer": [b"conv2"]}, "The model offers no such layer"),
        ({"channel": np.int32([99])}, "at most 5. Received: channel=99"),
        ({"channel": np.int32([-2])}, "Received: channel=-2"),
        (
            {"channel": np.int32([0, 1])},
            "one channel for each image, 1. Received: channel with 2 values",
        ),
        ({"layer": [[b"conv1"]]}, "not compatible with expected shape"),
        ({"channel": np.int32(0)}, "not compatible with expected shape"),
    ],
)
def test_bad_units(ask, wrong, message):
    unit = {"layer": GOOD["layer"], "channel": GOOD["channel"]}
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        ask("deconv_pixels", pixels=np.zeros((1, H, W, 3), np.float32), **unit | wrong)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"patch_size": np.int32([12])}, "Expected 13 to 72, in pixels. Received: patch_size=12"),
        ({"patch_size": np.int32([-2])}, "Received: patch_size=-2"),
        ({"patch_size": np.int32([73])}, "Received: patch_size=73"),
        ({"patch_size": np.int32([])}, "Received: patch_size with 0 values"),
        ({"fill_value": np.float32([-1])}, "Expected 0 to 255, a grey. Received: fill_value=-1"),
        ({"fill_value": np.float32([np.nan])}, "Received: fill_value=nan"),
    ],
)
def test_bad_occluders(ask, wrong, message):
    occluder = {"patch_size": GOOD["patch_size"], "fill_value": GOOD["fill_value"]}
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        ask("occlusion_pixels", pixels=np.zeros((1, H, W, 3), np.float32), **occluder | wrong)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("signature", ["classify_pixels", "deconv_pixels", "occlusion_pixels"])
def test_pixels_that_are_no_numbers(ask, definitions, signature, bad):
    pixels = np.zeros((2, H, W, 3), np.float32)
    pixels[1, 3, 4, :2] = bad
    names = set(definitions.signature_def[signature].inputs) - {"pixels"}
    with pytest.raises(tf.errors.InvalidArgumentError, match="pixels with 2 such values"):
        ask(signature, pixels=pixels, **{name: GOOD[name].repeat(2) for name in names})


def png_header(width, height):
    return (
        b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
        + width.to_bytes(4, "big")
        + height.to_bytes(4, "big")
        + bytes(20)
    )


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "Not a JPEG or PNG"),
        (b"GIF89a" + bytes(50), "Not a JPEG or PNG"),
        (b"\xff\xd8\xff\xe0", "(?i)jpeg"),
        (png_header(100_000, 100_000), r"1 to 33554432 pixels.*100000"),
        (png_header(2**31 - 1, 2**31 - 1), "1 to 33554432 pixels"),
        (png_header(2**32 - 1, 1), "pixels"),
        (png_header(10, 10), "(?i)png"),
    ],
)
def test_what_is_no_picture(ask, data, message):
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        ask("classify", image_bytes=[data])


def test_a_damaged_jpeg_is_an_error(ask, rng):
    data = jpeg(smooth(rng, (90, 100)))
    with pytest.raises(tf.errors.InvalidArgumentError, match="(?i)jpeg"):
        ask("classify", image_bytes=[data[: len(data) // 2]])


# --- The file


def test_signatures(definitions):
    found = {name for name in definitions.signature_def if not name.startswith("__")}
    assert found == {*ALL, "serving_default", "classify_examples"}
    for name in found:
        definition = definitions.signature_def[name]
        assert definition.method_name == "tensorflow/serving/predict"
        tensors = [*definition.inputs.values(), *definition.outputs.values()]
        assert all(tensor.tensor_shape.dim[0].size == -1 for tensor in tensors), name
    outputs = {name: set(definitions.signature_def[name].outputs) for name in ALL}
    assert outputs["classify"] == {"classes", "class_ids", "probabilities"}
    assert outputs["deconv"] >= {"projection_bytes", "input_bytes", "value", "row", "box"}
    assert outputs["occlusion"] >= {"probabilities", "predicted", "heat_map_bytes", "class"}


def test_examples_are_classified_as_pictures_are(ask, rng):
    files = [image.encode(smooth(rng, (50, 60))), jpeg(smooth(rng, (90, 40)))]
    examples = []
    for file in files:
        example = tf.train.Example()
        example.features.feature["image/encoded"].bytes_list.value.append(file)
        example.features.feature["image/class/label"].int64_list.value.append(3)
        examples.append(example.SerializeToString())
    answer = ask("classify_examples", inputs=np.array(examples, object))
    expected = ask("classify", image_bytes=np.array(files, object))
    assert answer.keys() == {"classes", "scores"}
    np.testing.assert_array_equal(answer["classes"], expected["classes"])
    np.testing.assert_array_equal(answer["scores"], expected["probabilities"])


def test_every_input_is_checked_first(definitions):
    functions = {f.signature.name: f for f in definitions.graph_def.library.function}
    for name in ALL:
        for info in definitions.signature_def[name].inputs.values():
            placeholder = info.name.partition(":")[0]
            assert _first_ops(definitions.graph_def.node, placeholder, functions) == {
                "EnsureShape"
            }, (name, placeholder)


def _first_ops(nodes, source, functions):
    """The ops that read a tensor, looking into the functions it is handed to."""
    found = set()
    for node in nodes:
        for position, read in enumerate(node.input):
            if read.partition(":")[0] != source:
                continue
            if "PartitionedCall" not in node.op:
                found.add(node.op)
                continue
            function = functions[node.attr["f"].func.name]
            argument = function.signature.input_arg[position].name
            found |= _first_ops(function.node_def, argument, functions)
    return found


def test_no_op_that_tensorflow_serving_lacks(definitions):
    nodes = list(definitions.graph_def.node)
    for function in definitions.graph_def.library.function:
        nodes += function.node_def
        assert not function.attr["_XlaMustCompile"].b
    ops = {node.op for node in nodes}
    assert not [op for op in ops if "PyFunc" in op or "Xla" in op]
    assert ops <= set(tf.raw_ops.__dict__) | {"FakeParam"}, "only ops of plain TensorFlow"


def test_weights_are_stored_once(exported, tiny):
    parameters = sum(int(np.prod(v.shape)) * 4 for v in tiny.variables)
    stored = sum(path.stat().st_size for path in (exported / "1/variables").glob("*.data*"))
    assert parameters <= stored < 1.05 * parameters


def test_labels_and_metadata_are_assets(exported):
    assets = exported / "1/assets"
    assert (assets / "labels.txt").read_text().split() == "ant bee cat dog eel fox gnu".split()
    metadata = json.loads((assets / "zfkeras.json").read_text())
    assert metadata["input_size"] == [H, W]
    assert metadata["layers"] == ["conv1", "conv3", "conv5"]
    assert metadata["classes"] == 7
    assert metadata["occlusion_layer"] == "conv5"


def test_a_warm_up_record_per_signature_and_layer(exported, ask):
    records = list(warmup.read(exported / "1"))
    assert {n for n, _ in records} == {"serving_default", "classify_examples", *ALL}
    layers = [inputs["layer"].tolist() for name, inputs in records if name == "deconv"]
    assert layers == [[b"conv1"], [b"conv3"], [b"conv5"]]
    for signature, inputs in records:
        assert {len(value) for value in inputs.values()} == {1}
        assert ask(signature, **inputs)


def test_nothing_else_is_left_behind(exported):
    assert [path.name for path in exported.iterdir()] == ["1"]


# --- Who loads it


def test_in_a_tf_data_pipeline(exported, loaded, rng):
    files = [jpeg(smooth(rng, (80, 70 + i))) for i in range(5)]
    classify = loaded.signatures["classify"]
    data = tf.data.Dataset.from_tensor_slices(files).batch(2).map(lambda b: classify(image_bytes=b))
    assert np.concatenate([batch["class_ids"] for batch in data]).shape == (5, 4)


@pytest.fixture(scope="module")
def session(exported):
    session = Session(exported / "1")
    yield session
    session.close()


def test_through_the_session_loader_of_tensorflow_serving(session, definitions, ask, rng):
    files = np.array([jpeg(smooth(rng, (90, 80))), image.encode(smooth(rng, (70, 99)))], object)
    answer = session.run(definitions.signature_def["classify"], {"image_bytes": files})
    expected = ask("classify", image_bytes=files)
    np.testing.assert_array_equal(answer["classes"], expected["classes"])
    np.testing.assert_allclose(answer["probabilities"], expected["probabilities"], rtol=1e-4)


def test_every_signature_runs_in_that_session(session, definitions, exported):
    for signature, inputs in warmup.read(exported / "1"):
        answer = session.run(definitions.signature_def[signature], inputs)
        assert {len(value) for value in answer.values()} == {len(next(iter(inputs.values())))}


def test_a_wrong_rank_does_not_end_that_process(session, definitions):
    assert os.environ.get("TF_ENABLE_ONEDNN_OPTS", "1") != "0", "oneDNN is what would abort"
    for shape in [(1,), (), (2, 2), (0,)]:
        with pytest.raises(RuntimeError, match="not compatible with expected shape"):
            session.run(
                definitions.signature_def["classify_pixels"], {"pixels": np.ones(shape, "f4")}
            )
    with pytest.raises(RuntimeError, match="Not a JPEG or PNG"):
        session.run(
            definitions.signature_def["classify"], {"image_bytes": np.array([b"x"], object)}
        )


@pytest.mark.slow
def test_saved_model_cli_lists_the_signatures(exported):
    command = [str(Path(sys.executable).with_name("saved_model_cli")), "show", "--all", "--dir"]
    shown = subprocess.run([*command, str(exported / "1")], capture_output=True, text=True)
    assert shown.returncode == 0, shown.stderr
    for name in ALL:
        assert f"signature_def['{name}']" in shown.stdout


# --- Other models


def convnet(*head, shape=(9, 8, 3), **options):
    return keras.Sequential(
        [
            keras.Input(shape),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(4, 3, activation="relu", name="conv", **options),
            keras.layers.GlobalAveragePooling2D(),
            *head,
        ]
    )


def first(path, signature, **inputs):
    loaded = tf.saved_model.load(str(path))
    outputs = loaded.signatures[signature](**{k: tf.constant(v) for k, v in inputs.items()})
    return {name: value.numpy() for name, value in outputs.items()}


def test_a_model_that_ends_in_a_softmax_is_not_softmaxed_twice(tmp_path, rng):
    model = convnet(keras.layers.Dense(3, "softmax"))
    model.layers[-1].set_weights([rng.normal(size=(4, 3)) * 20, np.zeros(3)])
    pixels = rng.uniform(0, 255, (2, 9, 8, 3)).astype(np.float32)
    answer = first(zf.export(model, tmp_path / "m"), "classify_pixels", pixels=pixels)
    np.testing.assert_allclose(answer["probabilities"].sum(1), 1, rtol=1e-5)
    expected = -np.sort(-model(pixels).numpy(), axis=1)
    np.testing.assert_allclose(answer["probabilities"], expected, rtol=1e-4)
    assert set(answer["classes"].ravel()) <= {b"0", b"1", b"2"}


def test_a_model_in_mixed_precision_with_an_optimizer(tmp_path, rng):
    model = convnet(keras.layers.Dense(600), dtype="mixed_bfloat16")
    model.compile("adam", "mse")
    model.fit(rng.uniform(0, 255, (2, 9, 8, 3)), np.zeros((2, 600)), verbose=0)
    path = zf.export(model, tmp_path / "m")
    pixels = rng.uniform(0, 255, (1, 9, 8, 3)).astype(np.float32)
    answer = first(path, "deconv_pixels", pixels=pixels, layer=["conv"], channel=np.int32([-1]))
    assert answer["projection"].dtype == np.float32
    parameters = model.count_params() * 4
    assert sum(p.stat().st_size for p in path.glob("variables/*.data*")) < 1.05 * parameters + 500


def test_a_nested_model_and_another_occlusion_layer(tmp_path, rng):
    pixels = keras.Input((9, 8, 3))
    maps = keras.layers.Conv2D(4, 3, activation="relu", name="conv")(pixels)
    maps = keras.layers.Conv2D(3, 3, activation="relu", name="last")(maps)
    scores = keras.layers.Dense(3)(keras.layers.Flatten()(maps))
    outer = keras.Sequential([keras.Input((9, 8, 3)), keras.Model(pixels, scores, name="inner")])
    path = zf.export(outer, tmp_path / "m", occlusion_layer="conv")
    metadata = json.loads((path / "assets/zfkeras.json").read_text())
    assert metadata["layers"] == ["inner/conv", "inner/last"]
    images = rng.uniform(0, 255, (1, 9, 8, 3)).astype(np.float32)
    fill, patch = np.float32([0]), np.int32([3])
    answer = first(path, "occlusion_pixels", pixels=images, patch_size=patch, fill_value=fill)
    sums = keras.Model(pixels, outer.layers[0].get_layer("conv").output)(images).numpy()
    sums = sums.sum((0, 1, 2))
    assert answer["channel"] == sums.argmax()
    np.testing.assert_allclose(answer["activation"], sums.max(), rtol=1e-4)
    expected = keras.ops.softmax(outer(images)).numpy().max()
    np.testing.assert_allclose(answer["probability"], expected, rtol=1e-4)


def test_the_model_is_left_as_it_was(tmp_path, tiny):
    before = [weight.numpy().copy() for weight in tiny.weights]
    config = tiny.to_json()
    zf.export(convnet(keras.layers.Dense(2)), tmp_path / "m")
    for weight, old in zip(tiny.weights, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), old)
    assert tiny.to_json() == config


# --- Bad arguments, and publishing


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"class_names": ["a", "b"]}, "Expected 3 names.*Received: 2 labels"),
        ({"class_names": ["a", "b", 3]}, "Received: 3 labels, among them 3"),
        ({"class_names": "abc"}, "Received: 1 labels"),
        ({"layers": ["conv9"]}, r"feature maps: .*conv.*Received: layers=\['conv9'\]"),
        ({"layers": ["dense"]}, "Received: layers="),
        ({"layers": []}, r"Received: layers=\[\]"),
        ({"occlusion_strides": 0}, "Received: occlusion_strides=0"),
        ({"occlusion_strides": 10}, "Received: occlusion_strides=10"),
        ({"occlusion_layer": "dense"}, r"Received: layers=\['dense'\]"),
        ({"top": 0}, "Received: top=0"),
        ({"scale": 0.5}, "Received: scale=0.5"),
        ({"rule": "deconv"}, "Received: rule='deconv'"),
    ],
)
def test_bad_arguments(tmp_path, arguments, message):
    model = convnet(keras.layers.Dense(3, name="dense"))
    with pytest.raises(ValueError, match=message):
        zf.export(model, tmp_path / "m", **arguments)
    assert not (tmp_path / "m").exists()


def test_bad_models(tmp_path):
    with pytest.raises(TypeError, match="Received: model="):
        zf.export("model", tmp_path / "m")
    with pytest.raises(ValueError, match=r"Received: model.output_shape=\(None, 7, 6, 4\)"):
        zf.export(keras.Sequential([keras.Input((9, 8, 3)), *convnet().layers[:2]]), tmp_path / "m")
    with pytest.raises(ValueError, match=r"Received: model.input_shape="):
        zf.export(convnet(keras.layers.Dense(2), shape=(None, None, 3)), tmp_path / "m")


def test_a_model_with_python_inside_is_refused_and_leaves_nothing(tmp_path):
    def python(x):
        return tf.ensure_shape(tf.numpy_function(lambda a: a, [x], tf.float32), x.shape)

    model = convnet(keras.layers.Lambda(python, output_shape=(4,)), keras.layers.Dense(2))
    with pytest.raises(ValueError, match="Received: a model with .*PyFunc"):
        zf.export(model, tmp_path / "m")
    assert list((tmp_path / "m").iterdir()) == []


def test_a_directory_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="Received: directory=.*file/m"):
        zf.export(convnet(keras.layers.Dense(2)), tmp_path / "file" / "m")


def stage(directory):
    with publishing.staged(directory) as staging:
        (staging / "file").write_text("whole")
        return publishing.publish(staging, directory)


def test_versions_count_on_past_anything_half_written(tmp_path):
    assert stage(tmp_path / "m").name == "1"
    (tmp_path / "m" / "7").mkdir()  # half-written
    (tmp_path / "m" / "0012").mkdir()
    (tmp_path / "m" / "v99").mkdir()
    assert stage(tmp_path / "m").name == "13"
    assert (tmp_path / "m" / "13" / "file").read_text() == "whole"
    assert not any((tmp_path / "m" / "7").iterdir())
    assert len(list((tmp_path / "m").iterdir())) == 5


def test_what_dead_exporters_left_is_removed_and_what_living_ones_write_is_not(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from zfkeras.saved_model import publishing\n"
        "with publishing.staged(Path(sys.argv[1])) as staging:\n"
        "    (staging / 'weights').write_bytes(bytes(1000)); print(staging, flush=True)\n"
        "    time.sleep(600)"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as exporter:
        staging = Path(exporter.stdout.readline().strip())
        (tmp_path / ".incoming-3").mkdir()  # not an export's
        assert stage(tmp_path).name == "1"
        assert (staging / "weights").stat().st_size == 1000
        exporter.kill()
    assert staging.is_dir()
    assert stage(tmp_path).name == "2"
    assert sorted(path.name for path in tmp_path.iterdir()) == [".incoming-3", "1", "2"]


@pytest.mark.slow
def test_the_bundled_net_knows_its_classes(tmp_path):
    model = zf.ZFNet(weights="imagenette")
    assert model.class_names[3] == "chain saw"
    version = zf.export(model, tmp_path / "m", layers=["conv1"], occlusion_strides=60)
    assert (version / "assets" / "labels.txt").read_text().splitlines() == [*model.class_names]


def test_two_exports_at_once_get_two_versions(tmp_path, monkeypatch):
    shutil.rmtree(tmp_path)
    numbers = iter([1, 2])
    (tmp_path / "1").mkdir(parents=True)
    (tmp_path / "1" / "theirs").write_text("theirs")
    monkeypatch.setattr(publishing, "next_version", lambda _: next(numbers))
    assert stage(tmp_path).name == "2"
    assert (tmp_path / "1" / "theirs").read_text() == "theirs"


def test_a_failed_export_leaves_the_versions_as_they_are(exported, tmp_path, monkeypatch):
    from zfkeras.saved_model import exporting

    shutil.copytree(exported, tmp_path / "m")
    before = sorted(tmp_path.rglob("*"))

    def fail(_):
        raise RuntimeError("the staged file does not load")

    monkeypatch.setattr(exporting, "_replay", fail)
    with pytest.raises(RuntimeError, match="does not load"):
        zf.export(convnet(keras.layers.Dense(2)), tmp_path / "m")
    assert sorted(tmp_path.rglob("*")) == before


def test_an_occluder_that_would_skip_pixels_is_refused(rng, tmp_path):
    """Columns 0, 5, 10 of 15: the last is hidden from a side of 9 on; the grid is the library's."""
    model = keras.Sequential([
        keras.Input((14, 15, 3)), keras.layers.Conv2D(3, 3, activation="relu", name="c"),
        keras.layers.Flatten(), keras.layers.Dense(3),
    ])  # fmt: skip
    path = zf.export(model, tmp_path / "m", occlusion_strides=5, scale=1.0)
    ask = tf.saved_model.load(path).signatures["occlusion_pixels"]
    pixels = rng.uniform(0, 255, (1, 14, 15, 3)).astype(np.float32)

    def asked(side):
        return ask(pixels=tf.constant(pixels), patch_size=tf.constant([side]),
                   fill_value=tf.constant([60.0]))  # fmt: skip

    for side in (9, 11, -1):
        found = asked(side)
        expected = zf.occlusion(model, pixels, int(found["patch_size"][0]), 5, fill_value=60)
        assert found["rows"][0].numpy().tolist() == expected.rows.tolist()
        assert found["columns"][0].numpy().tolist() == expected.columns.tolist()
        np.testing.assert_allclose(found["heat_map"], expected.heat_map(), rtol=1e-4)
    with pytest.raises(tf.errors.InvalidArgumentError, match="Expected 9 to 15.*patch_size=5"):
        asked(5)
