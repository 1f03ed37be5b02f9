"""How queries and bodies name things: what a name looks like, and which kind of thing the guard is to judge."""

from typing import Annotated

from pydantic import Field

from cloud_hub.access.subjects import Names

Id = Annotated[int, Field(ge=1, lt=2**63)]

OrganisationName = Annotated[str, Field(min_length=1, max_length=63), Names("organisation")]
"""Its slug."""
SiteName = Annotated[str, Field(min_length=1, max_length=127), Names("site")]
"""Its slug, or `organisation:slug` where several organisations have a site of that slug."""
ControllerName = Annotated[str, Field(min_length=1, max_length=255), Names("controller")]
MeterId = Annotated[Id, Names("meter")]
PointId = Annotated[Id, Names("point")]
