"""Addresses as they stand in letters."""

from flask import current_app, request, url_for

PUBLIC_URL = "PUBLIC_URL"
"""Where the application's configuration has the address of the pages; empty: as they were asked for."""


def link_to_invitation(token: str) -> str:
    """Return the address at which an invitation is accepted."""
    base: str = current_app.config.get(PUBLIC_URL) or request.url_root.rstrip("/")
    return base + url_for("invitation.show_invitation", token=token)
