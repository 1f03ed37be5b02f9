"""Whose the rows of a table are. Every table says it, and row-level security is made of what they say. Pure.

The conditions call the SQL functions that `cloud_hub.schema.security` makes; those read what
`cloud_hub.tenancy.scope` has set for the transaction. Nothing set, nothing seen.
"""

from dataclasses import dataclass

READ = ("SELECT",)
ADD = ("SELECT", "INSERT")
CHANGE = ("SELECT", "INSERT", "UPDATE")
ALL = ("SELECT", "INSERT", "UPDATE", "DELETE")

# Each is asked in a subquery of its own, which PostgreSQL answers once for a statement and not once for each row.
_IN_ORGANISATIONS = "{column} = ANY ((SELECT tenant_organisations())::bigint[])"
_IN_ANCESTORS = "{column} = ANY ((SELECT tenant_ids('meterhaul.ancestors'))::bigint[])"
_IN_SITES = "{column} = ANY ((SELECT tenant_ids('meterhaul.sites'))::bigint[])"


@dataclass(frozen=True, slots=True)
class Tenancy:
    """Whose the rows are, and what the web may do to those that it may see."""

    kind: str
    """One word for the catalogue, such as `organisation`; the function below that makes it."""
    sees: str
    """SQL over a row of the table: whether this transaction may see it. Empty for rows that are nobody's."""
    changes: str
    """The same for whether it may add, change and delete it."""
    web: tuple[str, ...]
    """Privileges of the web's role."""
    organisation: str = ""
    """The column with the organisation's id, where the table has one."""
    site: str = ""
    """The column with the site's id, for rows that somebody limited to sites may see."""

    person: str = ""
    """The column with a person's id, where their own rows are visible to them."""

    @property
    def is_guarded(self) -> bool:
        """Say whether row-level security is on."""
        return bool(self.sees)


def of_organisation(*, web: tuple[str, ...] = ALL, column: str = "organisation_id") -> Tenancy:
    """Rows of an organisation: seen by those whose scope holds the organisation or one above it."""
    condition = _IN_ORGANISATIONS.format(column=column)
    return Tenancy("organisation", condition, condition, web, organisation=column)


def inherited(*, web: tuple[str, ...] = ALL, column: str = "organisation_id") -> Tenancy:
    """Rows of an organisation that those below it may use: a catalogue. Changed by those above and in it alone."""
    own = _IN_ORGANISATIONS.format(column=column)
    sees = f"((SELECT tenant_is_login()) OR {own} OR {_IN_ANCESTORS.format(column=column)})"
    return Tenancy("inherited", sees, own, web, organisation=column)


def of_site(*, web: tuple[str, ...] = ALL, organisation: str = "organisation_id", site: str = "site_id") -> Tenancy:
    """Rows of a site that carry its organisation too: seen also by those who were granted just that site."""
    condition = f"({_IN_ORGANISATIONS.format(column=organisation)} OR {_IN_SITES.format(column=site)})"
    return Tenancy("site", condition, condition, web, organisation=organisation, site=site)


def of_member(*, web: tuple[str, ...] = ALL, organisation: str = "organisation_id", person: str = "user_id") -> Tenancy:
    """Rows that tie a person to an organisation: seen by both, and while somebody proves who they are."""
    own = _IN_ORGANISATIONS.format(column=organisation)
    sees = f"((SELECT tenant_is_login()) OR {person} = (SELECT tenant_user()) OR {own})"
    return Tenancy(
        "member", sees, f"((SELECT tenant_is_login()) OR {own})", web, organisation=organisation, person=person
    )


def of_organisations_themselves(*, web: tuple[str, ...] = CHANGE) -> Tenancy:
    """Organisations, each a row: seen are those in scope, and those that one belongs to."""
    own = "lineage && (SELECT tenant_ids('meterhaul.organisations'))::bigint[]"
    sees = f"((SELECT tenant_is_login()) OR {own} OR id = ANY ((SELECT tenant_ids('meterhaul.members_of'))::bigint[]))"
    return Tenancy("itself", sees, own, web, organisation="id")


def through(table: str, key: str, *, web: tuple[str, ...] = READ, and_table: str = "", and_key: str = "") -> Tenancy:
    """Rows that hang by the column `key` on a row of another table: seen by those who see that row.

    With `and_table`, by those who see the row of that table too, on which they hang by `and_key`.
    """
    condition = f"EXISTS (SELECT FROM {table} parent WHERE parent.id = {key})"
    if and_table:
        condition += f" AND EXISTS (SELECT FROM {and_table} parent WHERE parent.id = {and_key})"
    return Tenancy("through", condition, condition, web)


def through_inherited(table: str, key: str, *, web: tuple[str, ...] = READ) -> Tenancy:
    """Rows that hang on a row of a catalogue: seen with it, changed by those who may change it."""
    own = _IN_ORGANISATIONS.format(column="parent.organisation_id")
    sees = f"EXISTS (SELECT FROM {table} parent WHERE parent.id = {key})"
    return Tenancy("through", sees, f"EXISTS (SELECT FROM {table} parent WHERE parent.id = {key} AND {own})", web)


def of_person(*, web: tuple[str, ...] = ALL, column: str = "user_id") -> Tenancy:
    """Rows of one person: seen by themselves, and while somebody proves who they are."""
    condition = f"((SELECT tenant_is_login()) OR {column} = (SELECT tenant_user()))"
    return Tenancy("person", condition, condition, web, person=column)


def people(*, web: tuple[str, ...] = CHANGE) -> Tenancy:
    """Accounts: seen by themselves, by the organisations that they belong to, and while somebody logs in."""
    itself = "(SELECT tenant_is_login()) OR id = (SELECT tenant_user())"
    sees = f"({itself} OR EXISTS (SELECT FROM memberships m WHERE m.user_id = users.id))"
    return Tenancy("people", sees, f"({sees} OR {_IN_ORGANISATIONS.format(column='organisation_id')})", web)


def append_only() -> Tenancy:
    """Traces of deeds: each organisation sees its own, and whoever does something adds to them."""
    return Tenancy(
        "audit", _IN_ORGANISATIONS.format(column="organisation_id"), "true", ADD, organisation="organisation_id"
    )


def shared(*, web: tuple[str, ...] = READ) -> Tenancy:
    """Rows that are nobody's and that everybody may read."""
    return Tenancy("shared", "", "", web)


def hidden() -> Tenancy:
    """Rows that the web never touches."""
    return Tenancy("hidden", "", "", ())
