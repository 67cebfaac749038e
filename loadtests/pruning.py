"""Keeps Locust's own statistics small: nothing of ours reads them, and some of them grow for as long as the load lasts.

It counts requests and failures second by second, errors by their text, and figures by the name of the request, which a
locustfile may make of whatever it likes.
"""

from typing import Any, Final

KEPT: Final = 1000
"""Seconds, errors and names that are kept of each; twice as many before the others go."""


def prune(stats: Any) -> None:
    """Lets go of what is oldest and rarest in a `locust.stats.RequestStats`; what it has counted in all stays right."""
    for entry in (*stats.entries.values(), stats.total):
        for seconds in (entry.num_reqs_per_sec, entry.num_fail_per_sec):
            _keep(seconds, lambda second: -second)
    _keep(stats.errors, lambda key: -stats.errors[key].occurrences)
    _keep(stats.entries, lambda key: -stats.entries[key].num_requests)


def _keep(table: dict[Any, Any], order: Any) -> None:
    if len(table) > 2 * KEPT:
        for key in sorted(table, key=order)[KEPT:]:
            del table[key]
