"""Price series and series of emission factors as JSON, and their values by time."""

from http import HTTPStatus

from cloud_hub.access import routes
from cloud_hub.access.permissions import Permission
from cloud_hub.access.routes import current_actor
from cloud_hub.tariffs import emission_series, prices
from cloud_hub.tariffs.answers import emission_series_out, price_series_out, steps_out
from cloud_hub.tariffs.catalogue import choose_owner, find_owner, list_owned
from cloud_hub.tariffs.emission_series import FactorsAre
from cloud_hub.tariffs.models import EmissionSeries, PriceSeries
from cloud_hub.tariffs.schemas import (
    CurrencyQuery,
    EmissionSeriesIn,
    EmissionSeriesOut,
    EmissionSeriesQuery,
    PriceSeriesIn,
    PriceSeriesOut,
    SpansIn,
    SpansOut,
    StoredOut,
    ValuesQuery,
)
from cloud_hub.web.database import request_session
from cloud_hub.web.pagination import PageOut, encode_cursor

api = routes.api("series_api", tag="Tariffs")


@api.get("/price-series", permission=Permission.TARIFFS_READ, query=CurrencyQuery, answer=PageOut[PriceSeriesOut])
def list_price_series(query: CurrencyQuery) -> PageOut[PriceSeriesOut]:
    """List price series by id."""
    page = list_owned(
        request_session(),
        PriceSeries,
        query.window,
        organisation=query.organisation,
        slug=query.slug,
        currency=query.currency,
    )
    items = [price_series_out(one.item, one.organisation) for one in page.items]
    return PageOut(items=items, next_cursor=encode_cursor(page.next_key))


@api.post(
    "/price-series",
    permission=Permission.TARIFFS_WRITE,
    body=PriceSeriesIn,
    answer=PriceSeriesOut,
    status=HTTPStatus.CREATED,
    is_idempotent=True,
    problems=(HTTPStatus.CONFLICT,),
)
def create_price_series(body: PriceSeriesIn) -> PriceSeriesOut:
    """Create a price series, without prices yet."""
    session = request_session()
    series = prices.create_price_series(
        session,
        organisation_id=choose_owner(session, current_actor(), body.organisation),
        slug=body.slug,
        name=body.name,
        currency=body.currency,
        who=current_actor().label,
    )
    shown = price_series_out(series, find_owner(session, series.organisation_id))
    session.commit()
    return shown


@api.get(
    "/price-series/<id:series_id>/prices",
    permission=Permission.TARIFFS_READ,
    names={"series_id": "price_series"},
    query=ValuesQuery,
    answer=SpansOut,
)
def list_prices(series_id: int, query: ValuesQuery) -> SpansOut:
    """List a series' prices in `[from, to)`, per kWh."""
    return steps_out(prices.read_prices(request_session(), [series_id], query.start, query.end)[series_id])


@api.put(
    "/price-series/<id:series_id>/prices",
    permission=Permission.TARIFFS_WRITE,
    names={"series_id": "price_series"},
    body=SpansIn,
    answer=StoredOut,
    problems=(HTTPStatus.CONFLICT,),
)
def put_prices(series_id: int, body: SpansIn) -> StoredOut:
    """Replace prices of a series."""
    spans, start, end = body.listed()
    session = request_session()
    prices.put_prices(session, series_id, spans, start=start, end=end, who=current_actor().label)
    session.commit()
    return StoredOut(stored=len(spans), start=start, end=end)


@api.get(
    "/emission-series",
    permission=Permission.TARIFFS_READ,
    query=EmissionSeriesQuery,
    answer=PageOut[EmissionSeriesOut],
)
def list_emission_series(query: EmissionSeriesQuery) -> PageOut[EmissionSeriesOut]:
    """List series of emission factors by id."""
    page = list_owned(
        request_session(),
        EmissionSeries,
        query.window,
        organisation=query.organisation,
        slug=query.slug,
        basis=query.basis,
        kind=query.kind,
    )
    items = [emission_series_out(one.item, one.organisation) for one in page.items]
    return PageOut(items=items, next_cursor=encode_cursor(page.next_key))


@api.post(
    "/emission-series",
    permission=Permission.TARIFFS_WRITE,
    body=EmissionSeriesIn,
    answer=EmissionSeriesOut,
    status=HTTPStatus.CREATED,
    is_idempotent=True,
    problems=(HTTPStatus.CONFLICT,),
)
def create_emission_series(body: EmissionSeriesIn) -> EmissionSeriesOut:
    """Create a series of emission factors, without factors yet."""
    session = request_session()
    series = emission_series.create_emission_series(
        session,
        organisation_id=choose_owner(session, current_actor(), body.organisation),
        slug=body.slug,
        factors=FactorsAre(**body.model_dump(exclude={"slug", "organisation"})),
        who=current_actor().label,
    )
    shown = emission_series_out(series, find_owner(session, series.organisation_id))
    session.commit()
    return shown


@api.get(
    "/emission-series/<id:series_id>/factors",
    permission=Permission.TARIFFS_READ,
    names={"series_id": "emission_series"},
    query=ValuesQuery,
    answer=SpansOut,
)
def list_factors(series_id: int, query: ValuesQuery) -> SpansOut:
    """List a series' factors in `[from, to)`, in g of CO2 equivalent per kWh."""
    return steps_out(emission_series.read_factors(request_session(), [series_id], query.start, query.end)[series_id])


@api.put(
    "/emission-series/<id:series_id>/factors",
    permission=Permission.TARIFFS_WRITE,
    names={"series_id": "emission_series"},
    body=SpansIn,
    answer=StoredOut,
    problems=(HTTPStatus.CONFLICT,),
)
def put_factors(series_id: int, body: SpansIn) -> StoredOut:
    """Replace factors of a series."""
    spans, start, end = body.listed()
    session = request_session()
    emission_series.put_factors(session, series_id, spans, start=start, end=end, who=current_actor().label)
    session.commit()
    return StoredOut(stored=len(spans), start=start, end=end)
