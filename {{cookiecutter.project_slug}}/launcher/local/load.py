"""A load test of a prediction server: some connections, each with one request after the other."""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import dataclass, field

LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)


@dataclass
class Load:
    """What the clients saw."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)  # seconds, of the answered requests
    failures: int = 0  # any other status than 200

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.latencies) / self.seconds

    def quantile(self, share: float) -> float:
        """The latency in seconds that this share of the requests did not exceed."""
        return sorted(self.latencies)[int(share * (len(self.latencies) - 1))]


def run(port: int, path: str, body: bytes, connections: int, seconds: float) -> Load:
    """Send the same request on every connection, again and again, to this machine.

    Raises:
        OSError: nobody listens, or a connection was closed.
    """
    head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(body)}\r\n\r\n"
    return asyncio.run(_run(port, head.encode() + body, connections, seconds))


async def _run(port: int, request: bytes, connections: int, seconds: float) -> Load:
    loop, load, clients = asyncio.get_running_loop(), Load(), []
    begin = time.perf_counter()
    for _ in range(connections):
        client = Client(request, load, begin + seconds)
        clients.append(client.ended)
        await loop.create_connection(lambda client=client: client, "127.0.0.1", port)
    await asyncio.gather(*clients)
    load.seconds = time.perf_counter() - begin
    return load


class Client(asyncio.Protocol):
    """One connection. Streams would cost the load generator more than the server."""

    def __init__(self, request: bytes, load: Load, deadline: float):
        self.request, self.load, self.deadline, self.received = request, load, deadline, b""
        self.ended = asyncio.get_running_loop().create_future()

    def connection_made(self, transport) -> None:
        self.transport = transport
        self.send()

    def send(self) -> None:
        self.began = time.perf_counter()
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.received += data
        head = self.received.find(b"\r\n\r\n")
        if head < 0 or len(self.received) < head + 4 + int(LENGTH.search(self.received)[1]):
            return
        now = time.perf_counter()
        if self.received.startswith(b"HTTP/1.1 200"):
            self.load.latencies.append(now - self.began)
        else:
            self.load.failures += 1
        self.received = b""
        if now < self.deadline:
            self.send()
        else:
            self.transport.close()

    def connection_lost(self, error) -> None:
        if time.perf_counter() < self.deadline and not self.ended.done():
            self.ended.set_exception(error or ConnectionError("the server closed a connection"))
        elif not self.ended.done():
            self.ended.set_result(None)
