"""Values that nobody should find in a report: told by the variable's name, or by what the value looks like.

Rather one value too many is hidden than one too few; but what tells two runs apart (a port, a worker count, a mode, a path, a
model's name) must stay readable.
"""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence

NOT_SHOWN = "(secret, not shown)"

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_ALWAYS = frozenset(
    {
        "PASSWORD",
        "PASSWD",
        "PASSPHRASE",
        "PASSCODE",
        "SECRET",
        "SECRETS",
        "CREDENTIAL",
        "CREDENTIALS",
        "AUTHORIZATION",
        "COOKIE",
        "PRIVATEKEY",
        "APIKEY",
    }
)
_OFTEN = frozenset({"KEY", "KEYS", "TOKEN", "TOKENS", "DSN"})
_AT_THE_END = frozenset({"PASS", "PWD", "AUTH", "SALT", "PEPPER", "SIGNATURE", "SID", "CONNECTIONSTRING"})
_ABOUT_IT = frozenset(
    {
        "PREFIX",
        "SUFFIX",
        "PATH",
        "FILE",
        "DIR",
        "NAME",
        "NAMES",
        "LENGTH",
        "SIZE",
        "TTL",
        "COUNT",
        "LIMIT",
        "COLUMN",
        "FIELD",
        "HEADER",
        "TYPE",
        "ALGORITHM",
        "ENABLED",
        "TIMEOUT",
        "EXPIRY",
        "EXPIRES",
        "SECONDS",
        "MINUTES",
        "HOURS",
        "DAYS",
        "VERSION",
    }
)
"""After one of these a variable tells something about a secret: SESSION_COOKIE_NAME, API_KEY_HEADER."""
_NO_SECRET = frozenset({"PUBLIC", "PUBLISHABLE", "MAX", "MIN", "PRIMARY", "FOREIGN"})
_FINGERPRINTS = frozenset(
    {"SHA", "COMMIT", "REVISION", "REV", "DIGEST", "CHECKSUM", "HASH", "VERSION", "TAG", "FINGERPRINT"}
)
_PLAIN = re.compile(r"(?i)true|false|yes|no|on|off|none|null|")
_A_NUMBER = re.compile(r"[-+]?[0-9]*\.?[0-9]+(?:e[-+]?[0-9]+)?(?:[a-z]{1,3}|%)?", re.IGNORECASE)
_A_PATH = re.compile(r"(?:~|\.{1,2})?/[^\s:]*(?::(?:~|\.{1,2})?/[^\s:]*)*")

_LOOKS = re.compile(
    r"""-----BEGIN\ |                                                    # PEM
        \b(?:AKIA|ASIA)[0-9A-Z]{16}\b |                                  # AWS
        \bgh[pousr]_[A-Za-z0-9]{20,} | \bgithub_pat_\w{20,} | \bglpat-[\w-]{16,} |
        \b[srw](?:k|hsec)_(?:live|test)?_?[A-Za-z0-9]{12,} |               # Stripe
        \bsk-[A-Za-z0-9_-]{16,} |                                        # OpenAI, Anthropic
        \bxox[abeoprs]-[\w-]{8,} | hooks\.slack\.com/services/ | /api/webhooks/[0-9]+/ |
        \bAIza[\w-]{30,} | \bya29\.[\w-]{16,} |                          # Google
        \bSG\.[\w-]{16,}\.[\w-]{16,} | \bhf_[A-Za-z0-9]{20,} | \bnpm_[A-Za-z0-9]{20,} | \bpypi-[\w-]{20,} |
        \bdckr_pat_[\w-]{16,} | \bdop_v1_[0-9a-f]{20,} | \bshpat_[0-9a-f]{20,} | \bhvs\.[\w-]{16,} | \brnd_[A-Za-z0-9]{16,} |
        \bFlyV1\ | \bAGE-SECRET-KEY-1 |
        \beyJ[\w-]{8,}\.[\w-]{8,}\. |                                    # JSON Web Token
        [a-zA-Z][\w+.-]*://[^/\s:@]*:[^/\s@]+@ |                         # user:password@host
        (?i:[?&;](?:\w*token|\w*key|password|passwd|pwd|secret|sig|signature|\w*-signature)=[^&;\s]+) |
        (?i:\b(?:password|pwd|accountkey|sharedaccesskey)=[^;\s]+) |
        (?i:\b(?:bearer|basic)\ [A-Za-z0-9+/=._~-]{8,})
    """,
    re.VERBOSE,
)
_TOKEN = re.compile(r"[A-Za-z0-9+/_=.-]{20,}")
_LEAST_CHANGES = 0.25
"""Share of neighbours that are of another kind (capital, small letter, digit): some 0.4 to 0.65 in random text of the
alphabets that keys are written in, some 0.1 in names such as sentence-transformers-all-MiniLM-L6-v2."""
_LEAST_BITS = 3.0
"""Entropy per character. A dozen different characters or more."""
_ASSIGNMENT = re.compile(rf"(?P<name>[A-Za-z_][\w.-]*)=(?P<value>{re.escape(NOT_SHOWN)}|'[^']*'|\"[^\"]*\"|\S+)")


def looks_secret(name: str, value: str) -> bool:
    """Whether `value`, of the variable, header or option `name` ("" if it has none), should not be shown."""
    if _PLAIN.fullmatch(value):
        return False
    words = [word.upper() for word in _WORDS.findall(name)]
    if _names_a_secret(words) and not _A_PATH.fullmatch(value):
        return bool(set(words) & _ALWAYS) or not _A_NUMBER.fullmatch(value)
    return bool(_LOOKS.search(value)) or (not set(words) & _FINGERPRINTS and _is_random(value))


def redacted(env: Mapping[str, str]) -> dict[str, str]:
    """The same names; NOT_SHOWN in place of what looks like a secret."""
    return {name: NOT_SHOWN if looks_secret(name, value) else value for name, value in env.items()}


def redacted_words(words: Sequence[str]) -> tuple[str, ...]:
    """A command line with NOT_SHOWN in place of what looks like a secret: `NAME=value` anywhere, the word after an option
    such as `--api-key`, and words that look like one."""
    shown: list[str] = []
    option = ""
    for word in words:
        if option and not word.startswith("-") and _names_a_secret([part.upper() for part in _WORDS.findall(option)]):
            shown.append(NOT_SHOWN if looks_secret(option, word) else word)
        else:
            shown.append(_redacted_word(word))
        option = word if word.startswith("--") and "=" not in word else ""
    return tuple(shown)


def _redacted_word(word: str) -> str:
    def assigned(match: re.Match[str]) -> str:
        value = match["value"].strip("'\"")
        return f"{match['name']}={NOT_SHOWN}" if looks_secret(match["name"], value) else match[0]

    without = _ASSIGNMENT.sub(assigned, word)
    return NOT_SHOWN if without == word and looks_secret("", word) else without


def _names_a_secret(words: Sequence[str]) -> bool:
    if not words or words[-1] in _ABOUT_IT or set(words) & _NO_SECRET:
        return False
    return bool(set(words) & (_ALWAYS | _OFTEN)) or (len(words) > 1 and words[-1] in _AT_THE_END)


def _is_random(value: str) -> bool:
    """Whether some word of `value` is as irregular as a generated key."""
    return any(_is_random_word(word) for word in value.split() if _TOKEN.fullmatch(word))


def _is_random_word(word: str) -> bool:
    if _A_PATH.fullmatch(word) or not re.search(r"[0-9]", word):
        return False
    kinds = ["digit" if c.isdigit() else "capital" if c.isupper() else "small" if c.islower() else "" for c in word]
    if kinds.count("capital") + kinds.count("small") < 3:
        return False
    neighbours = [(a, b) for a, b in itertools.pairwise(kinds) if a and b]
    changes = sum(a != b for a, b in neighbours)
    return changes >= _LEAST_CHANGES * len(word) and _bits(word) >= _LEAST_BITS


def _bits(word: str) -> float:
    """Shannon entropy per character."""
    counts = Counter(word).values()
    return -sum(count / len(word) * math.log2(count / len(word)) for count in counts)
