"""The way of many rows out of PostgreSQL: COPY in its binary format, straight into numpy.

Source: PostgreSQL's documentation, "COPY", section "Binary Format": a header of 11 + 4 + 4 bytes, then per
row a field count (int16) and per field a length (int32) and the value in network order, then a trailer of -1.
"""

from collections.abc import Sequence
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

_HEADER = 19
_TRAILER = 2


def copy_rows(
    session: Session, query: str, parameters: dict[str, object], columns: Sequence[tuple[str, str]]
) -> NDArray[Any]:
    """Run a query and return its rows as a structured array with the named columns.

    `columns` names each result column and its big-endian numpy type, such as `("value", ">f8")`. No column
    may be null, so that every row has the same width. `query` takes psycopg2's `%(name)s` parameters.
    """
    fields = [(part, kind) for name, type_ in columns for part, kind in ((f"{name}__length", ">i4"), (name, type_))]
    row = np.dtype([("fields__count", ">i2"), *fields])
    cursor = session.connection().connection.cursor()
    try:
        bound = cursor.mogrify(query, parameters).decode()
        data = BytesIO()
        cursor.copy_expert(f"COPY ({bound}) TO STDOUT (FORMAT binary)", data)
    finally:
        cursor.close()
    return np.frombuffer(data.getbuffer()[_HEADER:-_TRAILER], dtype=row)
