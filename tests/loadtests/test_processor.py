"""What a load generator wanted of a processor, whether it got it or not."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from loadtests import processor

ROOT = Path(__file__).parents[2]
SPIN = """
import os, sys, time
from loadtests.processor import wanted_s
os.sched_setaffinity(0, {int(sys.argv[1])})
began, wanted, ran = time.monotonic(), wanted_s(), time.process_time()
while time.monotonic() - began < 1.0:
    pass
elapsed = time.monotonic() - began
print((wanted_s() - wanted) / elapsed, (time.process_time() - ran) / elapsed)
"""


def test_two_that_share_a_processor_each_wanted_all_of_it() -> None:
    """Each gets about half: by what it ran neither would be called busy."""
    core = str(min(os.sched_getaffinity(0)))
    spinning = [
        subprocess.Popen([sys.executable, "-c", SPIN, core], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    shares = [tuple(map(float, process.communicate(timeout=60)[0].split())) for process in spinning]
    assert all(wanted > 0.9 for wanted, _ in shares), shares
    assert min(ran for _, ran in shares) < 0.7, shares


def test_where_the_kernel_does_not_say_it_is_the_time_that_it_ran(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor, "_SCHEDSTAT", Path("/proc/self/no-such-file"))
    assert processor.wanted_s() == pytest.approx(time.process_time(), abs=0.5)
