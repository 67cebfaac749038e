"""Runs a Python program in this very process, under memray's tracker, as it would run alone.

    PYTHON [OPTIONS] .../launcher.py --output FILE [OPTION VALUE]... -- -m MODULE [ARG...] | -c CODE [ARG...] | SCRIPT [ARG...]

`--site` names a directory with memray for an interpreter that has none; the program does not see it. `--limit` is how large
the capture of one process may become; see `end_in_time`. `--recorder FILE` names what records instead of memray: the recorder of
imports, to which `--lazy` and `--walk` go.

Started by path, with the *target's* interpreter and options, in front of the target's own program: so it imports the
standard library and memray, and nothing of oomproof. The capture is in the default format and uncompressed: only that
stays readable after SIGKILL. Forked children are followed (`FILE.PID`), exec is not. Exit status, signals,
`sys.path`, `sys.argv`, `__main__` and tracebacks are those of the program run alone.
"""
# ruff: noqa: PTH100, PTH109, PTH118, PTH120  (pathlib would have to be imported into the target)
# ruff: noqa: SIM105  (so would contextlib)
# ruff: noqa: S102  (running other people's code is what it is for)

from __future__ import annotations

import atexit
import io
import os
import sys

TYPE_CHECKING = False  # importing typing would cost the target memory
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType, TracebackType
    from typing import Any, NoReturn

LAUNCHER = globals()
LOOK_S = 0.25
RESERVE_BYTES = 64 * 2**20  # so much of the disk is left to others


def import_memray(stub: bool = True) -> None:
    """Import what `track` needs, without rich: 3 MB of progress bars that only memray's readers draw."""
    stubs: dict[str, Any] = {}
    if stub and "rich" not in sys.modules:
        stubs = {name: type(sys)(name) for name in ("rich", "rich.progress")}
        stubs["rich"].print = print
        stubs["rich.progress"].Progress = stubs["rich.progress"].SpinnerColumn = None
    sys.modules.update(stubs)
    failed = False
    try:
        import memray._memray
        import memray.reporters.module_tools  # noqa: F401  # Tracker() would, with the program's sys.path
    except (ImportError, AttributeError):
        if not stubs:
            raise
        failed = True
    for name in stubs:
        del sys.modules[name]  # the program finds the real one if it wants it
    if failed:  # another version of memray, which wants more of rich
        for name in [name for name in sys.modules if name.partition(".")[0] == "memray"]:
            del sys.modules[name]
        import_memray(stub=False)


def import_memray_from(site: str | None) -> None:
    """Import memray, from a directory that the program does not see where `site` names one."""
    if site:
        sys.path.append(site)
    import_memray()
    if site:
        sys.path.remove(site)


def track(output: str, limit: int) -> None:
    """Start the tracker; it stops after threads were joined and the program's own exit handlers have run.

    A function of its own because memray leaves out the frames above the one that starts it: all of the launcher's.
    """
    import _signal  # type: ignore[import-not-found]

    from memray._memray import FileDestination, Tracker

    destination = FileDestination(path=output, overwrite=True, compress_on_exit=False)
    tracker = Tracker(destination=destination, follow_fork=True)
    exit_now = os._exit
    stopped: list[bool] = []  # shared with the thread that may do it; a child forked after it has no tracker, and knows

    def stop() -> None:
        if not stopped:
            stopped.append(True)
            tracker.__exit__(None, None, None)

    def stop_and_exit(status: int) -> NoReturn:
        try:
            stop()
        finally:
            exit_now(status)

    # So do forked children, of multiprocessing and of some servers; it would look as if they had been killed.
    os._exit = stop_and_exit
    atexit.register(stop)
    keep_map(output + ".maps")
    if limit:
        first = os.getpid()

        def watch() -> None:
            if not stopped:
                pid = os.getpid()
                end_in_time(output if pid == first else f"{output}.{pid}", limit, stop)

        os.register_at_fork(after_in_child=watch)
        watch()
    # memray's own thread has the signals blocked then: what the program waits for in its threads is for them to take.
    before = _signal.pthread_sigmask(_signal.SIG_BLOCK, _signal.valid_signals())
    tracker.__enter__()
    _signal.pthread_sigmask(_signal.SIG_SETMASK, before)


def end_in_time(output: str, limit: int, stop: Callable[[], None]) -> None:
    """Have a thread call `stop` before the capture outgrows `limit`, or its disk, and say why in `<output>.ended`.

    memray asks for a tenth more whenever the file is full. On a full disk it would stop by itself, with a message in the
    service's own output.
    """
    import _signal
    import _thread
    from time import sleep

    def look() -> None:
        _signal.pthread_sigmask(_signal.SIG_BLOCK, _signal.valid_signals())
        while True:
            sleep(LOOK_S)
            try:
                size = os.stat(output).st_size
                disk = os.statvfs(output)
            except OSError:
                continue
            step = size // 10
            if size + step > limit:
                why = "limit"
            elif disk.f_bavail * disk.f_frsize < step + RESERVE_BYTES:
                why = "disk"
            else:
                continue
            stop()
            note_whole(f"{output}.ended", why)
            return

    try:
        _thread.start_new_thread(look, ())
    except RuntimeError:  # no more threads are allowed; then there is no limit
        pass


def note_whole(path: str, word: str) -> None:
    """Whoever sees the file finds the word in it; it is empty where the disk had no room even for that."""
    try:
        with io.open(path + ".new", "wb", 0) as note:  # noqa: UP020  (open may be the program's by now)
            try:
                note.write(word.encode())
            except OSError:
                pass
        os.rename(path + ".new", path)  # noqa: PTH104  (no pathlib in the program before it asks for it)
    except OSError:
        pass


def keep_map(path: str) -> None:
    """Write down which memory there is before anything is recorded."""
    try:
        with open("/proc/self/maps", "rb", 0) as maps, open(path, "wb", 0) as kept:
            while part := maps.read(4096):
                kept.write(part)
    except OSError:
        pass  # it explains a few MiB more; the service comes first


def load_recorder(path: str) -> Any:
    """The recorder's `start`, from compiled code: compiling it here would leave memory behind for the program to use."""
    import marshal

    with io.open_code(path) as file:
        code = marshal.loads(file.read())  # noqa: S302  (this same interpreter wrote it)
    namespace: dict[str, Any] = {"__name__": "importlib._bootstrap", "__builtins__": __builtins__}
    exec(code, namespace)
    return namespace["start"]


def fresh_main() -> dict[str, Any]:
    """The namespace of a `__main__` as the interpreter makes it before it runs anything."""
    from importlib.machinery import BuiltinImporter

    module: Any = type(sys)("__main__")
    module.__builtins__ = LAUNCHER["__builtins__"]
    module.__loader__ = BuiltinImporter
    if "__annotations__" in LAUNCHER:
        module.__annotations__ = {}
    sys.modules["__main__"] = module
    namespace: dict[str, Any] = module.__dict__
    return namespace


def is_importable(path: str) -> bool:
    """Whether the interpreter would look for a `__main__.py` in it: a directory or a zip file."""
    for hook in sys.path_hooks:
        try:
            hook(path)
        except ImportError:
            continue
        return True
    return False


def load_script(path: str, namespace: dict[str, Any]) -> CodeType:
    from importlib.machinery import SourceFileLoader

    full = os.path.join(os.getcwd(), path)
    try:
        with io.open_code(full) as file:
            source = file.read()
    except OSError as error:
        sys.stderr.write(f"{sys.executable}: can't open file {full!r}: [Errno {error.errno}] {error.strerror}\n")
        raise SystemExit(2) from None
    namespace["__file__"] = full
    namespace["__cached__"] = None
    namespace["__loader__"] = SourceFileLoader("__main__", full)
    return compile(source, full, "exec", dont_inherit=True)


def without_launcher(trace: TracebackType | None) -> TracebackType | None:
    while trace is not None and trace.tb_frame.f_globals is LAUNCHER:
        trace = trace.tb_next
    return trace


def main() -> None:
    end = sys.argv.index("--")
    options = dict(zip(sys.argv[1:end:2], sys.argv[2:end:2]))  # noqa: B905  (pairs by the command's own making)
    program = sys.argv[end + 1 :]
    safe_path = getattr(sys.flags, "safe_path", bool(sys.flags.isolated))  # 3.11; before it only -I
    if not safe_path:
        del sys.path[0]  # our own directory
    start = load_recorder(options["--recorder"]) if "--recorder" in options else None
    if start is None:
        import_memray_from(options.get("--site"))

    if hasattr(sys, "orig_argv"):  # Python 3.10
        sys.orig_argv = [*sys.orig_argv[: -len(sys.argv)], *program]
    kind = program[0]
    container = kind not in ("-c", "-m") and is_importable(kind)
    sys.argv = [kind, *program[2:]] if kind in ("-c", "-m") else program
    if container:
        sys.path.insert(0, os.path.join(os.getcwd(), kind))
    elif not safe_path:
        first = {"-c": "", "-m": os.getcwd()}.get(kind)
        sys.path.insert(0, os.path.dirname(os.path.realpath(kind)) if first is None else first)
    namespace = fresh_main()

    # From here on everything is recorded, the compilation of the program too, as it is the program's own cost.
    output = os.path.abspath(options["--output"])
    if start is not None:
        start(output, main.__code__.co_filename, options.get("--lazy", ""), options.get("--walk") == "yes")
    else:
        track(output, int(options.get("--limit", "0")))
    try:
        if container or kind == "-m":
            import runpy

            # What the interpreter itself calls for these two.
            runpy._run_module_as_main(program[1] if kind == "-m" else "__main__", kind == "-m")  # type: ignore[attr-defined]
        elif kind == "-c":
            exec(compile(program[1], "<string>", "exec", dont_inherit=True), namespace)
        else:
            exec(load_script(kind, namespace), namespace)
    except SystemExit:
        raise
    except BaseException:
        hook = sys.excepthook

        def show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
            sys.excepthook = hook
            hook(kind, error.with_traceback(without_launcher(trace)), without_launcher(trace))

        sys.excepthook = show
        raise


if __name__ == "__main__":
    main()
