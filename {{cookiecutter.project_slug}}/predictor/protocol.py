"""HTTP with limits that uvicorn does not have: how long a head may take, and how large it may be.

Without them a client that sends half a head, or a head without an end, keeps a connection or fills
the memory for ever.
"""

from __future__ import annotations

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES = 64 << 10
HEAD_SECONDS = 10.0
BODY_SECONDS = 20.0  # for a body, also for the rest of one that nobody reads


class Protocol(HttpToolsProtocol):
    """uvicorn's protocol; a timer runs while a head, or an unwanted body, is on its way."""

    timer = None
    in_head = False  # a part of it is here
    is_whole = True  # the request
    head_bytes = 0

    def connection_made(self, transport) -> None:
        super().connection_made(transport)
        self._start_timer(HEAD_SECONDS)

    def connection_lost(self, error) -> None:
        self._stop_timer()
        super().connection_lost(error)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.in_head:
            self.head_bytes += len(data)
            if self.head_bytes > HEAD_BYTES:
                self.transport.close()
            elif self.timer is None:
                self._start_timer(HEAD_SECONDS)

    def on_message_begin(self) -> None:
        self.in_head, self.is_whole, self.head_bytes = True, False, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self.in_head = False
        self._stop_timer()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self.is_whole = True
        self._stop_timer()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self.is_whole and self.timer is None:  # it is refused, and the body still comes
            self._start_timer(BODY_SECONDS)

    def _start_timer(self, seconds: float) -> None:
        self.timer = self.loop.call_later(seconds, self._give_up)

    def _stop_timer(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def _give_up(self) -> None:
        self.timer = None
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()
        else:  # the request before it has no response yet
            self.cycle.keep_alive = False
