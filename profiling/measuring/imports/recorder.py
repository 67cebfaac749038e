"""Records what each import of a Python program costs, from inside its process. Loaded by the launcher, by path.

Standard library only, and of that only what every interpreter has loaded: what is imported here would be missing from the
program's own account. Before and after each module is loaded the process's resident memory is read; every import
statement is noted as well, also of what is loaded already, since that tells what else needs a module.

The file holds lines of tab-separated fields, appended one by one so that a killed process leaves what it had:

    P  process     pid, parent's pid, ns, anonymous bytes, file bytes, Python's version
    B  load begins thread, ns, anonymous bytes, file bytes, module, importer, its file, its line,
                   file and line of the program's own code that is being executed,
                   module, file and line of the innermost module body that is being executed
    E  load ends   thread, ns, anonymous bytes, file bytes, module, name of the error if any
    I  import      module, file and line of the innermost module body that is being executed, file and line of the statement,
                   "own" or "", imported module, names after `from`
    X  exit        thread, ns, anonymous bytes, file bytes

A forked child writes a file of its own: FILE.PID. It is compiled under the name of importlib's own code, so that
tracebacks and warnings leave its frames out as they do importlib's.
"""
# ruff: noqa: PLW0603  (one process, one recording: its state is this module's)
# ruff: noqa: PTH119, PTH120  (pathlib would have to be imported into the target)

from __future__ import annotations

import os
import sys
import time
from _thread import get_ident

TYPE_CHECKING = False  # importing typing would cost the target memory
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import Any

STALE_BYTES = 256 * 1024
"""Where the kernel's counters lag, page tables are walked once the counters have moved by this."""
_OWN_CODE = "<frozen importlib"
_IMPORTLIB = ("importlib", "importlib._bootstrap", "importlib._bootstrap_external")

_base = ""
_output = ""
_launcher = ""
_library = ""
_lazy_at: tuple[str, int] | None = None
_walk = False
_last_walk: tuple[int, int, int, int] | None = None
_pending: list[str] = []
_seen: set[int] = set()
_known_files: dict[str, bool] = {}
_import: Any = None
_find_and_load: Any = None
_gcd_import: Any = None


def start(output: str, launcher: str, lazy: str, walk: bool) -> None:
    """Begin to record into the file `output`.

    `launcher`: the file whose frames are not the program's; `lazy`: "FILE:LINE" of an import statement to carry out at
    the first use of what it binds, or ""; `walk`: the kernel's counters lag, so walk page tables where it matters.
    """
    global _base, _output, _launcher, _library, _lazy_at, _walk, _import, _find_and_load, _gcd_import
    bootstrap: Any = sys.modules["_frozen_importlib"]
    import atexit
    import builtins

    _base = _output = output
    _launcher, _walk = launcher, walk
    if lazy:
        file, _, line = lazy.rpartition(":")
        _lazy_at = (file, int(line))
    _library = os.path.dirname(os.__file__) + os.sep
    _open()
    _import, _find_and_load, _gcd_import = builtins.__import__, bootstrap._find_and_load, bootstrap._gcd_import
    os.register_at_fork(after_in_child=_forked)
    builtins.__import__ = import_statement
    bootstrap._find_and_load = load
    bootstrap._gcd_import = import_by_name
    atexit.register(_exit)


def _open() -> None:
    """Begin this process's own file."""
    try:
        handle = os.open(_output, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        os.fchmod(handle, 0o666)  # a server may go on as somebody else
        os.close(handle)
    except OSError:
        return
    version = ".".join([str(part) for part in sys.version_info[:3]])
    _write("P", os.getpid(), os.getppid(), time.monotonic_ns(), *_reading(), version)


def _forked() -> None:
    """In a forked child: a file of its own, and nothing of what its parent has not written yet."""
    global _output, _last_walk
    _output = f"{_base}.{os.getpid()}"
    _last_walk = None
    _pending.clear()
    _open()


def _exit() -> None:
    _write("X", get_ident(), time.monotonic_ns(), *_reading())


def _write(*fields: object) -> None:
    _pending.append("\t".join([str(field) for field in fields]).replace("\n", " "))
    text = "\n".join(_pending) + "\n"
    _pending.clear()
    try:
        # Opened each time: a server that closes its descriptors may give the number to a file of its own.
        handle = os.open(_output, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        try:
            os.write(handle, text.encode("utf-8", "surrogateescape"))
        finally:
            os.close(handle)
    except OSError:
        pass  # a full disk is no reason to disturb the program


def _read(path: str) -> bytes:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(handle, 8192)
    finally:
        os.close(handle)


def _kib(text: bytes, name: bytes) -> int:
    at = text.find(name)
    return int(text[at + len(name) : text.index(b"kB", at)]) if at >= 0 else 0


def _reading() -> tuple[int, int]:
    """Anonymous and file-backed resident memory of this process, in bytes; see proc_pid_status(5)."""
    global _last_walk
    try:
        text = _read("/proc/self/status")
        anon, file = _kib(text, b"RssAnon:") * 1024, _kib(text, b"RssFile:") * 1024
        if not _walk:
            return anon, file
        last = _last_walk
        if last is None or abs(anon - last[0]) >= STALE_BYTES or abs(file - last[1]) >= STALE_BYTES:
            walked = _read("/proc/self/smaps_rollup")
            exact = _kib(walked, b"\nAnonymous:") * 1024
            last = _last_walk = (
                anon, file, exact, _kib(walked, b"\nRss:") * 1024 - exact - _kib(text, b"RssShmem:") * 1024
            )  # fmt: skip
        return last[2] + anon - last[0], last[3] + file - last[1]
    except (OSError, ValueError):
        return 0, 0


def _is_own(file: str) -> bool:
    """Whether a file is the program's own code: neither the standard library nor an installed package."""
    known = _known_files.get(file)
    if known is None:
        # bin/gunicorn, made by an installer: of a package as well.
        script = os.path.basename(os.path.dirname(file)) == "bin" and not file.endswith(".py")
        installed = "site-packages" in file or "dist-packages" in file
        known = not (script or installed or file.startswith(("<", _library)))
        _known_files[file] = known
    return known


def _caller(frame: FrameType | None) -> FrameType | None:
    """The frame that asked for an import: the first that is not of the import system itself."""
    while frame is not None and (
        frame.f_code.co_filename.startswith(_OWN_CODE) or frame.f_globals.get("__name__") in _IMPORTLIB
    ):
        frame = frame.f_back
    return None if frame is None or frame.f_code.co_filename == _launcher else frame


def _body(frame: FrameType | None) -> FrameType | None:
    """The innermost module body that is being executed."""
    while frame is not None and frame.f_code.co_name != "<module>":
        frame = frame.f_back
    return None if frame is None or frame.f_code.co_filename == _launcher else frame


def _own(frame: FrameType | None) -> tuple[str, int]:
    """File and line of the innermost frame of the program's own code."""
    while frame is not None:
        file = frame.f_code.co_filename
        if file == _launcher:
            break
        if _is_own(file):
            return file, frame.f_lineno
        frame = frame.f_back
    return "", 0


def _place(frame: FrameType | None) -> tuple[str, str, int]:
    if frame is None:
        return "", "", 0
    return str(frame.f_globals.get("__name__", "")), frame.f_code.co_filename, frame.f_lineno


def _note(name: str, names: Any, caller: FrameType | None) -> None:
    """Note an import statement, once for each module body that it was executed for."""
    body = _body(caller)
    module, file, line = _place(body)
    wanted = ",".join([part for part in names if isinstance(part, str)]) if names else ""
    if body is not caller:
        # A function's may be executed a million times.
        key = hash((module, line, name, wanted))
        if key in _seen:
            return
        _seen.add(key)
    _, at, at_line = _place(caller)
    own = "own" if at and _is_own(at) else ""
    _pending.append("\t".join(("I", module, file, str(line), at, str(at_line), own, name, wanted)).replace("\n", " "))


def _absolute(name: str, package: str, level: int) -> str:
    """The name that a relative import means; see importlib._bootstrap._resolve_name."""
    if level <= 0:
        return name
    base = package.rsplit(".", level - 1)[0] if level > 1 else package
    return f"{base}.{name}" if name else base


def _package(namespace: Any) -> str:
    if not namespace:
        return ""
    package = namespace.get("__package__")
    if not isinstance(package, str):
        name = namespace.get("__name__") or ""
        package = name if "__path__" in namespace else str(name).rpartition(".")[0]
    return str(package)


def import_statement(name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0) -> Any:
    """In the place of builtins.__import__: every import statement, cached or not."""
    caller = _caller(sys._getframe(1))
    if _lazy_at is not None and caller is not None and not (fromlist and "*" in fromlist):
        place = (caller.f_code.co_filename, caller.f_lineno)
        if place == _lazy_at:
            arguments = (name, globals, locals, fromlist, level)
            return LazyNames(arguments, place) if fromlist else Lazy(lambda: _carry_out(arguments), place)
    if isinstance(name, str):
        _note(_absolute(name, _package(globals), level), fromlist, caller)
    return _import(name, globals, locals, fromlist, level)


def _carry_out(arguments: Any) -> Any:
    """An import statement that was put off. It is noted where it is needed, not where it stands."""
    name, namespace, _, names, level = arguments
    _note(_absolute(name, _package(namespace), level), names, _caller(sys._getframe(1)))
    return _import(*arguments)


def import_by_name(name: str, package: Any = None, level: int = 0) -> Any:
    """In the place of what importlib.import_module calls."""
    if isinstance(name, str):
        _note(_absolute(name, package or "", level), (), _caller(sys._getframe(1)))
    return _gcd_import(name, package, level)


def load(name: str, import_: Any) -> Any:
    """In the place of what finds and loads a module that is not in sys.modules."""
    if name in sys.modules:  # another import of it is on: a circle, or another thread
        return _find_and_load(name, import_)
    caller = _caller(sys._getframe(1))
    thread = get_ident()
    about = (*_place(caller), *_own(caller), *_place(_body(caller)))
    _write("B", thread, time.monotonic_ns(), *_reading(), name, *about)
    del caller
    error = ""
    try:
        return _find_and_load(name, import_)
    except BaseException as raised:
        error = type(raised).__name__
        raise
    finally:
        _write("E", thread, time.monotonic_ns(), *_reading(), name, error)


class LazyNames:
    """What `from module import a, b` gets when it is put off."""

    def __init__(self, arguments: Any, place: tuple[str, int]) -> None:
        self.__dict__["_put_off"] = (arguments, place)

    def __getattr__(self, name: str) -> Any:
        arguments, place = self.__dict__["_put_off"]
        return Lazy(lambda: getattr(_carry_out(arguments), name), place)


class Lazy:
    """What an import that was put off binds: the import is carried out when anything is done with it."""

    def __init__(self, get: Callable[[], Any], place: tuple[str, int]) -> None:
        object.__setattr__(self, "_oomproof_get", get)
        object.__setattr__(self, "_oomproof_place", place)

    def __getattribute__(self, name: str) -> Any:
        if name in ("_oomproof_get", "_oomproof_place"):
            return object.__getattribute__(self, name)
        if name == "__mro_entries__":
            # It is asked for by this name, not of the type: a class that is derived from what it stands for.
            return getattr(real(self), name, lambda _: (real(self),))
        frame = sys._getframe(1)
        if (frame.f_code.co_filename, frame.f_lineno) == object.__getattribute__(self, "_oomproof_place"):
            # `import a.b as c`: the statement itself asks a for b.
            return Lazy(lambda: getattr(real(self), name), object.__getattribute__(self, "_oomproof_place"))
        return getattr(real(self), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(real(self), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(real(self), name)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return real(self)(*arguments, **named)

    def __instancecheck__(self, thing: Any) -> bool:
        return isinstance(real(thing) if type(thing) is Lazy else thing, real(self))

    def __subclasscheck__(self, thing: Any) -> bool:
        return issubclass(real(thing) if type(thing) is Lazy else thing, real(self))


def real(lazy: Any) -> Any:
    """What it stands for. Imports are cached, so asking again costs little."""
    return object.__getattribute__(lazy, "_oomproof_get")()


def _passed_on(operation: str) -> Any:
    function = _FUNCTIONS.get(operation)

    def call(self: Any, *arguments: Any) -> Any:
        value = real(self)
        if function is not None:
            return function(value, *arguments)
        method = getattr(type(value), f"__{operation}__", None)
        return NotImplemented if method is None else method(value, *arguments)

    return call


_FUNCTIONS: dict[str, Any] = {
    "bool": bool, "bytes": bytes, "dir": dir, "float": float, "format": format, "hash": hash, "int": int, "iter": iter,
    "len": len, "next": next, "repr": repr, "str": str,
}  # fmt: skip
_OPERATIONS = (
    "abs add aenter aexit and await contains delitem enter eq exit floordiv fspath ge getitem gt index invert le lshift lt"
    " matmul mod mul ne neg or pos pow radd rand rfloordiv rmod rmul ror rshift rsub rtruediv rxor setitem sub truediv xor"
)
for _operation in [*_FUNCTIONS, *_OPERATIONS.split()]:
    setattr(Lazy, f"__{_operation}__", _passed_on(_operation))
