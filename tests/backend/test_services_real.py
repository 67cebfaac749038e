"""The optional services with their libraries, in processes of their own, and as the built-in target and the example have them."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image, ImageDraw, ImageFont

from backend.services.catalogue import OFFERS
from backend.services.ocr import IMAGE_MAX_PIXELS
from backend.services.settings import NAMES, ServiceName, flag
from backend.settings import Settings
from profiling import reference
from tests.backend.test_gunicorn import ROOT, Server
from tests.helpers import our_cgroups, run_cli

pytestmark = pytest.mark.e2e

LIBRARIES = {"ocr": {"rapidocr_onnxruntime", "cv2", "onnxruntime"}, "rag": {"chromadb"}, "agents": {"langgraph"}}
HEAVY = ("libtorch", "onnxruntime_pybind", "chromadb_rust_bindings", "cv2")
"""Parts of the names of files that only a process which loaded a library has mapped."""

_IMPORTED = """
import json, sys
from backend.app import create_app
class Model:
    def predict(self, query): return query
app = create_app(load=Model).test_client()
before = sorted(sys.modules)
answer = app.post("/agents/run", json={"task": "2 + 3"})
print(json.dumps([before, sorted(sys.modules), answer.status_code, answer.get_json()]))
"""


def imported(python: str, env: Mapping[str, str]) -> tuple[set[str], set[str], int, dict[str, object]]:
    """Modules of a process that made the application, the same after a task for the agents, and the answer."""
    done = subprocess.run(
        [python, "-c", _IMPORTED], cwd=ROOT, env={**os.environ, **env}, capture_output=True, text=True, check=True
    )
    before, after, status, answer = json.loads(done.stdout.splitlines()[-1])
    return set(before), set(after), status, answer


@pytest.mark.parametrize("name", NAMES)
def test_what_is_switched_off_is_never_imported(services_python: str, name: str) -> None:
    others = [other for other in NAMES if other != name]
    before, after, status, answer = imported(services_python, {flag(other): "true" for other in others})
    assert LIBRARIES[name] <= before
    for other in others:
        assert not LIBRARIES[other] & after
    if name == "agents":
        assert (status, answer["answer"]) == (200, "5")
    else:
        assert (status, answer) == (
            404,
            {"error": {"message": "/agents/run is switched off by DISABLE_AGENTS", "field": None}},
        )


def test_lazy_imports_at_the_first_use(services_python: str) -> None:
    before, after, status, _ = imported(services_python, {"IMPORTS": "lazy"})
    assert not before & {library for libraries in LIBRARIES.values() for library in libraries}
    assert "langgraph" in after
    assert not after & (LIBRARIES["ocr"] | LIBRARIES["rag"])
    assert status == 200


@pytest.fixture
def servers(services_python: str, prepared_settings: Settings) -> Iterator[list[Server]]:
    """What is put into it is ended when the test is over."""
    started: list[Server] = []
    yield started
    for server in started:
        if server.process.poll() is None:
            server.stop()


def picture(text: str, kind: str = "PNG") -> str:
    image = Image.new("RGB", (420, 70), "white")
    ImageDraw.Draw(image).text((20, 18), text, fill="black", font=ImageFont.load_default(28))
    return encoded(image, kind)


def encoded(image: Image.Image, kind: str = "PNG") -> str:
    file = BytesIO()
    image.save(file, kind)
    return base64.b64encode(file.getvalue()).decode()


def mapped(pid: int) -> set[str]:
    maps = Path(f"/proc/{pid}/maps").read_text()
    return {name for name in HEAVY if name in maps}


def test_one_process_does_everything(servers: list[Server], services_python: str, tmp_path: Path) -> None:
    server = Server({"RAG_DIR": str(tmp_path / "rag")}, services_python)
    servers.append(server)
    server.read_log_until("Server is ready at")
    assert mapped(server.process.pid) == set(HEAVY), "loaded in the master"
    # What ran in the master left no thread of the kind that does not survive the fork: the worker reads, searches and runs.
    for kind in ("PNG", "JPEG", "WEBP"):
        status, body = server.request("POST", "/ocr", {"image": picture("Invoice 2041", kind)})
        # Whether there is a space between the two is the model's opinion.
        assert (status, json.loads(body)["text"].replace(" ", "")) == (200, "Invoice2041")
    blank = json.loads(server.request("POST", "/ocr", {"image": encoded(Image.new("L", (99, 99), 255))})[1])
    assert blank == {"text": "", "lines": []}
    huge = Image.new("1", (IMAGE_MAX_PIXELS // 1000 + 1, 1000))
    assert server.request("POST", "/ocr", {"image": encoded(huge)})[0] == 413
    assert server.request("POST", "/ocr", {"image": base64.b64encode(b"no image").decode()})[0] == 400

    added = {
        "documents": [{"id": "parking", "text": "Visitors can park their cars in the garage behind the building."}]
    }
    status, body = server.request("POST", "/rag/documents", added)
    known = json.loads(body)["documents"]
    assert (status, json.loads(body)["stored"]) == (200, 1)
    assert server.request("POST", "/rag/documents", added)[1] == body, "in place of the one of the same name"
    found = json.loads(server.request("POST", "/rag/query", {"query": "Where can I park my car?", "limit": 2})[1])
    assert [found["documents"][0]["id"], len(found["documents"])] == ["parking", 2]
    likeness = [document["similarity"] for document in found["documents"]]
    assert likeness == sorted(likeness, reverse=True)
    assert 0.2 < likeness[0] <= 1

    status, body = server.request("POST", "/agents/run", {"task": "What is 12 * 7? Then how do I reset my password"})
    assert status == 200
    assert [step["tool"] for step in json.loads(body)["steps"]] == ["calculator", "knowledge"]
    assert server.ask("I forgot my password")[0] == 200
    assert server.stop() == 0
    assert "Traceback" not in server.log

    # Another process, of another role, finds the documents that this one kept.
    alone = Server({"ROLE": "rag", "RAG_DIR": str(tmp_path / "rag"), "IMPORTS": "lazy"}, services_python)
    servers.append(alone)
    alone.read_log_until("Server is ready at")
    assert mapped(alone.process.pid) == {"libtorch"}, "nothing else before its first use"
    again = json.loads(alone.request("POST", "/rag/query", {"query": "Where can I park my car?", "limit": 2})[1])
    assert again == found
    assert json.loads(alone.request("POST", "/rag/documents", added)[1])["documents"] == known
    assert alone.ask("I forgot my password")[0] == alone.request("POST", "/ocr", {})[0] == 404
    assert alone.stop() == 0


@pytest.mark.parametrize(("role", "loaded"), [("ocr", {"onnxruntime_pybind", "cv2"}), ("agents", set())])
def test_a_role_loads_what_it_needs(
    servers: list[Server], services_python: str, role: ServiceName, loaded: set[str]
) -> None:
    server = Server({"ROLE": role, "MODEL_CACHE": "/nowhere"}, services_python)
    servers.append(server)
    server.read_log_until("Server is ready at")
    assert mapped(server.process.pid) == loaded
    path = OFFERS[role].paths[0]
    body = {"image": picture("Total 84")} if role == "ocr" else {"task": "2 + 3"}
    assert server.request("POST", path, body)[0] == server.request("GET", "/ready")[0] == 200
    assert server.ask("hello")[0] == 404
    assert server.stop() == 0


def test_with_every_service_and_two_workers_it_is_killed_at_the_start(services_python: str, tmp_path: Path) -> None:
    before = our_cgroups()
    options = ("--target", reference.SERVICES_NAME, "--sandbox", "cgroup", "--no-profile", "--json")
    done = run_cli("compare", "singleton", *options, "--duration", "3s", "--out", str(tmp_path), WEB_CONCURRENCY="2")
    assert done.stdout, done.stderr
    (run,) = json.loads(done.stdout)["runs"]
    assert (done.returncode, run["outcome"], run["ready"]) == (1, "oom-killed", False), run
    assert run["oom_kills"] >= 1
    assert our_cgroups() == before


def test_the_split_services_fit_each_under_its_own_limit(services_python: str, tmp_path: Path) -> None:
    example = ROOT / "examples" / "services"
    options = ("--sandbox", "cgroup", "--users", "4", "--duration", "8s", "--json", "--out", str(tmp_path))
    done = run_cli("verify", *options, cwd=example)
    assert done.stdout, done.stderr
    document = json.loads(done.stdout)
    run = document["run"]
    assert (run["outcome"], run["oom_kills"], run["failures"]) == ("completed", 0, 0), document["checks"]
    assert run["requests"] > 0
    limits = {service["name"]: service["memory_limit_bytes"] >> 20 for service in run["services"]}
    assert limits == {"api": 512, "ocr": 256, "rag": 512, "agents": 128}
    # Whatever a busy machine makes of the load's length, memory is what it is.
    assert all(service["headroom_bytes"] > 0 for service in run["services"])


def test_without_its_environment_the_target_says_what_makes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from commands import bench
    from profiling.errors import SetupError
    from tests.helpers import Recorder

    monkeypatch.setattr(reference, "SERVICES_PYTHON", tmp_path / "python")
    target = reference.target("pickle", name=reference.SERVICES_NAME)

    class Bare:
        image = None

    with pytest.raises(SetupError, match=r"environment of the target 'reference-services' is not there") as refused:
        bench.prepare(target, Bare(), Recorder())  # type: ignore[arg-type]
    assert refused.value.hint == "make services"
