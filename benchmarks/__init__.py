"""What the docs quote, measured: `python -m benchmarks.spine`. Shares and ratios within one run, never bare times."""
