"""Python projects: parsed with `ast`, so that nothing of them is ever imported."""
