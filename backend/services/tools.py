"""What an agent can do: reckon, tell the time, look something up. Each takes and gives a string, and never fails."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache

from backend import knowledge

_EXPRESSION_MAX_CHARS = 200
_SIZE_MAX = 10**30
_EXPONENT_MAX = 100
_OPERATORS: Mapping[type[ast.AST], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_SIGNS: Mapping[type[ast.AST], Callable[[float], float]] = {ast.UAdd: operator.pos, ast.USub: operator.neg}
# Words that half of all questions have say nothing about what is asked for.
_SAID_BY_ALL = frozenset(
    "a an and are can do does for how i in is it me my of on or the to up what when where with you your".split()  # noqa: SIM905
)


def calculate(expression: str) -> str:
    """The value of a sum in +, -, *, /, //, %, ** and brackets, or why there is none."""
    if len(expression) > _EXPRESSION_MAX_CHARS:
        return f"cannot reckon: longer than {_EXPRESSION_MAX_CHARS} characters"
    try:
        # Parsed and never evaluated: only numbers and the operators above mean anything.
        value = _value(ast.parse(expression.replace(",", "").strip(), mode="eval").body)
    except ZeroDivisionError:
        return "cannot reckon: division by zero"
    except (ArithmeticError, SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return f"cannot reckon: {error if isinstance(error, ValueError) else 'not a sum'}"
    return repr(int(value)) if float(value).is_integer() and abs(value) < 2**53 else repr(value)


def clock(_zone: str = "UTC") -> str:
    """The time now, in UTC."""
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def look_up(question: str) -> str:
    """The answer of the knowledge base whose phrasings have most words in common with a question, else its fallback."""
    asked = _words(question)
    best, answer = 0.0, _knowledge().fallback
    for entry, phrasings in _phrasings():
        for words in phrasings:
            common = len(asked & words) / max(1, len(asked | words))
            if common > best:
                best, answer = common, entry.answer
    return answer if best >= 1 / 4 else _knowledge().fallback


TOOLS: Mapping[str, Callable[[str], str]] = {"calculator": calculate, "clock": clock, "knowledge": look_up}


def _value(node: ast.AST) -> float:
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
        return _bounded(node.value)
    if isinstance(node, ast.UnaryOp) and type(node.op) in _SIGNS:
        return _SIGNS[type(node.op)](_value(node.operand))
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        left, right = _value(node.left), _value(node.right)
        # Before it is tried: 9**9**9 has 370 million digits.
        if isinstance(node.op, ast.Pow) and abs(right) > _EXPONENT_MAX:
            raise ValueError(f"an exponent over {_EXPONENT_MAX}")
        return _bounded(_OPERATORS[type(node.op)](left, right))
    raise ValueError("not a sum")


def _bounded(value: float) -> float:
    if isinstance(value, complex) or not abs(value) <= _SIZE_MAX:
        raise ValueError("a number that is none, or too large")
    return value


def _words(said: str) -> frozenset[str]:
    return frozenset(re.findall(r"[a-z0-9]+", said.lower())) - _SAID_BY_ALL


@cache
def _knowledge() -> knowledge.Knowledge:
    return knowledge.read()


@cache
def _phrasings() -> tuple[tuple[knowledge.Entry, tuple[frozenset[str], ...]], ...]:
    return tuple((entry, tuple(_words(phrasing) for phrasing in entry.phrasings)) for entry in _knowledge().entries)
