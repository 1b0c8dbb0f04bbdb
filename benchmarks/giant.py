"""A service of giant bodies: GET answers with one, POST takes one and answers with its SHA-256.

Argument: its port on 127.0.0.1. ``pieces`` is what a GET of ``/?BYTES`` consists of, for comparing.
"""

import hashlib
import random
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import BinaryIO

PIECE_BYTES = 256 * 1024
FILLING = random.Random(0).randbytes(PIECE_BYTES)


def pieces(size: int) -> Iterator[bytes]:
    """A body of *size* bytes in which no two pieces are alike, so that a lost or doubled one shows."""
    for number in range(0, size, PIECE_BYTES):
        piece = number.to_bytes(8, "big") + FILLING[8:]
        yield piece[: size - number]


def _serve(connection: socket.socket) -> None:
    with suppress(OSError), connection, connection.makefile("rb") as lines:
        while request := lines.readline():
            fields = {}
            while (line := lines.readline().strip()) != b"":
                name, _, value = line.partition(b":")
                fields[name.lower()] = value.strip()
            if request.startswith(b"GET "):
                _say(connection, int(request.split()[1].partition(b"?")[2] or 0))
            else:
                _take(connection, lines, int(fields.get(b"content-length", 0)))


def _say(connection: socket.socket, size: int) -> None:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: {size}\r\n\r\n"
    connection.sendall(head.encode())
    for piece in pieces(size):
        connection.sendall(piece)


def _take(connection: socket.socket, lines: BinaryIO, size: int) -> None:
    digest = hashlib.sha256()
    while size:
        piece = lines.read(min(size, PIECE_BYTES))
        if not piece:
            raise ConnectionResetError("the body ended early")
        digest.update(piece)
        size -= len(piece)
    told = digest.hexdigest().encode()
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(told), told))


def main() -> None:
    """Listen until the process is ended."""
    with socket.create_server(("127.0.0.1", int(sys.argv[1]))) as server:
        while True:
            connection, _ = server.accept()
            threading.Thread(target=_serve, args=(connection,), daemon=True).start()


if __name__ == "__main__":
    main()
