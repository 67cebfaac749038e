"""The pictures: memory against the limit, and below it, on the same time axis, what the clients saw; the waterfall of a
ledger; the limits that a search tried; the loads that one tried; what levers save.

matplotlib lives in this package and nowhere else. Figures are built object by object, without pyplot and
its global state.
"""

from reports.plots.limits import limits_svgs
from reports.plots.loads import latencies_svgs, loads_svgs, spectra
from reports.plots.picture import RUNS_AT_MOST, curves_png, curves_svgs, shows_load
from reports.plots.savings import savings_svgs
from reports.plots.waterfall import waterfall_svgs

__all__ = [
    "RUNS_AT_MOST",
    "curves_png",
    "curves_svgs",
    "latencies_svgs",
    "limits_svgs",
    "loads_svgs",
    "savings_svgs",
    "shows_load",
    "spectra",
    "waterfall_svgs",
]
