"""How tests speak to the API as somebody who has logged in."""

from typing import Any

from browsing import form_token
from flask.testing import FlaskClient
from werkzeug.test import TestResponse


class ApiClient:
    """Sends JSON in the name of a browser's login, and says what came back."""

    def __init__(self, client: FlaskClient) -> None:
        self._client, self._token = client, form_token(client)

    def send(self, method: str, path: str, body: object = None, *, match: str | None = None) -> TestResponse:
        """Send a request; `match` is the ETag of what it changes."""
        headers = {"X-CSRF-Token": self._token} | ({} if match is None else {"If-Match": match})
        return self._client.open(f"/api/v1/{path}", method=method, json=body, headers=headers)

    def get(self, path: str) -> Any:
        """Read something that is there."""
        return self.done("GET", path)

    def etag(self, path: str) -> str:
        """Return the ETag of something as it is now."""
        return self.send("GET", path).headers["ETag"]

    def done(self, method: str, path: str, body: object = None) -> Any:
        """Do something to what is there now, and return the answer."""
        answer = self._send_as_seen(method, path, body)
        assert answer.status_code in {200, 201, 204}, answer.text
        return answer.json if answer.text else None

    def refused(self, method: str, path: str, body: object = None) -> tuple[int, str]:
        """Try what is refused; return status and reason."""
        answer = self._send_as_seen(method, path, body)
        assert answer.content_type == "application/problem+json", answer.text
        said: Any = answer.json
        return answer.status_code, said["detail"]

    def _send_as_seen(self, method: str, path: str, body: object) -> TestResponse:
        changes = method in {"PUT", "DELETE"} or path.endswith("/publish")
        return self.send(method, path, body, match=self.etag(path.removesuffix("/publish")) if changes else None)
