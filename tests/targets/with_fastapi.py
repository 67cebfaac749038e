"""A FastAPI service with the document that FastAPI makes of it. FASTAPI=lies: an item is not what its document says."""

import os

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()


class Question(BaseModel):
    session_id: str
    query: str


class Answer(BaseModel):
    response: str


class Item(BaseModel):
    price: float


@app.get("/")
def ready() -> dict[str, str]:
    return {"status": "ok"}


@app.post("/chat")
def chat(question: Question) -> Answer:
    return Answer(response="fine")


@app.get("/items/{item_id}", response_model=None, responses={200: {"model": Item}})
def item(item_id: int, note: str | None = None) -> dict[str, str | float]:
    return {"price": "unknown" if os.environ.get("FASTAPI") == "lies" else 9.5}


@app.delete("/items/{item_id}")
def delete(item_id: int) -> Item:
    os._exit(3)


uvicorn.run(app, host=os.environ.get("HOST", "127.0.0.1"), port=int(os.environ["PORT"]), log_level="error")
