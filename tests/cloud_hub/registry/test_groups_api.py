"""Groups of meters over HTTP."""

import pytest
from api_client import ApiClient
from flask.testing import FlaskClient
from hub_factories import add_controller, add_meter, add_organisation, add_site
from registry_factories import deeds, edit, refused_edit
from sqlalchemy.orm import Session

from cloud_hub.registry.models import Meter


@pytest.fixture
def meters(session: Session) -> list[Meter]:
    controller = add_controller(session, add_site(session))
    made = [add_meter(session, controller, slug) for slug in ("a", "b", "c")]
    session.commit()
    return made


def test_a_group_is_made_changed_and_removed(client: FlaskClient, session: Session, meters: list[Meter]) -> None:
    api = ApiClient(client)
    a, b, c = (meter.id for meter in meters)
    made = api.done("POST", "groups", {"slug": "wet", "name": "Wet", "meters": [b, a, b]})
    assert made == {"id": made["id"], "organisation": "main", "slug": "wet", "name": "Wet", "meters": [a, b]}
    path = f"groups/{made['id']}"
    seen = api.etag(path)
    assert edit(api, path, {"name": "Dry", "meters": [c]})["meters"] == [c]
    assert api.send("PATCH", path, {"name": "Late"}, match=seen).status_code == 412
    assert api.get("groups")["items"] == [
        {"id": made["id"], "organisation": "main", "slug": "wet", "name": "Dry", "meters": 1}
    ]
    assert api.send("DELETE", path, match=seen).status_code == 412
    api.done("DELETE", path)
    assert api.refused("GET", path)[0] == 404
    assert deeds(session) == ["group_created", "group_changed", "group_removed"]


def test_a_group_has_meters_of_its_organisation_only(
    client: FlaskClient, session: Session, meters: list[Meter]
) -> None:
    add_organisation(session, "alps")
    session.commit()
    api = ApiClient(client)
    status, reason = api.refused(
        "POST", "groups", {"slug": "wet", "name": "Wet", "organisation": "alps", "meters": [meters[0].id]}
    )
    assert (status, f"meters: meter {meters[0].id} is not of the group's organisation" in reason) == (422, True)
    group = api.done("POST", "groups", {"slug": "wet", "name": "Wet", "organisation": "alps"})
    assert api.refused("POST", "groups", {"slug": "wet", "name": "Wet", "organisation": "alps"})[0] == 409
    api.done("POST", "groups", {"slug": "wet", "name": "Wet"})
    assert refused_edit(api, f"groups/{group['id']}", {"meters": [meters[0].id]})[0] == 422
    assert [one["organisation"] for one in api.get("groups?organisation=alps")["items"]] == ["alps"]
