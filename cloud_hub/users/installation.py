"""All of the accounts' pages and routes, put into the application."""

from http import HTTPStatus

from flask import Flask
from werkzeug.wrappers import Response

from cloud_hub.users import access
from cloud_hub.users.account_pages import pages as account_pages
from cloud_hub.users.api import api as me_api
from cloud_hub.users.authentication import TooManyAttempts, install_seal
from cloud_hub.users.pages import pages as login_pages
from cloud_hub.users.reset_pages import pages as reset_pages
from cloud_hub.users.security_api import api as security_api
from cloud_hub.users.single_sign_on import pages as single_sign_on_pages
from cloud_hub.web.errors import answer_problem


def install_users(app: Flask) -> None:
    """Add the login, ask for it everywhere else, and let people look after their accounts."""
    install_seal(app, app.config["SECRET_KEY"])
    access.install_access(app)
    app.register_error_handler(TooManyAttempts, _answer_waiting)
    app.register_blueprint(login_pages.blueprint)
    app.register_blueprint(reset_pages.blueprint)
    app.register_blueprint(account_pages.blueprint)
    app.register_blueprint(me_api.blueprint)
    app.register_blueprint(security_api.blueprint)
    app.register_blueprint(single_sign_on_pages.blueprint)


def _answer_waiting(error: TooManyAttempts) -> Response:
    answer = answer_problem(HTTPStatus.TOO_MANY_REQUESTS, str(error))
    answer.headers["Retry-After"] = str(int(error.wait_s) + 1)
    return answer
