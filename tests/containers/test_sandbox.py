"""Small services in containers of Docker and of Podman: limits that hold, kills that count, nothing left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec
import pytest

from profiling.errors import CommandNotFoundError, ConfigError, EngineError, ImageError, NoLimitError
from profiling.judging.analysis import analyse
from profiling.judging.findings import with_findings
from profiling.measuring import store
from profiling.measuring.measure import RunPlan, measure
from profiling.measuring.memray_pass import RecordedPass, explain, record_pass
from profiling.measuring.readiness import free_port
from profiling.measuring.sandboxes import tree
from profiling.measuring.sandboxes.base import Launch
from profiling.measuring.sandboxes.cgroup import CgroupSandbox
from profiling.measuring.sandboxes.containers import images, options
from profiling.measuring.sandboxes.containers.engine import Engine
from profiling.measuring.sandboxes.containers.sandbox import ContainerSandbox
from profiling.values import Budget, Image, Limits, Outcome, PageCache, Target
from tests.containers.services import SERVICES, contained, opened, traces
from tests.helpers import MIB, ROOT, Recorder, plan, target, wait_until


def launch(service: Target, directory: Path, **limits: object) -> Launch:
    return Launch(
        service=service.service,
        limits=Limits(**{"memory_bytes": 64 * MIB, **limits}),  # type: ignore[arg-type]
        port=free_port(),
        directory=str(directory),
        log=str(directory / "service.log"),
    )


def brief(service: Target, **more: object) -> RunPlan:
    """A plan that does not wait for a first process that ignores SIGTERM."""
    return msgspec.structs.replace(plan(service, **more), grace_s=0.5)  # type: ignore[arg-type]


def python(code: str) -> Target:
    return contained("code", "python3", "-S", "-c", code)


@pytest.fixture(scope="session")
def ballast_in_a_cgroup(tmp_path_factory: pytest.TempPathFactory) -> int:
    """The unreclaimable peak of the ballast service as a process of this machine."""
    return peak_of_ballast(CgroupSandbox(), target("ballast", BALLAST_MIB="200"), tmp_path_factory.mktemp("cgroup"))


def peak_of_ballast(sandbox: CgroupSandbox | ContainerSandbox, service: Target, directory: Path) -> int:
    measure(brief(service, memory_mib=320), sandbox, directory, Recorder())
    sandbox.close()
    peak = analyse(store.load(directory)).summary.peak_unreclaimable_bytes
    assert peak is not None
    return peak


def test_a_ballast_weighs_the_same_as_in_a_cgroup(any_engine: Engine, ballast_in_a_cgroup: int, tmp_path: Path) -> None:
    with opened(any_engine) as sandbox:
        peak = peak_of_ballast(sandbox, contained("ballast", BALLAST_MIB="200"), tmp_path)
    assert peak > 200 * MIB
    assert abs(peak / ballast_in_a_cgroup - 1) < 0.03


def test_a_steady_service_completes_and_the_samples_agree_with_the_kernel(any_engine: Engine, tmp_path: Path) -> None:
    with opened(any_engine) as sandbox:
        drop = brief(contained("ballast", BALLAST_MIB="40"), cold=True)
        result = measure(drop, sandbox, tmp_path, Recorder())
    summary = analyse(store.load(tmp_path)).summary
    assert (result.outcome, result.clean_end) == (Outcome.COMPLETED, False), "python3 as process 1 ignores SIGTERM"
    assert summary.oom_kills == summary.failures == summary.restarts == 0
    assert summary.requests > 50
    assert summary.sandbox == any_engine.name
    assert result.page_cache is not PageCache.UNKNOWN
    assert result.environment is not None
    assert any_engine.version in (result.environment.engine or "")
    assert SERVICES.name in (result.environment.image or "")
    sampled = int(store.load(tmp_path).samples["charged"].max())
    assert result.kernel_peak_charged_bytes is not None
    assert 0 <= result.kernel_peak_charged_bytes - sampled <= 0.02 * result.kernel_peak_charged_bytes
    assert int(store.load(tmp_path).samples["processes"].max()) == 1, "whoever holds the cgroup is not counted"


def test_a_kill_behind_a_parent_that_answers_is_a_kill(any_engine: Engine, tmp_path: Path) -> None:
    with opened(any_engine) as sandbox:
        result = measure(brief(contained("forked_victim")), sandbox, tmp_path, Recorder())
    summary = analyse(store.load(tmp_path)).summary
    assert (result.outcome, result.oom_kills) == (Outcome.OOM_KILLED, 1)
    assert summary.availability == 1.0
    assert result.exit_status is None, "the container itself went on"


def test_ten_starts_and_kills_are_counted_and_leave_nothing(
    any_engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first process dies at once, and the cgroup with it: the count must have been read before."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    mounts, processes = mount_points(), tree.descendants(os.getpid(), tree.parents())
    with opened(any_engine) as sandbox:
        for _ in range(10):
            running = sandbox.start(launch(python("held = bytearray(256 << 20)"), tmp_path))
            wait_until(lambda: running.exit_status() is not None)  # noqa: B023
            counters = running.counters()
            running.close()
            assert running.exit_status() == -signal.SIGKILL
            assert (counters.oom_kills, counters.certain) == (1, True)
            assert counters.peak_charged_bytes is not None
            assert 63 * MIB < counters.peak_charged_bytes <= 64 * MIB
    assert not list(temporary.iterdir())
    assert tree.descendants(os.getpid(), tree.parents()) == processes
    wait_until(lambda: mount_points() <= mounts)  # other tools' containers come and go


def mount_points() -> set[str]:
    return {line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()}


def test_the_engines_own_flag_is_shown_as_a_hint_only(any_engine: Engine, tmp_path: Path) -> None:
    with opened(any_engine) as sandbox:
        result = measure(brief(contained("per_request"), users=4), sandbox, tmp_path, Recorder())
    assert result.outcome is Outcome.OOM_KILLED
    stored = store.load(tmp_path)
    found = {finding.id for finding in with_findings(analyse(stored), stored, Budget()).summary.findings}
    assert "oom-kill" in found
    # Docker says true, Podman false, of the same kill.
    assert ("engine-flag" in found) == (result.engine_oom_flag is False)


def test_what_a_service_may_do(any_engine: Engine, tmp_path: Path) -> None:
    code = """
import json, os
status = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\\t" in line)
print(json.dumps({key: status[key].strip() for key in ("CapEff", "CapBnd", "NoNewPrivs")}
      | {key: os.environ.get(key) for key in ("PORT", "HOST", "WHERE", "HOME_OF_THE_TOOL")}))
"""
    service = contained("code", "python3", "-c", code, WHERE="{host}:{port} {braces}")
    os.environ["HOME_OF_THE_TOOL"] = "not theirs"
    start = launch(service, tmp_path)
    with opened(any_engine) as sandbox:
        running = sandbox.start(start)
        wait_until(lambda: running.exit_status() is not None)
        running.close()
    said = json.loads((tmp_path / "service.log").read_text())
    assert said["CapEff"] == said["CapBnd"] == "0" * 16
    assert said["NoNewPrivs"] == "1"
    assert said["PORT"] == str(start.port)
    assert said["HOST"] == "127.0.0.1"
    assert said["WHERE"] == f"127.0.0.1:{start.port} {{braces}}"
    assert said["HOME_OF_THE_TOOL"] is None, "our own environment stays here"


def test_cpu_and_process_limits_are_in_force(any_engine: Engine, tmp_path: Path) -> None:
    forks = "import os\nfor _ in range(12):\n    if os.fork() == 0:\n        import signal; signal.pause()"
    with opened(any_engine) as sandbox:
        running = sandbox.start(launch(python("import signal; signal.pause()"), tmp_path, pids=8, cpus=0.25))
        inspected = running._container.attrs["HostConfig"]  # type: ignore[attr-defined]
        running.close()
        assert inspected["NanoCpus"] == 250_000_000
        running = sandbox.start(launch(python(forks), tmp_path, pids=8))
        wait_until(lambda: running.exit_status() is not None)
        running.close()
    assert "BlockingIOError" in (tmp_path / "service.log").read_text()


def test_an_oom_group_needs_cgroup_v2(any_engine: Engine, tmp_path: Path) -> None:
    if any_engine.cgroup_version != 1:
        pytest.skip("cgroup v1: this machine has v2")
    with opened(any_engine) as sandbox, pytest.raises(NoLimitError, match=r"memory\.oom\.group"):
        sandbox.start(launch(contained("ballast"), tmp_path, oom_group=True))


def test_stop_ends_a_container_within_the_grace_time_or_kills_it(any_engine: Engine, tmp_path: Path) -> None:
    polite = "import signal, sys\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(3))\nprint('up')\nsignal.pause()"
    with opened(any_engine) as sandbox:
        running = sandbox.start(launch(python(polite), tmp_path))
        wait_until(lambda: "up" in (tmp_path / "service.log").read_text())
        assert running.stop(10.0)
        assert running.exit_status() == 3
        running.close()
        deaf = sandbox.start(launch(python("import signal; signal.pause()"), tmp_path))
        assert not deaf.stop(0.2)
        assert deaf.exit_status() == -signal.SIGKILL
        deaf.close()
        deaf.close()


def test_what_cannot_be_started_says_why(any_engine: Engine, tmp_path: Path) -> None:
    with opened(any_engine) as sandbox, pytest.raises(CommandNotFoundError, match="not found"):
        sandbox.start(launch(contained("code", "no-such-program"), tmp_path))
    with opened(any_engine) as sandbox, pytest.raises(CommandNotFoundError, match="/no/such/program"):
        sandbox.start(launch(contained("code", "/no/such/program"), tmp_path))
    with opened(any_engine) as sandbox, pytest.raises(EngineError) as refused:
        sandbox.start(launch(contained("code", "/etc/passwd"), tmp_path))
    assert "may run" in refused.value.hint
    with pytest.raises(ImageError, match="oomproof/none-such"):
        ContainerSandbox(any_engine, [Image(name="oomproof/none-such:1")], "a test", lambda text: None)
    with pytest.raises(ConfigError, match="names no image"):
        ContainerSandbox(any_engine, [], "a test", lambda text: None)


def test_a_build_that_fails_says_what_the_step_said(any_engine: Engine, tmp_path: Path) -> None:
    base = os.environ.get("PYTHON_IMAGE", "python:3.11-slim")
    (tmp_path / "Dockerfile").write_text(f"FROM {base}\nRUN echo cannot do this >&2; exit 7\n")
    build = msgspec.structs.replace(
        SERVICES.build,  # type: ignore[type-var]
        context=str(tmp_path),
        dockerfile=str(tmp_path / "Dockerfile"),
    )
    with pytest.raises(ImageError, match=r"cannot be built.*cannot do this.* 7"):
        images.ensure(any_engine, Image(name="oomproof/test-broken", build=build), lambda text: None)
    for text, wrong in ((b"FRUM x\n", "cannot be built"), (b"", "cannot be built"), (b"\xff\xfe", "not UTF-8")):
        (tmp_path / "Dockerfile").write_bytes(text)
        with pytest.raises(ImageError, match=wrong) as refused:
            images.ensure(any_engine, Image(name="oomproof/test-broken", build=build), lambda text: None)
        assert "inspect" not in refused.value.hint
    (tmp_path / "Dockerfile").write_text(f"FROM {base}\n")
    (tmp_path / ".dockerignore").write_bytes(b"\xff\xfe")
    with pytest.raises(ImageError, match=r"\.dockerignore cannot be read \(not UTF-8\)"):
        images.ensure(any_engine, Image(name="oomproof/test-broken", build=build), lambda text: None)


def test_a_dockerfile_may_lie_outside_its_context(any_engine: Engine, tmp_path: Path) -> None:
    base = os.environ.get("PYTHON_IMAGE", "python:3.11-slim")
    (tmp_path / "Dockerfile").write_text(f"FROM {base}\nCOPY . /kept\nRUN test -f /kept/file -a ! -e /kept/ignored\n")
    context = tmp_path / "context"
    context.mkdir()
    (context / ".dockerignore").write_bytes(b"\xef\xbb\xbfignored\r\n")
    for name in ("file", "ignored"):
        (context / name).touch()
    build = msgspec.structs.replace(
        SERVICES.build,  # type: ignore[type-var]
        context=str(context),
        dockerfile=str(tmp_path / "Dockerfile"),
    )
    image = Image(name=f"oomproof/test-outside-{os.getpid()}", build=build)
    images.ensure(any_engine, image, lambda text: None)
    assert images.state(any_engine, image) is images.State.READY
    any_engine.client.images.remove(image.name, force=True)


def test_an_image_is_stale_when_what_it_is_made_from_changes(any_engine: Engine, tmp_path: Path) -> None:
    base = os.environ.get("PYTHON_IMAGE", "python:3.11-slim")
    (tmp_path / "Dockerfile").write_text(f"FROM {base}\nCOPY kept /kept\n")
    (tmp_path / ".dockerignore").write_text("ignored\n")
    for name in ("kept", "ignored"):
        (tmp_path / name).write_text("1")
    build = msgspec.structs.replace(
        SERVICES.build,  # type: ignore[type-var]
        context=str(tmp_path),
        dockerfile=str(tmp_path / "Dockerfile"),
    )
    image = Image(name=f"oomproof/test-stale-{os.getpid()}", build=build)
    said: list[str] = []
    assert images.state(any_engine, image) is images.State.MISSING
    try:
        images.ensure(any_engine, image, said.append)
        assert images.state(any_engine, image) is images.State.READY
        assert any("COPY kept" in line for line in said)
        (tmp_path / "ignored").write_text("2")
        assert images.state(any_engine, image) is images.State.READY
        (tmp_path / "kept").write_text("2")
        assert images.state(any_engine, image) is images.State.STALE
    finally:
        any_engine.client.images.remove(image.name, force=True)


def test_memray_enters_an_image_that_has_none(any_engine: Engine, tmp_path: Path) -> None:
    with opened(any_engine) as sandbox:
        recorded = record_pass(
            brief(contained("per_request", PER_REQUEST_MIB="2"), memory_mib=160), sandbox, tmp_path / "pass", Recorder()
        )
    assert isinstance(recorded, RecordedPass), recorded
    explained = explain(recorded, source_lines=False)
    assert explained.status == "recorded"
    assert explained.flamegraphs
    largest = explained.held[0]
    assert (largest.frame.file, largest.frame.function) == ("per_request.py", "answer")
    kept = largest.bytes / (2 * MIB)
    assert kept > 10
    assert abs(kept - round(kept)) < 0.02, "whole requests' worth"


def test_memray_says_why_it_cannot_enter(any_engine: Engine, tmp_path: Path) -> None:
    with opened(any_engine) as sandbox:
        skipped = record_pass(brief(contained("sh", "sh", "-c", "sleep 9")), sandbox, tmp_path / "pass", Recorder())
    assert not isinstance(skipped, RecordedPass)
    assert (skipped.status, "shell" in skipped.reason) == ("skipped", True)


DOOMED = """
import signal, sys
from pathlib import Path
from profiling.measuring.sandboxes.containers.engine import connect
from profiling.measuring.sandboxes.containers.sandbox import ContainerSandbox
from tests.containers.services import SERVICES, contained
from tests.containers.test_sandbox import launch, python
sandbox = ContainerSandbox(connect(sys.argv[1]), [SERVICES], "a test", lambda text: None)
if sys.argv[3] == "alone":
    sandbox._keeper._process.kill()
    sandbox._keeper._process.wait()
running = sandbox.start(launch(python("import signal; signal.pause()"), Path(sys.argv[2])))
print("up", flush=True)
signal.pause()
"""


@pytest.mark.parametrize("keeper", ["kept", "alone"])
def test_a_killed_tool_leaves_no_container(any_engine: Engine, tmp_path: Path, keeper: str) -> None:
    before = traces(any_engine)
    env = {**os.environ, "CONTAINER_HOST": any_engine.address} if any_engine.name == "podman" else dict(os.environ)
    doomed = subprocess.Popen(
        [sys.executable, "-c", DOOMED, any_engine.name, str(tmp_path), keeper],
        cwd=ROOT,
        env=env,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert doomed.stdout is not None
    with doomed.stdout:
        assert doomed.stdout.readline() == "up\n"
        doomed.kill()
        doomed.wait()
    if keeper == "alone":
        assert traces(any_engine) - before, "without its keeper something is left"
        ContainerSandbox(any_engine, [SERVICES], "the next start clears it away", lambda text: None).close()
    wait_until(lambda: traces(any_engine) <= before)


def test_another_machines_containers_are_left_alone() -> None:
    assert not options.is_orphan("oomproof-4026531836-999999-1-container@another-boot", local=False)
    assert options.is_orphan("oomproof-4026531836-999999-1-container@another-boot", local=True), "an earlier boot"
    assert not options.is_orphan(options.owner(), local=True)
    assert not options.is_orphan("test", local=True)


def test_a_service_that_listens_everywhere_is_told_of(any_engine: Engine, tmp_path: Path) -> None:
    recorder = Recorder()
    with opened(any_engine) as sandbox:
        measure(brief(contained("ballast", HOST="0.0.0.0"), duration_s=0.5), sandbox, tmp_path, recorder)
    assert any("every address of this machine" in getattr(event, "text", "") for event in recorder.events)


def test_services_of_a_system_find_each_other(any_engine: Engine, tmp_path: Path) -> None:
    limits = Limits(memory_bytes=96 * MIB)
    parts = (("api", contained("relay", WORKER_URL="{worker.url}")), ("worker", contained("ballast", BALLAST_MIB="40")))
    services = tuple(msgspec.structs.replace(part.service, name=name, limits=limits) for name, part in parts)
    system = msgspec.structs.replace(parts[0][1], services=services)
    with opened(any_engine) as sandbox:
        measure(brief(system), sandbox, tmp_path, Recorder())
    summary = analyse(store.load(tmp_path)).summary
    assert (summary.outcome, summary.availability, summary.oom_kills) == (Outcome.COMPLETED, 1.0, 0)
    api, worker = summary.services
    assert (api.peak_unreclaimable_bytes or 0) < 40 * MIB < (worker.peak_unreclaimable_bytes or 0)
