"""The config file as written: its tables, and values with units as text.

`schema.py` makes the JSON Schema from these tables, with the sentences of `descriptions.py`. A default that is a number with
a unit comes from a factory: msgspec's schema cannot write one of a class of ours.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import msgspec

from profiling.units import parse_bytes, parse_fraction, parse_seconds
from profiling.values import ApiDocument


class ByteSize(int):
    """Read from text such as "512MiB"."""


class Seconds(float):
    """Read from text such as "20s"."""


class Fraction(float):
    """Read from text such as "10%"."""


class GrowthRate(float):
    """Bytes per request, read from text such as "1KiB/request"."""


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class TargetTable(_Table, kw_only=True, frozen=True):
    command: list[str] = []
    image: str | None = None
    dockerfile: str | None = None
    build_args: dict[str, str] = {}
    name: str | None = None
    directory: str = "."
    setup: list[str] = []
    ready: str | None = None
    startup_timeout: Seconds = msgspec.field(default_factory=partial(Seconds, 60))
    memory: ByteSize | None = None
    cpus: float | None = None
    manifest: str | None = None
    service: str | None = None
    oom_group: bool = False
    env: dict[str, str] = {}


class ExpectTable(_Table, kw_only=True, frozen=True):
    status: int = 200
    json_schema: dict[str, Any] | None = None


class RequestTable(_Table, kw_only=True, frozen=True):
    service: str | None = None
    locustfile: str | None = None
    method: str = "POST"
    path: str = "/chat"
    json: Any = msgspec.UNSET
    headers: dict[str, str] = {}
    queries: str | None = None
    openapi: str | None = None
    openapi_methods: tuple[str, ...] = ApiDocument().methods
    expect: ExpectTable = ExpectTable()


class LoadTable(_Table, kw_only=True, frozen=True):
    users: int | None = None
    duration: Seconds | None = None
    rate: float | None = None


class VariantTable(_Table, kw_only=True, frozen=True):
    env: dict[str, str] = {}


class LeverTable(_Table, kw_only=True, frozen=True):
    env: dict[str, str] = {}
    command: list[str] = []


class BudgetTable(_Table, kw_only=True, frozen=True):
    max_peak: ByteSize | None = None
    min_headroom: Fraction | None = None
    max_p95: Seconds | None = None
    max_failures: Fraction = msgspec.field(default_factory=partial(Fraction, 0))
    max_growth: GrowthRate = msgspec.field(default_factory=partial(GrowthRate, 1024))
    tolerance: Fraction = msgspec.field(default_factory=partial(Fraction, 0.01))


class PlanTable(_Table, kw_only=True, frozen=True):
    memory: str
    cpus: float | None = None
    usd_per_month: float | None = None


class ConfigFile(_Table, kw_only=True, frozen=True):
    """The whole file, as written."""

    target: TargetTable | None = None
    services: dict[str, TargetTable] = {}
    request: RequestTable = RequestTable()
    load: LoadTable = LoadTable()
    variants: dict[str, VariantTable] = {}
    budget: BudgetTable = msgspec.field(default_factory=BudgetTable)
    plans: dict[str, dict[str, PlanTable]] = {}
    levers: dict[str, LeverTable] = {}


def decode(kind: type, value: Any) -> Any:
    if kind is GrowthRate and isinstance(value, str):
        size, slash, per = value.partition("/")
        if not slash or per.strip() != "request":
            raise ValueError(f'{value!r} is no growth; write it like "1KiB/request"')
        return GrowthRate(parse_bytes(size))
    for wanted, parse in ((ByteSize, parse_bytes), (Seconds, parse_seconds), (Fraction, parse_fraction)):
        if kind is wanted:
            if not isinstance(value, str):
                raise ValueError(f"{value!r} has no unit; write it as text with one")
            return wanted(parse(value))
    raise ValueError(f"{value!r} is not allowed here")


def known_keys(place: str) -> set[str]:
    tables: dict[str, type[msgspec.Struct]] = {
        "": ConfigFile,
        "target": TargetTable,
        "request": RequestTable,
        "request.expect": ExpectTable,
        "load": LoadTable,
        "budget": BudgetTable,
    }
    in_free_form = {"services": TargetTable, "variants": VariantTable, "plans": PlanTable, "levers": LeverTable}
    table = in_free_form.get(place.partition(".")[0]) or tables.get(place, ConfigFile)
    return set(table.__struct_fields__)
