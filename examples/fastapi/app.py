"""A help desk's chat endpoint on FastAPI: POST /chat finds the articles that answer a question.

    uvicorn app:app --host 127.0.0.1 --port 8000

INDEX says when the search index is built: `once` (at the start, the default) or `per-request`, a mistake that looks
harmless on a developer's machine.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from pydantic import BaseModel, Field

from search import SearchIndex

PER_REQUEST = os.environ.get("INDEX", "once") == "per-request"


class Question(BaseModel):
    session_id: str = Field(min_length=1, max_length=100)
    query: str = Field(min_length=1, max_length=1000)
    count: int = Field(default=3, ge=1, le=20)


class Article(BaseModel):
    number: int
    text: str
    score: float


class Answer(BaseModel):
    response: str
    articles: list[Article]


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Before the port is bound: what every request needs is built once, and held as long as the service lives."""
    app.state.index = None if PER_REQUEST else SearchIndex()
    yield


app = FastAPI(title="Help desk", lifespan=lifespan)


@app.get("/health")
def health() -> dict[str, str]:
    return {"status": "ok"}


# No `async`: the search keeps the processor busy, so it runs in one of Starlette's 40 threads, and /health stays quick.
@app.post("/chat")
def chat(question: Question, request: Request) -> Answer:
    index: SearchIndex = request.app.state.index or SearchIndex()
    articles = [
        Article(number=number, text=index.texts[number], score=round(score, 3))
        for number, score in index.search(question.query, question.count)
    ]
    if not articles:
        return Answer(response="I found nothing about that. Could you say it in other words?", articles=[])
    return Answer(response=f"This may help: {articles[0].text}", articles=articles)
