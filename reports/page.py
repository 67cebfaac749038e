"""How pages are made from templates: escaped, and nothing that is undefined passes in silence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jinja2


def environment(filters: Mapping[str, Any], **names: object) -> jinja2.Environment:
    """For the templates of this package, with these filters and global names."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("reports"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(filters)
    made.globals.update(names)
    return made
