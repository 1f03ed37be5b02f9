"""What tests of the energy pages share: reading a page as a person does, and sending its forms."""

import html
import re

from browsing import form_token
from flask.testing import FlaskClient
from werkzeug.test import TestResponse


def words(page: str) -> str:
    """Return what a person reads: tags out, runs of blanks to one."""
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", page)))


def table_rows(page: str, css: str) -> list[list[str]]:
    """Return the cells of each body row of the table of that class, as words."""
    table = re.search(rf'<table class="[^"]*\b{css}\b.*?</table>', page, re.DOTALL)
    assert table is not None, css
    body = table[0].partition("<tbody>")[2]
    rows = re.findall(r"<tr.*?</tr>", body, re.DOTALL)
    return [[words(cell).strip() for cell in re.findall(r"<t[hd].*?</t[hd]>", row, re.DOTALL)] for row in rows]


def send(client: FlaskClient, point_id: int, action: str, **fields: str) -> TestResponse:
    """Send one of the forms of a register's page."""
    form = {"csrf_token": form_token(client), **fields}
    return client.post(f"/points/{point_id}/ledger/{action}", data=form)
