"""The registration of a whole site as one request: for wizards, and for integrators who know all of it."""

from http import HTTPStatus

from cloud_hub.access import routes
from cloud_hub.access.permissions import Permission
from cloud_hub.access.routes import current_actor
from cloud_hub.registry.answers import site_out
from cloud_hub.registry.homes import home_of
from cloud_hub.tariffs.registration import permissions_for, register_all
from cloud_hub.tariffs.registration_schemas import (
    RegisteredGroup,
    RegisteredMeter,
    RegistrationIn,
    RegistrationOut,
    RegistrationQuery,
)
from cloud_hub.web.database import request_session

api = routes.api("registration_api", tag="Sites")


@api.post(
    "/sites/register",
    permission=Permission.SITES_WRITE,
    query=RegistrationQuery,
    body=RegistrationIn,
    answer=RegistrationOut,
    is_idempotent=True,
    problems=(HTTPStatus.CONFLICT,),
)
def register_site(query: RegistrationQuery, body: RegistrationIn) -> RegistrationOut:
    """Register a site with controllers, buses, meters, groups, hours and tariff: all of it, or nothing.

    It takes the permissions that the single requests would take, in the whole organisation. With `dry_run` it only
    says whether it could be done.
    """
    session, actor = request_session(), current_actor()
    organisation = home_of(session, actor, body.organisation, Permission.SITES_WRITE, *permissions_for(body))
    trial = session.begin_nested()
    made = register_all(session, organisation, body, who=actor.label)
    answer = RegistrationOut(
        dry_run=query.dry_run,
        site=site_out(session, made.site),
        controllers=list(made.controllers),
        meters=[
            RegisteredMeter(
                name=part.called,
                id=None if query.dry_run else made.meters[part.called].id,
                controller=made.meters[part.called].controller_id,
                slug=part.slug,
            )
            for part in body.meters
        ],
        groups=[RegisteredGroup(id=None if query.dry_run else group.id, slug=group.slug) for group in made.groups],
        tariff_id=None if body.tariff is None else body.tariff.tariff_id,
    )
    if query.dry_run:
        trial.rollback()
    else:
        trial.commit()
    session.commit()
    return answer
