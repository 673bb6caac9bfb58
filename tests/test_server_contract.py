"""The local server against TensorFlow Serving's contract, at its edges: what strangers send."""

import base64
import gzip
import http.client
import json
import socket

import httpx
import numpy as np
import pytest
import tensorflow as tf
from toys import Strange

from zfkeras import image
from zfkeras.server import ModelConfig, json_request, json_text, read_monitoring, serving
from zfkeras.server.errors import ServingError
from zfkeras.server.versions import versions_in


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("strange")
    Strange().save(folder / "1")
    return folder


@pytest.fixture(scope="module")
def url(base):
    with serving([ModelConfig("toy", base)], metrics_path="/metrics") as url:
        yield url


@pytest.fixture
def connection(url):
    """One kept-alive connection: (method, path, body, headers) -> (status, JSON or text)."""
    kept = http.client.HTTPConnection(url.removeprefix("http://"), timeout=60)
    kept.connect()
    first = kept.sock

    def ask(body, path="/v1/models/toy:predict", method="POST", **headers):
        kept.request(method, path, body, headers)
        response = kept.getresponse()
        data = response.read()
        assert kept.sock is first, "the connection was kept"
        assert response.headers["content-type"] == "application/json"
        return response.status, json.loads(data)

    yield ask
    kept.close()


def predict(signature="any_rank", **document):
    return json.dumps({"signature_name": signature, **document}).encode()


# --- Every failure is JSON, and the connection lives


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"instances": ["\\ud800"]}', "The surrogate pair in string is invalid. at offset: 16"),
        (b'{"\\udfff": 1, "instances": [1]}', "JSON Parse error: The surrogate pair"),
        (b'{"instances": [%s]}' % (b"1" * 5000), "Number too big to be stored in double."),
        (b'{"instances": [1e400]}', "Number too big to be stored in double. at offset: 15"),
        (b'{"instances": %s}' % (b"[" * 65 + b"]" * 65), "Encountered list at unexpected level"),
        (b'{"instances": %s1%s}' % (b"[" * 3000, b"]" * 3000), "unexpected level"),
        (b'{"instances": ' + b"[" * 50_000, "JSON Parse error: "),
        (b'{"a":' * 50_000, "JSON Parse error: "),
        (b"\x00", "JSON Parse error: The document is empty. at offset: 0"),
        (b'{"instances": [01]}', "JSON Parse error: Missing a comma"),
        (b'{"instances": [+1]}', "JSON Parse error: Invalid value."),
        (b'{"instances": [.5]}', "JSON Parse error: Invalid value."),
        (b'{"instances": [1,]}', "JSON Parse error: Invalid value."),
        (b'{"instances": [nan]}', "JSON Parse error: Invalid value."),
    ],
)
def test_what_no_parser_takes(connection, body, message):
    status, answer = connection(body)
    assert status == 400
    assert message in answer["error"]
    assert connection(predict(instances=[1.5])) == (200, {"predictions": [3.0]})


def test_numbers_and_keys_that_json_does_not_know(connection):
    deep = b"[" * 3000 + b'"[{"' + b"]" * 3000
    for body, outputs in [
        (b'{"inputs": [Inf, -Inf, 18446744073709551616]}', [np.inf, -np.inf, 3.68934881e19]),
        (b'{"unknown": %s, "inputs": [1.5]}' % deep, [3.0]),
        (b'{"inputs": [1.5], "unknown": {"a": %s}, "inputs": [2]}' % deep, [3.0]),
        (b'{"inputs": [1.5]} and so on', [3.0]),
    ]:
        assert connection(body) == (200, {"outputs": outputs})


def test_scalar_text_in_columnar_form(connection):
    assert connection(predict("one_text", inputs=["a", "bc"])) == (200, {"outputs": "abc"})
    joined = {"all": "abc", "all_bytes": {"b64": base64.b64encode(b"abc").decode()}}
    assert connection(predict("joined", inputs=["a", "bc"])) == (200, {"outputs": joined})


def test_half_has_no_json_form(connection):
    status, answer = connection(predict("half", inputs=[[1.5]]))
    assert (status, answer["error"]) == (501, "Conversion of JSON Value: 1.5 to type: half")
    status, answer = connection(predict("half", instances=[1.5]))
    assert status == 400
    assert answer["error"].endswith(
        "Error: UNIMPLEMENTED: Conversion of JSON Value: 1.5 to type: half"
    )


def test_two_gzip_members_are_no_body(connection):
    one = gzip.compress(predict(inputs=[1.5]))
    header = {"Content-Encoding": "gzip"}
    assert connection(one, **header) == (200, {"outputs": [3.0]})
    status, answer = connection(one + one, **header)
    assert (status, answer["error"]) == (400, "JSON Parse error: The document is empty")


def test_versions_beyond_int64(url):
    for version in ("9223372036854775808", "99999999999999999999", "9" * 5000):
        for method, end in (("POST", ":predict"), ("GET", ""), ("GET", "/metadata")):
            answer = httpx.request(method, f"{url}/v1/models/toy/versions/{version}{end}")
            assert (answer.status_code, answer.content) == (400, b"")
    answer = httpx.get(f"{url}/v1/models/toy/versions/9223372036854775807")
    assert answer.status_code == 404
    assert httpx.get(f"{url}/v1/models/toy/versions/{'0' * 40}1").status_code == 200
    assert httpx.get(f"{url}/v1/models/toy/versions/\u0661").status_code == 400


def test_version_folders_have_ascii_digits(tmp_path):
    for name in ("7", "008", "٣", "²", "+4", "9223372036854775808"):
        (tmp_path / name).mkdir()
    assert list(versions_in(tmp_path)) == [7, 8]


@pytest.mark.parametrize("shape", [(), (2,), (1, 4, 5), (1, 1, 4, 5, 3)])
def test_a_wrong_rank_never_reaches_a_foreign_graph(connection, shape):
    """oneDNN's convolution would end the process."""
    status, answer = connection(predict("bare", inputs=np.ones(shape).tolist()))
    received = ",".join(map(str, shape))
    expected = (
        f"Shape of tensor pixels [{received}] is not compatible with expected shape [?,4,5,3]."
    )
    assert (status, answer["error"]) == (400, expected)
    answer = connection(predict("bare", inputs=np.ones((1, 4, 5, 3)).tolist()))[1]
    assert answer["outputs"][0][1][1] == [27.0, 27.0]


def test_what_is_no_http_and_heads_that_are_too_long(url):
    host, port = url.removeprefix("http://").split(":")
    for data in (b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\nX: " + b"a" * 100_000 + b"\r\n\r\n"):
        with socket.create_connection((host, int(port)), timeout=30) as sent:
            sent.sendall(data)
            head, _, body = sent.makefile("rb").read().partition(b"\r\n\r\n")
        assert b" 400 " in head.splitlines()[0]
        assert "Malformed request" in json.loads(body)["error"]


def test_an_error_of_ours_is_logged_and_answered(connection, monkeypatch, caplog):
    from zfkeras.server import answers

    def broken(*_):
        raise ZeroDivisionError("a mistake")

    with monkeypatch.context() as patch:
        patch.setattr(answers, "read", broken)
        status, answer = connection(predict(instances=[1.5]))
        assert status == 500
        assert "log" in answer["error"]
    assert "a mistake" in caplog.text
    assert connection(predict(instances=[1.5]))[0] == 200


# --- Numbers taken out of simdjson's arrays at once


def read(body, dtype="DT_FLOAT"):
    return json_request.tensors(json_text.parse(body), {"x": dtype}, body=body)["x"]


@pytest.mark.parametrize("dtype", ["DT_FLOAT", "DT_DOUBLE", "DT_INT64", "DT_UINT8", "DT_UINT64"])
@pytest.mark.parametrize("shape", [(3,), (2, 5), (2, 3, 4), (4, 1, 1), (2, 0), (1, 3, 2, 5)])
@pytest.mark.parametrize("form", ["inputs", "instances"])
def test_arrays_are_read_as_they_stand(rng, dtype, shape, form):
    values = rng.integers(0, 300, shape).tolist()
    array = read(json.dumps({"no": [[1, [2]]], form: values}).encode(), dtype)
    kind = (
        dtype.removeprefix("DT_").lower().replace("float", "float32").replace("double", "float64")
    )
    assert array.dtype == kind
    np.testing.assert_array_equal(array, np.array(values).reshape(shape).astype(kind))


@pytest.mark.parametrize(
    "value",
    ["[[1],[[2]]]", "[[1,[2]],[3,4]]", "[[1,2],[3]]", "[[],[1]]", "[[1],2]", "[1,[2]]",
     "[[[1,2]],[[3],[4]]]", '[[1,2],["3",4]]', "[[1,2],[true,4]]", "[[1,2],[null,4]]"],
)  # fmt: skip
@pytest.mark.parametrize("more", ["", ', "z": "[[1,2],[3,4]]"', ', "z": [[1,2],[3,4]]'])
def test_uneven_arrays_are_never_straightened(value, more):
    for body in (f'{{"inputs": {value}{more}}}', f'{{"inputs": {{"x": {value}}}{more}}}'):
        with pytest.raises(ServingError):
            read(body.encode())


def test_plain_and_lenient_reading_agree(rng):
    """What simdjson reads, RapidJSON reads alike (NaN sends a text to it)."""
    values = rng.standard_normal((3, 4, 5)).tolist()
    text = json.dumps({"inputs": values, "other": {"a": ["ä", None, {"b": True}]}})
    one = read(text.encode())
    other = read(text[:-1].encode() + b', "nan": NaN}')
    np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(one, np.float32(values))


def test_documents_of_too_many_values_are_refused(monkeypatch):
    monkeypatch.setattr(json_text, "MOST", 50)
    with pytest.raises(ServingError, match="about 61 values, more than 50"):
        json_text.parse(b'{"inputs": [%s0]}' % (b"0," * 60))


def test_long_documents_are_read_in_pieces(monkeypatch):
    monkeypatch.setattr(json_text, "AT_ONCE", 10)
    asked = []
    values = list(range(40_000))
    document = json_text.parse(json.dumps({"inputs": values}).encode(), lambda: asked.append(1))
    assert document["inputs"] == values
    assert len(asked) > 3


# --- classify and regress


def test_classify(connection):
    examples = [{"a": 0.25, "name": "x"}, {"a": [0.5]}]
    body = json.dumps({"signature_name": "classes", "examples": examples}).encode()
    results = [[["x", 0.25], ["x!", 0.75]], [["", 0.5], ["!", 0.5]]]
    assert connection(body, "/v1/models/toy:classify") == (200, {"results": results})
    shared = json.dumps(
        {"signature_name": "classes", "context": {"name": "y"}, "examples": examples}
    ).encode()
    results[1] = [["y", 0.5], ["y!", 0.5]]
    assert connection(shared, "/v1/models/toy/versions/1:classify") == (200, {"results": results})


def test_an_export_answers_classify(served, rng):
    picture = image.encode(rng.integers(0, 255, (80, 90, 3)).astype(np.uint8))
    photo = {"b64": base64.b64encode(picture).decode()}
    body = {"signature_name": "classify_examples", "examples": [{"image/encoded": photo}] * 2}
    one, other = httpx.post(served + "/v1/models/zfnet:classify", json=body).json()["results"]
    rows = {"signature_name": "classify", "instances": [photo]}
    (row,) = httpx.post(served + "/v1/models/zfnet:predict", json=rows).json()["predictions"]
    expected = list(zip(row["classes"], row["probabilities"], strict=True))
    assert one == other == [list(pair) for pair in expected]


def test_regress(connection):
    body = {"signature_name": "values", "examples": [{"n": [1, 2]}, {"n": [True, False]}]}
    answer = connection(json.dumps(body).encode(), "/v1/models/toy:regress")
    assert answer == (200, {"results": [3.0, 1.0]})


@pytest.mark.parametrize(
    ("method", "document", "message"),
    [
        ("classify", {"signature_name": "nope", "examples": [{}]},
         "No signature was found with the name: nope"),
        ("classify", {"examples": [{}]}, "No classification inputs found in SignatureDef"),
        ("regress", {"signature_name": "classes", "examples": [{}]},
         "Expected one output Tensor."),
        ("classify", {}, "When method is classify, key 'examples' is expected and was not found"),
        ("classify", {"examples": {}}, "Expecting 'examples' value to be an list/array"),
        ("classify", {"examples": []}, "'examples' value is an empty array"),
        ("classify", {"examples": [1]}, "Example must be JSON object but got JSON Number"),
        ("classify", {"examples": [{"a": None}]},
         "Feature: a has element with unexpected JSON type: Null"),
        ("classify", {"examples": [{"a": [[1]]}]}, "unexpected JSON type: Array"),
        ("classify", {"examples": [{"a": [1, "x"]}]},
         "Unexpected element type in feature: a expecting type: int64"),
        ("classify", {"examples": [{"a": 2**63}]},
         "Feature: a has uint64 element. Only int64 is supported."),
        ("classify", {"signature_name": "classes", "examples": [{"b": 1}]}, "Feature: a"),
    ],
)  # fmt: skip
def test_bad_examples(connection, method, document, message):
    status, answer = connection(json.dumps(document).encode(), f"/v1/models/toy:{method}")
    assert status == 400
    assert message in answer["error"]


# --- Metrics


def test_metrics_under_tensorflow_servings_names(url, connection):
    def count(status):
        text = httpx.get(url + "/metrics").text
        line = f':tensorflow:serving:request_count{{model_name="toy",status="{status}"}} '
        found = [row for row in text.splitlines() if row.startswith(line)]
        return int(found[0].rpartition(" ")[2]) if found else 0

    before = count("OK"), count("INVALID_ARGUMENT")
    connection(predict(instances=[1]))
    connection(b"junk")
    assert (count("OK"), count("INVALID_ARGUMENT")) == (before[0] + 1, before[1] + 1)
    answer = httpx.get(url + "/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    labels = 'model_name="toy",API="predict",entrypoint="REST"'
    buckets = [
        line for line in answer.text.splitlines()
        if line.startswith(f":tensorflow:serving:request_latency_bucket{{{labels}")
    ]  # fmt: skip
    counts = [int(line.rpartition(" ")[2]) for line in buckets]
    assert counts == sorted(counts)
    assert 'le="+Inf"' in buckets[-1]
    assert f":tensorflow:serving:request_latency_count{{{labels}}} {counts[-1]}" in answer.text
    assert "# TYPE :tensorflow:serving:runtime_latency histogram" in answer.text
    assert httpx.get(url + "/monitoring/prometheus/metrics").status_code == 404


def test_the_monitoring_config(tmp_path):
    path = tmp_path / "monitoring.config"
    for text, expected in [
        ("prometheus_config { enable: true }", "/monitoring/prometheus/metrics"),
        ('prometheus_config { enable: true path: "/m" }', "/m"),
        ("", None),
    ]:
        path.write_text(text)
        assert read_monitoring(path) == expected
    path.write_text('prometheus_config { enable: true path: "m" }')
    with pytest.raises(ValueError, match="must start with '/'. Received: path='m'"):
        read_monitoring(path)
    path.write_text("prometheus_config {")
    with pytest.raises(ValueError, match="not text of the form.*Received: monitoring_config_file"):
        read_monitoring(path)


# --- Who may ask


def test_pages_of_other_sites_may_not_ask(url):
    path, body = url + "/v1/models/toy:predict", predict(instances=[1])
    host = url.removeprefix("http://")
    for headers in (
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": f"http://{host}0"},
        {"Host": "evil.example"},
        {"Host": "evil.example:80", "Origin": "http://evil.example:80"},
        {"Host": "127.0.0.1.evil.example"},
    ):
        answer = httpx.post(path, content=body, headers=headers)
        assert answer.status_code == 403, headers
        assert "Received: " in answer.json()["error"]
        assert "access-control-allow-origin" not in answer.headers
    for headers in ({"Origin": url}, {"Host": "localhost:1"}, {"Host": "[::1]:8501"}):
        assert httpx.post(path, content=body, headers=headers).status_code == 200
    assert httpx.get(url + "/v1/models/toy", headers={"Host": "evil"}).status_code == 403


def test_options_and_cors(base, url):
    for origin, status in (("https://a.example", 200), ("ftp://a", 400), ("", 400)):
        answer = httpx.options(url + "/v1/models/toy", headers={"Origin": origin})
        assert (answer.status_code, answer.content) == (status, b"")
        assert "access-control-allow-origin" not in answer.headers
    with serving([ModelConfig("toy", base)], cors=True) as open_url:
        headers = {"Origin": "https://a.example"}
        for answer in (
            httpx.options(open_url + "/v1/models/toy:predict", headers=headers),
            httpx.post(
                open_url + "/v1/models/toy:predict",
                content=predict(instances=[1]),
                headers=headers,
            ),
        ):
            assert answer.status_code == 200
            assert answer.headers["access-control-allow-origin"] == "*"
            assert answer.headers["access-control-allow-methods"] == "POST, GET"


def test_the_graph_says_nothing_of_where_it_failed(connection):
    status, answer = connection(predict("values", inputs=["not an example"]))
    assert status == 400
    assert "Could not parse example" in answer["error"]
    assert tf.__version__ not in answer["error"]
    assert "Graph execution error" not in answer["error"]
