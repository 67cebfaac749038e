"""Levers of the interpreter, of numeric libraries and of the kernel's huge pages."""

from __future__ import annotations

from pathlib import Path

from profiling.advice.settings import Setting
from profiling.levers import Lever

_THP = Path("/sys/kernel/mm/transparent_hugepage/enabled")
_DISABLE = "import ctypes, os, sys; ctypes.CDLL(None).prctl(41, 1, 0, 0, 0); os.execvp(sys.argv[1], sys.argv[1:])"
"""PR_SET_THP_DISABLE is 41; children inherit it and exec keeps it: https://man7.org/linux/man-pages/man2/prctl.2.html"""
_OPTIMIZED = "RUN PYTHONOPTIMIZE={} python -m compileall -q ."


def levers(setting: Setting) -> tuple[Lever, ...]:
    """Those for a service of this setting."""
    return (
        Lever(
            name="omp-1",
            advice="one thread for each numeric call",
            guide="guides for NumPy and torch on small machines: a pool of threads per process costs stacks and buffers",
            env={"OMP_NUM_THREADS": "1"},
        ),
        *(_optimized(level) for level in (1, 2)),
        Lever(
            name="no-bytecode",
            advice="no .pyc files are written",
            guide="the first lines of most Dockerfile templates: no bytecode, a smaller image",
            env={"PYTHONDONTWRITEBYTECODE": "1"},
            caveat="bytecode that is there already is still read",
        ),
        Lever(
            name="unbuffered",
            advice="output is not buffered",
            guide="the second line of the same templates: logs appear at once, and no buffer is held",
            env={"PYTHONUNBUFFERED": "1"},
        ),
        _thp_off(setting),
    )


def _optimized(level: int) -> Lever:
    what = "assert statements are left out" if level == 1 else "docstrings are left out, too"
    return Lever(
        name=f"optimize-{level}",
        advice=f"python -{'O' * level}: {what}",
        guide="guides that call it a free saving: less bytecode to hold",
        group="optimize",
        env={"PYTHONOPTIMIZE": str(level)},
        bytecode=True,
        dockerfile=(_OPTIMIZED.format(level),),
    )


def _thp_off(setting: Setting) -> Lever:
    try:
        mode = _THP.read_text()
    except OSError:
        mode = "[never]"
    why = "this kernel makes no huge pages" if "[never]" in mode else ""
    if not setting.command:
        why = "the image's own command is not known here, and a word has to stand before it"
    return Lever(
        name="thp-off",
        advice="no transparent huge pages",
        guide="guides of databases and allocators: a page of 2 MiB is charged whole, however little of it is used",
        prefix=("python3", "-S", "-E", "-c", _DISABLE),
        left_out=why,
        caveat="" if "[always]" in mode else "this kernel makes huge pages only where a program asks for them",
    )
