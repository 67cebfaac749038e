"""Does the model still answer as well? `python -m backend.quality` asks it what it was never shown.

    MODEL_RUNTIME=onnx MODEL_DTYPE=int8 python -m backend.quality     the model that the environment asks for, in this process
    python -m backend.quality --url http://127.0.0.1:8000             a service that runs already, over HTTP

Paraphrases that stand in no phrasing of the knowledge base must get their entry's answer, questions about other things the
fallback. `--json` prints one document. Exit code: 0 asked, whatever the answers were; 2 a wrong option or variable; 4 nobody
answers, or the model's files are not there.
"""

from __future__ import annotations

import argparse
import http.client
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

from backend import knowledge
from backend.settings import Settings, SettingsError
from backend.weights import ModelFilesError

PATH = Path(__file__).with_name("heldout.json")
EXIT_SETTINGS = 2
EXIT_CANNOT = 4
_TIMEOUT_S = 60.0

Answer = Callable[[str], str]
"""A query to its answer."""


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Questions that the knowledge base was not made from."""

    asked: tuple[tuple[str, str], ...]
    """The id of an entry, and a paraphrase that it answers."""
    off_topic: tuple[str, ...]
    """What no entry answers."""


@dataclass(frozen=True, slots=True)
class Quality:
    """How many questions were asked, and how many answers were as they must be."""

    asked: int
    right: int
    off_topic: int
    refused: int

    @property
    def share(self) -> float:
        """Right answers and refusals together, of all questions; 0 to 1."""
        return (self.right + self.refused) / (self.asked + self.off_topic)


def held_out(path: Path = PATH) -> HeldOut:
    """Read the data file."""
    document = json.loads(path.read_text(encoding="utf-8"))
    return HeldOut(
        asked=tuple((entry, question) for entry, questions in document["asked"].items() for question in questions),
        off_topic=tuple(document["off_topic"]),
    )


def measure(answer: Answer) -> Quality:
    """Ask every held-out question, one after the other."""
    questions, base = held_out(), knowledge.read()
    answers = {entry.id: entry.answer for entry in base.entries}
    return Quality(
        asked=len(questions.asked),
        right=sum(answer(question) == answers[entry] for entry, question in questions.asked),
        off_topic=len(questions.off_topic),
        refused=sum(answer(question) == base.fallback for question in questions.off_topic),
    )


class UnansweredError(RuntimeError):
    """The service at the address does not answer as the chat does."""


def over_http(url: str) -> Answer:
    """Ask the service whose base address this is: POST /chat. Each answer raises UnansweredError if there is none."""
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.netloc, timeout=_TIMEOUT_S)

    def answer(query: str) -> str:
        body = json.dumps({"session_id": "quality", "query": query})
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        try:
            connection.request("POST", f"{parts.path.rstrip('/')}/chat", body, headers)
            response = connection.getresponse()
            text = response.read().decode()
        except (OSError, http.client.HTTPException, ValueError) as error:
            connection.close()
            raise UnansweredError(f"{url} does not answer: {error or type(error).__name__}") from error
        if response.status != 200:
            raise UnansweredError(f"{url} answers {response.status} to POST /chat: {text[:200]}")
        return _response(url, text) if response.headers.get_content_type() == "application/json" else text

    return answer


def _response(url: str, text: str) -> str:
    try:
        return str(json.loads(text)["response"])
    except (ValueError, KeyError, TypeError) as error:
        raise UnansweredError(f"{url} answers POST /chat with something else than a response: {text[:200]}") from error


def in_this_process(settings: Settings) -> Answer:
    """Load the model that the settings ask for. Raises ModelFilesError."""
    from backend.model import ChatModel  # not for a service elsewhere: it needs NumPy

    return ChatModel.load(settings).predict


def described(quality: Quality) -> str:
    """In one line, for people."""
    return (
        f"{quality.right} of {quality.asked} paraphrases answered right ({quality.right / quality.asked:.1%}), "
        f"{quality.refused} of {quality.off_topic} off-topic questions refused "
        f"({quality.refused / quality.off_topic:.1%}): {quality.share:.1%} as they must be"
    )


def document(quality: Quality) -> Mapping[str, float]:
    """What `--json` prints: the counts, and `share`."""
    return {**asdict(quality), "share": quality.share}


def main() -> int:
    """Ask, and print what came of it."""
    parser = argparse.ArgumentParser(
        prog="python -m backend.quality", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--url", type=_base_url, help="the base address of a running service, such as http://127.0.0.1:8000"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args()
    try:
        quality = measure(over_http(options.url) if options.url else in_this_process(Settings.from_env()))
    except SettingsError as error:
        sys.stderr.write(f"{error}\nCorrect or unset that variable.\n")
        return EXIT_SETTINGS
    except ModelFilesError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_CANNOT
    except UnansweredError as error:
        sys.stderr.write(f"{error}\nIs that the base address of a running chat service?\n")
        return EXIT_CANNOT
    sys.stdout.write(f"{json.dumps(document(quality)) if options.json else described(quality)}\n")
    return 0


def _base_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise argparse.ArgumentTypeError(f"{text!r} is no base address such as http://127.0.0.1:8000")
    return text


if __name__ == "__main__":
    sys.exit(main())
