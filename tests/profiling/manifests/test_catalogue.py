from __future__ import annotations

import pytest

from profiling.errors import ManifestError
from profiling.manifests.catalogue import Plan, load
from profiling.manifests.node import Node
from profiling.units import MIB


def named(provider: str, name: str | None) -> Plan | None:
    return load().named(provider, Node(name, "file", "key"))


@pytest.mark.parametrize(
    ("provider", "name", "mib"),
    [
        ("render", "free", 512),
        ("render", "starter", 512),
        ("render", "standard", 2048),
        ("render", "pro", 4096),
        ("render", "pro plus", 8192),
        ("render", "pro max", 16_384),
        ("render", "pro_ultra", 32_768),
        ("fly", "shared-cpu-1x", 256),
        ("fly", "performance-2x", 4096),
        ("heroku", "Basic", 512),
        ("heroku", "Standard-1X", 512),
        ("heroku", "standard-2x", 1024),
        ("heroku", "performance-m", 2560),
    ],
)
def test_plans_by_whatever_spelling(provider: str, name: str, mib: int) -> None:
    plan = named(provider, name)
    assert plan is not None
    assert plan.memory_bytes == mib * MIB


def test_every_provider_says_when_and_where_its_plans_were_looked_up() -> None:
    assert set(load().providers) == set(load().plans) == {"render", "fly", "heroku"}
    for provider in load().providers.values():
        assert provider.as_of.year >= 2026
        assert provider.sources
        assert all(source.startswith("https://") for source in provider.sources)


def test_no_name_is_no_plan_unless_there_is_a_default() -> None:
    assert named("heroku", None) is None
    plan = load().named("render", Node(None, "file", "key"), "starter")
    assert plan is not None
    assert plan.name == "starter"


def test_a_plan_of_the_users_own_goes_on_top() -> None:
    mine = Plan(provider="render", name="Pro Max", memory_bytes=7 * MIB)
    elsewhere = Plan(provider="scalingo", name="M", memory_bytes=512 * MIB)
    plans = load().with_plans((mine, elsewhere))
    assert plans.named("render", Node("pro_max", "f")) == mine
    assert plans.named("scalingo", Node("m", "f")) == elsewhere
    assert load().named("render", Node("pro max", "f")) != mine, "the catalogue itself stays"


@pytest.mark.parametrize("name", ["gigantic", "two words", "a\nb", "x" * 500])
def test_an_unknown_plan_is_refused_in_two_lines(name: str) -> None:
    with pytest.raises(ManifestError, match="no plan of fly") as caught:
        named("fly", name)
    assert "shared-cpu-1x" in caught.value.hint
    assert "\n" not in caught.value.message + caught.value.hint
