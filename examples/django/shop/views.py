"""POST /api/similar: which products of the catalogue are most like one that a customer looks at."""

from __future__ import annotations

import json
from typing import Any

from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_GET, require_POST

from shop.catalogue import Catalogue

CATALOGUE = Catalogue()


class InvalidError(Exception):
    """What is wrong with a request's body, for whoever sent it."""


@require_GET
def health(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"status": "ok"})


@require_POST
def similar(request: HttpRequest) -> JsonResponse:
    try:
        session_id, product = _question(request.body)
    except InvalidError as error:
        return JsonResponse({"error": str(error)}, status=400)
    found = CATALOGUE.similar(product, 5)
    products = [{"name": CATALOGUE.name(number), "likeness": round(likeness, 3)} for number, likeness in found]
    return JsonResponse({"session_id": session_id, "product": product, "similar": products})


def _question(body: bytes) -> tuple[str, str]:
    """Session and product. Raises InvalidError."""
    try:
        question: Any = json.loads(body)
    except ValueError as error:
        raise InvalidError("the body is not JSON") from error
    if not isinstance(question, dict):
        raise InvalidError("the body must be a JSON object")
    for field in ("session_id", "product"):
        value = question.get(field)
        if not isinstance(value, str) or not 1 <= len(value) <= 200:
            raise InvalidError(f"{field} must be text of 1 to 200 characters")
    return question["session_id"], question["product"]
