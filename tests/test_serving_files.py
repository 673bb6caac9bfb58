"""serving/: the files parse, agree with each other and with what an export answers."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import numpy as np
import pytest
from google.protobuf import text_format

from zfkeras import image
from zfkeras.server import read_config

yaml = pytest.importorskip("yaml")
ROOT = Path(__file__).resolve().parents[1]
SERVING = ROOT / "serving"

pytestmark = pytest.mark.skipif(not SERVING.is_dir(), reason="installed without the repository")

# Of tensorflow_model_server 2.20.
FLAGS = """model_config_file model_config_file_poll_wait_seconds monitoring_config_file
allow_version_labels_for_unavailable_models file_system_poll_wait_seconds rest_api_timeout_in_ms
enable_grpc_healthcheck_service tensorflow_intra_op_parallelism enable_batching
batching_parameters_file""".split()


@pytest.fixture(scope="module")
def compose():
    return yaml.safe_load((SERVING / "compose.yaml").read_text())["services"]["serving"]


@pytest.fixture(scope="module")
def kubernetes():
    return list(yaml.safe_load_all((SERVING / "kubernetes.yaml").read_text()))


@pytest.fixture(scope="module")
def container(kubernetes):
    (deployment,) = (d for d in kubernetes if d["kind"] == "Deployment")
    return deployment["spec"]["template"]["spec"]["containers"][0]


def test_the_model_config(tmp_path, kubernetes):
    (config_map,) = (d for d in kubernetes if d["kind"] == "ConfigMap")
    (tmp_path / "models.config").write_text(config_map["data"]["models.config"])
    for path, kept in ((SERVING / "models.config", 2), (tmp_path / "models.config", 1)):
        (model,) = read_config(path)
        assert (model.name, model.base_path) == ("zfnet", Path("/models/zfnet"))
        assert model.versions([1, 2, 3]) == [1, 2, 3][-kept:]


def test_the_commented_labels_would_parse(tmp_path):
    text = (SERVING / "models.config").read_text().replace("# version_labels", "version_labels")
    (tmp_path / "models.config").write_text(text)
    assert read_config(tmp_path / "models.config")[0].labels == {"stable": 1, "canary": 2}


def test_the_batching_config():
    text = re.sub("#.*", "", (SERVING / "batching.config").read_text())
    sizes = [int(size) for size in re.findall(r"allowed_batch_sizes: (\d+)", text)]
    assert sizes == sorted(sizes)
    assert sizes[-1] == int(re.search(r"max_batch_size \{ value: (\d+) \}", text)[1])


def test_the_monitoring_config(kubernetes):
    (deployment,) = (d for d in kubernetes if d["kind"] == "Deployment")
    path = deployment["spec"]["template"]["metadata"]["annotations"]["prometheus.io/path"]
    assert f'path: "{path}"' in (SERVING / "monitoring.config").read_text()


def test_flags_exist_and_their_files_are_mounted(compose, container, kubernetes):
    for arguments in (compose["command"], container["args"]):
        flags = dict(argument.removeprefix("--").split("=") for argument in arguments)
        assert set(flags) <= set(FLAGS)
        assert flags["model_config_file"] == "/config/models.config"
    mounted = [volume.split(":")[1] for volume in compose["volumes"]]
    files = [a.split("=")[1] for a in compose["command"] if a.endswith(".config")]
    assert set(files) <= set(mounted)
    for volume in compose["volumes"]:
        source = (SERVING / volume.split(":")[0]).resolve()
        assert source.exists(), source
    (config_map,) = (d for d in kubernetes if d["kind"] == "ConfigMap")
    files = [a.split("=")[1] for a in container["args"] if a.endswith(".config")]
    assert {Path(file).name for file in files} == set(config_map["data"])


def test_ports_of_services_exist(container, kubernetes):
    ports = {port["name"] for port in container["ports"]}
    for service in (d for d in kubernetes if d["kind"] == "Service"):
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports
    assert container["livenessProbe"].keys() & {"httpGet"} == set()


def test_the_kubernetes_probes_answer(container, served):
    for probe in ("startupProbe", "readinessProbe"):
        path = container[probe]["httpGet"]["path"]
        assert httpx.get(served + path).status_code == 200
        assert httpx.get(served + path.replace("zfnet", "other")).status_code == 404


def test_the_health_check_of_compose(compose, served):
    kind, command = compose["healthcheck"]["test"]
    assert kind == "CMD-SHELL"
    port = served.rpartition(":")[2]
    for model, healthy in (("zfnet", True), ("other", False)):
        here = command.replace("/8501", f"/{port}").replace("zfnet", model)
        assert (subprocess.run(["/bin/sh", "-c", here]).returncode == 0) is healthy
    nobody = command.replace("/8501", "/9")
    assert subprocess.run(["/bin/sh", "-c", nobody], stderr=subprocess.DEVNULL).returncode


def blocks(language):
    text = (SERVING / "README.md").read_text()
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


@pytest.fixture
def photo(tmp_path, rng):
    coarse = rng.integers(0, 255, (10, 12, 3))
    return image.save(tmp_path / "photo.jpg", np.kron(coarse, np.ones((9, 9, 1))).astype(np.uint8))


@pytest.mark.skipif(not shutil.which("curl"), reason="no curl")
def test_the_curl_examples(served, photo, tmp_path):
    (script,) = (block for block in blocks("sh") if "curl" in block)
    script = script.replace("localhost:8501", served)
    done = subprocess.run(["bash", "-euc", script], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert '"classes"' in done.stdout
    assert '"heat_map_bytes"' in done.stdout
    assert image.load(tmp_path / "projection.png").shape == (72, 64, 3)


def test_the_python_example(served, photo, tmp_path):
    (code,) = blocks("python")
    code = code.replace("http://localhost:8501", served)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_the_table_of_signatures_is_that_of_an_export(served):
    found = httpx.get(f"{served}/v1/models/zfnet/metadata").json()
    definitions = found["metadata"]["signature_def"]["signature_def"]
    text = (ROOT / "saved_models" / "README.md").read_text()
    for name, inputs in re.findall(r"^\| `(\w+)`[^|]*\| ([^|]+) \|", text, re.MULTILINE)[:6]:
        assert set(re.findall(r"`(\w+)`", inputs)) == set(definitions[name]["inputs"]), name
    for name, outputs in re.findall(r"^\| `(\w+)`[^|]*\|[^|]+\| ([^|]+) \|", text, re.MULTILINE)[
        :3
    ]:
        assert set(re.findall(r"`(\w+)`", outputs)) == set(definitions[name]["outputs"]), name


def test_text_protos_have_no_unknown_fields():
    config = pytest.importorskip("tensorflow_serving.config.model_server_config_pb2")
    text_format.Parse((SERVING / "models.config").read_text(), config.ModelServerConfig())
