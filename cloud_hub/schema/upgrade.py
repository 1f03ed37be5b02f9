"""Bring a database to this release: its tables by Alembic, its rights by what the tables say of themselves."""

from alembic import command
from sqlalchemy import Engine, text

from cloud_hub import db
from cloud_hub.schema.security import secure

_UPGRADE_LOCK = 0x6D657465  # any number, as long as every `hub init` takes the same


def upgrade(database_url: str) -> None:
    """Bring the database's tables and rights to this release, in one transaction; several may try at once.

    Raises: DatabaseUnreachable, DatabaseRefused, SettingsError.
    """
    engine = db.create_engine(database_url, application_name="meterhaul-init")
    try:
        db.check_reachable(engine)
        with engine.begin() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _UPGRADE_LOCK})
            config = db.alembic_config()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            secure(connection)
    finally:
        engine.dispose()


def secure_again(engine: Engine) -> None:
    """Bring rights in step once more, after something else has made tables.

    Raises: DatabaseRefused.
    """
    with engine.begin() as connection:
        secure(connection)
