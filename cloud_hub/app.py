"""The web application: its database, its slices, its errors."""

from flask import Flask
from sqlalchemy import Engine

from cloud_hub.access.identity import install_identity
from cloud_hub.slices import ROUTES
from cloud_hub.tokens.identity import install_tokens, keep_tokens_from_accounts
from cloud_hub.users.installation import install_users
from cloud_hub.web.cors import install_cors
from cloud_hub.web.csrf import install_csrf
from cloud_hub.web.database import install_database
from cloud_hub.web.errors import register_error_handlers
from cloud_hub.web.health import install_health
from cloud_hub.web.parameters import install_parameters
from cloud_hub.web.rate_limits import install_rate_limits
from cloud_hub.web.request_ids import install_request_ids
from cloud_hub.web.security import install_security

REQUEST_BYTES_MAX = 1024 * 1024


def create_app(secret_key: bytes, engine: Engine) -> Flask:
    """Build the WSGI application; `secret_key` signs the session cookies. Opens no connection."""
    app = Flask("cloud_hub")
    app.config.update(SECRET_KEY=secret_key, MAX_CONTENT_LENGTH=REQUEST_BYTES_MAX)
    install_request_ids(app)
    register_error_handlers(app)
    install_security(app)
    install_parameters(app)
    install_database(app, engine)
    install_health(app, engine)
    install_cors(app)
    install_identity(app)
    install_tokens(app)
    install_users(app)
    install_rate_limits(app, engine)
    keep_tokens_from_accounts(app)
    install_csrf(app)
    for routes in ROUTES:
        app.register_blueprint(routes.blueprint)
    return app
