"""A raw WebSocket server in a process of its own: answers the handshake, then sends prepared frames as fast as it can.

Run as `python -m perp_bot.bench.flood_server MESSAGES CLIENTS`: prints its port, serves the clients one after the
other, each with the same messages, and ends.
"""

from __future__ import annotations

import base64
import hashlib
import json
import random
import socket
import struct
import sys

COINS = ("BTC", "ETH")
START_MS = 1_790_232_236_546

_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455
_LEVELS = 20
_FRAMES_A_BLOCK = 64
_MESSAGES_A_MS = 100  # how fast the venue's time passes in the messages: it never overtakes the wall clock
_FIRST_TID = 10**14


def messages(count: int, seed: int = 42) -> list[bytes]:
    """Return `count` messages, every other one an l2Book of 20 levels, the rest 1 to 4 trades; no two alike."""
    rng = random.Random(seed)
    made = (_trades if number % 2 else _book for number in range(count))
    return [
        json.dumps(make(COINS[number // 2 % len(COINS)], number, rng), separators=(",", ":")).encode()
        for number, make in enumerate(made)
    ]


def _book(coin: str, number: int, rng: random.Random) -> dict[str, object]:
    mid = 84_000 + rng.randrange(1_000)
    levels = [
        [
            {"px": f"{mid + side * (step + 1)}.0", "sz": f"{rng.uniform(0.01, 20):.5f}", "n": rng.randrange(1, 40)}
            for step in range(_LEVELS)
        ]
        for side in (-1, 1)
    ]
    return {"channel": "l2Book", "data": {"coin": coin, "time": _time_ms(number), "levels": levels}}


def _trades(coin: str, number: int, rng: random.Random) -> dict[str, object]:
    rows = [
        {
            "coin": coin,
            "side": rng.choice("AB"),
            "px": f"{84_000 + rng.randrange(1_000)}.0",
            "sz": f"{rng.uniform(0.001, 3):.5f}",
            "hash": f"0x{rng.getrandbits(256):064x}",
            "time": _time_ms(number),
            "tid": _FIRST_TID + number * 4 + index,
            "users": [f"0x{rng.getrandbits(160):040x}" for _ in range(2)],
        }
        for index in range(rng.randrange(1, 5))
    ]
    return {"channel": "trades", "data": rows}


def _time_ms(number: int) -> int:
    return START_MS + number // _MESSAGES_A_MS


def _frame(payload: bytes) -> bytes:
    size = len(payload)
    if size < 126:
        return bytes((0x81, size)) + payload
    if size < 65_536:
        return b"\x81\x7e" + struct.pack("!H", size) + payload
    return b"\x81\x7f" + struct.pack("!Q", size) + payload


def _shake_hands(client: socket.socket) -> None:
    request = b""
    while b"\r\n\r\n" not in request:
        request += client.recv(4096)
    lines = (line.partition(b":") for line in request.split(b"\r\n"))
    key = next(value.strip() for name, _, value in lines if name.lower() == b"sec-websocket-key")
    accept = base64.b64encode(hashlib.sha1(key + _MAGIC, usedforsecurity=False).digest())
    head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
    client.sendall(head + accept + b"\r\n\r\n")


def serve(count: int, clients: int) -> None:
    """Send `count` messages to each of `clients` connections in turn."""
    frames = [_frame(message) for message in messages(count)]
    blocks = [b"".join(frames[at : at + _FRAMES_A_BLOCK]) for at in range(0, count, _FRAMES_A_BLOCK)]
    with socket.create_server(("127.0.0.1", 0)) as server:
        print(server.getsockname()[1], flush=True)
        for _ in range(clients):
            client, _address = server.accept()
            with client:
                _shake_hands(client)
                for block in blocks:
                    client.sendall(block)
                while client.recv(65_536):  # the client ends it
                    pass


if __name__ == "__main__":
    serve(int(sys.argv[1]), int(sys.argv[2]))
