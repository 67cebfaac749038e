from __future__ import annotations

import pytest

from profiling.judging.ledger.sites import Purpose, Stack, common, package, purpose

SITE = "/srv/app/.venv/lib/python3.11/site-packages"
STANDARD = "/usr/lib/python3.11"
LOADER = ("exec_module", "<frozen importlib._bootstrap_external>", 940)
OWN = ("<module>", "/srv/app/app.py", 3)
TORCH = ("<module>", f"{SITE}/torch/__init__.py", 409)
HANDLER = ("answer", "/srv/app/app.py", 30)


@pytest.mark.parametrize(
    ("file", "name"),
    [
        (f"{SITE}/torch/nn/modules/linear.py", "torch"),
        (f"{SITE}/six.py", "six"),
        ("/usr/lib/python3/dist-packages/yaml/__init__.py", "yaml"),
        (f"{STANDARD}/json/decoder.py", "standard library"),
        ("/srv/app/app.py", ""),
        ("<frozen importlib._bootstrap>", ""),
    ],
)
def test_the_package_of_a_file(file: str, name: str) -> None:
    assert package(file) == name


@pytest.mark.parametrize(
    ("stack", "expected"),
    [
        ([], Purpose("native")),
        ([("load", "/srv/app/app.py", 9)], Purpose("start")),
        ([TORCH, LOADER, OWN], Purpose("imports", "torch")),
        # What a package does while it is imported is its import's, whoever helps it.
        ([("compile", f"{STANDARD}/re/__init__.py", 225), TORCH, LOADER, OWN], Purpose("imports", "torch")),
        # The import itself at work: its importer's, if that is a library.
        (
            [("get_code", "<frozen importlib._bootstrap_external>", 1), LOADER, TORCH, LOADER, OWN],
            Purpose("imports", "torch"),
        ),
        ([LOADER, OWN], Purpose("imports", "")),
        # The service's own module is imported too, by gunicorn say: what it does there is its own.
        ([("build", "/srv/app/app.py", 12), OWN, LOADER, ("load", f"{SITE}/gunicorn/app.py", 1)], Purpose("start")),
        (
            [("_rebuild_tensor", f"{SITE}/torch/_utils.py", 1), ("load", f"{SITE}/torch/serialization.py", 2), OWN],
            Purpose("model", "torch"),
        ),
        (
            [
                ("__init__", f"{SITE}/torch/nn/modules/linear.py", 1),
                ("from_pretrained", f"{SITE}/transformers/modeling_utils.py", 2),
                HANDLER,
            ],
            Purpose("model", "transformers"),
        ),
        # What a model computes is no model, and neither is what another library loads.
        ([("forward", f"{SITE}/torch/nn/modules/linear.py", 1), HANDLER], Purpose("start")),
        ([("load", f"{STANDARD}/json/__init__.py", 1), HANDLER], Purpose("start")),
    ],
)
def test_what_an_allocation_was_for(stack: Stack, expected: Purpose) -> None:
    assert purpose(stack, late=False) == expected


def test_what_came_after_ready_is_the_requests_unless_it_is_an_import_or_a_model() -> None:
    assert purpose([HANDLER], late=True) == Purpose("requests")
    assert purpose([TORCH, LOADER, HANDLER], late=True) == Purpose("imports", "torch")


def test_what_two_stacks_have_in_common() -> None:
    inner = ("create_module", "<frozen importlib._bootstrap_external>", 1)
    assert list(common([inner, TORCH, LOADER, OWN], [("other", "x.py", 1), TORCH, LOADER, OWN])) == [TORCH, LOADER, OWN]
    assert list(common([OWN], [HANDLER])) == []
    moved = (TORCH[0], TORCH[1], 500)
    assert list(common([TORCH, OWN], [moved, OWN])) == [moved, OWN], "a line further in the same function"
