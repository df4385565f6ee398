"""The HTTP thread: one short thread more for each request, as long as it lasts."""

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from urllib.parse import parse_qs, unquote

log = logging.getLogger(__name__)

LARGEST_BODY = 64 * 1024 * 1024


@dataclass(frozen=True)
class Request:
    method: str
    #: Decoded, and without doubled slashes, as Odoo's server understands it.
    path: str
    query: dict[str, str]
    host: str
    scheme: str
    session_id: str | None
    body: bytes = field(repr=False)

    @property
    def form(self) -> dict[str, str]:
        return _single(self.body.decode(errors='replace'))


@dataclass(frozen=True)
class Response:
    status: int
    body: bytes
    content_type: str = 'text/html; charset=utf-8'
    location: str | None = None
    session_id: str | None = None


class HttpService(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], proxy_mode: bool, answer: Callable[[Request], Response]) -> None:
        """Listens from now on; `answer` must not raise."""
        super().__init__(address, Handler)
        self.proxy_mode = proxy_mode
        self.answer = answer

    def server_bind(self) -> None:
        # Not HTTPServer's own, which asks the name service for the host and may wait for it.
        TCPServer.server_bind(self)
        self.server_port = int(self.server_address[1])

    def handle_error(self, request: object, client_address: object) -> None:
        log.debug('a client went away', exc_info=True)


class Handler(BaseHTTPRequestHandler):
    server: HttpService
    #: For a client that connects and says nothing.
    timeout = 60

    def do_GET(self) -> None:
        try:
            length = int(self.headers.get('Content-Length') or 0)
        except ValueError:
            length = -1
        if not 0 <= length <= LARGEST_BODY:
            self.send_error(400 if length < 0 else 413)
            return
        response = self.server.answer(self._request(self.rfile.read(length)))
        self.send_response(response.status)
        self.send_header('Content-Type', response.content_type)
        self.send_header('Content-Length', str(len(response.body)))
        if response.location:
            self.send_header('Location', response.location)
        if response.session_id:
            cookie = f'session_id={response.session_id}; HttpOnly; Max-Age={7 * 24 * 3600}; Path=/'
            self.send_header('Set-Cookie', cookie)
        self.end_headers()
        if self.command != 'HEAD':
            self.wfile.write(response.body)

    do_HEAD = do_POST = do_GET

    def _request(self, body: bytes) -> Request:
        path, _, query = self.path.partition('?')
        host, scheme = self.headers.get('Host', 'localhost'), 'http'
        if self.server.proxy_mode and self.headers.get('X-Forwarded-Host'):
            host = self.headers['X-Forwarded-Host']
            scheme = self.headers.get('X-Forwarded-Proto', scheme)
        try:
            cookie = SimpleCookie(self.headers.get('Cookie', '')).get('session_id')
        except CookieError:
            cookie = None
        return Request(
            method=self.command,
            path=re.sub('/+', '/', unquote(path)),
            query=_single(query),
            host=host,
            scheme=scheme,
            session_id=cookie.value if cookie else None,
            body=body,
        )

    def version_string(self) -> str:
        return 'odoo-stand-in'

    def log_request(self, code: int | str = '-', size: int | str = '-') -> None:
        # Without the query, which may hold what is nobody's business.
        path = self.path.partition('?')[0] if hasattr(self, 'path') else ''
        log.info('%s %s %s', self.command, path.encode('unicode_escape').decode(), code)

    def log_message(self, format: str, *args: object) -> None:
        log.info(format, *args)


def _single(text: str) -> dict[str, str]:
    return {name: values[-1] for name, values in parse_qs(text, keep_blank_values=True).items()}
