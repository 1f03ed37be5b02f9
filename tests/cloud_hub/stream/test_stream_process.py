"""`meterhaul hub stream` as it is run: with its own process, a token, and the signals of a service manager."""

import os
import signal
import sys
from pathlib import Path

from people_factories import add_person
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session
from stream_reader import Reader
from token_factories import bearer, make_token
from webhook_factories import tell

from cloud_hub.access.permissions import Permission, Role
from cloud_hub.web.secret_key import create_secret_key
from cloud_hub.webhooks.fanning import fan_out
from demo.processes import Process, accepts_connections, free_port, wait_until


def test_the_process_streams_to_a_token_and_ends_in_good_order(
    database_url: str, engine: Engine, session: Session, tmp_path: Path
) -> None:
    user = add_person(session, "ann@example.org", 1, Role.VIEWER)
    _, token = make_token(session, user, (Permission.EVENTS_READ,))
    _, poor_token = make_token(session, user, (Permission.SITES_READ,))
    create_secret_key(tmp_path / "key")
    port = free_port()
    process = Process(
        "stream",
        [sys.executable, "-m", "meterhaul.cli", "hub", "stream", "--port", str(port)],
        log_file=tmp_path / "stream.log",
        env={"METERHAUL_DATABASE_URL": database_url, "METERHAUL_SECRET_KEY_FILE": str(tmp_path / "key")},
    )
    process.start()
    try:
        wait_until(lambda: process.require_running() and accepts_connections(port), 30, "the stream process")
        poor = Reader(port, bearer(poor_token))
        assert poor.status == 403
        poor.close()
        reader = Reader(port, bearer(token))
        assert reader.next_of("ready")
        tell(session, "meter.made")
        fan_out(engine)
        assert reader.kinds(1) == ["meter.made"]
        assert session.scalar(text("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'")) == 1
        os.kill(process.pid, signal.SIGTERM)
        assert reader.next_of("end").data == {"reason": "restart"}
        reader.close()
        assert process.wait(15) == 0
    finally:
        process.stop()
    assert b"Traceback" not in process.log_file.read_bytes()
