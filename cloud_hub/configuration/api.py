"""Configurations of controllers as JSON."""

from http import HTTPStatus

from sqlalchemy import select

from cloud_hub.access import routes
from cloud_hub.access.permissions import Permission
from cloud_hub.access.routes import current_actor
from cloud_hub.configuration import drafts, publishing
from cloud_hub.configuration.differences import differences
from cloud_hub.configuration.models import OrderKey, SiteConfiguration
from cloud_hub.configuration.schemas import (
    ConfigurationOut,
    ConfigurationRowOut,
    DifferenceOut,
    DiffOut,
    DiffQuery,
    DraftChange,
    DraftIn,
    OrderKeyOut,
    OrderKeysOut,
    RollBackIn,
)
from cloud_hub.web.database import request_session
from cloud_hub.web.etags import require_match
from cloud_hub.web.pagination import ListQuery, PageOut, encode_cursor

api = routes.api("configuration_api", tag="Configurations")


@api.get(
    "/controllers/<controller>/configurations",
    permission=Permission.CONFIGURATION_READ,
    query=ListQuery,
    answer=PageOut[ConfigurationRowOut],
)
def list_configurations(controller: str, query: ListQuery) -> PageOut[ConfigurationRowOut]:
    """List a controller's revisions and its draft, the newest first."""
    page = drafts.list_configurations(request_session(), controller, query.window)
    return PageOut[ConfigurationRowOut](
        items=[ConfigurationRowOut.model_validate(row) for row in page.items], next_cursor=encode_cursor(page.next_key)
    )


@api.post(
    "/controllers/<controller>/configurations",
    permission=Permission.CONFIGURATION_WRITE,
    body=DraftIn,
    answer=ConfigurationOut,
    status=HTTPStatus.CREATED,
    is_idempotent=True,
    problems=(HTTPStatus.CONFLICT,),
)
def create_configuration(controller: str, body: DraftIn) -> ConfigurationOut:
    """Begin the next configuration of a controller; there is one draft at a time."""
    session = request_session()
    draft = drafts.create_draft(session, controller, body.site, note=body.note, who=current_actor().label)
    shape = ConfigurationOut.model_validate(draft)
    session.commit()
    return shape


@api.get(
    "/configurations/<id:configuration_id>",
    permission=Permission.CONFIGURATION_READ,
    answer=ConfigurationOut,
    is_versioned=True,
)
def get_configuration(configuration_id: int) -> ConfigurationOut:
    """Return a configuration."""
    return ConfigurationOut.model_validate(drafts.get_configuration(request_session(), configuration_id))


@api.put(
    "/configurations/<id:configuration_id>",
    permission=Permission.CONFIGURATION_WRITE,
    body=DraftChange,
    answer=ConfigurationOut,
    is_versioned=True,
    problems=(HTTPStatus.CONFLICT,),
)
def change_configuration(configuration_id: int, body: DraftChange) -> ConfigurationOut:
    """Change a draft; it has to be validated anew."""
    draft = _locked(configuration_id, is_matched=True)
    who = current_actor().label
    drafts.change_draft(request_session(), draft, body.site, note=body.note, based_on=body.based_on, who=who)
    return _committed(draft)


@api.delete(
    "/configurations/<id:configuration_id>",
    permission=Permission.CONFIGURATION_WRITE,
    status=HTTPStatus.NO_CONTENT,
    is_versioned=True,
    problems=(HTTPStatus.CONFLICT,),
)
def discard_configuration(configuration_id: int) -> None:
    """Throw a draft away."""
    draft = _locked(configuration_id, is_matched=True)
    drafts.discard_draft(request_session(), draft, who=current_actor().label)
    request_session().commit()


@api.post(
    "/configurations/<id:configuration_id>/validate",
    permission=Permission.CONFIGURATION_WRITE,
    answer=ConfigurationOut,
    problems=(HTTPStatus.CONFLICT,),
)
def validate_configuration(configuration_id: int) -> ConfigurationOut:
    """Put a draft through the compiler that its controller uses.

    What the controller would refuse is refused here, in the same words.
    """
    draft = _locked(configuration_id)
    drafts.validate_draft(request_session(), draft, who=current_actor().label)
    return _committed(draft)


@api.post(
    "/configurations/<id:configuration_id>/publish",
    permission=Permission.CONFIGURATION_PUBLISH,
    answer=ConfigurationOut,
    is_versioned=True,
    problems=(HTTPStatus.CONFLICT,),
)
def publish_configuration(configuration_id: int) -> ConfigurationOut:
    """Make a validated draft the next revision, and send it to its controller.

    Refused when another revision was published since it was drafted.
    """
    draft = _locked(configuration_id, is_matched=True)
    publishing.publish_draft(request_session(), draft, who=current_actor().label)
    return _committed(draft)


@api.post(
    "/configurations/<id:configuration_id>/roll-back",
    permission=Permission.CONFIGURATION_PUBLISH,
    body=RollBackIn,
    answer=ConfigurationOut,
    status=HTTPStatus.CREATED,
    is_idempotent=True,
    problems=(HTTPStatus.CONFLICT,),
)
def roll_back_configuration(configuration_id: int, body: RollBackIn) -> ConfigurationOut:
    """Publish what an earlier revision said as a new one."""
    earlier = _locked(configuration_id)
    return _committed(publishing.roll_back(request_session(), earlier, note=body.note, who=current_actor().label))


@api.get(
    "/configurations/<id:configuration_id>/diff",
    permission=Permission.CONFIGURATION_READ,
    query=DiffQuery,
    answer=DiffOut,
)
def diff_configuration(configuration_id: int, query: DiffQuery) -> DiffOut:
    """Say what a configuration changes, key by key."""
    session = request_session()
    after = drafts.get_configuration(session, configuration_id)
    before_id = query.against or after.based_on
    before = None if before_id is None else drafts.get_configuration(session, before_id)
    found = differences({} if before is None else before.site, after.site)
    return DiffOut(before=before_id, after=after.id, items=[DifferenceOut.model_validate(one) for one in found])


@api.get("/order-keys", permission=Permission.CONFIGURATION_READ, answer=OrderKeysOut)
def list_order_keys() -> OrderKeysOut:
    """List the public keys by which controllers know the hub's orders."""
    rows = request_session().scalars(select(OrderKey).order_by(OrderKey.created_at, OrderKey.key_id))
    return OrderKeysOut(items=[OrderKeyOut.model_validate(row) for row in rows])


def _locked(configuration_id: int, *, is_matched: bool = False) -> SiteConfiguration:
    """Return a configuration that nobody else changes meanwhile, as the request's If-Match has seen it."""
    found = drafts.get_configuration(request_session(), configuration_id, lock=True)
    if is_matched:
        require_match(ConfigurationOut.model_validate(found))
    return found


def _committed(configuration: SiteConfiguration) -> ConfigurationOut:
    shape = ConfigurationOut.model_validate(configuration)
    request_session().commit()
    return shape
