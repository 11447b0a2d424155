"""HTTP connections of the server: limits of their number and times, and a close that loses no answer."""

import asyncio
import socket
import struct
from contextlib import suppress
from http import HTTPStatus
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from hsipipe.serving.failures import RequestError, body_of, headers_of, shutting_down
from hsipipe.serving.limits import Limits

_LINGER_S = 2.0
"""Longest time in s of reading on after the last answer."""
_LAST_S = 1.0
"""Time in s in which a request that is on its way at the shutdown still gets an answer."""


class Connection(H11Protocol):
    """Bound the number of connections, the time of a request's head and the time of an answer.

    uvicorn has no setting for these. Its keep-alive timeout starts after the first answer and ends at the next byte,
    `limit_concurrency` counts a connection only when it sends a request, and an ASGI application cannot abort a
    transport whose peer does not read. Invalid HTTP gets an error in JSON, like any other error.
    """

    limits: Limits
    _head: asyncio.TimerHandle | None = None
    _ends = False
    _sending: "_Sending"
    _lingering: "_Lingering"

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the time of the first head, or refuse the connection."""
        # The sending is paused as long as any byte is not sent, so that its time is measured.
        transport.set_write_buffer_limits(high=0)
        self._lingering = _Lingering(transport, self.loop)
        self._sending = _Sending(transport, self.loop, self.limits)
        super().connection_made(self._lingering)
        if len(self.connections) > self.limits.connections:
            message = f"{self.limits.connections} connections are open; try again later."
            self._refuse(RequestError(503, message, retry_s=5))
            if len(self.connections) > 2 * self.limits.connections:
                transport.close()
        else:
            self._watch_head()

    def data_received(self, data: bytes) -> None:
        """Handle bytes of the client; drop them once the connection is closing."""
        if not self.transport.is_closing():
            super().data_received(data)
            self._watch_head()

    def on_response_complete(self) -> None:
        """Start the time of the next head."""
        self._sending.answered()
        super().on_response_complete()
        # The head of this answer was sent before the shutdown, so that the client may send its next request.
        if self._ends and not self.transport.is_closing():
            self.loop.call_later(_LAST_S, self._end_idle)
        self._watch_head()

    def pause_writing(self) -> None:
        """Start the time of the answer."""
        super().pause_writing()
        self._sending.pause()

    def resume_writing(self) -> None:
        """Stop the time of the answer."""
        self._sending.resume()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop all timers."""
        self._head = _cancelled(self._head)
        self._sending.stop()
        self._lingering.stop()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Refuse invalid HTTP in JSON."""
        self._refuse(RequestError(400, f"{msg} Expected HTTP/1.1, for example from curl."))

    def shutdown(self) -> None:
        """Close after the time for a request that is on its way; until then every answer asks the client to close."""
        self._ends = True
        if self._is_idle():
            self.loop.call_later(_LAST_S, self._end_idle)

    def _is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _end_idle(self) -> None:
        if self._is_idle() and self.conn.trailing_data[0]:
            self._refuse(shutting_down())
        elif self._is_idle():
            self.transport.close()

    def _watch_head(self) -> None:
        """Run the timer only while a head is incomplete; an idle connection has uvicorn's keep-alive timeout."""
        idle = self.conn.their_state is h11.IDLE and not self.transport.is_closing()
        if not (idle and (self.cycle is None or self.conn.trailing_data[0])):
            self._head = _cancelled(self._head)
        elif self._head is None:
            self._head = self.loop.call_later(self.limits.head_s, self._end_head)

    def _end_head(self) -> None:
        if self.conn.trailing_data[0]:
            self._refuse(RequestError(408, f"No complete head of a request within {self.limits.head_s:g} s."))
        else:
            self.transport.close()

    def _refuse(self, error: RequestError) -> None:
        """Send an error outside of any request, and close the connection."""
        body = body_of(str(error))
        headers = {
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            "Connection": "close",
            **headers_of(error),
        }
        head = h11.Response(
            status_code=error.status, headers=list(headers.items()), reason=HTTPStatus(error.status).phrase
        )
        with suppress(h11.LocalProtocolError):  # an answer has begun
            for event in (head, h11.Data(data=body), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()


class _Lingering(asyncio.Transport):
    """Transport that closes in two steps: end the sending, then read on until the client closes.

    To close a socket with unread bytes resets the connection, and the client may lose the answer.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._transport, self._loop = transport, loop
        self._is_closed = False
        self._end: asyncio.TimerHandle | None = None

    def close(self) -> None:
        """End the sending; close when the client does, or after the longest time."""
        if self._is_closed:
            return
        self._is_closed = True
        self._end = self._loop.call_later(_LINGER_S, self._transport.close)
        self._transport.resume_reading()
        with suppress(OSError):  # the client has reset the connection
            self._transport.write_eof()

    def stop(self) -> None:
        """Stop the timer of a lost connection."""
        self._is_closed, self._end = True, _cancelled(self._end)

    def is_closing(self) -> bool:
        return self._is_closed or self._transport.is_closing()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self._is_closed:
            self._transport.write(data)

    def pause_reading(self) -> None:
        if not self._is_closed:
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        self._transport.resume_reading()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._transport.get_extra_info(name, default)


class _Sending:
    """Abort a connection whose client takes an answer too slowly.

    An answer has `answer_s` seconds, and one second more for each `answer_rate` bytes. The time counts while bytes wait
    for the client. `stall_s` bounds the time without any progress.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, limits: Limits) -> None:
        self._transport, self._loop, self._limits = transport, loop, limits
        self._spare_s = limits.answer_s
        self._until, self._is_answered = 0.0, False
        self._waiting = 0
        self._check: asyncio.TimerHandle | None = None

    def pause(self) -> None:
        """Start the time: bytes wait for the client."""
        if self._is_answered:
            self._spare_s, self._is_answered = self._limits.answer_s, False
        self._waiting = self._transport.get_write_buffer_size()
        self._until = self._loop.time() + self._spare_s + self._waiting / self._limits.answer_rate
        self._watch()

    def resume(self) -> None:
        """Stop the time: no bytes wait for the client."""
        self._check = _cancelled(self._check)
        self._spare_s = self._until - self._loop.time()

    def answered(self) -> None:
        """Give the next answer its full time."""
        self._is_answered = True

    def stop(self) -> None:
        """Stop the timer of a lost connection."""
        self._check = _cancelled(self._check)

    def _watch(self) -> None:
        left = self._until - self._loop.time()
        self._check = self._loop.call_later(min(self._limits.stall_s, left), self._compare)

    def _compare(self) -> None:
        waiting = self._transport.get_write_buffer_size()
        if waiting >= self._waiting or self._loop.time() >= self._until:
            if (connection := self._transport.get_extra_info("socket")) is not None:
                # Drop the bytes in the kernel too: it would keep megabytes of them for minutes.
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._transport.abort()
        else:
            self._waiting = waiting
            self._watch()


def _cancelled(timer: asyncio.TimerHandle | None) -> asyncio.TimerHandle | None:
    """Cancel a timer, and return None in its place."""
    if timer is not None:
        timer.cancel()
    return None
