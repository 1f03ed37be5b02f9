"""The web process: granian with two workers and threads, until it is told to stop."""

import ctypes
import errno
import signal
import socket
import sys
from functools import partial
from typing import Any

import structlog
from flask import Flask
from granian import Granian
from granian.constants import Interfaces
from granian.log import LogLevels
from sqlalchemy import Engine, text

from cloud_hub import db
from cloud_hub.app import create_app
from cloud_hub.errors import HubError, SettingsError
from cloud_hub.people.links import PUBLIC_URL
from cloud_hub.settings import HubSettings
from cloud_hub.tenancy.roles import Role
from cloud_hub.users.single_sign_on import set_up_single_sign_on
from cloud_hub.web.cors import ORIGINS
from cloud_hub.web.rate_limits import LIMITS
from cloud_hub.web.secret_key import create_secret_key, read_secret_key
from cloud_hub.web.security import trust_proxies
from cloud_hub.webhooks.addresses import Gate
from cloud_hub.webhooks.api import GATE
from cloud_hub.webhooks.policy import read_policy

WORKERS = 2
THREADS_PER_WORKER = 8
STOP_WITHIN_S = 3
_PORT_MAX = 0xFFFF
_PR_SET_PDEATHSIG = 1

# Whoever took the web process over could leave its role for any other that its login is a member of.
_MAY_DO_MORE = text(f"""
    SELECT bool_or(r.rolsuper OR r.rolbypassrls OR pg_has_role(session_user, '{Role.OWNER}', 'MEMBER'))
    FROM pg_roles r WHERE r.rolname = session_user
""")  # noqa: S608 - a constant of ours

log = structlog.get_logger(__name__)


class PortInUse(HubError):
    """Another process listens where this one should."""


def serve(settings: HubSettings, *, host: str, port: int, create_key: bool = False) -> None:
    """Serve the web and the API until SIGTERM or SIGINT; 0 takes a free port. Blocks.

    With `create_key` the secret key file is made when it is missing.
    Raises: HubError, before anything has been started.
    """
    if create_key and create_secret_key(settings.secret_key_file):
        log.info("secret_key_created", path=str(settings.secret_key_file))
    read_secret_key(settings.secret_key_file)
    _check_database(settings)
    free_port = claim_port(host, port)
    log.info("serving", url=f"http://{f'[{host}]' if ':' in host else host}:{free_port}", workers=WORKERS)
    server = Granian(
        "cloud_hub.app",
        address=host,
        port=free_port,
        interface=Interfaces.WSGI,
        workers=WORKERS,
        blocking_threads=THREADS_PER_WORKER,
        websockets=False,
        log_level=LogLevels.error,
        respawn_failed_workers=True,
        workers_kill_timeout=STOP_WITHIN_S,
    )
    server.serve(target_loader=partial(_load_app, settings), wrap_loader=False)
    log.info("stopped")


def claim_port(host: str, port: int) -> int:
    """Return the port to listen on, checked to be free.

    Granian's workers share a port by SO_REUSEPORT, which would let two hubs share one as well and each
    answer half of the requests; a plain bind beforehand does not.
    Raises: PortInUse, SettingsError.
    """
    if not 0 <= port <= _PORT_MAX:
        raise SettingsError(f"there is no port {port}: give a number from 0 to {_PORT_MAX} with --port")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            # Connections of a former process that still wind down are no listener.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen()
            return int(probe.getsockname()[1])
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortInUse(
                f"port {port} on {host} is in use by another process: stop it, or choose another with --port"
            ) from error
        raise SettingsError(
            f"cannot listen on {host} port {port} ({error.strerror}): check --host and --port"
        ) from error


def _check_database(settings: HubSettings) -> None:
    engine = db.create_engine(settings.database_url.get_secret_value(), role=Role.WEB)
    try:
        db.check_migrated(engine)
        with engine.connect() as connection:
            if connection.scalar(_MAY_DO_MORE):
                log.warning(
                    "web_login_may_do_more",
                    hint=f"give the web a database login of its own, a member of {Role.WEB} and of nothing else: "
                    "docs/database.md tells how",
                )
    finally:
        engine.dispose()


def _load_app(settings: HubSettings) -> Flask:
    """Build the application inside a worker, which has a connection pool of its own."""
    # Until granian installs the worker's own handler, a forked worker has its parent's, which would
    # take a SIGTERM for the parent's and go on.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _die_with_parent()
    engine = db.create_engine(
        settings.database_url.get_secret_value(), application_name="meterhaul-serve", role=Role.WEB
    )
    return make_app(settings, engine)


def make_app(settings: HubSettings, engine: Engine) -> Flask:
    """Build the application as the settings want it, for every process that answers requests.

    Raises: SettingsError.
    """
    app = create_app(read_secret_key(settings.secret_key_file), engine)
    app.config[GATE] = Gate(read_policy(settings.webhooks))
    app.config.update(
        {PUBLIC_URL: settings.public_url, LIMITS: settings.rate_limits, ORIGINS: frozenset(settings.cors_origins)}
    )
    set_up_single_sign_on(app, settings.single_sign_on, settings.public_url)
    trust_proxies(app, settings.trusted_proxies)
    return app


def _die_with_parent() -> None:
    """Leave no worker behind when the main process is killed without a chance to stop its workers."""
    if sys.platform == "linux":
        library: Any = ctypes.CDLL(None, use_errno=True)
        library.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
