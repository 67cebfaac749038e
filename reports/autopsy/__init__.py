"""The account of OOM kills, as people read it."""
