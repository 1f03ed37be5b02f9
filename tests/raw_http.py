"""Bytes sent to a server as they are, for what no client library would send."""

import re
import socket

LIVE = b"GET /health/live HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n\r\n"


def send_raw(port: int, sent: bytes) -> list[int]:
    """Send bytes over a connection of their own; return the statuses of all answers until the server closes it."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(sent)
        got = b""
        while piece := connection.recv(65536):
            got += piece
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", got)]


def ambiguous(body: bytes, inner: bytes, *, path: str = "/health/live", length: int) -> bytes:
    """Write a request whose Content-Length is not that of its chunks, with another request behind its last chunk."""
    chunks = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n"
    method = "POST" if body else "GET"
    fields = f"Host: hub\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nTransfer-Encoding: chunked"
    return f"{method} {path} HTTP/1.1\r\n{fields}\r\n\r\n".encode() + chunks + inner
