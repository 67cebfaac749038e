"""matplotlib's SVG made small, and light turned into dark: both in the markup only, never in the text."""

from __future__ import annotations

import re
from dataclasses import astuple

from reports.plots.theme import Theme

_FONTS = "system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif"
_TAG = re.compile(r"<[^>]*>")
_NOISE = (
    (re.compile(r' id="(?:figure|axes|patch|line2d|text|matplotlib\.axis|xtick|ytick)_\w+"'), ""),
    (re.compile(r"(\d\.\d)\d+"), r"\1"),  # a tenth of a pixel
    (re.compile(r' transform="rotate\(-0 [^"]*"'), ""),
    (re.compile(r" ?font-family: 'DejaVu Sans';"), ""),
    (re.compile(r"\s*\n\s*"), " "),
    (re.compile(r'(?<=[ML"]) (?=[\d-])|(?<=\d) (?=[LMz"])|(?<=z) (?=")'), ""),
    (re.compile(r"(?<=[:;]) "), ""),
)
_EMPTY = re.compile(r"<g/>|<g></g>|<!--.*?-->", re.DOTALL)


def compact(svg: str) -> str:
    """A third of the bytes for the same picture; the reader's own fonts take the place of matplotlib's."""
    svg = _EMPTY.sub("", svg[svg.index("<svg") :])
    svg = _TAG.sub(_compact_tag, svg)
    svg = re.sub(r">\s+<", "><", svg)
    while (smaller := _EMPTY.sub("", svg)) != svg:
        svg = smaller
    return svg.replace("</style>", f"text{{font-family:{_FONTS}}}</style>", 1)


def _compact_tag(tag: re.Match[str]) -> str:
    text = tag[0]
    for noise, instead in _NOISE:
        text = noise.sub(instead, text)
    return text


def recolour(svg: str, before: Theme, after: Theme) -> str:
    """The same picture in another theme."""
    colours = dict(zip(astuple(before), astuple(after), strict=True))
    found = re.compile("|".join(colours))
    return _TAG.sub(lambda tag: found.sub(lambda colour: colours[colour[0]], tag[0]), svg)
