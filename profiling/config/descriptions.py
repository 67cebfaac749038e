"""What each key of the config file means, in a sentence, and the bounds of its value: what an editor shows and checks.

By the table's class, so that a table that stands in several places has one description. A key without one fails a test.
"""

from __future__ import annotations

from typing import Any

import msgspec

from profiling.config.tables import (
    BudgetTable,
    ConfigFile,
    ExpectTable,
    LeverTable,
    LoadTable,
    PlanTable,
    RequestTable,
    TargetTable,
    VariantTable,
)
from profiling.manifests.node import MAX_CPUS, MIN_CPUS

_CPUS: dict[str, Any] = {"minimum": MIN_CPUS, "maximum": MAX_CPUS}
_NAME: dict[str, Any] = {"pattern": r"^\w[\w .+=,-]{0,79}$"}

DESCRIPTIONS: dict[type[msgspec.Struct], dict[str, str]] = {
    ConfigFile: {
        "target": "What is measured: how the service is started, and the limits that it gets.",
        "services": "Several services that are measured as one system, by name, instead of [target]: each with a limit of its own."
        " {NAME.url}, {NAME.host} and {NAME.port} in a command or a variable say where another one is.",
        "request": "The request that each user sends, and what counts as an answer.",
        "load": "How many users send requests, and for how long. Options on the command line go before it.",
        "variants": "What `compare` compares: by name, what each changes. The last one named is the candidate.",
        "budget": "What a run must keep. By default: no kill, no crash, no failure, no growth.",
        "plans": "Plans of hosting providers, by provider and name: those that the catalogue does not know, or knows otherwise.",
        "levers": "Settings that `levers` tries beside its catalogue's, by name; one of the same name replaces the catalogue's.",
    },
    TargetTable: {
        "command": "The command line, word by word, without a shell. {host}, {port} and {run_dir} are filled in; PORT is set as"
        " well. With an image or a dockerfile it replaces ENTRYPOINT and CMD.",
        "image": "A container image to run instead of a process of this machine.",
        "dockerfile": "A Dockerfile to build and run, relative to this file. Built when it or its context (directory) changed.",
        "build_args": "Build arguments for the dockerfile. PYTHON_IMAGE of the environment is passed on, too.",
        "name": "The service's name in reports. Default: the directory's.",
        "directory": "The working directory, relative to this file; with a dockerfile, the build's context.",
        "setup": "Commands, each for a shell, that install what the service needs: `gate` runs them once per revision where what"
        " they install differs, with a virtual environment of its own first on PATH.",
        "ready": "The path whose first 2xx means ready. Default: the manifest's health check, else /health.",
        "startup_timeout": "For so long the service may take to get ready.",
        "memory": "The memory limit. Swap is off. Default: what the manifest says.",
        "cpus": "The limit of processors, such as 0.5. Left out: what the manifest says, else no limit.",
        "manifest": "The deploy manifest, relative to this file: says what this table leaves open.",
        "service": "Which of the manifest's services is meant, where it has several.",
        "oom_group": "Whether a kill takes every process of the service, as on Kubernetes, and not one of them. cgroup v2 only.",
        "env": "Variables that are added to the environment.",
    },
    RequestTable: {
        "service": "Of several services, the one that takes the load. Default: the first.",
        "openapi": "Where the OpenAPI document is: a path on the service that begins with /, or a file relative to this one;"
        " empty: none is asked for. Default: /openapi.json, if there is one.",
        "openapi_methods": "Operations of these methods are asked by `verify`, and the one that the load asks.",
        "locustfile": "Locust users of your own, relative to this file, instead of this table.",
        "method": "The HTTP method, in capitals.",
        "path": "The path, with {session} and {query} filled in.",
        "json": "The JSON body; {session} and {query} in its strings are filled in. Default for methods with a body:"
        ' { session_id = "{session}", query = "{query}" }.',
        "headers": "Headers that are added.",
        "queries": "A text file, relative to this one, with one query a line. Default: twenty support questions.",
        "expect": "What counts as an answer; anything else is a failure.",
    },
    ExpectTable: {
        "status": "The one status that is right. Redirects are not followed.",
        "json_schema": "A JSON Schema (draft 4, 6 or 7) that the body must fulfil.",
    },
    LoadTable: {
        "users": "Simultaneous users. Default: 8.",
        "duration": "How long the load lasts. Default: 20s; of `gate`, `baseline` and `self-check` 10s.",
        "rate": "Open loop: requests per second that are due, whatever the answers. Default: each user sends again once it was"
        " answered.",
    },
    LeverTable: {
        "env": "Variables that are laid over the target's environment.",
        "command": "A command line in place of the target's.",
    },
    VariantTable: {"env": "Variables that are laid over the target's environment."},
    BudgetTable: {
        "max_peak": "The most unreclaimable memory.",
        "min_headroom": "The least share of the limit that must stay free at the peak. Default: below 10 % is a warning.",
        "max_p95": "The most that 95 % of the answers may take. Default: no limit.",
        "max_failures": "The share of requests that may fail.",
        "max_growth": "The most by which memory may grow with each request, by the lower end of its 95 % interval.",
        "tolerance": "For `gate`: memory has regressed where the interval of its change lies above this share.",
    },
    PlanTable: {
        "memory": "The plan's memory.",
        "cpus": "The plan's processors. Left out: no limit.",
        "usd_per_month": "What it costs for a month without a pause. Left out: not known.",
    },
}

BOUNDS: dict[type[msgspec.Struct], dict[str, dict[str, Any]]] = {
    TargetTable: {
        "cpus": _CPUS,
        "name": _NAME,
        "image": {"pattern": r"^[a-zA-Z0-9][a-zA-Z0-9._:/@-]{0,254}$"},
        "ready": {"pattern": r"^/[!-~]*$"},
    },
    RequestTable: {"method": {"pattern": r"^[A-Z]+$"}, "path": {"pattern": r"^/[^\x00-\x20\x7f]*$"}},
    ExpectTable: {"status": {"minimum": 100, "maximum": 599}},
    LoadTable: {"users": {"minimum": 1, "maximum": 65_535}, "rate": {"minimum": 0}},
    PlanTable: {"cpus": _CPUS, "usd_per_month": {"minimum": 0}},
}
"""What `checks.py` and the values themselves refuse beyond the type, as far as a schema can say it. Never more than that."""

SHAPES: dict[type[msgspec.Struct], dict[str, Any]] = {
    ConfigFile: {"oneOf": [{"required": ["target"]}, {"required": ["services"]}]},
    TargetTable: {"dependencies": {"service": ["manifest"]}},
}
"""Which keys there must be, and which mean nothing without others."""

DEFAULTS: dict[type[msgspec.Struct], dict[str, str]] = {
    TargetTable: {"startup_timeout": "60s"},
    BudgetTable: {"max_failures": "0%", "max_growth": "1KiB/request", "tolerance": "1%"},
}
"""As text, the defaults that have a unit."""
