"""POST /agents/run: a task goes in, a small graph works it off step by step with local tools. No model is asked."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, TypedDict

from backend.bodies import BadRequestError, json_object, text
from backend.services import tools
from backend.services.once import Once

BODY_MAX_BYTES = 64 * 1024
TASK_MAX_CHARS = 2000
STEPS_MAX = 8

_PARTS = re.compile(r"[;\n?!]+|\.(?=\s|$)|\b(?:and )?then\b", re.IGNORECASE)
# A run of what sums consist of; in one pass, however long it is.
_SUM = re.compile(r"[-+*/%().,\d\s]+")
_OPERATOR_BETWEEN = re.compile(r"[\d)]\s*[-+*/%]+\s*[-+(.\d]")
_CLOCK = re.compile(r"\b(?:what time|the time|the date|today|clock|what day|current (?:time|date))\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Step:
    """One use of a tool."""

    tool: str
    input: str
    output: str = ""


class State(TypedDict):
    """What the graph's nodes hand on."""

    task: str
    pending: list[Step]
    done: list[Step]
    answer: str


class Agents:
    """The compiled graph: plan -> act, until nothing is pending -> answer."""

    def __init__(self) -> None:
        self._graph: Once[Any] = Once(_compile)

    def load(self) -> None:
        """The libraries and the graph."""
        self._graph.get()

    def run(self, task: str) -> dict[str, object]:
        """The answer, and how it came about."""
        begin = State(task=task, pending=[], done=[], answer="")
        end = self._graph.get().invoke(begin, {"recursion_limit": STEPS_MAX + 4})
        steps = [{"tool": step.tool, "input": step.input, "output": step.output} for step in end["done"]]
        return {"answer": end["answer"], "steps": steps}


def task_of(body: bytes) -> str:
    """The task in `{"task"}`.

    Raises:
        BadRequestError: names the field.
    """
    task = text(json_object(body), "task", TASK_MAX_CHARS)
    parts = len(plan(task))
    if not 1 <= parts <= STEPS_MAX:
        raise BadRequestError("task", f"task must have from 1 to {STEPS_MAX} parts, not {parts}")
    return task


def plan(task: str) -> list[Step]:
    """A step for each part of the task: sums for the calculator, the time for the clock, the rest is looked up."""
    return [_step(part) for part in (piece.strip(" ,:") for piece in _PARTS.split(task)) if re.search(r"\w", part)]


def _step(part: str) -> Step:
    for run in _SUM.findall(part):
        if _OPERATOR_BETWEEN.search(run):
            return Step("calculator", run.strip(" ,"))
    if _CLOCK.search(part):
        return Step("clock", "UTC")
    return Step("knowledge", part)


def _plan(state: State) -> dict[str, object]:
    return {"pending": plan(state["task"])}


def _act(state: State) -> dict[str, object]:
    step, *others = state["pending"]
    done = Step(step.tool, step.input, tools.TOOLS[step.tool](step.input))
    return {"pending": others, "done": [*state["done"], done]}


def _answer(state: State) -> dict[str, object]:
    return {"answer": "\n".join(step.output for step in state["done"])}


def _compile() -> Any:
    from langgraph.graph import END, START, StateGraph

    graph = StateGraph(State)
    graph.add_node("plan", _plan)
    graph.add_node("act", _act)
    graph.add_node("say", _answer)
    graph.add_edge(START, "plan")
    graph.add_edge("plan", "act")
    graph.add_conditional_edges("act", lambda state: "act" if state["pending"] else "say", ["act", "say"])
    graph.add_edge("say", END)
    return graph.compile()
