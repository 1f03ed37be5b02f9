"""The hub over two filled organisations, asked by somebody of one of them; every request is undone when it is answered."""

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Self

from example_requests import Example
from flask import request
from sqlalchemy import text
from sqlalchemy.orm import sessionmaker
from tenants import Tenant, fill
from werkzeug.test import TestResponse

from cloud_hub.access.actor import Actor, Grant
from cloud_hub.access.permissions import PERMISSIONS_OF, Role
from cloud_hub.app import create_app
from cloud_hub.db import create_engine
from cloud_hub.tenancy.roles import Role as DatabaseRole
from cloud_hub.web.database import RequestSession
from cloud_hub.web.rate_limits import LIMITS

MARK = "bob"
"""Stands in every text of the other organisation's rows, and in no other."""
AS = "X-Test-Role"


def fill_both(database_url: str) -> tuple[Tenant, Tenant]:
    """Add Ann's organisation and Bob's, each with a row in every table."""
    ann, bob = fill_tenants(database_url, "ann", MARK)
    return ann, bob


def fill_tenants(database_url: str, *names: str) -> list[Tenant]:
    """Add organisations below the operator's, each with a row in every table."""
    engine = create_engine(database_url)
    with engine.begin() as connection:
        for table in ("scan_days", "point_days"):
            connection.execute(text(f"CREATE TABLE {table}_all PARTITION OF {table} DEFAULT"))
        filled = [fill(connection, name, number) for number, name in enumerate(names, 1)]
    engine.dispose()
    return filled


class World:
    """The hub over two filled organisations; whatever a request does is undone when it has been answered."""

    def __init__(self, database_url: str, ann: Tenant, bob: Tenant, role: DatabaseRole | None) -> None:
        self.ann, self.bob = ann, bob
        self.engine = create_engine(database_url, role=role)
        self.connection = self.engine.connect()
        self.app = create_app(b"k" * 32, self.engine)
        self.app.config[LIMITS] = None
        self._own_sessions = self.app.extensions["database_sessions"]
        self._undone_sessions = sessionmaker(
            self.connection,
            class_=RequestSession,
            expire_on_commit=False,
            join_transaction_mode="create_savepoint",
        )
        self.app.extensions["database_sessions"] = self._undone_sessions
        self.app.extensions["identifiers"].insert(0, self._identify)
        self._client = self.app.test_client()

    def ask(self, example: Example, role: Role = Role.ADMIN) -> TestResponse:
        """Send a request as somebody of Ann's with that role."""
        answer = self._open(example, role)
        if answer.status_code == HTTPStatus.INTERNAL_SERVER_ERROR and example.path.startswith("/api/v1/export/"):
            # Once it is let through, an export reads in a snapshot of its own: no transaction can be around that.
            self.app.extensions["database_sessions"] = self._own_sessions
            try:
                answer = self._open(example, role)
            finally:
                self.app.extensions["database_sessions"] = self._undone_sessions
        return answer

    def _open(self, example: Example, role: Role) -> TestResponse:
        with self.undone():
            return self._client.open(
                example.address, method=example.method, json=example.body, headers={**example.headers, AS: role}
            )

    @contextmanager
    def undone(self) -> Iterator[None]:
        """Undo whatever requests do meanwhile."""
        transaction = self.connection.begin()
        try:
            yield
        finally:
            transaction.rollback()

    def leaks(self, example: Example, answer: TestResponse) -> bool:
        """Say whether an answer holds anything of Bob's that the request itself did not say."""
        said = answer.text
        for key in sorted({str(key) for key in self.bob.keys.values()}, key=len, reverse=True):
            if key in f"{example.address} {example.body}":
                said = said.replace(key, "")
        return MARK in said

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()
        self.engine.dispose()

    def _identify(self) -> Actor | None:
        if AS not in request.headers:
            return None
        return actor_of(self.ann, Role(request.headers[AS]))


def actor_of(tenant: Tenant, role: Role) -> Actor:
    grant = Grant(
        tenant.organisation_id,
        (1, tenant.organisation_id),
        PERMISSIONS_OF.get(role, frozenset()),
        frozenset({tenant.site_id}) if role is Role.INSTALLER else None,
    )
    return Actor(tenant.user_id, f"{role}@ann.example", (grant,), token_id=1)
