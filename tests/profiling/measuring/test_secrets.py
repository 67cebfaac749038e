"""A real run of a service that is given a secret: it gets the real one, and no file of the run has it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
import pytest

from commands import results
from profiling.experiments import record
from profiling.experiments.record import Experiment
from profiling.manifests.secrets import NOT_SHOWN
from profiling.measuring import store
from profiling.measuring.measure import measure
from profiling.measuring.memray_pass import RecordedPass, explain, record_pass
from profiling.measuring.sandboxes.cgroup import CgroupSandbox
from profiling.values import Budget, Build, Image, Outcome, RunResult, Target
from tests.helpers import Recorder, plan, target
from tests.profiling.judging import build

PLANTED = "plänted-Hunter2"


def secretive() -> Target:
    digest = hashlib.sha256(PLANTED.encode()).hexdigest()
    service = target("secretive", DB_PASSWORD=PLANTED, MODEL_LIFECYCLE="singleton")
    request = msgspec.structs.replace(
        service.request,
        headers={"Authorization": f"Bearer {PLANTED}".encode().hex(), "Accept": "application/json"},
        expect_json_schema={"type": "object", "properties": {"response": {"const": digest}}, "required": ["response"]},
    )
    return msgspec.structs.replace(service, request=request)


def holding(directory: Path, *texts: str) -> list[str]:
    wanted = [text.encode() for text in texts]
    files = [path for path in directory.rglob("*") if path.is_file()]
    assert files
    return [path.name for path in files if any(text in path.read_bytes() for text in wanted)]


def test_the_service_gets_the_secret_and_no_file_of_the_run_has_it(tmp_path: Path) -> None:
    service = secretive()
    argv = ("compare", "--build-arg", f"DB_PASSWORD={PLANTED}")
    sandbox = CgroupSandbox()
    try:
        other = service.with_env({"DB_PASSWORD": PLANTED, "MODEL_LIFECYCLE": "lazy"})
        for name, measured in (("1-a", service), ("2-b", other)):
            made = plan(measured, duration_s=1.0, argv=argv, variant=name)
            result = measure(made, sandbox, tmp_path / name, Recorder())
            assert result.outcome is Outcome.COMPLETED
        recorded = record_pass(
            plan(service, duration_s=1.0, memory_mib=256), sandbox, tmp_path / "3-memray", Recorder()
        )
    finally:
        sandbox.close()
    assert isinstance(recorded, RecordedPass)
    experiment = Experiment(
        command="compare",
        argv=argv,
        candidate="2-b",
        budget=Budget(),
        created_at="2026-01-01T00:00:00+00:00",
        runs=("1-a", "2-b"),
        profiles=(explain(recorded, source_lines=False),),
    )
    record.save(tmp_path, experiment)
    report = record.report(tmp_path, experiment)
    results.write_files(report)
    for run in report.runs:
        assert run.summary.requests > 0
        assert run.summary.failures == 0, "each answer proved that the service has the real value"
    assert holding(tmp_path, PLANTED, f"Bearer {PLANTED}".encode().hex(), "\\u00e4nted") == []
    assert NOT_SHOWN in (tmp_path / "1-a" / store.RUN_FILE).read_text()
    assert holding(tmp_path, "singleton") != [], "what is no secret stays readable"


def saved(directory: Path, result: RunResult) -> RunResult:
    store.save(directory, result)
    return store.load(directory).result


def test_what_is_stored_has_names_and_no_secrets(tmp_path: Path) -> None:
    result = build.result(argv=("gate", "--api-key", PLANTED, "--users", "8"))
    service = msgspec.structs.replace(
        result.target.service,
        command=("sh", "-c", f"TOKEN={PLANTED} exec serve"),
        env={"DB_PASSWORD": PLANTED, "WEB_CONCURRENCY": "2"},
        image=Image(
            name="x",
            command=("serve", f"--token={PLANTED}"),
            build=Build(context="/", dockerfile="/D", args={"NPM_TOKEN": PLANTED, "PYTHON_IMAGE": "python:3.11"}),
        ),
    )
    result = msgspec.structs.replace(result, target=msgspec.structs.replace(result.target, services=(service,)))
    read = saved(tmp_path, result)
    assert read.argv == ("gate", "--api-key", NOT_SHOWN, "--users", "8")
    assert read.target.service.env == {"DB_PASSWORD": NOT_SHOWN, "WEB_CONCURRENCY": "2"}
    assert read.target.service.command == ("sh", "-c", f"TOKEN={NOT_SHOWN} exec serve")
    image = read.target.service.image
    assert image is not None
    assert image.build is not None
    assert image.build.args == {"NPM_TOKEN": NOT_SHOWN, "PYTHON_IMAGE": "python:3.11"}
    assert image.command == ("serve", f"--token={NOT_SHOWN}")
    assert saved(tmp_path, read) == read, "saving again changes nothing"


@pytest.mark.parametrize("name", ["WEB_CONCURRENCY", "MODEL_LIFECYCLE", "PYTHONPATH"])
def test_a_setting_is_stored_as_it_is(tmp_path: Path, name: str) -> None:
    result = build.result()
    changed = msgspec.structs.replace(result, target=result.target.with_env({name: "/a/b"}))
    assert saved(tmp_path, changed) == changed
