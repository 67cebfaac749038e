"""The catalogue of levers: which apply to a service, what they change, and why the others are left out."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from loadtests.plan import RequestTemplate
from profiling import reference
from profiling.advice import catalogue
from profiling.advice.applying import applied, command, compatible
from profiling.advice.chatbot import known_settings
from profiling.advice.plans import next_plans
from profiling.levers import Lever
from profiling.manifests import catalogue as plans
from profiling.units import MIB
from profiling.values import Image, Service, Target
from tests.helpers import ROOT


def target(*words: str, directory: Path = ROOT, **env: str) -> Target:
    service = Service(command=words, directory=str(directory), env=env)
    return Target(name="shop", services=(service,), request=RequestTemplate())


def levers(measured: Target, **environ: str) -> dict[str, Lever]:
    return {lever.name: lever for lever in catalogue(measured, environ)}


GENERIC = {
    "workers-1", "workers-double", "threads", "preload", "preload-freeze", "max-requests", "malloc-arena-2", "malloc-arena-1",
    "malloc-trim", "jemalloc", "mimalloc", "omp-1", "optimize-1", "optimize-2", "no-bytecode", "unbuffered", "thp-off",
}  # fmt: skip


def test_every_lever_says_what_it_does_and_whose_advice_it_is(tmp_path: Path) -> None:
    for measured in (target("gunicorn", "app:app", directory=tmp_path), reference.target("pickle")):
        for lever in catalogue(measured, {}):
            assert lever.advice
            assert lever.guide
            assert lever.left_out or lever.env or lever.append or lever.prefix, lever.name


def test_gunicorn_has_all_generic_ones(tmp_path: Path) -> None:
    found = levers(target("gunicorn", "app:app", "-w", "3", "--threads", "2", directory=tmp_path))
    assert set(found) == GENERIC
    assert found["workers-1"].append == ("--workers", "1")
    assert found["workers-double"].append == ("--workers", "6")
    assert found["threads"].append == ("--workers", "1", "--worker-class", "gthread", "--threads", "6")
    assert found["preload"].append == ("--preload",)
    assert "gc.freeze" in next(iter(found["preload-freeze"].files.values()))


def test_the_environment_says_how_many_workers_where_the_command_does_not(tmp_path: Path) -> None:
    measured = target(sys.executable, "-m", "gunicorn", "app:app", directory=tmp_path)
    found = levers(measured, WEB_CONCURRENCY="2")
    assert found["workers-1"].env == {"WEB_CONCURRENCY": "1"}
    assert found["workers-double"].env == {"WEB_CONCURRENCY": "4"}
    assert levers(measured)["workers-1"].left_out == "it is set so already"


@pytest.mark.parametrize(
    ("words", "name", "why"),
    [
        (("node", "server.js"), "preload", "does not name gunicorn"),
        (("node", "server.js"), "workers-1", "WEB_CONCURRENCY is not set"),
        (("gunicorn", "a:a", "--preload"), "preload", "it is set so already"),
        (("gunicorn", "a:a", "-c", "mine.py"), "preload-freeze", "has mine.py"),
        (("gunicorn", "a:a", "-k", "gevent"), "threads", "workers of the class gevent have no threads"),
        (("gunicorn", "a:a", "--threads=8"), "threads", "one worker with 8 threads already"),
        (("uvicorn", "a:a"), "max-requests", "does not name gunicorn"),
    ],
)
def test_what_does_not_apply_is_left_out_with_the_reason(
    tmp_path: Path, words: tuple[str, ...], name: str, why: str
) -> None:
    assert why in levers(target(*words, directory=tmp_path))[name].left_out


def test_what_is_set_already_is_no_lever() -> None:
    found = levers(target("gunicorn", "a:a", PYTHONUNBUFFERED="1"), MALLOC_ARENA_MAX="2")
    assert found["unbuffered"].left_out == found["malloc-arena-2"].left_out == "it is set so already"
    assert not found["malloc-arena-1"].left_out


def test_in_an_image_nothing_of_this_machine_is_used() -> None:
    service = Service(directory=str(ROOT), image=Image(name="shop", command=("gunicorn", "a:a")))
    measured = Target(name="shop", services=(service,), request=RequestTemplate())
    found = levers(measured, WEB_CONCURRENCY="4")
    assert "in an image" in found["jemalloc"].left_out
    assert "in an image" in found["preload-freeze"].left_out
    changed = applied(measured, [found["preload"]], place="/x", bytecode=None)
    assert changed.service.image is not None
    assert changed.service.image.command == ("gunicorn", "a:a", "--preload")


def test_the_reference_backend_is_changed_by_its_own_variables_and_only_those_that_it_knows(tmp_path: Path) -> None:
    found = levers(reference.target("pickle"), WEB_CONCURRENCY="2")
    assert found["workers-1"].env == {"WEB_CONCURRENCY": "1"}
    assert found["threads"].env == {"WEB_CONCURRENCY": "1", "THREADS": "32"}
    assert found["checkpoint-mapped"].env == {"MODEL_CHECKPOINT": "safetensors"}
    assert found["lifecycle-singleton"].left_out == "it is set so already"
    known = known_settings(ROOT / "backend")
    assert {"MODEL_LIFECYCLE", "WEB_CONCURRENCY", "PRELOAD"} <= known
    for lever in found.values():
        own = {name for name in lever.env if name.startswith(("MODEL_", "DISABLE_", "IMPORTS", "ROLE"))}
        if not lever.left_out:
            assert own <= known, lever.name
    (tmp_path / "backend").mkdir()
    empty = levers(reference.target("pickle", tmp_path))
    assert "does not know MODEL_CHECKPOINT" in empty["checkpoint-mapped"].left_out
    assert found["disable-ocr"].left_out == "it is set so already", "the chat alone has no services"
    every = levers(reference.target("pickle", name=reference.SERVICES_NAME))
    assert every["disable-ocr"].env == {"DISABLE_OCR": "true"}
    assert not every["lazy-imports"].left_out
    assert found["split-services"].left_out, "nothing is there to be split off"
    assert set(every["split-services"].env) == {"ROLE", "OCR_URL", "RAG_URL", "AGENTS_URL"}
    assert every["split-services"].elsewhere


def test_a_lever_of_ones_own_replaces_one_of_the_same_name() -> None:
    mine = Lever(name="omp-1", advice="mine", guide="mine", env={"OMP_NUM_THREADS": "2"})
    found = {lever.name: lever for lever in catalogue(target("gunicorn", "a:a"), {}, (mine,))}
    assert found["omp-1"] == mine


def test_levers_are_laid_over_each_other() -> None:
    one = Lever(name="one", advice="a", guide="g", env={"A": "1"}, append=("--x",), group="same")
    two = Lever(name="two", advice="a", guide="g", env={"B": "1"}, prefix=("with",), bytecode=True)
    found = applied(target("serve", C="3"), [one, two], place="/levers", bytecode="/code").service
    assert found.command == ("with", "serve", "--x")
    assert found.env == {
        "A": "1", "B": "1", "C": "3", "PYTHONPYCACHEPREFIX": "/code", "PYTHONDONTWRITEBYTECODE": "",
    }  # fmt: skip
    assert compatible([one], two)
    assert not compatible([one], one)
    assert not compatible([one], msgspec.structs.replace(two, group="same"))
    assert not compatible([one], msgspec.structs.replace(two, env={"A": "2"}))
    assert command([one], ()) == (), "an image's own command is not known"


def test_huge_pages_are_really_off_in_what_the_launcher_starts() -> None:
    prefix = levers(target("serve"))["thp-off"].prefix
    show = "import ctypes; print(ctypes.CDLL(None).prctl(42, 0, 0, 0, 0))"  # PR_GET_THP_DISABLE
    words = [*prefix, sys.executable, "-c", show]
    done = subprocess.run(words, capture_output=True, text=True, check=True, env=dict(os.environ))
    assert done.stdout.strip() == "1"


def test_the_next_plan_is_the_smallest_larger_one_of_each_provider() -> None:
    found = next_plans(plans.load().plans, 512 * MIB)
    by_provider = {plan.provider: plan.name for plan in found}
    assert by_provider == {"render": "standard", "heroku": "standard-2x", "fly": "shared-cpu-4x"}
    assert found[0].usd_per_month is not None
    assert found[-1].usd_per_month is None
