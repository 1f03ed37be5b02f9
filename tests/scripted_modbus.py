"""A TCP server that answers Modbus requests with the very bytes that a test dictates."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

Answer = Callable[["Asked", asyncio.StreamWriter], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as it arrived."""

    transaction_id: int
    unit_id: int
    function_code: int
    address: int
    count: int

    def frame(
        self,
        body: bytes,
        *,
        transaction_id: int | None = None,
        unit_id: int | None = None,
        function_code: int | None = None,
        protocol_id: int = 0,
    ) -> bytes:
        """Build an answer around `body`, right but for what the keywords change."""
        header = (
            (self.transaction_id if transaction_id is None else transaction_id).to_bytes(2)
            + protocol_id.to_bytes(2)
            + (2 + len(body)).to_bytes(2)
            + (self.unit_id if unit_id is None else unit_id).to_bytes(1)
        )
        return header + (self.function_code if function_code is None else function_code).to_bytes(1) + body


def registers(*words: int) -> bytes:
    """Build the body of an answer that holds registers."""
    return bytes([2 * len(words)]) + b"".join(word.to_bytes(2) for word in words)


@dataclass(slots=True)
class ScriptedServer:
    """Answers the n-th request with the n-th answer of the script, and later ones with the last."""

    port: int
    asked: list[Asked] = field(default_factory=list)
    connections: int = 0


@asynccontextmanager
async def scripted_server(*script: Answer, port: int = 0) -> AsyncIterator[ScriptedServer]:
    """Serve the script on this machine, on a free port unless one is given."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        state.connections += 1
        try:
            while True:
                raw = await reader.readexactly(12)
                asked = Asked(
                    transaction_id=int.from_bytes(raw[0:2]),
                    unit_id=raw[6],
                    function_code=raw[7],
                    address=int.from_bytes(raw[8:10]),
                    count=int.from_bytes(raw[10:12]),
                )
                state.asked.append(asked)
                await script[min(len(state.asked), len(script)) - 1](asked, writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", port)
    state = ScriptedServer(server.sockets[0].getsockname()[1])
    async with server:
        yield state


def with_registers(*words: int) -> Answer:
    """Answer properly."""

    async def answer(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(asked.frame(registers(*words)))

    return answer


def with_bytes(build: Callable[[Asked], bytes]) -> Answer:
    """Answer with whatever `build` makes of the request."""

    async def answer(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(build(asked))

    return answer


async def with_silence(asked: Asked, writer: asyncio.StreamWriter) -> None:
    """Do not answer."""
