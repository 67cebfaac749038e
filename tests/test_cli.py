"""The command line as a user meets it: exit codes, two-line errors, JSON errors, nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cli import main, oomproof
from tests.helpers import ROOT, TARGETS, assert_of_schema, our_cgroups, run_cli

CONFIG = f"""
[target]
command = ["{sys.executable}", "ballast.py"]
directory = "{TARGETS}"
ready = "/"
memory = "128MiB"

[request.expect]
json_schema = {{ type = "object", required = ["response"] }}

[load]
users = 2
duration = "2s"

[variants.greedy]
env = {{ BALLAST_MIB = "160" }}
[variants.modest]
env = {{ BALLAST_MIB = "20" }}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "oomproof.toml"
    path.write_text(CONFIG)
    return path


def assert_two_lines(done: subprocess.CompletedProcess[str], code: int, *said: str) -> None:
    lines = done.stderr.strip().splitlines()[-2:]
    assert done.returncode == code, done.stderr
    assert lines[0].startswith("error: "), done.stderr
    assert lines[1].strip().startswith("hint: "), done.stderr
    assert "Traceback" not in done.stderr
    for words in said:
        assert words in " ".join(lines)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["compare", "--userz", "8"], "--userz"),
        (["compare", "--memory", "512M"], "ambiguous"),
        (["compare", "--memory", "512 potatoes"], "no size in bytes"),
        (["compare", "--memory", "0"], "1MiB or more"),
        (["compare", "--duration", "-3s"], "no duration"),
        (["compare", "--users", "0"], "--users"),
        (["compare", "--cpus", "nan"], "--cpus"),
        (["compare", "--rate", "inf"], "--rate"),
        (["compare", "singelton"], "Did you mean 'singleton'?"),
        (["compare", "singleton", "singleton"], "named once"),
        (["compare", "--target", "nowhere.toml"], "nowhere.toml"),
        (["compare", "--sandbox", "jail"], "jail"),
        (["compare", "--", "true"], "takes no command"),
        (["frobnicate"], "frobnicate"),
        (["report"], "at least one run"),
        (["report", "nowhere"], "nowhere"),
        (["serve", "--lifecycle", "eternal"], "eternal"),
    ],
)
def test_a_wrong_command_line_is_exit_2_in_two_lines(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert said in " ".join(lines)
    assert "error:" in lines[0]
    assert "hint:" in lines[-1]


def test_with_json_an_error_is_a_document_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "--memory", "512M", "--json"]) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["kind"] == "usage"
    assert set(error) == {"kind", "message", "hint"}


def test_an_unknown_key_of_the_config_file_is_named_with_the_nearest(config: Path) -> None:
    config.write_text(CONFIG.replace("ready =", "redy ="))
    assert_two_lines(run_cli("compare", "--target", str(config)), 2, "target.redy", "did you mean 'ready'?")


def test_a_bad_unit_in_the_config_file_is_named_with_its_key(config: Path) -> None:
    config.write_text(CONFIG.replace("128MiB", "128 apples"))
    assert_two_lines(run_cli("compare", "--target", str(config)), 2, "target.memory", "128 apples")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[variants.greedy]", '[variants."../../escaped"]', "variants"),
        ('memory = "128MiB"', 'memory = "128MiB"\ncpus = inf', "target.cpus"),
        ('memory = "128MiB"', 'memory = "1KiB"', "target.memory"),
        ('ready = "/"', 'ready = "/\\r\\nX: y"', "target.ready"),
        ("env = { BALLAST_MIB", 'env = { "A=B" = "x", BALLAST_MIB', "variants.greedy.env"),
        ("[request.expect]", '[request]\nlocustfile = "none.py"\n[request.expect]', "request.locustfile"),
    ],
)
def test_a_value_of_the_config_file_that_cannot_be_is_exit_2_before_anything_is_made(
    config: Path, tmp_path: Path, old: str, new: str, said: str
) -> None:
    assert old in CONFIG
    config.write_text(CONFIG.replace(old, new))
    assert_two_lines(run_cli("compare", "--target", str(config), "--out", str(tmp_path / "runs")), 2, said)
    assert not (tmp_path / "runs").exists()


def test_a_taken_port_is_exit_4(config: Path, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = run_cli(
            "compare", "--target", str(config), "--port", port, "--no-profile", "--out", str(tmp_path / "runs")
        )
    assert_two_lines(done, 4, f"port {port}", "--port")


def test_an_output_directory_that_cannot_be_made_is_exit_4_at_once(config: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = run_cli("compare", "--target", str(config), "--out", str(tmp_path / "file" / "runs"))
    assert_two_lines(done, 4, "cannot be written to", "--out")
    assert "under load" not in done.stderr


def test_a_full_disk_is_exit_4_at_once(config: Path, tmp_path: Path) -> None:
    assert_two_lines(run_cli("compare", "--target", str(config), "--out", "/dev/full"), 4, "--out")


def test_a_disk_that_fills_up_during_the_run_is_exit_4_and_leaves_nothing_running(config: Path, tmp_path: Path) -> None:
    before = our_cgroups()
    out = tmp_path / "small"
    out.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40k", "none", str(out)], check=True)
    try:
        done = run_cli("compare", "modest", "--target", str(config), "--no-profile", "--out", str(out))
    finally:
        subprocess.run(["umount", str(out)], check=True)
    assert_two_lines(done, 4)
    assert our_cgroups() == before


def test_a_command_that_does_not_exist_is_exit_4(config: Path, tmp_path: Path) -> None:
    config.write_text(CONFIG.replace(sys.executable, "no-such-python"))
    done = run_cli("compare", "--target", str(config), "--no-profile", "--out", str(tmp_path / "runs"))
    assert_two_lines(done, 4, "no-such-python")


def test_a_missing_model_is_exit_4_with_what_to_do(tmp_path: Path) -> None:
    done = run_cli(
        "compare",
        "--sandbox",
        "cgroup",
        "--out",
        str(tmp_path / "runs"),
        MODEL_PATH=str(tmp_path),
        MODEL_CACHE=str(tmp_path / "cache"),
    )
    assert_two_lines(done, 4, str(tmp_path))


def test_a_limit_smaller_than_the_interpreter_is_a_kill_at_the_start(config: Path, tmp_path: Path) -> None:
    done = run_cli(
        "compare",
        "modest",
        "--target",
        str(config),
        "--memory",
        "2MiB",
        "--no-profile",
        "--json",
        "--out",
        str(tmp_path / "runs"),
    )
    document = json.loads(done.stdout)
    assert done.returncode == 1
    assert document["claim"] == "inconclusive", "one variant alone proves nothing"
    assert document["runs"][0]["outcome"] == "oom-killed"
    assert document["runs"][0]["findings"][0]["id"] == "oom-kill-at-start"


def test_compare_of_a_service_of_ones_own_end_to_end(config: Path, tmp_path: Path) -> None:
    before = our_cgroups()
    done = run_cli("compare", "--json", "--out", "runs", cwd=config.parent)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert_of_schema(document, "compare")
    assert document["schema_version"] == 1
    assert document["command"] == "compare"
    assert document["candidate"] == "modest"
    greedy, modest = document["runs"]
    assert (document["claim"], greedy["outcome"], modest["outcome"]) == ("proved", "oom-killed", "completed")
    assert greedy["oom_kills"] >= 1
    assert modest["availability"] == 1.0
    assert {profile["status"] for profile in document["profiles"]} == {"recorded"}
    for profile in document["profiles"]:
        for path in (*profile["captures"], *profile["flamegraphs"]):
            assert Path(path).is_file()
    page = Path(document["report"])
    assert page.stat().st_size < 1_000_000
    assert (page.parent / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert (Path(modest["run_dir"]) / "memory.csv").read_text().count("\n") == modest["samples"] + 1
    assert our_cgroups() == before

    again = run_cli("report", str(page.parent), "--json")
    assert json.loads(again.stdout) == document, "made again from disk, nothing measured anew"
    both = run_cli("report", greedy["run_dir"], modest["run_dir"], "--json")
    assert json.loads(both.stdout)["claim"] == "proved"
    assert_of_schema(json.loads(both.stdout), "report")
    series = run_cli("report", str(page.parent), "--csv", "--json")
    assert_of_schema(json.loads(series.stdout), "report")


@pytest.mark.parametrize(
    "phase", ["greedy: starting", "modest: under load", "modest (memray pass): under load", "writing the report"]
)
def test_ctrl_c_twice_ends_a_comparison_with_130_and_what_there_is_can_be_seen(
    config: Path, tmp_path: Path, phase: str
) -> None:
    before = our_cgroups()
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "cli.py"), "compare", "--target", str(config), "--out", str(tmp_path / "runs")],
        stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        if line.startswith(phase):
            break
    for _ in range(2):
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.05)
    rest = process.stderr.read()
    assert process.wait(timeout=60) == 130, rest
    assert "Traceback" not in rest
    directory = next((tmp_path / "runs").iterdir())
    assert json.loads((directory / "experiment.json").read_text())["interrupted"]
    assert str(directory) in rest
    assert run_cli("report", str(directory)).returncode in (0, 1, 3)
    assert our_cgroups() == before


def test_profile_of_a_command_names_the_line_that_holds_the_memory(tmp_path: Path) -> None:
    done = run_cli(
        "profile", "--memory", "128MiB", "--users", "1", "--duration", "1s", "--json", "--out", str(tmp_path),
        "--", sys.executable, "ballast.py",
        cwd=TARGETS, BALLAST_MIB="40",
    )  # fmt: skip
    document = json.loads(done.stdout)
    assert_of_schema(document, "profile")
    assert all(Path(path).is_file() for path in document["profile"]["flamegraphs"]), "absolute"
    assert set(document) >= {"captures", "flamegraphs", "ledger", "autopsy"}
    held = document["profile"]["held"][0]
    assert held["frame"]["file"] == "ballast.py"
    assert abs(held["bytes"] - 40 * 2**20) < 0.02 * 40 * 2**20


def test_profile_says_why_memray_cannot_enter(tmp_path: Path) -> None:
    done = run_cli("profile", "--memory", "128MiB", "--out", str(tmp_path), "--", "/bin/sleep", "5")
    assert_two_lines(done, 4, "memray cannot enter")


def test_doctor_tries_a_real_kill(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    checks = {check["id"]: check for check in json.loads(capsys.readouterr().out)["checks"]}
    assert checks["cgroup"]["status"] == "ok"
    assert "killed at it" in checks["cgroup"]["message"]


def test_without_rights_nothing_is_run_and_what_to_do_is_said(config: Path, tmp_path: Path) -> None:
    """With cgroups mounted read-only, as in an unprivileged container: exit 4, never an unlimited run."""
    mounts = " && ".join(f"mount -o remount,bind,ro {path}" for path in sorted(_cgroup_mounts()))
    command = f"{mounts} && exec {sys.executable} {ROOT / 'cli.py'} compare --target {config} --out {tmp_path / 'runs'}"
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", command], capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "NO_COLOR": "1"},
    )  # fmt: skip
    assert_two_lines(done, 4, "no memory limit can be enforced")
    assert "under load" not in done.stderr


def _cgroup_mounts() -> set[str]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return {line.split()[4] for line in lines if line.partition(" - ")[2].startswith("cgroup")}


def test_every_command_has_a_summary() -> None:
    context = oomproof.make_context("oomproof", ["--help"], resilient_parsing=True)
    for name in oomproof.list_commands(context):
        command = oomproof.get_command(context, name)
        assert command is not None
        assert command.help
