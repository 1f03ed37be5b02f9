"""Commands to controllers as JSON."""

from datetime import timedelta
from http import HTTPStatus

from cloud_hub.access import routes
from cloud_hub.access.permissions import Permission
from cloud_hub.access.routes import current_actor
from cloud_hub.configuration import commands
from cloud_hub.configuration.schemas import CommandIn, CommandOut
from cloud_hub.web.database import request_session
from cloud_hub.web.pagination import ListQuery, PageOut, encode_cursor

api = routes.api("commands_api", tag="Commands")


@api.post(
    "/controllers/<controller>/commands",
    permission=Permission.COMMANDS_SEND,
    body=CommandIn,
    answer=CommandOut,
    status=HTTPStatus.CREATED,
    is_idempotent=True,
)
def order_command(controller: str, body: CommandIn) -> CommandOut:
    """Have a controller do something once.

    It is sent when the controller is there, and expires when that takes too long.
    """
    session = request_session()
    row = commands.order_command(
        session,
        controller,
        body.kind,
        body.arguments,
        expires_in=timedelta(seconds=body.expires_in_s),
        who=current_actor().label,
    )
    shape = CommandOut.model_validate(row)
    session.commit()
    return shape


@api.get(
    "/controllers/<controller>/commands",
    permission=Permission.COMMANDS_READ,
    query=ListQuery,
    answer=PageOut[CommandOut],
)
def list_commands(controller: str, query: ListQuery) -> PageOut[CommandOut]:
    """List a controller's commands, the newest first."""
    page = commands.list_commands(request_session(), controller, query.window)
    return PageOut[CommandOut](
        items=[CommandOut.model_validate(row) for row in page.items], next_cursor=encode_cursor(page.next_key)
    )


@api.get("/commands/<command>", permission=Permission.COMMANDS_READ, answer=CommandOut)
def get_command(command: str) -> CommandOut:
    """Return a command and what came of it."""
    return CommandOut.model_validate(commands.get_command(request_session(), command))
