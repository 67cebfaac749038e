"""One user's way to the service: the exchange itself, with the library that Locust's own fast client is made of.

Locust's client makes three more objects and an event of each request, for statistics that nobody reads here. Only for the
Locust subprocess.
"""

import logging
from http.cookiejar import CookieJar
from typing import Any, Final, NamedTuple

import gevent
from geventhttpclient.client import HTTPClientPool
from geventhttpclient.header import Headers
from geventhttpclient.url import URL
from geventhttpclient.useragent import CompatRequest, CompatResponse
from locust.contrib.fasthttp import FAILURE_EXCEPTIONS, FastHttpSession

from loadtests.recording import classify
from loadtests.requestlog import RequestOutcome

_ENCODINGS: Final = "gzip, deflate, br"

logger = logging.getLogger(__name__)


class Message(NamedTuple):
    """A request as it will be sent, however often.

    target   path and query, percent-encoded
    body     None: without one
    """

    url: URL
    target: str
    body: bytes | None


class Answer(NamedTuple):
    """What came of an exchange.

    status_code   0: there was no HTTP answer
    content       the body after decompression
    failure       why there is no whole answer, None where there is one
    """

    status_code: int
    content: bytes
    failure: RequestOutcome | None = None
    error: BaseException | None = None


class QuickCookieJar(CookieJar):
    """Keeps cookies like its base, but costs next to nothing with a service that sets none."""

    @property
    def holds_any(self) -> bool:
        return next(iter(self), None) is not None

    def add_cookie_header(self, request: Any) -> None:
        if self.holds_any:
            super().add_cookie_header(request)

    def extract_cookies(self, response: Any, request: Any) -> None:
        if "set-cookie" in response.headers:
            super().extract_cookies(response, request)


class Sender:
    """Sends one user's requests over one connection, which is kept, and keeps the service's cookies."""

    def __init__(self, client: FastHttpSession, method: str, headers: dict[str, str], timeout_s: float) -> None:
        """`client`: Locust's, whose settings and cookies hold here as well. `timeout_s` bounds a whole exchange."""
        self._base = client.base_url
        # A bound of each network operation as well would be a timer more for each.
        unbounded = {"connection_timeout": None, "network_timeout": None, "concurrency": 1}
        self._pool = HTTPClientPool(**{**client.client.clientpool.client_args, **unbounded})
        self._jar = client.cookiejar = client.client.cookiejar = QuickCookieJar()
        self._method = method
        self._timeout_s = timeout_s
        self._headers = Headers(headers)
        self._headers.setdefault("Accept-Encoding", _ENCODINGS)
        if client.auth_header:
            self._headers["Authorization"] = client.auth_header
        self._http: Any = None

    def message(self, path: str, body: bytes | None) -> Message:
        """What is to be sent to `path`, which begins with a slash and may have a query."""
        url = URL(f"{self._base}{path}")
        return Message(url, url.quoted_uri, body)

    def exchange(self, message: Message) -> Answer:
        """Send it and take in the answer; whatever goes wrong is in there.

        Only what ends this greenlet is raised.
        """
        status = 0
        limit = gevent.Timeout.start_new(self._timeout_s)
        try:
            if self._http is None:
                self._http = self._pool.get_client(message.url)
            headers = self._with_cookies(message) if self._jar.holds_any else self._headers
            response = self._http.request(self._method, message.target, message.body, headers)
            status = response.get_code()
            found = response.info()
            if "set-cookie" in found:
                self._jar.extract_cookies(CompatResponse(response), self._as_request(message))
            body = CompatResponse(response).content if "content-encoding" in found else response.read()
            return Answer(status, body)
        except FAILURE_EXCEPTIONS as error:
            failure = classify(error, 0)
            if failure is RequestOutcome.TIMEOUT:
                # A time-out while sending leaves the only connection slot taken.
                self._pool.close()
                self._http = None
            return Answer(status, b"", failure, error)
        except Exception as error:
            # Whatever it is: an answer that the client cannot read.
            logger.debug("unreadable answer: %r", error)
            return Answer(0, b"", RequestOutcome.UNEXPECTED_BODY, error)
        finally:
            limit.close()

    def _with_cookies(self, message: Message) -> Headers:
        request = self._as_request(message)
        self._jar.add_cookie_header(request)
        return request.headers

    def _as_request(self, message: Message) -> CompatRequest:
        """As a cookie jar knows requests."""
        return CompatRequest(message.url, self._method, self._headers.copy(), message.body)
