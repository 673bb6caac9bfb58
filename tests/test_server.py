"""The local server against TensorFlow Serving's contract (requests, messages, versions)."""

import base64
import gzip
import json
import shutil
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
import tensorflow as tf

from zfkeras import warmup
from zfkeras.server import ModelConfig, Server, json_request, json_response, read_config, serving
from zfkeras.server.errors import ServingError
from zfkeras.server.versions import Model

H, W = 4, 5


class Toy(tf.Module):
    """Signatures of every kind the contract speaks about."""

    def __init__(self, factor):
        super().__init__()
        self.factor = tf.Variable(factor, dtype=tf.float32)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    def scale(self, x):
        return {"y": x * self.factor}

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, 2], tf.float32, name="a"),
            tf.TensorSpec([None], tf.int32, name="b"),
        ]
    )
    def two(self, a, b):
        return {"total": tf.reduce_sum(a, 1), "twice": tf.stack([b, b], 1)}

    @tf.function(input_signature=[tf.TensorSpec([None, H, W, 3], tf.float32, name="pixels")])
    def convolve(self, pixels):
        pixels = tf.ensure_shape(pixels, [None, H, W, 3])
        return {"y": tf.nn.conv2d(pixels, tf.ones([3, 3, 3, 2]) * self.factor, 1, "SAME")}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
    def strings(self, text):
        return {"same_bytes": text, "upper": tf.strings.upper(text)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def decode(self, image_bytes):
        spec = tf.TensorSpec([None, None, 3], tf.uint8)
        decoded = tf.map_fn(
            lambda data: tf.io.decode_image(data, 3, expand_animations=False),
            image_bytes,
            fn_output_signature=spec,
        )
        return {"mean": tf.reduce_mean(tf.cast(decoded, tf.float32), [1, 2, 3])}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    def uneven(self, x):
        return {"a": x, "b": tf.concat([x, x], 0)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    def scalar(self, x):
        return {"sum": tf.reduce_sum(x)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int32, name="rounds")])
    def slow(self, rounds):
        matrix = tf.eye(400)
        for _ in tf.range(rounds[0]):
            matrix = tf.linalg.matmul(matrix, matrix)
        return {"y": matrix[:1, 0]}

    def save(self, path):
        names = "scale two convolve strings decode uneven scalar slow".split()
        signatures = {name: getattr(self, name) for name in names}
        tf.saved_model.save(
            self, str(path), signatures={**signatures, "serving_default": self.scale}
        )


@pytest.fixture(scope="module")
def toys(tmp_path_factory):
    """Two complete versions to copy from: factor 2 and factor 3."""
    folder = tmp_path_factory.mktemp("toys")
    for factor in (2, 3):
        Toy(factor).save(folder / str(factor))
    return folder


@pytest.fixture(scope="module")
def url(toys, tmp_path_factory):
    base = tmp_path_factory.mktemp("base")
    shutil.copytree(toys / "2", base / "7")
    config = ModelConfig("toy", base, labels={"stable": 7, "gone": 5})
    with serving([config, ModelConfig("empty/one", base / "nowhere")]) as url:
        yield url


def post(url, body, path="/v1/models/toy:predict", **options):
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return httpx.post(url + path, content=content, timeout=60, **options)


def error(response, status=400):
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    (message,) = response.json().values()
    return message


def b64(data):
    return {"b64": base64.b64encode(data).decode()}


# --- Answers


def test_row_form(url):
    assert post(url, {"instances": [1.5, 2]}).json() == {"predictions": [3.0, 4.0]}
    named = {"instances": [{"x": 1.5}, {"x": 2}]}
    assert post(url, named).json() == {"predictions": [3.0, 4.0]}


def test_row_form_with_several_inputs_and_outputs(url):
    rows = [{"a": [1, 2.5], "b": 3}, {"a": [0, 0], "b": -4}]
    answer = post(url, {"signature_name": "two", "instances": rows}).json()
    assert answer["predictions"] == [
        {"total": 3.5, "twice": [3, 3]},
        {"total": 0.0, "twice": [-4, -4]},
    ]


def test_columnar_form(url):
    assert post(url, {"inputs": [1.5, 2]}).json() == {"outputs": [3.0, 4.0]}
    inputs = {"a": [[1, 2.5]], "b": [3], "ignored": 0}
    answer = post(url, {"signature_name": "two", "inputs": inputs}).json()
    assert answer == {"outputs": {"total": [3.5], "twice": [[3, 3]]}}


def test_columnar_scalars(url):
    body = {"signature_name": "scalar", "inputs": [1, 2]}
    assert post(url, body).json() == {"outputs": 3.0}


def test_strings_and_bytes(url):
    rows = [{"text": "blå"}, {"text": b64(b"\x00abc\x00")}]
    answer = post(url, {"signature_name": "strings", "instances": rows}).json()
    assert answer["predictions"] == [
        {"same_bytes": b64("blå".encode()), "upper": "BLå"},
        {"same_bytes": b64(b"\x00abc\x00"), "upper": "\x00ABC\x00"},
    ]


def test_base64_may_lack_padding_and_hold_blanks(url):
    body = {"signature_name": "strings", "instances": [{"b64": "eH k"}]}
    assert post(url, body).json()["predictions"][0]["upper"] == "XY"


def test_text_that_is_no_utf8_is_refused_with_the_way_out(url):
    body = {"signature_name": "strings", "instances": [b64(b"\xff\xfe")]}
    assert "'_bytes'" in error(post(url, body))


def test_nan_and_infinity_travel_both_ways(url):
    answer = post(url, b'{"instances": [NaN, -Infinity, Infinity, 1e39]}')
    assert answer.text == '{"predictions": [NaN, -Infinity, Infinity, Infinity]}'


def test_what_follows_the_object_is_ignored_and_the_first_of_equal_keys_wins(url):
    assert post(url, b'\xef\xbb\xbf {"inputs": [1], "inputs": [2]} !').json()["outputs"] == [2.0]


def test_gzip_bodies_are_inflated(url):
    headers = {"Content-Encoding": "gzip"}
    body = gzip.compress(b'{"inputs": [1]}')
    assert post(url, body, headers=headers).json() == {"outputs": [2.0]}
    for bad in (b"not gzip", gzip.compress(b" " * (101 << 20)), body[:-9]):
        assert error(post(url, bad, headers=headers)).endswith("The document is empty")


def test_versions_labels_and_case_of_the_path(url):
    body = {"inputs": [1]}
    for path in ("/V1/MODELS/toy/Versions/7", "/v1/models/toy/labels/stable", "/v1/models/%74oy"):
        assert post(url, body, f"{path}:predict").json() == {"outputs": [2.0]}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (9e6, "9e+06"),
        (999999, "999999.0"),
        (3e-5, "3e-05"),
        (123456789, "123456792.0"),
        (1 / 3, "0.333333343"),
        (0.2, "0.2"),
        (-0.0, "-0.0"),
    ],
)
def test_floats_are_written_short_but_exact(value, text):
    array = np.array([value], np.float32)
    assert json_response.render({"y": array}, row=True) == f'{{"predictions": [{text}]}}'.encode()
    assert np.float32(text) == array[0]


def test_doubles_booleans_and_empty_arrays_are_written():
    outputs = {"d": np.array([[1 / 3]]), "t": np.array([True]), "e": np.zeros((1, 2, 0))}
    text = b'{"outputs": {"d": [[0.33333333333333331]], "t": [true], "e": [[[], []]]}}'
    assert json_response.render(outputs, row=False) == text


@pytest.mark.parametrize(
    ("dtype", "value", "expected"),
    [
        ("DT_DOUBLE", 1e300, 1e300),
        ("DT_INT64", 2**63 - 1, 2**63 - 1),
        ("DT_UINT64", 2**64 - 1, 2**64 - 1),
        ("DT_UINT32", 2**32 - 1, 2**32 - 1),
        ("DT_UINT8", 300, 44),
        ("DT_BOOL", True, True),
    ],
)
def test_other_types_are_read(dtype, value, expected):
    array = json_request.tensors({"inputs": [value]}, {"x": dtype})["x"]
    assert array.tolist() == [expected]


@pytest.mark.parametrize(
    ("dtype", "value", "kind"),
    [
        ("DT_INT32", 3.0, "int32"),
        ("DT_INT32", 2**31, "int32"),
        ("DT_INT64", True, "int64"),
        ("DT_UINT32", -1, "uint32"),
        ("DT_FLOAT", True, "float"),
        ("DT_FLOAT", None, "float"),
        ("DT_FLOAT", {"b64": "eA=="}, "float"),
        ("DT_BOOL", 1, "bool"),
        ("DT_STRING", 1, "string"),
    ],
)
def test_values_of_another_type_are_refused(dtype, value, kind):
    with pytest.raises(ServingError, match=f"is not of expected type: {kind}"):
        json_request.tensors({"inputs": [value]}, {"x": dtype})


# --- Refusals


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "JSON Parse error: The document is empty"),
        (b"nan", "JSON Parse error: Invalid value. at offset: "),
        (b'{"inputs": [1 2]}', "JSON Parse error: Missing a comma"),
        (b'{"inputs": "\xff"}', "JSON Parse error: Invalid encoding in string."),
        (b"[" * 100_000, "JSON Parse error: Missing a comma"),
        ([1], "JSON Value: [1] Is not object"),
        ({"signature_name": 1}, "'signature_name' key must be a string value."),
        (
            {"signature_name": "nope"},
            'Serving signature name: "nope" not found in signature def',
        ),
        ({}, "Missing 'inputs' or 'instances' key"),
        (
            {"instances": [], "inputs": []},
            "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist ",
        ),
        ({"instances": 1}, "Expecting 'instances' to be an list/array"),
        ({"instances": []}, "No values in 'instances' array"),
        ({"instances": [{"z": 1}]}, "JSON object: does not have named input: z"),
        (
            {"instances": ["x"]},
            "Failed to process element: 0 of 'instances' list. Error: INVALID_ARGUMENT: "
            'JSON Value: "x" Type: String is not of expected type: float',
        ),
        (
            {"instances": [[1, 2, 3], [1, 2]]},
            "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: "
            "Expecting tensor size: 3 but got: 2",
        ),
        ({"instances": [[1, 2], [[1, 2]]]}, "Expecting shape [2] but got: [1,2]"),
        ({"instances": [{"x": 1}, 1]}, "Expecting object but got list at item 1 of input list"),
        (
            {"instances": [1, {"x": 1}]},
            "Expecting value/list but got object at item 1 of input list",
        ),
        (
            {"inputs": [[1], [1, 2]]},
            "Encountered list at unexpected size: 2 at level: 1 expected size: 1",
        ),
        (
            {"inputs": [[1], 3]},
            "JSON Value: 3 found at incorrect level: 2 in the JSON DOM. Expected at level: 2",
        ),
        (
            {"inputs": [[1], [[1]]]},
            "Encountered list at unexpected level: 2 expected < 2",
        ),
        ({"inputs": {"y": [1]}}, "Missing named input: x in 'inputs' object."),
        (
            {"signature_name": "two", "inputs": [1]},
            "inputs is a plain value/list, but expecting an object as multiple input tensors "
            "required as per tensorinfo_map",
        ),
        (
            {"signature_name": "two", "instances": [1]},
            "instances is a plain list, but expecting list of objects as multiple input tensors "
            "required as per tensorinfo_map",
        ),
        (
            {"signature_name": "two", "instances": [{"a": [1, 2]}]},
            "Failed to process element: 0 of 'instances' list. JSON object: "
            '{"a": [1, 2]} keys must be equal to: a,b',
        ),
        (
            {"signature_name": "two", "instances": [{"a": [1, 2], "b": 1, "c": 2}]},
            "Failed to process element: 0 key: c of 'instances' list. Error: INVALID_ARGUMENT: "
            "JSON object: does not have named input: c",
        ),
        ({"signature_name": "strings", "inputs": [{"b64": "#"}]}, "Unable to base64 decode"),
        (
            {"signature_name": "strings", "inputs": [{"b64": 1}]},
            'JSON Value: {"b64": 1} not formatted correctly for base64 data',
        ),
        (
            {"signature_name": "uneven", "instances": [1, 2]},
            "Tensor name: b has inconsistent batch size: 4 expecting: 2",
        ),
        (
            {"signature_name": "scalar", "instances": [1]},
            "Tensor name: sum has no shape information ",
        ),
    ],
)
def test_bad_requests_get_tensorflow_servings_words(url, body, message):
    assert message in error(post(url, body))


def test_quoted_json_is_cut(url):
    assert len(error(post(url, list(range(10_000))))) < 300


def test_types_without_a_json_form():
    with pytest.raises(ServingError, match="Conversion of JSON Value: 1 to type: half") as caught:
        json_request.tensors({"inputs": 1}, {"x": "DT_HALF"})
    assert caught.value.http_status == 501
    with pytest.raises(ServingError, match="Failed to write JSON value for tensor type: complex64"):
        json_response.render({"y": np.zeros(1, np.complex64)}, row=False)


@pytest.mark.parametrize(
    ("method", "path", "status", "message"),
    [
        ("POST", "/v1/foo", 400, "Malformed request: POST /v1/foo"),
        ("POST", "/v1/models/toy:predict?x=1", 400, "POST /v1/models/toy:predict?x=1"),
        ("POST", "/v1/models/toy:PREDICT", 400, "Malformed request"),
        ("PUT", "/v1/models/toy", 400, "Malformed request: PUT /v1/models/toy"),
        ("GET", "/v1/models", 400, "Missing model name in request."),
        ("GET", "/v1/models/", 400, "Malformed request"),
        ("GET", "/v1/models/nope", 404, "Could not find any versions of model nope"),
        ("GET", "/v1/models/toy/versions/99", 404, "Could not find version 99 of model toy"),
        ("GET", "/v1/models/nope/metadata", 404, "Servable not found for request: Latest(nope)"),
        ("POST", "/v1/models/nope:predict", 404, "Servable not found for request: Latest(nope)"),
        (
            "POST",
            "/v1/models/toy/versions/99:predict",
            404,
            "Servable not found for request: Specific(toy, 99)",
        ),
        ("POST", "/v1/models/toy/labels/nope:predict", 400, "Unrecognized servable version label"),
        (
            "POST",
            "/v1/models/toy/labels/gone:predict",
            404,
            "Servable not found for request: Specific(toy, 5)",
        ),
        ("POST", "/v1/models/empty%2Fone:predict", 404, "Latest(empty/one)"),
    ],
)
def test_bad_urls(url, method, path, status, message):
    body = b'{"inputs": [1]}' if method == "POST" else None
    response = httpx.request(method, url + path, content=body)
    assert message in error(response, status)


def test_paths_outside_the_api(url):
    assert httpx.get(url + "/v2").status_code == 404
    page = httpx.get(url)
    assert page.status_code == 200
    assert "version 7: AVAILABLE" in page.text
    assert "<code>two</code><td>a, b<td>&rarr; total, twice" in page.text
    assert 'href="/v1/models/empty%2Fone"' in page.text


# --- The graph's own errors


@pytest.mark.parametrize("wrong", [[1], [[1, 2]], np.zeros((2, H, W - 1, 3)).tolist(), []])
def test_a_wrong_rank_is_a_message_and_the_server_lives(url, wrong):
    message = error(post(url, {"signature_name": "convolve", "inputs": wrong}))
    assert "is not compatible with expected shape [?,4,5,3]" in message
    assert "Graph execution error" not in message
    good = {"signature_name": "convolve", "inputs": np.ones((1, H, W, 3)).tolist()}
    assert post(url, good).json()["outputs"][0][1][1] == [54.0, 54.0]


def test_a_corrupt_picture_is_a_message_and_the_server_lives(url):
    good = tf.io.encode_jpeg(tf.fill([8, 9, 3], tf.constant(77, tf.uint8))).numpy()
    for bad in (b"", b"not a picture", good[:40]):
        error(post(url, {"signature_name": "decode", "instances": [b64(good), b64(bad)]}))
    answer = post(url, {"signature_name": "decode", "instances": [b64(good)]})
    assert answer.json()["predictions"] == [77.0]


def test_many_at_once_each_get_their_own_answer(url):
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda i: post(url, {"instances": [i]}).json(), range(64)))
    assert answers == [{"predictions": [2.0 * i]} for i in range(64)]


def test_status_does_not_wait_behind_inference(url):
    started, body = time.monotonic(), {"signature_name": "slow", "instances": [800]}
    slow = threading.Thread(target=post, args=(url, body))
    slow.start()
    time.sleep(0.1)
    asked = time.monotonic()
    assert httpx.get(url + "/v1/models/toy").status_code == 200
    answered = time.monotonic()
    slow.join()
    assert answered - asked < (time.monotonic() - started) / 2


# --- Status and metadata


def test_status(url):
    expected = {
        "version": "7",
        "state": "AVAILABLE",
        "status": {"error_code": "OK", "error_message": ""},
    }
    for path in ("toy", "toy/versions/7", "toy/labels/unknown"):
        answer = httpx.get(f"{url}/v1/models/{path}").json()
        assert answer == {"model_version_status": [expected]}


def test_metadata(url):
    answer = httpx.get(url + "/v1/models/toy/metadata").json()
    assert answer["model_spec"] == {"name": "toy", "signature_name": "", "version": "7"}
    definition = answer["metadata"]["signature_def"]["signature_def"]["convolve"]
    assert definition["method_name"] == "tensorflow/serving/predict"
    pixels = definition["inputs"]["pixels"]
    assert pixels["dtype"] == "DT_FLOAT"
    assert [dim["size"] for dim in pixels["tensor_shape"]["dim"]] == ["-1", "4", "5", "3"]


# --- Versions


def publish(source, base, version):
    """What an exporter does: a complete copy beside, then a rename."""
    shutil.copytree(source, base / f".staging-{version}")
    (base / f".staging-{version}").rename(base / str(version))


def answer(model, version=None):
    number, servable = model.servable(version)
    return number, servable.predict("scale", {"x": np.ones(1, np.float32)})["y"][0]


def states(model):
    return {version: state.state for version, state in model.states().items()}


@pytest.fixture
def base(toys, tmp_path):
    publish(toys / "2", tmp_path, 1)
    return tmp_path


def test_a_new_version_replaces_the_old_and_removing_it_rolls_back(base, toys):
    model = Model(ModelConfig("toy", base))
    model.poll()
    assert answer(model) == (1, 2)
    (_, old), _ = model.servable(), publish(toys / "3", base, 10)
    model.poll()
    assert answer(model) == (10, 3)
    assert states(model) == {10: "AVAILABLE", 1: "END"}
    assert old.predict("scale", {"x": np.ones(1)})["y"] == 2, "a request under way ends well"
    old = weakref.ref(old._loaded)
    shutil.copytree(toys / "2", base / "11")
    model.poll()
    assert old() is None, "its weights leave the memory"
    shutil.rmtree(base / "11")
    model.poll()
    shutil.rmtree(base / "10")
    model.poll()
    assert answer(model) == (1, 2)
    shutil.rmtree(base / "1")
    model.poll()
    with pytest.raises(ServingError, match="Servable not found"):
        model.servable()


def test_what_is_no_version_is_ignored(base, toys):
    shutil.copytree(toys / "3", base / ".staging-9")
    shutil.copytree(toys / "3", base / "v9")
    (base / "11").write_text("a file")
    model = Model(ModelConfig("toy", base))
    model.poll()
    assert states(model) == {1: "AVAILABLE"}


def half(source, target, missing):
    shutil.copytree(source, target)
    for path in target.rglob(missing):
        path.unlink()


@pytest.mark.parametrize("missing", ["saved_model.pb", "variables.*", "variables.data*"])
def test_a_half_written_version_is_never_served_but_is_once_complete(base, toys, missing):
    half(toys / "3", base / "2", missing)
    model = Model(ModelConfig("toy", base))  # it lies there from the start
    model.poll()
    assert answer(model) == (1, 2)
    assert states(model) == {2: "END", 1: "AVAILABLE"}
    assert model.states()[2].error_message
    shutil.copytree(toys / "3", base / "2", dirs_exist_ok=True)
    model.poll()
    assert answer(model) == (2, 3)


def test_a_failing_warm_up_leaves_the_old_version_serving(base, toys):
    model = Model(ModelConfig("toy", base))
    model.poll()
    good = {"x": np.ones(2, np.float32)}
    shutil.copytree(toys / "3", base / "tmp")
    bad = {"pixels": np.float32([1])}
    warmup.write(base / "tmp", "toy", [("scale", good), ("convolve", bad)])
    (base / "tmp").rename(base / "2")
    model.poll()
    assert answer(model) == (1, 2)
    state = model.states()[2]
    assert (state.state, state.error_code) == ("END", "INVALID_ARGUMENT")
    assert "not compatible with expected shape" in state.error_message


def test_what_failed_is_not_loaded_again_until_it_changes(base, toys, monkeypatch):
    from zfkeras.server import versions

    loads = []
    real = versions.Servable
    monkeypatch.setattr(versions, "Servable", lambda path: (loads.append(path), real(path))[1])
    half(toys / "3", base / "2", "variables.*")
    model = Model(ModelConfig("toy", base))
    for _ in range(3):
        model.poll()
    assert [path.name for path in loads] == ["2", "1"]


def test_when_the_old_version_is_gone_and_the_new_one_is_broken_the_old_still_serves(base, toys):
    model = Model(ModelConfig("toy", base))
    model.poll()
    half(toys / "3", base / "2", "saved_model.pb")
    shutil.rmtree(base / "1")
    model.poll()
    assert answer(model) == (1, 2)


def test_no_request_fails_during_a_hot_reload(base, toys):
    answers, done = [], threading.Event()
    with serving([ModelConfig("toy", base)], poll_seconds=0.05) as url:

        def ask():
            with httpx.Client() as client:
                while not done.is_set():
                    body = {"instances": [1.0]}
                    response = client.post(f"{url}/v1/models/toy:predict", json=body, timeout=60)
                    answers.append((response.status_code, response.json()["predictions"][0]))

        asker = threading.Thread(target=ask)
        asker.start()
        publish(toys / "3", base, 2)
        deadline = time.monotonic() + 60
        while (200, 3.0) not in answers and time.monotonic() < deadline:
            time.sleep(0.02)
        done.set()
        asker.join()
    assert set(answers) == {(200, 2.0), (200, 3.0)}
    assert answers == sorted(answers), "never back to the old one"


def test_a_server_whose_model_cannot_load_does_not_start(base, toys):
    (base / "1" / "saved_model.pb").write_bytes(b"junk")
    with pytest.raises(ValueError, match=r"No version of model 'toy' loads(.|\n)*Received: base"):
        Server([ModelConfig("toy", base)], port=0)


def test_a_taken_port_is_named(base, url):
    port = int(url.rpartition(":")[2])
    with pytest.raises(OSError, match=f"Received: host='127.0.0.1', port={port}"):
        Server([ModelConfig("toy", base)], port=port)
    with pytest.raises(ValueError, match="Received: poll_seconds=0"):
        Server([ModelConfig("toy", base)], poll_seconds=0)


# --- models.config

CONFIG = """
model_config_list {
  config {
    name: "zfnet"  base_path: "%s"  model_platform: "tensorflow"  %s
    version_labels { key: "stable" value: 1 }
    version_labels { key: "canary" value: 2 }
  }
}
"""
ONE = 'config { name: "m" base_path: "/m" model_platform: "tensorflow" }'
TWICE = f"model_config_list {{ {ONE} {ONE} }}"


@pytest.mark.parametrize(
    ("policy", "picked"),
    [
        ("", [5]),
        ("model_version_policy { latest { num_versions: 2 } }", [3, 5]),
        ("model_version_policy { all {} }", [1, 3, 5]),
        ("model_version_policy { specific { versions: 1 versions: 3 versions: 4 } }", [1, 3]),
    ],
)
def test_models_config(tmp_path, policy, picked):
    path = tmp_path / "models.config"
    path.write_text(CONFIG % (tmp_path, policy))
    (model,) = read_config(path)
    assert (model.name, model.base_path) == ("zfnet", Path(tmp_path))
    assert model.labels == {"stable": 1, "canary": 2}
    assert model.versions([1, 3, 5]) == picked


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model_config_list {", "not text of the form"),
        ("model_config_list { config { nam: 'x' } }", "not text of the form"),
        ("", "one or more models of different names"),
        (CONFIG % ("models/zfnet", ""), "Received: name='zfnet', base_path='models/zfnet'"),
        ((CONFIG % ("/m", "")).replace("tensorflow", "torch"), "Received: model_platform='torch'"),
        (TWICE, r"names=\['m', 'm'\]"),
    ],
)
def test_bad_models_config(tmp_path, text, message):
    path = tmp_path / "models.config"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_config(path)


def test_warm_up_records_equal_tensorflow_servings(tmp_path):
    messages = pytest.importorskip("tensorflow_serving.apis.prediction_log_pb2")
    inputs = {"x": np.arange(3, dtype=np.float32), "t": np.array([b"a", b"\xff"], object)}
    warmup.write(tmp_path, "toy", [("scale", inputs)])
    (record,) = tf.data.TFRecordDataset(str(tmp_path / warmup.FILE))
    log = messages.PredictionLog.FromString(record.numpy())
    request = log.predict_log.request
    assert (request.model_spec.name, request.model_spec.signature_name) == ("toy", "scale")
    expected = messages.PredictionLog()
    expected.predict_log.request.model_spec.name = "toy"
    expected.predict_log.request.model_spec.signature_name = "scale"
    for name, value in inputs.items():
        expected.predict_log.request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    assert log == expected
    ((signature, read),) = warmup.read(tmp_path)
    assert signature == "scale"
    np.testing.assert_array_equal(read["x"], inputs["x"])
    assert read["t"].tolist() == [b"a", b"\xff"]
    assert list(warmup.read(tmp_path / "nowhere")) == []


@pytest.mark.parametrize("depth", [5, 15, 16, 17, 33, 64, 500, 990, 5_000, 100_000])
@pytest.mark.parametrize(
    "body", ["{inside}", '{{"instances": {inside}}}', '{{"inputs": {inside}}}',
             '{{"instances": [{{"pixels": {inside}}}]}}'],
)  # fmt: skip
def test_nested_lists_are_a_bad_request(served, body, depth):
    """However deep: 400, never 500, and the server answers the next."""
    for inside in ("[" * depth + "]" * depth, "[" * depth + "1.0" + "]" * depth, "[" * depth):
        url = f"{served}/v1/models/zfnet:predict"
        answer = httpx.post(url, content=body.format(inside=inside), timeout=60)
        assert answer.status_code == 400, answer.text
        assert answer.json()["error"]
