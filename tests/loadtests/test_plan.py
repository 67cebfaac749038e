import json
import math
from itertools import chain, islice, pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.plan import (
    DEFAULT_QUERIES_PATH,
    LoadEnd,
    LoadPlan,
    LoadSummary,
    RequestTemplate,
    SendSchedule,
    Stage,
    query_sequence,
    read_queries,
    session_id,
    substitute,
    substitute_path,
)

# A grid of 1/64 s keeps sums of times exact, so that a boundary is where the test says it is.
ticks = st.integers(1, 640).map(lambda n: n / 64)


@st.composite
def stages(draw: st.DrawFn) -> Stage:
    duration = draw(ticks)
    ramp = draw(st.one_of(st.just(0.0), ticks.map(lambda s: min(s, duration))))
    return Stage(draw(st.integers(1, 40)), duration, ramp)


plans = st.lists(stages(), min_size=1, max_size=4).map(lambda s: LoadPlan(tuple(s)))


@given(plans, st.floats(-5, 60))
def test_users_stay_within_the_plan(plan: LoadPlan, t: float) -> None:
    users = plan.users_at(t)
    if 0 <= t < plan.duration_s:
        assert 1 <= users <= plan.peak_users
    else:
        assert users == 0


@given(plans)
def test_every_stage_reaches_its_users_by_the_end_of_its_ramp_and_holds_them(plan: LoadPlan) -> None:
    start = 0.0
    for stage in plan.stages:
        for t in (start + stage.ramp_s, (start + stage.ramp_s + start + stage.duration_s) / 2):
            if t < start + stage.duration_s:
                assert plan.users_at(t) == stage.users
        start += stage.duration_s
    assert start == plan.duration_s


@given(plans, st.data())
def test_a_ramp_is_monotonic_and_close_to_the_straight_line(plan: LoadPlan, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(plan.stages) - 1))
    stage = plan.stages[index]
    before = plan.stages[index - 1].users if index else 0
    start = sum(s.duration_s for s in plan.stages[:index])
    if not stage.ramp_s:
        return
    shares = sorted(data.draw(st.lists(st.floats(0, 0.999), min_size=2, max_size=8)))
    users = [plan.users_at(start + stage.ramp_s * share) for share in shares]
    assert users == sorted(users, reverse=stage.users < before)
    for share, count in zip(shares, users, strict=True):
        assert abs(count - (before + (stage.users - before) * share)) <= 1 + 1e-6


@given(plans)
def test_changes_are_the_moments_at_which_users_at_changes(plan: LoadPlan) -> None:
    changes = list(plan.changes())
    assert [t for t, _ in changes] == sorted(t for t, _ in changes)
    assert changes[0] == (0.0, changes[0][1])
    for (t, users), (following, _) in pairwise([*changes, (plan.duration_s, 0)]):
        if following - t > 1e-6:
            assert plan.users_at((t + following) / 2) == users


@given(plans)
def test_a_plan_survives_json(plan: LoadPlan) -> None:
    assert msgspec.json.decode(msgspec.json.encode(plan), type=LoadPlan) == plan


def test_a_ramp_by_value() -> None:
    plan = LoadPlan((Stage(4, 10, 8), Stage(2, 4, 2)))
    assert [plan.users_at(t) for t in (0, 1.9, 2, 4, 6, 8, 9.9)] == [1, 1, 2, 3, 4, 4, 4]
    assert [plan.users_at(t) for t in (10, 10.9, 11, 11.5, 12, 13.9, 14)] == [4, 4, 3, 3, 2, 2, 0]
    assert list(plan.changes()) == [(0, 1), (2, 2), (4, 3), (6, 4), (11, 3), (12, 2)]


def test_constant() -> None:
    plan = LoadPlan.constant(8, 20.0, seed=3)
    assert plan == LoadPlan((Stage(8, 20.0),), seed=3)
    assert (plan.users_at(0), plan.duration_s, plan.peak_users) == (8, 20.0, 8)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: Stage(0, 1), "users"),
        (lambda: Stage(70_000, 1), "users"),
        (lambda: Stage(2.5, 1), "users"),  # type: ignore[arg-type]
        (lambda: Stage(1, 0), "duration_s"),
        (lambda: Stage(1, math.inf), "duration_s"),
        (lambda: Stage(1, math.nan), "duration_s"),
        (lambda: Stage(1, 1, -1), "ramp_s"),
        (lambda: Stage(1, 1, 2), "ramp_s"),
        (lambda: LoadPlan(()), "stage"),
        (lambda: LoadPlan.constant(1, 1, think_time_s=-1), "think_time_s"),
        (lambda: LoadPlan.constant(1, 1, request_timeout_s=0), "request_timeout_s"),
        (lambda: LoadPlan.constant(1, 1, stop_timeout_s=math.nan), "stop_timeout_s"),
        (lambda: LoadPlan.constant(1, 1, connection_error_wait_s=-0.1), "connection_error_wait_s"),
        (lambda: LoadPlan.constant(1, 1, rate=0), "rate"),
        (lambda: LoadPlan.constant(1, 1, rate=math.inf), "rate"),
        (lambda: LoadPlan.constant(1, 1, rate=5, think_time_s=1), "rate"),
        (lambda: RequestTemplate(method="post"), "method"),
        (lambda: RequestTemplate(path="chat"), "path"),
        (lambda: RequestTemplate(path="/a b"), "path"),
        (lambda: RequestTemplate(headers={"A b": "c"}), "header"),
        (lambda: RequestTemplate(headers={"A": "b\r\nC: d"}), "header"),
        (lambda: RequestTemplate(expect_status=20), "expect_status"),
    ],
)
def test_nonsense_is_refused_by_name(make: Any, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        make()


def test_an_unknown_field_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="user_count"):
        msgspec.json.decode(b'{"stages": [{"users": 1, "duration_s": 1, "user_count": 2}]}', type=LoadPlan)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
braced = st.text(alphabet="{}sesionqury ") | st.sampled_from(["{session}", "{query}", "{{query}}"])


@given(st.text() | braced, st.text() | braced, st.text().filter(lambda t: "{" not in t))
def test_placeholders_are_replaced_once_and_a_query_stays_as_it_is(session: str, query: str, text: str) -> None:
    template = {"a": "{session}", "b": [text + "{query}" + text, {"c": "{session}{query}"}]}
    assert substitute(template, session=session, query=query) == {
        "a": session,
        "b": [text + query + text, {"c": session + query}],
    }


@given(json_values)
def test_a_template_without_placeholders_is_unchanged(value: Any) -> None:
    if "{" not in json.dumps(value, ensure_ascii=False):
        assert substitute(value, session="s", query="q") == value


def test_keys_and_other_braces_are_left_alone() -> None:
    template = {"{query}": "{Query} {other} {} {{query}} {query", "n": 1, "none": None}
    assert substitute(template, session="s", query="q") == {
        "{query}": "{Query} {other} {} {q} {query",
        "n": 1,
        "none": None,
    }


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_a_path_stays_one_valid_path(query: str) -> None:
    path = substitute_path("/s/{session}?q={query}", session="a/b", query=query)
    assert path.startswith("/s/a%2Fb?q=")
    assert not set(path[len("/s/a%2Fb?q=") :]) & set("/?#& \r\n{}")
    RequestTemplate(path=path)


@given(st.lists(st.text(), min_size=1, max_size=9, unique=True), st.integers(), st.integers(0, 99))
def test_queries_are_shuffled_rounds_and_the_same_each_time(queries: list[str], seed: int, user: int) -> None:
    asked = list(islice(query_sequence(tuple(queries), seed, user), 3 * len(queries)))
    assert asked == list(islice(query_sequence(tuple(queries), seed, user), 3 * len(queries)))
    for start in range(0, len(asked), len(queries)):
        assert sorted(asked[start : start + len(queries)]) == sorted(queries)


def test_users_and_seeds_differ() -> None:
    queries = read_queries(DEFAULT_QUERIES_PATH)
    firsts = {tuple(islice(query_sequence(queries, seed, user), 5)) for seed in (1, 2) for user in range(4)}
    assert len(firsts) == 8
    assert len({session_id(seed, user) for seed in (1, 2) for user in range(4)}) == 8


def test_the_default_queries_are_about_twenty_different_ones() -> None:
    queries = read_queries(DEFAULT_QUERIES_PATH)
    assert len(set(queries)) == len(queries) >= 20


def test_a_file_without_queries_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "queries.txt"
    path.write_text("\n  \n")
    with pytest.raises(ValueError, match="no queries"):
        read_queries(path)


@given(st.floats(0.1, 500), st.floats(0.1, 20))
def test_a_schedule_is_evenly_spaced_and_within_the_plan(rate: float, duration_s: float) -> None:
    schedule = SendSchedule(rate, duration_s, 1_000)
    due = []
    while (next_ns := schedule.take()) is not None:
        due.append(next_ns)
    assert due[0] == 1_000
    assert due[-1] < 1_000 + duration_s * 1e9
    assert abs(len(due) - rate * duration_s) <= 1
    assert all(abs((b - a) - 1e9 / rate) <= 1 for a, b in pairwise(due))


def test_a_time_that_is_given_back_is_handed_out_next() -> None:
    schedule = SendSchedule(10, 1.0, 0)
    first, second = schedule.take(), schedule.take()
    assert first is not None
    assert second is not None
    schedule.give_back(second)
    schedule.give_back(first)
    assert [schedule.take(), schedule.take(), schedule.take()] == [first, second, 200_000_000]


def test_a_summary_without_records_says_so() -> None:
    assert LoadSummary(LoadEnd.FINISHED, 0, 0).nothing_sent
    assert not LoadSummary(LoadEnd.FINISHED, 0, 1).nothing_sent


@given(rate=st.floats(0.1, 500), duration_s=st.floats(0.01, 3), of=st.integers(1, 7))
def test_the_shares_of_a_schedule_are_the_schedule(rate: float, duration_s: float, of: int) -> None:
    def times(rank: int, of: int) -> list[int]:
        schedule = SendSchedule(rate, duration_s, 5, rank, of)
        return list(iter(schedule.take, None))

    shares = [times(rank, of) for rank in range(of)]
    assert sorted(chain(*shares)) == times(0, 1)
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
