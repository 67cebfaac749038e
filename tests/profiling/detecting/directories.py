"""Directories of services, as they are met: file name -> text."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

FLASK = {
    "app.py": """\
from flask import Flask, jsonify, request

app = Flask(__name__)


@app.get("/healthz")
def health():
    return "ok"


@app.route("/chat", methods=["POST"])
def chat():
    data = request.get_json(silent=True)
    if not isinstance(data, dict) or not isinstance(data.get("query"), str):
        return jsonify(error="query"), 400
    return jsonify(response=data["query"][::-1])
""",
    "requirements.txt": "# what it needs\nflask>=3\ngunicorn==23.0  # serves it\n",
    "Procfile": "web: gunicorn app:app --bind 0.0.0.0:$PORT --threads 4\nworker: python worker.py\n",
}
FASTAPI = {
    "main.py": """\
from fastapi import FastAPI
from pydantic import BaseModel, Field

from routers import items


class Question(BaseModel):
    question: str = Field(..., min_length=1, max_length=2000)
    session_id: str
    top_k: int = 3


app = FastAPI(title="asker")
app.include_router(items.router, prefix="/items")


@app.get("/health")
async def health():
    return {"status": "alive"}


@app.post("/ask", status_code=201)
async def ask(asked: Question):
    return {"answer": asked.question[::-1]}
""",
    "routers/items.py": """\
from fastapi import APIRouter

router = APIRouter()


@router.get("/all")
def listed():
    return []
""",
    "pyproject.toml": '[project]\nname = "asker"\nversion = "1"\ndependencies = ["fastapi[standard]>=0.115"]\n',
}
DJANGO = {
    "manage.py": """\
import os
import sys

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)
""",
    "shop/__init__.py": "",
    "shop/settings.py": """\
DEBUG = False
SECRET_KEY = "for this test"
ALLOWED_HOSTS = ["127.0.0.1"]
ROOT_URLCONF = "shop.urls"
USE_TZ = True
""",
    "shop/urls.py": """\
from django.http import HttpResponse
from django.urls import include, path

urlpatterns = [
    path("healthz/", lambda request: HttpResponse("ok")),
    path("pages/", include("pages.urls")),
]
""",
    "pages/urls.py": """\
from django.http import HttpResponse
from django.urls import path

urlpatterns = [
    path("<int:number>/", lambda request, number: HttpResponse(str(number))),
    path("first/", lambda request: HttpResponse("a page")),
]
""",
    "shop/wsgi.py": """\
import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
application = get_wsgi_application()
""",
    "requirements.txt": "Django>=5\ngunicorn\n",
}
NODE = {
    "package.json": """\
{
  "name": "@team/echo",
  "main": "server.js",
  "scripts": { "start": "NODE_ENV=production node server.js" },
  "engines": { "node": ">=18" }
}
""",
    "server.js": """\
const http = require("http");
// if (req.url === "/commented-out") it is not there
http
  .createServer((req, res) => {
    if (req.url === "/healthz" || req.url === "/") {
      res.end("ok");
      return;
    }
    res.statusCode = 404;
    res.end();
  })
  .listen(process.env.PORT || 3000, "127.0.0.1");
process.on("SIGTERM", () => process.exit(0));
""",
}
DOCKERFILE = {
    "Dockerfile": """\
ARG PYTHON_IMAGE=python:3.11-slim
FROM ${PYTHON_IMAGE}
WORKDIR /srv
COPY server.py .
EXPOSE 8000
HEALTHCHECK CMD curl -f http://localhost:8000/health || exit 1
CMD ["python3", \\
     "server.py", "--port", "8000"]
""",
    "server.py": """\
import http.server
import signal
import sys


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *arguments):
        pass


signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2])), Handler).serve_forever()
""",
}
RENDER = {
    "app.py": FLASK["app.py"],
    "requirements.txt": FLASK["requirements.txt"],
    "render.yaml": """\
services:
  - type: web
    name: api
    runtime: python
    plan: starter
    startCommand: gunicorn app:app --bind 0.0.0.0:10000
    healthCheckPath: /healthz
    envVars:
      - { key: API_KEY, sync: false }
      - { key: WEB_CONCURRENCY, value: 1 }
  - { type: worker, name: jobs, runtime: python, plan: starter, startCommand: python jobs.py }
""",
}
SERVICES: dict[str, Mapping[str, str]] = {
    "flask": FLASK,
    "fastapi": FASTAPI,
    "django": DJANGO,
    "node": NODE,
    "dockerfile": DOCKERFILE,
    "render": RENDER,
}


def fill(directory: Path, files: Mapping[str, str]) -> Path:
    """Write the files below `directory`."""
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return directory
