"""The web application: its database, its slices, its errors."""

from flask import Flask
from sqlalchemy import Engine

from cloud_hub.analysis.api import api as analysis_api
from cloud_hub.dashboard.pages import pages as dashboard_pages
from cloud_hub.db import create_sessions
from cloud_hub.ledger.api import api as ledger_api
from cloud_hub.ledger.changes_api import api as ledger_changes_api
from cloud_hub.readings.api import api as readings_api
from cloud_hub.readings.delivery_api import api as delivery_api
from cloud_hub.registry.api import api as registry_api
from cloud_hub.tariffs.api import api as tariffs_api
from cloud_hub.transfer.api import api as transfer_api
from cloud_hub.users.pages import install_users
from cloud_hub.web.csrf import install_csrf
from cloud_hub.web.database import install_database
from cloud_hub.web.errors import register_error_handlers
from cloud_hub.web.health import install_health
from cloud_hub.web.parameters import install_parameters
from cloud_hub.web.security import install_security

REQUEST_BYTES_MAX = 1024 * 1024


def create_app(secret_key: bytes, engine: Engine) -> Flask:
    """Build the WSGI application; `secret_key` signs the session cookies. Opens no connection."""
    app = Flask("cloud_hub")
    app.config.update(SECRET_KEY=secret_key, MAX_CONTENT_LENGTH=REQUEST_BYTES_MAX)
    register_error_handlers(app)
    install_security(app)
    install_parameters(app)
    install_database(app, create_sessions(engine))
    install_health(app, engine)
    install_users(app)
    install_csrf(app)
    app.register_blueprint(registry_api)
    app.register_blueprint(readings_api)
    app.register_blueprint(delivery_api)
    app.register_blueprint(ledger_api)
    app.register_blueprint(ledger_changes_api)
    app.register_blueprint(tariffs_api)
    app.register_blueprint(analysis_api)
    app.register_blueprint(transfer_api)
    app.register_blueprint(dashboard_pages)
    return app
