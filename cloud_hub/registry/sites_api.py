"""Sites as JSON."""

from http import HTTPStatus

from cloud_hub.access import routes
from cloud_hub.access.permissions import Permission
from cloud_hub.access.routes import current_actor
from cloud_hub.registry import bulk, queries, sites
from cloud_hub.registry.answers import site_out, sites_out
from cloud_hub.registry.bodies import BulkQuery, EndingStepIn, SiteChanges, SiteIn, SiteMove, SitesIn, SitesQuery
from cloud_hub.registry.life_cycle import list_life
from cloud_hub.registry.lookups import Lookups
from cloud_hub.registry.models import Site
from cloud_hub.registry.queries import SiteFilter
from cloud_hub.registry.retirement import step
from cloud_hub.registry.schemas import LifeOut, Refusal, SiteOut, SiteResult, SiteResults, StepOut
from cloud_hub.web.database import request_session
from cloud_hub.web.etags import require_match
from cloud_hub.web.pagination import PageOut, encode_cursor

api = routes.api("sites_api", tag="Sites")


@api.get("/sites", permission=Permission.SITES_READ, query=SitesQuery, answer=PageOut[SiteOut])
def list_sites(query: SitesQuery) -> PageOut[SiteOut]:
    """List sites by slug."""
    session = request_session()
    wanted = SiteFilter(organisation=query.organisation, tags=query.tag, text=query.text, state=query.state)
    page = queries.list_sites(session, query.window, wanted)
    return PageOut(items=sites_out(session, page.items), next_cursor=encode_cursor(page.next_key))


@api.post(
    "/sites",
    permission=Permission.SITES_WRITE,
    body=SiteIn,
    answer=SiteOut,
    status=HTTPStatus.CREATED,
    is_idempotent=True,
    problems=(HTTPStatus.CONFLICT,),
)
def create_site(body: SiteIn) -> SiteOut:
    """Register a site."""
    session, actor = request_session(), current_actor()
    organisation = Lookups(session, actor).home(body.organisation)
    answer = site_out(session, sites.create_site(session, organisation, body, who=actor.label))
    session.commit()
    return answer


@api.post(
    "/sites/bulk",
    permission=Permission.SITES_WRITE,
    query=BulkQuery,
    body=SitesIn,
    answer=SiteResults,
    is_idempotent=True,
    problems=(HTTPStatus.CONFLICT,),
)
def create_sites(query: BulkQuery, body: SitesIn) -> SiteResults:
    """Register up to 1,000 sites, all or none; with `partial` as many as can be.

    What is malformed, or names something that you may not see or use, refuses the whole request in either case.
    """
    session, actor = request_session(), current_actor()
    known = Lookups(session, actor)

    def make(item: SiteIn) -> Site:
        return sites.create_site(session, known.home(item.organisation), item, who=actor.label)

    came = list(bulk.make_each(session, body.items, make)) if query.partial else bulk.make_all(body.items, make)
    shown = iter(sites_out(session, [one for one in came if isinstance(one, Site)]))
    answer = SiteResults(
        items=[
            SiteResult(index=index, site=None, problem=one)
            if isinstance(one, Refusal)
            else SiteResult(index=index, site=next(shown), problem=None)
            for index, one in enumerate(came)
        ]
    )
    session.commit()
    return answer


@api.get("/sites/<site>", permission=Permission.SITES_READ, answer=SiteOut, is_versioned=True)
def get_site(site: str) -> SiteOut:
    """Return one site, named by its slug, or by `organisation:slug` where several have that slug."""
    session = request_session()
    return site_out(session, queries.get_site(session, site))


@api.patch("/sites/<site>", permission=Permission.SITES_WRITE, body=SiteChanges, answer=SiteOut, is_versioned=True)
def edit_site(site: str, body: SiteChanges) -> SiteOut:
    """Change a site; in another time zone its ledger is laid out anew."""
    session = request_session()
    found = sites.lock_site(session, site)
    require_match(site_out(session, found))
    sites.edit_site(session, found, body.given(), who=current_actor().label)
    answer = site_out(session, found)
    session.commit()
    return answer


@api.post(
    "/sites/<site>/move",
    permission=Permission.SITES_WRITE,
    body=SiteMove,
    answer=SiteOut,
    problems=(HTTPStatus.CONFLICT,),
)
def move_site(site: str, body: SiteMove) -> SiteOut:
    """Let a site belong to another organisation, with all that is there.

    Its meters leave groups and owners of the organisation before; its ledger is laid out anew.
    """
    session = request_session()
    found = sites.lock_site(session, site)
    organisation = queries.get_organisation(session, body.organisation)
    sites.move_site(session, found, organisation, who=current_actor().label, why=body.why)
    answer = site_out(session, found)
    session.commit()
    return answer


@api.get("/sites/<site>/life-cycle", permission=Permission.SITES_READ, answer=LifeOut)
def get_site_life(site: str) -> LifeOut:
    """List the steps of a site's life."""
    session = request_session()
    steps = list_life(session, queries.get_site(session, site))
    return LifeOut(items=[StepOut.model_validate(one) for one in steps])


@api.post(
    "/sites/<site>/life-cycle",
    permission=Permission.SITES_WRITE,
    body=EndingStepIn,
    answer=SiteOut,
    problems=(HTTPStatus.CONFLICT,),
)
def step_in_site_life(site: str, body: EndingStepIn) -> SiteOut:
    """Let a site be commissioned, in service or retired."""
    session = request_session()
    found = sites.lock_site(session, site)
    step(session, found, body.to, at=body.at, who=current_actor().label, why=body.why, with_parts=body.with_parts)
    answer = site_out(session, found)
    session.commit()
    return answer
