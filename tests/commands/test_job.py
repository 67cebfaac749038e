from pathlib import Path

import pytest

from commands.job import Job, make_job
from profiling.units import MIB
from profiling.values import Limits


def job(directory: Path, toml: str) -> Job:
    (directory / "oomproof.toml").write_text(
        f'[target]\ncommand = ["./serve"]\nmemory = "64MiB"\n{toml}', encoding="utf-8"
    )
    target = str(directory / "oomproof.toml")
    return make_job(target=target, command=(), checkpoint=None, memory=None, cpus=None, port=None)


@pytest.mark.parametrize(("toml", "asked"), [("", False), ("oom_group = false", False), ("oom_group = true", True)])
def test_whether_a_kill_takes_the_whole_service_stands_in_the_config_file(
    tmp_path: Path, toml: str, asked: bool
) -> None:
    assert job(tmp_path, toml).limits == Limits(memory_bytes=64 * MIB, oom_group=asked)
