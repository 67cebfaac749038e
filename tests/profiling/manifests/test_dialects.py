"""Each dialect by value, and by what holds for every size."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from profiling.manifests import dialects
from profiling.units import MIB
from tests.helpers import ROOT

Parser = Callable[[object], float]
PARSERS: list[Parser] = [
    dialects.kubernetes_bytes,
    dialects.kubernetes_cpus,
    dialects.docker_bytes,
    dialects.compose_cpus,
    dialects.fly_bytes,
    dialects.fly_cpus,
    dialects.ecs_bytes,
    dialects.ecs_cpus,
]


@pytest.mark.parametrize(
    ("value", "size"),
    [
        ("512Mi", 512 * MIB),
        ("512M", 512_000_000),
        ("1Gi", 1024 * MIB),
        ("0.5Gi", 512 * MIB),
        (".5Gi", 512 * MIB),
        ("1.Gi", 1024 * MIB),
        ("128k", 128_000),
        ("64Ki", 65_536),
        ("1e9", 10**9),
        ("1E9", 10**9),
        ("1.5e3", 1500),
        ("2E", 2 * 10**18),
        ("25e-1", 3),
        ("+1Mi", MIB),
        ("536870912", 512 * MIB),
        (536870912, 512 * MIB),
        (1e9, 10**9),
        ("1000000500m", None),
    ],
)
def test_kubernetes_quantities(value: object, size: int | None) -> None:
    if size is None:
        with pytest.raises(ValueError, match="divides"):
            dialects.kubernetes_bytes(value)
    else:
        assert dialects.kubernetes_bytes(value) == size


def test_milli_is_refused_with_what_it_means_to_kubernetes() -> None:
    with pytest.raises(ValueError, match=r"'512m' is 0\.512 bytes.*512Mi.*512M "):
        dialects.kubernetes_bytes("512m")


@pytest.mark.parametrize(
    ("value", "meant"), [("512MB", "512Mi"), ("512MiB", "512Mi"), ("512K", "512k"), ("1 gi", "1Gi")]
)
def test_what_is_nearly_a_quantity_is_refused_with_what_was_meant(value: str, meant: str) -> None:
    with pytest.raises(ValueError, match=rf"no Kubernetes quantity.*\b{meant}\b"):
        dialects.kubernetes_bytes(value)


@pytest.mark.parametrize(
    ("value", "cpus"), [("500m", 0.5), ("0.5", 0.5), (0.5, 0.5), (2, 2.0), ("2", 2.0), ("100m", 0.1), ("1500m", 1.5)]
)
def test_kubernetes_cpus(value: object, cpus: float) -> None:
    assert dialects.kubernetes_cpus(value) == cpus


@pytest.mark.parametrize(
    ("value", "size"),
    [
        ("512m", 512 * MIB),
        ("512M", 512 * MIB),
        ("512mb", 512 * MIB),
        ("512MB", 512 * MIB),
        ("512MiB", 512 * MIB),
        ("512Mi", 512 * MIB),
        ("0.5g", 512 * MIB),
        ("1.5gb", 1536 * MIB),
        ("64k", 65_536),
        ("10b", 10),
        ("10", 10),
        (536870912, 512 * MIB),
        ("512 m", 512 * MIB),
        ("0.0001k", 0),
    ],
)
def test_docker_sizes_are_binary(value: object, size: int) -> None:
    assert dialects.docker_bytes(value) == size


@pytest.mark.parametrize(
    ("value", "size"),
    [
        ("512mb", 512 * MIB),
        ("512MB", 512 * MIB),
        ("1gb", 1024 * MIB),
        ("2GB", 2048 * MIB),
        (512, 512 * MIB),
        ("512", 512 * MIB),
    ],
)
def test_fly_sizes(value: object, size: int) -> None:
    assert dialects.fly_bytes(value) == size


@pytest.mark.parametrize(
    ("value", "size"),
    [
        (512, 512 * MIB),
        ("512", 512 * MIB),
        ("1 GB", 1024 * MIB),
        ("1GB", 1024 * MIB),
        (".5 gb", 512 * MIB),
        ("2.5GB", 2560 * MIB),
    ],
)
def test_ecs_sizes(value: object, size: int) -> None:
    assert dialects.ecs_bytes(value) == size


@pytest.mark.parametrize(
    ("value", "cpus"),
    [(256, 0.25), ("1024", 1.0), ("1 vCPU", 1.0), (".5 vCPU", 0.5), ("0.25 vcpu", 0.25), ("2vCPU", 2.0)],
)
def test_ecs_cpus(value: object, cpus: float) -> None:
    assert dialects.ecs_cpus(value) == cpus


@pytest.mark.parametrize(("value", "cpus"), [(0.5, 0.5), ("0.50", 0.5), (2, 2.0), (".25", 0.25)])
def test_compose_cpus(value: object, cpus: float) -> None:
    assert dialects.compose_cpus(value) == cpus


@pytest.mark.parametrize("parse", PARSERS)
@pytest.mark.parametrize(
    "value",
    [
        "", " ", "Mi", "-1", -1, "-1Mi", "10MBjunk", "1 Mi B", "1,5m", "0x10", "inf", "nan", "1\n2", "1e", "1e9999", "9" * 400,
        10**400, 1.5e300, float("inf"), float("nan"), True, None, [], {}, b"1", "５１２",
    ],
)  # fmt: skip
def test_what_is_no_amount_is_refused_in_one_line_with_what_is_allowed(parse: Parser, value: object) -> None:
    with pytest.raises(ValueError, match=r"write|more than any machine") as caught:
        parse(value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 240


@pytest.mark.parametrize("parse", PARSERS)
@settings(deadline=None)
@given(
    value=st.one_of(st.text(), st.integers(), st.floats(), st.from_regex(r"[0-9.]{1,5} ?[A-Za-z]{0,3}", fullmatch=True))
)
def test_any_value_is_an_amount_of_zero_or_more_or_a_value_error(parse: Parser, value: object) -> None:
    try:
        assert parse(value) >= 0
    except ValueError as error:
        assert "\n" not in str(error)


@settings(deadline=None)
@given(st.integers(0, 2**20), st.sampled_from(["Ki", "Mi", "Gi"]))
def test_binary_sizes_mean_the_same_to_kubernetes_and_docker(number: int, unit: str) -> None:
    meant = number * {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30}[unit]
    assert dialects.kubernetes_bytes(f"{number}{unit}") == meant
    assert dialects.docker_bytes(f"{number}{unit[0].lower()}") == meant
    assert dialects.docker_bytes(f"{number}{unit}B") == meant


@settings(deadline=None)
@given(st.integers(0, 2**40))
def test_whole_numbers_come_back(number: int) -> None:
    assert dialects.kubernetes_bytes(str(number)) == dialects.docker_bytes(number) == number
    assert dialects.fly_bytes(number) == dialects.ecs_bytes(str(number)) == number * MIB
    assert dialects.ecs_cpus(number) == number / 1024


@settings(deadline=None)
@given(st.integers(0, 10**6))
def test_milli_cpus_are_thousandths(number: int) -> None:
    assert dialects.kubernetes_cpus(f"{number}m") == dialects.compose_cpus(f"{number // 1000}.{number % 1000:03}")


def test_the_table_in_the_docs_is_what_the_parsers_say() -> None:
    rows = re.findall(r"^\| ((?:CPU )?`.*?) \|(.*)\|$", (ROOT / "docs" / "manifests.md").read_text(), re.MULTILINE)
    units = [(cells, said) for cells, said in rows if "`resources" not in said]
    sizes = (dialects.kubernetes_bytes, dialects.docker_bytes, dialects.fly_bytes, dialects.ecs_bytes)
    cpus = (dialects.kubernetes_cpus, dialects.compose_cpus, dialects.fly_cpus, dialects.ecs_cpus)
    assert len(units) == 9
    for texts, said in units:
        for text in re.findall("`(.*?)`", texts):
            for parse, cell in zip(cpus if "CPU" in texts else sizes, said.split("|"), strict=True):
                if "refused" in cell:
                    with pytest.raises(ValueError, match="write"):
                        parse(text)
                else:
                    meant = 0.5 if "half" in cell else int(re.sub(r"\D", "", cell))
                    assert parse(text) == meant, (text, cell)
