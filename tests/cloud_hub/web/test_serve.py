import http.client
import json
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from raw_http import LIVE, ambiguous, send_raw
from served_hub import ServedHub

from cloud_hub.errors import DatabaseUnreachable, HubError, NotMigrated, SettingsError
from cloud_hub.serve import PortInUse, claim_port, serve
from cloud_hub.settings import HubSettings
from demo.processes import wait_until


@pytest.fixture
def served(database_url: str, tmp_path: Path) -> Iterator[ServedHub]:
    served = ServedHub(database_url, tmp_path)
    served.start()
    yield served
    served.process.stop()


def settings(database_url: str, key_file: Path | None) -> HubSettings:
    return HubSettings(database_url=SecretStr(database_url), secret_key_path=key_file)


def test_pages_are_served_and_a_stop_leaves_no_process(served: ServedHub) -> None:
    status, body = served.get("/health/ready")
    assert (status, json.loads(body)) == (200, {"status": "ready"})
    assert served.get("/login")[0] == 200
    assert served.get("/static/meterhaul.css")[0] == 200
    workers = served.workers()
    assert served.end() == 0
    assert not any(worker.is_running() for worker in workers)
    assert b"Traceback" not in served.log_file.read_bytes()


def test_a_message_ends_where_its_chunks_do_whatever_its_length_says(served: ServedHub) -> None:
    assert send_raw(served.port, LIVE) == [200]
    body = b'{"email": "nobody@example.org", "password": "correct horse battery"}'
    for length in (3, len(body) + 400):
        # Read by its chunks it is a login that is wrong (401), read by its length no JSON (422), or never whole.
        statuses = send_raw(served.port, ambiguous(body, LIVE, path="/api/v1/auth/token", length=length))
        assert statuses in ([401, 200], [401], [400]), length


def test_a_stop_does_not_wait_for_a_browser_that_keeps_its_connection(served: ServedHub) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=10)
    connection.request("GET", "/login")
    connection.getresponse().read()
    workers = served.workers()
    assert served.end() == 0
    connection.close()
    assert not any(worker.is_running() for worker in workers)


def test_a_killed_main_process_takes_its_workers_along(served: ServedHub) -> None:
    workers = served.workers()
    os.kill(served.process.pid, signal.SIGKILL)
    wait_until(lambda: not any(worker.is_running() for worker in workers), 10, "the end of the workers")


def test_a_killed_worker_is_replaced(served: ServedHub) -> None:
    victim = served.workers()[0]
    victim.kill()
    wait_until(
        lambda: len(served.workers()) == 2 and victim.pid not in {worker.pid for worker in served.workers()},
        20,
        "another worker",
    )
    wait_until(lambda: served.get("/health/live")[0] == 200, 10, "an answer")


def test_a_port_in_use_is_refused_even_to_another_hub(served: ServedHub) -> None:
    with pytest.raises(PortInUse, match=rf"port {served.port} on 127\.0\.0\.1 is in use .* --port"):
        claim_port("127.0.0.1", served.port)


@pytest.mark.parametrize(("host", "port"), [("no.such.host.invalid", 8000), ("127.0.0.1", 70_000), ("192.0.2.1", 8000)])
def test_an_impossible_address_is_a_configuration_fault(host: str, port: int) -> None:
    with pytest.raises(SettingsError, match="--port"):
        claim_port(host, port)


def test_port_0_takes_a_free_port() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", claim_port("127.0.0.1", 0)))


def test_a_start_without_secret_key_says_how_to_get_one(database_url: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="METERHAUL_SECRET_KEY_FILE is not set"):
        serve(settings(database_url, None), host="127.0.0.1", port=0)
    with pytest.raises(SettingsError, match="hub serve --create-key"):
        serve(settings(database_url, tmp_path / "none"), host="127.0.0.1", port=0)


@pytest.mark.parametrize("url", ["postgresql://nobody:secret@127.0.0.1:1/nothing"])
def test_an_unreachable_database_is_a_sentence_without_the_password(url: str, tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnreachable) as caught:
        serve(settings(url, tmp_path / "key"), host="127.0.0.1", port=0, create_key=True)
    assert "secret" not in str(caught.value)
    assert caught.value.exit_code == 1


def test_an_unmigrated_database_names_the_remedy(empty_database_url: str, tmp_path: Path) -> None:
    with pytest.raises(HubError, match="run 'meterhaul hub init'") as caught:
        serve(settings(empty_database_url, tmp_path / "key"), host="127.0.0.1", port=0, create_key=True)
    assert isinstance(caught.value, NotMigrated)
    assert caught.value.exit_code == 78
