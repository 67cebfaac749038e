"""Locust's own statistics stay small however long a load lasts. In a process of its own, as Locust always is."""

import subprocess
import sys

from tests.helpers import ROOT

PROGRAM = """
from unittest import mock
from locust.stats import RequestStats
from loadtests.pruning import KEPT, prune

stats = RequestStats(use_response_times_cache=False)
for second in range(3 * KEPT):
    with mock.patch("time.time", return_value=1e9 + second):
        stats.log_request("GET", f"/items/{second}", 20, 100)
        stats.log_request("GET", "/health", 20, 100)
        stats.log_error("GET", "/health", f"error {second}")
        stats.log_error("GET", "/health", "the same")
prune(stats)
print(len(stats.total.num_reqs_per_sec), len(stats.total.num_fail_per_sec), len(stats.errors), len(stats.entries))
print(max(stats.total.num_reqs_per_sec) == 1e9 + 3 * KEPT - 1, stats.total.num_requests, stats.total.num_failures)
print(stats.entries[("/health", "GET")].num_requests, max(error.occurrences for error in stats.errors.values()))
"""


def test_what_is_old_and_rare_goes_and_the_totals_stay() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == ["1000 1000 1000 1000", "True 6000 6000", "3000 3000"], done.stderr
