"""Numbers and lists in a query, pages by offset, pages by cursor."""

from __future__ import annotations

import binascii

from .messages import BadParameter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeVar

    T = TypeVar("T")


def whole_number(query: dict[str, str], name: str, default: int, least: int, most: int) -> int:
    text = query.get(name, str(default))
    if not text.isascii() or not text.isdigit() or len(text) > 9 or not least <= int(text) <= most:
        raise BadParameter(name, f"must be a number from {least} to {most}")
    return int(text)


def comma_list(query: dict[str, str], name: str, most: int) -> list[str]:
    values = [value for value in query.get(name, "").split(",") if value]
    if not values or len(values) > most:
        raise BadParameter(name, f"must have 1 to {most} values")
    return values


class OffsetPage:
    """`limit` and `offset` of a query, each up to its cap. `rows_max` makes pages shorter than requested."""

    def __init__(
        self, query: dict[str, str], default: int, most: int, most_offset: int, rows_max: int | None = None
    ) -> None:
        self.limit = whole_number(query, "limit", default, 1, most)
        self.offset = whole_number(query, "offset", 0, 0, most_offset)
        self.end = self.offset + min(self.limit, rows_max or self.limit)


class Cursors:
    """Cursors that a client cannot read: the place where a page begins, for one list.

    They are base64 with `+`, `/` and `=`, like those of LINE WORKS: a client that forgets to encode them fails.
    """

    def __init__(self, name: str) -> None:
        self.prefix = f"{name}>?"

    def write(self, place: int) -> str:
        return binascii.b2a_base64(f"{self.prefix}{place}".encode(), newline=False).decode()

    def read(self, cursor: str, parameter: str = "cursor") -> int:
        """The place of a cursor; 0 if there is none."""
        if not cursor:
            return 0
        try:
            text = binascii.a2b_base64(cursor, strict_mode=True).decode()
            if not text.startswith(self.prefix):
                raise ValueError(cursor)
            return int(text[len(self.prefix) :])
        except ValueError:
            raise BadParameter(parameter, "is not a cursor of this list") from None


def rows_after(
    rows: Sequence[T], key: Callable[[T], str], last: str | None, limit: int, parameter: str = "starting_after"
) -> tuple[Sequence[T], bool]:
    """The page after the row with the key `last` (the first page without one), and whether more rows follow.

    Rows that are added before that row shift nothing, as with Stripe. A row that is gone is refused.
    """
    start = 0
    if last is not None:
        start = 1 + next((place for place, row in enumerate(rows) if key(row) == last), -1)
        if start == 0:
            raise BadParameter(parameter, "is not in this list")
    return rows[start : start + limit], start + limit < len(rows)
