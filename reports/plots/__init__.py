"""The picture: memory against the limit, and below it, on the same time axis, what the clients saw.

matplotlib lives in this package and nowhere else. Figures are built object by object, without pyplot and
its global state.
"""

from reports.plots.picture import RUNS_AT_MOST, curves_png, curves_svgs, shows_load

__all__ = ["RUNS_AT_MOST", "curves_png", "curves_svgs", "shows_load"]
