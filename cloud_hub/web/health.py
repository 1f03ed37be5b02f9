"""Whether this process lives, and whether it can serve: for supervisors and load balancers, without a login."""

from http import HTTPStatus

from flask import Blueprint, Flask, current_app
from sqlalchemy import Engine

from cloud_hub.db import check_migrated
from cloud_hub.errors import HubError

_ENGINE = "health_engine"
health = Blueprint("health", __name__, url_prefix="/health")


def install_health(app: Flask, engine: Engine) -> None:
    """Answer /health/live and /health/ready."""
    app.extensions[_ENGINE] = engine
    app.register_blueprint(health)


@health.get("/live")
def live() -> dict[str, str]:
    """Say that the process answers."""
    return {"status": "live"}


@health.get("/ready")
def ready() -> tuple[dict[str, str], int]:
    """Say whether the database is reachable and at this release's revision, and if not, why."""
    try:
        check_migrated(current_app.extensions[_ENGINE])
    except HubError as error:
        return {"status": "not ready", "reason": str(error)}, HTTPStatus.SERVICE_UNAVAILABLE
    return {"status": "ready"}, HTTPStatus.OK
