"""PostgreSQL's notices as they come, on a connection of their own that is opened again whenever it breaks."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import psycopg2
import psycopg2.extensions
import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from cloud_hub.events.order import CHANNEL, Notice, parse_notice

_AGAIN_AFTER_S: Final = 1.0

log = structlog.get_logger(__name__)


async def keep_listening(engine: Engine, threads: ThreadPoolExecutor, tell: Callable[[Notice], None]) -> None:
    """Hand on what is told of events, for ever. After a break everybody has to look: something may have been missed."""
    loop = asyncio.get_running_loop()
    while True:
        try:
            connection = await loop.run_in_executor(threads, _open, engine)
        except (DBAPIError, psycopg2.Error) as error:
            log.warning("events_not_listened_to", error=str(error).partition("\n")[0])
            await asyncio.sleep(_AGAIN_AFTER_S)
            continue
        try:
            tell(Notice(is_for_all=True))
            await _hand_on(connection, tell)
        finally:
            connection.close()


async def _hand_on(connection: psycopg2.extensions.connection, tell: Callable[[Notice], None]) -> None:
    """Hand on until the connection breaks."""
    loop = asyncio.get_running_loop()
    broken: asyncio.Future[None] = loop.create_future()

    def read() -> None:
        try:
            connection.poll()
        except psycopg2.Error as error:
            log.warning("events_not_listened_to", error=str(error).partition("\n")[0])
            if not broken.done():
                broken.set_result(None)
            return
        while connection.notifies:
            tell(parse_notice(connection.notifies.pop(0).payload))

    number = connection.fileno()
    loop.add_reader(number, read)
    try:
        await broken
    finally:
        loop.remove_reader(number)


def _open(engine: Engine) -> psycopg2.extensions.connection:
    pooled = engine.raw_connection()
    connection: psycopg2.extensions.connection = pooled.driver_connection  # type: ignore[assignment] # psycopg2 is the driver
    pooled.detach()  # the pool must not hand it to anybody
    connection.rollback()
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(f"LISTEN {CHANNEL}")
    return connection
