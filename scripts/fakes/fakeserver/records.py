"""Records given by a test and millions of generated ones, in the order of a date.

Generated records are computed from their index when they are requested, so a million of them takes no memory, and a
page from the middle costs as much as the first. A record is JSON text from the start: nothing is parsed to be sent.
"""

from __future__ import annotations

import bisect
import datetime
import functools
import itertools
import json
import math

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any, Protocol

    class Source(Protocol):
        """Generated records by their index, which is the order in which they were made."""

        count: int

        def runs(self, date: str) -> list[Run]:
            """The runs of these records that are listed under a date."""

        def at(self, index: int) -> float:
            """When a record was made, in seconds since 1970."""

        def key(self, index: int) -> str: ...

        def find(self, key: str) -> int | None:
            """The index of a key."""

        def texts(self, indexes: range, full: bool) -> list[str]:
            """Records as JSON. With `full` they include what a platform embeds only on request."""


# Records without a date come before all others.
UNDATED = -math.inf


def read_time(text: object, zone: datetime.tzinfo) -> float | None:
    """The instant of a record, leniently: a number of seconds or ISO 8601. `zone` applies to texts without one."""
    if isinstance(text, (int, float)) and not isinstance(text, bool):
        return text
    try:
        moment = datetime.datetime.fromisoformat(text)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).timestamp()


def scatter(number: int) -> int:
    """A number that looks random and is the same every time."""
    number = (number * 2654435761 + 12345) & 0xFFFFFFFF
    return number ^ (number >> 15)


def find_number(key: str, prefix: str, first: int, count: int) -> int | None:
    """The index of a key that is a prefix and a number of at least seven digits, which begins with `first`."""
    digits = key[len(prefix) :]
    if not key.startswith(prefix) or len(digits) < 7 or not digits.isascii() or not digits.isdigit():
        return None
    index = int(digits) - first
    return index if 0 <= index < count and f"{index + first:07d}" == digits else None


class Generated:
    """Records at even distances: `same_second` of them at once, the next ones `step_seconds` later."""

    def __init__(self, spec: dict[str, Any], first: int, zone: datetime.tzinfo) -> None:
        start = read_time(spec["from"], zone)
        if start is None:
            raise ValueError(f"`from` is not a time: {spec['from']}")
        self.count, self.start, self.first = int(spec["count"]), int(start), first
        self.same = max(1, int(spec.get("same_second", 1)))
        self.step = int(spec.get("step_seconds", 1))

    def at(self, index: int) -> int:
        return self.start + index // self.same * self.step


class Run:
    """Generated records in the order of one of their dates: all of them, or each `every`-th, `shift` seconds later."""

    def __init__(self, source: Source, count: int, every: int = 1, shift: float = 0) -> None:
        self.source, self.count, self.every, self.shift = source, count, every, shift

    def at(self, place: int) -> float:
        return self.source.at(place * self.every + self.every - 1) + self.shift

    def key(self, place: int) -> str:
        return self.source.key(place * self.every + self.every - 1)

    def find(self, key: str) -> int | None:
        index = self.source.find(key)
        if index is None or (index + 1) % self.every:
            return None
        place = (index + 1) // self.every - 1
        return place if place < self.count else None

    def texts(self, start: int, end: int, full: bool) -> list[str]:
        every = self.every
        return self.source.texts(range(start * every + every - 1, end * every + every - 1, every), full)

    def text(self, place: int, full: bool) -> str:
        return self.texts(place, place + 1, full)[0]


class Part:
    """A part of a listing: places of the run, or numbers of single records."""

    __slots__ = ("count", "is_run", "start")

    def __init__(self, is_run: bool, start: int, count: int) -> None:
        self.is_run, self.start, self.count = is_run, start, count


class Listing:
    """Records in the order of a date, then of their keys: the largest generated run, and single records in between.

    A single record is a time, a key and a function that gives its text. `removed` are places of the run.
    """

    def __init__(
        self, run: Run | None, singles: Iterable[tuple[float, str, Callable[[bool], str]]], removed: Sequence[int]
    ) -> None:
        self.run, self.removed = run, removed
        self.singles = sorted(singles, key=lambda single: single[:2])
        self.times = [single[0] for single in self.singles]
        self.parts: list[Part] = []
        # The place in the listing at which each part begins.
        self.starts: list[int] = []
        self.count = 0
        self.lay_out()

    def lay_out(self) -> None:
        size = self.run.count if self.run else 0
        changes = [(self.place_before(single[:2]), 0, number) for number, single in enumerate(self.singles)]
        changes += [(place, 1, 0) for place in self.removed]
        changes.sort()
        done = 0
        for place, is_removal, number in changes:
            self.add(True, done, place - done)
            done = max(done, place)
            if is_removal:
                done = place + 1
            else:
                self.add(False, number, 1)
        self.add(True, done, size - done)

    def place_before(self, single: tuple[float, str]) -> int:
        """The place in the run before which a single record comes."""
        run = self.run
        if not run:
            return 0
        return bisect.bisect_left(range(run.count), single, key=lambda place: (run.at(place), run.key(place)))

    def add(self, is_run: bool, start: int, count: int) -> None:
        if count <= 0:
            return
        last = self.parts[-1] if self.parts else None
        if last and last.is_run == is_run and last.start + last.count == start:
            last.count += count
        else:
            self.parts.append(Part(is_run, start, count))
            self.starts.append(self.count)
        self.count += count

    def at(self, place: int) -> float:
        """The time of a record by its place."""
        number = max(0, bisect.bisect_right(self.starts, place) - 1)
        part = self.parts[number]
        inner = part.start + place - self.starts[number]
        return self.run.at(inner) if part.is_run and self.run else self.times[inner]

    def before(self, at: float) -> int:
        """How many records come before a time."""
        return self.rank(at, bisect.bisect_left)

    def until(self, at: float) -> int:
        """How many records come before a time or at it."""
        return self.rank(at, bisect.bisect_right)

    def rank(self, at: float, bisection: Callable[..., int]) -> int:
        place = bisection(range(self.run.count), at, key=self.run.at) if self.run else 0
        return place - bisect.bisect_left(self.removed, place) + bisection(self.times, at)

    def texts(self, start: int, end: int, full: bool = False) -> list[str]:
        texts: list[str] = []
        number = max(0, bisect.bisect_right(self.starts, start) - 1)
        while start < end and number < len(self.parts):
            part = self.parts[number]
            skipped = start - self.starts[number]
            taken = min(part.count - skipped, end - start)
            first = part.start + skipped
            if part.is_run and self.run:
                texts += self.run.texts(first, first + taken, full)
            else:
                texts += [text(full) for _, _, text in self.singles[first : first + taken]]
            start += taken
            number += 1
        return texts


class Records:
    """The records of one kind: those given, and those generated.

    `key` and `date` are the fields that name a record and list it; `embedded` are those sent only on request. A given
    record is sent as it is, whatever it is, so that a test may give broken ones: `_at` is the time under which it is
    listed, `_raw` what is sent instead.
    """

    def __init__(self, key: str, date: str, zone: datetime.tzinfo, embedded: Sequence[str] = ()) -> None:
        self.key, self.date, self.zone, self.embedded = key, date, zone, embedded
        self.given: dict[str, Any] = {}
        self.generated: list[Source] = []
        self.deleted: set[str] = set()
        self.listings: dict[str, Listing] = {}
        self.nameless = itertools.count()

    def put(self, records: Iterable[Any]) -> None:
        """Adds records, or replaces those with the same keys."""
        for record in records:
            key = record.get(self.key) if isinstance(record, dict) else None
            if not isinstance(key, str):
                key = f"\0{next(self.nameless):07d}"
            self.given[key] = record
        self.listings.clear()

    def delete(self, keys: Iterable[str]) -> None:
        for key in keys:
            self.given.pop(key, None)
            self.deleted.add(key)
        self.listings.clear()

    def generate(self, source: Source) -> None:
        self.generated.append(source)
        self.listings.clear()

    def find(self, key: str, full: bool = False) -> str | None:
        """The text of one record."""
        if key in self.given:
            return self.text(self.given[key], full)
        if key in self.deleted:
            return None
        for source in self.generated:
            index = source.find(key)
            if index is not None:
                return source.texts(range(index, index + 1), full)[0]
        return None

    def listing(self, date: str) -> Listing:
        """The records under a date; it is built once and kept until a record changes."""
        if date not in self.listings:
            self.listings[date] = self.lay_out(date)
        return self.listings[date]

    def lay_out(self, date: str) -> Listing:
        runs = sorted((run for source in self.generated for run in source.runs(date)), key=lambda run: run.count)
        largest = runs.pop() if runs else None
        hidden = self.given.keys() | self.deleted
        singles: list[tuple[float, str, Callable[[bool], str]]] = []
        for key, record in self.given.items():
            at = self.time_of(record, date)
            if at is not None:
                singles.append((at, key, functools.partial(self.text, record)))
        for run in runs:
            for place in range(run.count):
                key = run.key(place)
                if key not in hidden:
                    singles.append((run.at(place), key, functools.partial(run.text, place)))
        removed = sorted(place for place in map(largest.find, hidden) if place is not None) if largest else []
        return Listing(largest, singles, removed)

    def time_of(self, record: Any, date: str) -> float | None:
        """When a given record is listed under a date; None if it is not."""
        if not isinstance(record, dict):
            return UNDATED if date == self.date else None
        listed = record.get("_at")
        listed = listed.get(date) if isinstance(listed, dict) else listed if date == self.date else None
        at = read_time(listed, self.zone)
        if at is None:
            at = read_time(record.get(date), self.zone)
        return UNDATED if at is None and date == self.date else at

    def text(self, record: Any, full: bool) -> str:
        """A given record as it is sent, without the fields that only determine where it is listed."""
        if isinstance(record, dict):
            if "_raw" in record:
                record = record["_raw"]
            else:
                hidden = ("_at",) if full else ("_at", *self.embedded)
                record = {name: value for name, value in record.items() if name not in hidden}
        return json.dumps(record, separators=(",", ":"))
