"""A Modbus TCP client that sees every byte."""

import socket
import ssl
import struct
from typing import Protocol

WAIT_S = 10


class Address(Protocol):
    """Where a server listens."""

    host: str
    port: int


class Client:
    """Writes requests and reads what comes back, in Modbus TCP or as bytes."""

    def __init__(self, server: Address, *, tls: ssl.SSLContext | None = None) -> None:
        plain = socket.create_connection((server.host, server.port), timeout=WAIT_S)
        self.socket = tls.wrap_socket(plain, server_hostname=server.host) if tls is not None else plain
        self.transaction_id = 0

    def send(self, address: int, count: int, *, function_code: int = 4, unit_id: int = 1) -> None:
        self.send_pdu(struct.pack(">BHH", function_code, address, count), unit_id=unit_id)

    def send_pdu(self, pdu: bytes, *, unit_id: int = 1) -> None:
        self.transaction_id += 1
        self.socket.sendall(struct.pack(">HHHB", self.transaction_id, 0, len(pdu) + 1, unit_id) + pdu)

    def receive(self) -> tuple[int, int, bytes]:
        """Return transaction id, unit id and PDU of the next answer."""
        transaction_id, _, length, unit_id = struct.unpack(">HHHB", self.exactly(7))
        return transaction_id, unit_id, self.exactly(length - 1)

    def ask(self, address: int, count: int, *, function_code: int = 4, unit_id: int = 1) -> bytes:
        return self.ask_pdu(struct.pack(">BHH", function_code, address, count), unit_id=unit_id)

    def ask_pdu(self, pdu: bytes, *, unit_id: int = 1) -> bytes:
        self.send_pdu(pdu, unit_id=unit_id)
        transaction_id, answering_unit, answer = self.receive()
        assert (transaction_id, answering_unit) == (self.transaction_id, unit_id)
        return answer

    def is_silent(self) -> bool:
        """Say whether nothing arrives; a request that is answered later in order proves that nothing was due."""
        self.socket.settimeout(0.2)
        try:
            return not self.socket.recv(1)
        except TimeoutError:
            return True
        finally:
            self.socket.settimeout(WAIT_S)

    def exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            part = self.socket.recv(count - len(data))
            if not part:
                raise EOFError
            data += part
        return data

    def close(self) -> None:
        self.socket.close()
