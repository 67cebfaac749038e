"""Commands and health checks of manifests: text to words, and to the path that is asked."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping

from profiling.manifests.node import Node

_NEEDS_A_SHELL = re.compile(r"[$`&|;<>()*?~#\n]|^\s*\w+=")
_SEVERAL_COMMANDS = re.compile(r"[`&|;<>()\n]|^\s*(?:\w+=|exec\s)")
_QUOTED = re.compile(r"""'[^']*'|"(?:\\.|[^"\\])*"|\\.""", re.DOTALL)
_URL = re.compile(r"https?://[^/\s\"'?]+(/[!-&(-~]*)?")
_REFERENCE = re.compile(r"\$\$|\$\(([A-Za-z_][\w.-]*)\)")


def shell_words(node: Node) -> tuple[str, ...] | None:
    """The words of a command line. One that only a shell can read becomes `sh -c`, with `exec` where it is one program, so
    that no shell stays within the limit. Raises ManifestError for an open quotation mark."""
    text = node.text()
    if text is None or not text.strip():
        return None
    meant = _QUOTED.sub(_to_a_shell, text)
    if _NEEDS_A_SHELL.search(meant):
        return "sh", "-c", text if _SEVERAL_COMMANDS.search(meant) else f"exec {text.strip()}"
    try:
        return tuple(shlex.split(text)) or None
    except ValueError as error:
        node.refuse(f"cannot be split into words ({str(error).lower()})")


def _to_a_shell(quoted: re.Match[str]) -> str:
    """What a quoted part still says to a shell, as in "app:create_app()": nothing, but for `$` and backticks in double
    quotes. See POSIX, Shell Command Language, 2.2."""
    return "".join(re.findall(r"[$`]", quoted[0])) + "_" if quoted[0].startswith('"') else "_"


def words_of(node: Node) -> tuple[str, ...] | None:
    """A command that is a list of words or one text."""
    return shell_words(node) if isinstance(node.value, str) else node.words() or None


def expanded(words: tuple[str, ...], env: Mapping[str, str]) -> tuple[str, ...]:
    """Kubernetes' `$(NAME)` replaced where the variable is known; `$$` is a dollar sign."""

    def meant(match: re.Match[str]) -> str:
        return "$" if match[0] == "$$" else env.get(match[1], match[0])

    return tuple(_REFERENCE.sub(meant, word) for word in words)


def path_of(node: Node) -> str | None:
    """A health check's path: as it stands, without anything that is no part of one. Raises ManifestError."""
    path = node.text()
    if path is None:
        return None
    path = path if path.startswith("/") else f"/{path}"
    if not re.fullmatch(r"/[!-~]*", path):
        node.refuse("is no path; it must begin with / and have no blanks")
    return path


def asked_path(node: Node) -> str | None:
    """The path that a health check's command asks for over HTTP, where its text shows one."""
    words = (node.text() or "",) if isinstance(node.value, str) else node.words()
    match = _URL.search(" ".join(words))
    return (match[1] or "/") if match else None
