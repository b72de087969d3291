"""A proxy that plays Google: TensorFlow has the hosts of its buckets compiled in, but no client
minds which proxy it is sent through, nor who signed the certificate, if its environment says so.

It ends TLS for the hosts that it plays and hands their requests to a stand-in; every other host is
refused and noted in `leaks`. The same port answers plain HTTP, for clients that take an address.
"""

import ssl
import tempfile
import threading
from collections import deque
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

import trustme  # a certificate in four lines, with no openssl needed on PATH

SECONDS = 60  # a connection is dropped when nothing comes for so long
CONNECTIONS = 64  # at a time; further ones wait
MOST_BYTES = 1 << 28  # of a request's body
LOST = "lost"  # a fault: the request is carried out, but its answer never arrives


@dataclass(frozen=True)
class Request:
    method: str
    base: str  # https://storage.googleapis.com, or http://127.0.0.1:PORT
    path: list[str]  # between the slashes; a name may hold slashes of its own
    query: dict[str, str]
    headers: dict  # an email.message.Message: get() knows no upper and lower case
    body: bytes


class Response(NamedTuple):
    status: int
    body: bytes = b""
    headers: dict[str, str] = {}  # noqa: RUF012 — never changed


class Proxy(ThreadingHTTPServer):
    """Serves `hosts`, {name: function from Request to Response}, inside a `with` block.

    A name such as *.example.com stands for all names in a domain.

    A function that gives None drops the connection without an answer.

    Attributes:
        requests: (method, path, status) of each request, in the order of their answers.
        leaks: the hosts that were asked for and that nobody plays here.
        faults: what happens to the next requests, one each: a status such as 503, LOST, or None.
    """

    def __init__(self, hosts):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.hosts = hosts
        self.requests: list[tuple[str, str, int]] = []
        self.leaks: list[str] = []
        self.faults: deque[int | str | None] = deque()
        self.slots = threading.BoundedSemaphore(CONNECTIONS)
        authority = trustme.CA()
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(*hosts).configure_cert(self.tls)
        self.folder = tempfile.TemporaryDirectory()
        self.trust = Path(self.folder.name) / "authority.pem"
        authority.cert_pem.write_to_path(str(self.trust))

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def environ(self) -> dict[str, str]:
        """What makes a process talk to this proxy, and to nothing else."""
        names = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")
        trust = ("CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")
        return {
            **dict.fromkeys(names, self.address),
            **dict.fromkeys(trust, str(self.trust)),
            "no_proxy": "127.0.0.1,localhost",
            "NO_PROXY": "127.0.0.1,localhost",
            "GOOGLE_AUTH_TOKEN_FOR_TESTING": "token",  # else TensorFlow looks for credentials
            "NO_GCE_CHECK": "true",  # and asks whether this is a machine of Google's
            "GCS_RETRY_CONFIG_INIT_DELAY_TIME_US": "10000",  # TensorFlow tries again after 10 ms
        }

    def __enter__(self):
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()
        self.folder.cleanup()

    def process_request(self, request, client_address):
        self.slots.acquire()
        super().process_request(request, client_address)

    def process_request_thread(self, request, client_address):
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.slots.release()

    def handle_error(self, request, client_address):
        """A client that was killed leaves a broken connection: nothing to print."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = SECONDS
    disable_nagle_algorithm = True  # else each answer waits 40 ms
    host = None  # the one played, inside its tunnel

    def do_CONNECT(self):
        host = self.path.rpartition(":")[0]
        played = {host, f"*.{host.partition('.')[2]}"} & set(self.server.hosts)
        if not played:
            return self._refuse(host)
        self.send_response(200)
        self.end_headers()
        self.close_connection = False  # before Python 3.12, urllib asks for a tunnel by HTTP/1.0
        self.host = played.pop()
        self.connection = self.server.tls.wrap_socket(self.connection, server_side=True)
        self.rfile = self.connection.makefile("rb")
        self.wfile = self.connection.makefile("wb")

    def finish(self):
        super().finish()
        self.connection.close()  # the base class knows nothing of the TLS around its socket

    def answer(self):
        url = urlsplit(self.path)
        if url.hostname:  # http:// by way of a proxy; nothing of Google's is without TLS
            return self._refuse(url.hostname)
        body = self._body()
        if body is None:
            self.close_connection = True
            return self._send(Response(413))
        request = Request(
            self.command,
            f"https://{self.host}" if self.host else self.server.address,
            [unquote(part) for part in url.path.split("/")[1:]],
            dict(parse_qsl(url.query)),
            self.headers,
            body,
        )
        try:
            fault = self.server.faults.popleft()
        except IndexError:
            fault = None
        play = self.server.hosts[self.host or next(iter(self.server.hosts))]
        response = Response(fault) if isinstance(fault, int) else play(request)
        status = response.status if response else 0
        self.server.requests.append((self.command, self.path, status))
        if fault == LOST or response is None:
            self.close_connection = True
        else:
            self._send(response)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = answer

    def _body(self):
        """The request's body; None where it is too large. TensorFlow uploads in chunks."""
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            length = int(self.headers.get("Content-Length") or 0)
            return self.rfile.read(length) if length <= MOST_BYTES else None
        body = bytearray()
        while size := int(self.rfile.readline(), 16):
            if len(body) + size > MOST_BYTES:
                return None
            body += self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass  # trailing headers
        return bytes(body)

    def end_headers(self):
        super().end_headers()
        self.wfile.flush()  # at once: after "100 Continue" the client sends, and it waits for that

    def _refuse(self, host):
        self.server.leaks.append(host)
        self.close_connection = True
        self._send(Response(403))

    def _send(self, response):
        self.send_response(response.status)
        for name, value in {**response.headers, "Content-Length": len(response.body)}.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(response.body)
        self.wfile.flush()

    def log_message(self, *_):
        """The tests look at `requests`."""
