"""Open the stream's connection: TCP, TLS, WebSocket handshake, each with a deadline and stoppable."""

from __future__ import annotations

import select
import socket
import ssl
import threading
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import websocket

from perp_bot.core.clock import monotonic_s

_SLICE_S = 0.1


class Stopped(Exception):
    """Connecting was given up because the owner stops."""


class Dialer:
    """Make one connection at a time; `abort` from another thread ends the attempt under way."""

    def __init__(self, url: str, stop: threading.Event, timeout_s: float) -> None:
        self._url = url
        self._stop = stop
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None

    def dial(self) -> Any:
        """Return a connected WebSocket.

        Raises:
            Stopped: when the owner stopped meanwhile.
            OSError: when the address does not answer (time-outs and TLS errors are OSErrors).
            websocket.WebSocketException: when the server does not speak WebSocket.
        """
        stream: Any = websocket.WebSocket(skip_utf8_validation=True, enable_multithread=True)
        proxy = _proxy_of(self._url)
        if proxy is not None:
            host, port = proxy
            stream.connect(self._url, timeout=self._timeout_s, http_proxy_host=host, http_proxy_port=port)
            self._own(stream.sock)
            return stream
        parts = urlsplit(self._url)
        is_secure = parts.scheme == "wss"
        host = parts.hostname or ""
        raw = self._connect_tcp(host, parts.port or (443 if is_secure else 80))
        try:
            if is_secure:
                raw = _tls_context().wrap_socket(raw, server_hostname=host)
                self._own(raw)
            stream.connect(self._url, socket=raw, timeout=self._timeout_s)
        except BaseException:
            raw.close()
            if self._stop.is_set():
                raise Stopped from None
            raise
        return stream

    def abort(self) -> None:
        """Wake whoever is blocked on the connection."""
        with self._lock:
            current = self._socket
        if current is not None:
            try:
                current.shutdown(socket.SHUT_RDWR)
            except OSError:
                return  # not connected yet, or closed already: nobody is blocked on it

    def _own(self, raw: socket.socket) -> None:
        with self._lock:
            self._socket = raw
        if self._stop.is_set():
            raw.close()
            raise Stopped

    def _connect_tcp(self, host: str, port: int) -> socket.socket:
        deadline_s = monotonic_s() + self._timeout_s
        problem: OSError | None = None
        for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            raw = socket.socket(family, kind, protocol)
            try:
                self._own(raw)
                self._await_connect(raw, address, deadline_s)
                raw.settimeout(self._timeout_s)
                raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                return raw
            except OSError as error:
                raw.close()
                problem = error
            except Stopped:
                raw.close()
                raise
        raise problem or OSError(f"{host} has no address")

    def _await_connect(self, raw: socket.socket, address: Any, deadline_s: float) -> None:
        raw.setblocking(False)
        code = raw.connect_ex(address)
        while True:
            if self._stop.is_set():
                raise Stopped
            left_s = deadline_s - monotonic_s()
            if left_s <= 0:
                raise TimeoutError(f"no connection within {self._timeout_s:g} s")
            _, writable, _ = select.select([], [raw], [], min(_SLICE_S, left_s))
            if writable:
                code = raw.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if code:
                    raise OSError(code, "connection failed")
                return


def _tls_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    try:
        import certifi
    except ImportError:
        return context  # the system's own certificates, then
    context.load_verify_locations(certifi.where())
    return context


def _proxy_of(url: str) -> tuple[str, int] | None:
    """Return the HTTP proxy that the environment names for `url` (REST takes the same)."""
    parts = urlsplit(url)
    scheme = "https" if parts.scheme == "wss" else "http"
    proxy = getproxies().get(scheme)
    if not proxy or not parts.hostname or proxy_bypass(parts.hostname):
        return None
    found = urlsplit(proxy if "//" in proxy else f"//{proxy}")
    return (found.hostname, found.port or 80) if found.hostname else None
