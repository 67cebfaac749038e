"""Colours and measures of the picture. Lengths are pixels of a page."""

from __future__ import annotations

from dataclasses import dataclass

from reports.words import BAD, GOOD, UNSURE


@dataclass(frozen=True, slots=True)
class Theme:
    """Colours, told apart by the colour-blind too (after Okabe and Ito)."""

    background: str
    text: str
    muted: str
    grid: str
    band: str
    unreclaimable: str
    rss: str
    charged: str
    bad: str
    good: str
    unsure: str
    answered: str
    latency: str

    def tone(self, tone: str) -> str:
        return {GOOD: self.good, BAD: self.bad, UNSURE: self.unsure}[tone]


LIGHT = Theme(
    background="#ffffff",
    text="#1b1f24",
    muted="#5f6772",
    grid="#e6e8eb",
    band="#f2f4f7",
    unreclaimable="#0067a8",
    rss="#a5477f",
    charged="#6f7781",
    bad="#c04a00",
    good="#00785a",
    unsure="#8a6100",
    answered="#008a66",
    latency="#946200",
)
DARK = Theme(
    background="#171a1f",
    text="#e8eaed",
    muted="#9aa3ae",
    grid="#2a2f37",
    band="#1f242b",
    unreclaimable="#5cb8ee",
    rss="#e59cc9",
    charged="#9299a5",
    bad="#ff8a57",
    good="#3ccfa0",
    unsure="#f0c050",
    answered="#2fc79a",
    latency="#f0c050",
)


@dataclass(frozen=True, slots=True)
class Format:
    """Measures of a picture."""

    width: int
    columns_at_most: int
    left: int
    right: int
    """Room for the curves' names, which stand beside the last panel; 0: they stand in a line at the top."""
    gap: int
    memory: int
    """Height of the memory panel."""
    font: float


WIDE = Format(width=1040, columns_at_most=3, left=52, right=118, gap=26, memory=230, font=11.5)
NARROW = Format(width=332, columns_at_most=1, left=40, right=0, gap=0, memory=190, font=11.5)

KEY = 26
HEAD = 62
BETWEEN = 28
USERS, REQUESTS, LATENCY = 40, 64, 64
FOOT = 44
MARGIN = 8


@dataclass(frozen=True, slots=True)
class Curve:
    """A memory curve: its name, its field in MemorySeries, and its line."""

    name: str
    field: str
    colour: str
    width: float
    style: str
    bold: bool = False


def curves(theme: Theme) -> tuple[Curve, ...]:
    """The headline first; drawn in the reverse order, so that it lies on top."""
    return (
        Curve("unreclaimable", "unreclaimable", theme.unreclaimable, 2.4, "-", bold=True),
        Curve("RSS", "rss", theme.rss, 1.1, "-"),
        Curve("charged", "charged", theme.charged, 1.1, "--"),
    )


@dataclass(frozen=True, slots=True)
class Fill:
    """How a kind of request is filled in: by colour and by pattern."""

    name: str
    face: str
    edge: str
    hatch: str | None


def answered(theme: Theme) -> Fill:
    return Fill("as expected", theme.answered, theme.answered, None)


def failed(theme: Theme) -> Fill:
    return Fill("failed", theme.background, theme.bad, "//////")
