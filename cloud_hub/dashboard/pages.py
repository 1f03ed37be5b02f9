"""The first page and the page of one meter."""

from flask import render_template, request

from cloud_hub.access import routes
from cloud_hub.access.permissions import Permission
from cloud_hub.dashboard import overview, wording
from cloud_hub.dashboard.energy_pages import pages as energy_pages
from cloud_hub.web.database import request_session
from cloud_hub.web.pagination import parse_window

pages = routes.pages("dashboard")
pages.blueprint.register_blueprint(energy_pages.blueprint)


@pages.get("/", permission=Permission.SITES_READ)
def index() -> str:
    """Show sites with their meters and newest readings."""
    arguments = {"limit": str(overview.SITES_PER_PAGE), **request.args.to_dict()}
    page = overview.compose_overview(request_session(), parse_window(arguments), wording.now_utc())
    return render_template("dashboard/index.html", overview=page)


@pages.get("/meters/<id:meter_id>", permission=Permission.READINGS_READ)
def meter(meter_id: int) -> str:
    """Show one meter: its course and all its newest readings."""
    page = overview.compose_meter(request_session(), meter_id, wording.now_utc())
    return render_template("dashboard/meter.html", site=page.site, controller=page.controller, meter=page.meter)
