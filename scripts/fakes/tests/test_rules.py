"""Rules that platforms share: throttles, OAuth, paging, idempotency keys, records. Nothing here waits."""

from __future__ import annotations

import base64
import datetime
import json
import unittest
from typing import Any

from fakeserver.clock import Clock
from fakeserver.idempotency import IdempotencyKeys, KeyInUse, KeyReused
from fakeserver.messages import Answer, BadParameter, Refusal, Request, json_answer
from fakeserver.oauth import CODE_SECONDS, FORM, Denial, Tokens, check_client
from fakeserver.paging import Cursors, OffsetPage, comma_list, rows_after, whole_number
from fakeserver.records import Generated, Records, Run, find_number
from fakeserver.throttles import Burst, LeakyBucket, Window


def request(method: str = "GET", target: str = "/a/x", body: bytes = b"", **headers: str) -> Request:
    return Request(method, target, {name.replace("_", "-"): text for name, text in headers.items()}, body, 1)


class Throttles(unittest.TestCase):
    """Calls that are counted, at times that the test chooses."""

    def test_a_bucket_takes_what_has_drained(self) -> None:
        bucket = LeakyBucket(3, 2.0)
        self.assertEqual([bucket.take(10.0) for _ in range(4)], [True, True, True, False])
        self.assertEqual(bucket.wait(), 0.5)
        self.assertEqual([bucket.take(10.5), bucket.take(10.5)], [True, False])
        self.assertEqual(bucket.drained(11.25), 1.5)
        self.assertFalse(bucket.take(11.25, cost=2))
        self.assertTrue(bucket.take(11.25, cost=1.5))
        self.assertEqual((bucket.take(5.0), bucket.level), (False, 3.0), "a clock that is set back drains nothing")

    def test_a_bucket_that_never_drains_stays_full(self) -> None:
        bucket = LeakyBucket(1, 0)
        self.assertEqual([bucket.take(at) for at in (0.0, 1.0, 1e9)], [True, False, False])
        self.assertEqual(bucket.wait(), float("inf"))

    def test_a_window_begins_with_its_first_call(self) -> None:
        window = Window(2, 60)
        self.assertEqual([window.take(at) for at in (100.0, 159.0, 159.9)], [True, True, False])
        self.assertEqual((window.remaining(), window.reset(150.0)), (0, 10.0))
        self.assertEqual((window.take(160.0), window.remaining()), (True, 1))

    def test_a_burst_is_more_than_so_many_within_any_second(self) -> None:
        burst = Burst(2, 1.0)
        self.assertEqual([burst.is_over(at) for at in (0.0, 0.9, 1.0, 1.5, 2.5)], [False, False, False, True, False])


class OAuth(unittest.TestCase):
    """Codes and tokens, and how they end."""

    def setUp(self) -> None:
        self.clock, self.counts = Clock(), {"refreshes": 0, "refused_refreshes": 0}
        self.tokens = self.new_tokens()

    def new_tokens(self, rotates: bool = True) -> Tokens:
        return Tokens(self.clock, 3600, 86400, self.counts, rotates)

    def refresh(self, token: str) -> Any:
        return self.tokens.grant({"grant_type": "refresh_token", "refresh_token": token})

    def test_a_code_is_for_one_use_one_address_and_a_minute(self) -> None:
        def code() -> str:
            query = {"client_id": "c", "response_type": "code", "redirect_uri": "https://e.x/?a", "state": "s t"}
            answer = self.tokens.authorize(query | {"scope": "read,write"}, "c", ["read", "write"])
            location = str(dict(answer.headers)["Location"])
            self.assertRegex(location, r"^https://e\.x/\?a&code=[0-9a-f]{32}&state=s%20t$")
            return location.partition("code=")[2][:32]

        def exchange(code: str, uri: str = "https://e.x/?a") -> Any:
            return self.tokens.grant({"grant_type": "authorization_code", "code": code, "redirect_uri": uri})

        first = code()
        self.assertEqual(exchange(first).access.scopes, ["read", "write"])
        self.assertRaisesRegex(Denial, "Invalid code", exchange, first)
        self.assertRaisesRegex(Denial, "Invalid code", exchange, code(), "https://other/")
        late = code()
        self.clock.ahead += CODE_SECONDS + 1
        self.assertRaisesRegex(Denial, "Invalid code", exchange, late)

    def test_what_a_client_may_not_ask_for_is_denied_by_its_name(self) -> None:
        query = {"client_id": "c", "response_type": "code", "redirect_uri": "u"}
        for wrong, error in (
            ({"client_id": "other"}, "invalid_client"),
            ({"response_type": "token"}, "invalid_request"),
            ({"redirect_uri": ""}, "invalid_request"),
            ({"scope": "read delete"}, "invalid_scope"),
        ):
            with self.assertRaises(Denial) as denied:
                self.tokens.authorize(query | wrong, "c", ["read"])
            self.assertEqual((denied.exception.error, denied.exception.answer().status), (error, 400))
        self.assertRaisesRegex(Denial, "Invalid grant_type", self.tokens.grant, {"grant_type": "password"})

    def test_a_refresh_token_that_rotates_is_for_one_use(self) -> None:
        first = self.tokens.issue(["read"], refresh="r1")
        second = self.refresh("r1")
        self.assertRaisesRegex(Denial, "Invalid refresh_token", self.refresh, "r1")
        self.assertNotEqual(second.refresh.token, "r1")
        self.assertFalse(self.tokens.is_over(first.access), "the older access token is left alone")
        self.assertEqual(self.counts, {"refreshes": 1, "refused_refreshes": 1})

    def test_a_refresh_token_that_does_not_rotate_is_kept(self) -> None:
        self.tokens = self.new_tokens(rotates=False)
        self.tokens.issue(["read"], refresh="r1")
        for _ in range(2):
            pair = self.refresh("r1")
            self.assertEqual((pair.refresh, pair.access.scopes), (None, ["read"]))

    def test_tokens_end_by_time_by_revocation_and_with_the_app(self) -> None:
        pair = self.tokens.issue(["read"], access="a1", refresh="r1")
        shown = self.tokens.of(request(authorization="bearer a1"))
        self.assertIs(shown, pair.access)
        self.clock.ahead += 3600
        self.assertTrue(self.tokens.is_over(pair.access))
        self.clock.ahead += 86400
        self.assertRaises(Denial, self.refresh, "r1")

        for ended in ("a2", "r2"):
            self.tokens.issue(["read"], access="a2", refresh="r2")
            self.tokens.revoke(ended)
            self.assertIsNone(self.tokens.of(request(authorization="Bearer a2")))
            self.assertRaises(Denial, self.refresh, "r2")

        live = self.tokens.issue(["read"], refresh="r3")
        self.tokens.expire()
        self.assertTrue(self.tokens.is_over(live.access))
        self.tokens.is_revoked = True
        self.assertRaises(Denial, self.refresh, "r3")

    def test_a_client_shows_itself_by_basic_and_sends_a_form(self) -> None:
        basic = "Basic " + base64.b64encode(b"id:secret").decode()
        check_client(request(authorization=basic, content_type=FORM + "; charset=utf-8"), "id", "secret")
        for authorization, content_type, status in (
            (basic, "application/json", 400),
            (basic[:-1], FORM, 401),
            ("Bearer id:secret", FORM, 401),
            ("", FORM, 401),
        ):
            with self.assertRaises(Denial) as denied:
                check_client(request(authorization=authorization, content_type=content_type), "id", "secret")
            self.assertEqual(denied.exception.status, status)


class Paging(unittest.TestCase):
    """Queries, offsets and cursors."""

    def test_numbers_and_lists_of_a_query_have_bounds(self) -> None:
        self.assertEqual(whole_number({"limit": "7"}, "limit", 5, 1, 10), 7)
        self.assertEqual(whole_number({}, "limit", 5, 1, 10), 5)
        for text in ("0", "11", "-1", "x", "", "٣", "9" * 5000):
            with self.assertRaisesRegex(BadParameter, "^limit must be a number from 1 to 10$"):
                whole_number({"limit": text}, "limit", 5, 1, 10)
        self.assertEqual(comma_list({"ids": "a,,b"}, "ids", 2), ["a", "b"])
        for text in ("", ",", "a,b,c"):
            self.assertRaises(BadParameter, comma_list, {"ids": text}, "ids", 2)

    def test_a_page_by_offset_may_be_shorter_than_its_limit(self) -> None:
        page = OffsetPage({"offset": "20", "limit": "10"}, 5, 100, 1000, rows_max=3)
        self.assertEqual((page.limit, page.offset, page.end), (10, 20, 23))
        self.assertEqual(OffsetPage({}, 5, 100, 1000).end, 5)

    def test_a_cursor_is_read_by_its_own_list_only(self) -> None:
        cursors = Cursors("users")
        self.assertEqual([cursors.read(cursors.write(place)) for place in (0, 100)], [0, 100])
        self.assertEqual(cursors.read(""), 0)
        for wrong in (Cursors("groups").write(1), "x", "dXNlcg==", cursors.write(1) + "="):
            self.assertRaisesRegex(BadParameter, "cursor is not a cursor of this list", cursors.read, wrong)
        self.assertTrue(any(set("+/=") & set(cursors.write(place)) for place in range(3)), "has to be encoded")

    def test_a_page_after_a_row_goes_on_where_that_row_is(self) -> None:
        rows = ["d", "c", "b", "a"]
        self.assertEqual(rows_after(rows, str, None, 3), (["d", "c", "b"], True))
        self.assertEqual(rows_after(["e", *rows], str, "c", 2), (["b", "a"], False))
        self.assertEqual(rows_after(rows, str, "a", 2), ([], False))
        self.assertRaisesRegex(BadParameter, "starting_after is not in this list", rows_after, rows, str, "z", 2)


class Idempotency(unittest.TestCase):
    """Keys, with work that counts its calls."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.keys = IdempotencyKeys(self.clock, 3600, headers=[("Idempotent-Replayed", "true")])
        self.done = 0

    def work(self) -> Answer:
        self.done += 1
        return json_answer({"done": self.done}, 500)

    def run_key(self, key: str, body: bytes = b"{}", finish: bool = True) -> Answer:
        answer = self.keys.run(key, request("POST", body=body), self.work)
        if finish and answer.finish:
            answer.finish()
        return answer

    def test_a_repeated_call_gets_the_first_answer_even_if_that_was_an_error(self) -> None:
        first, again = self.run_key("k"), self.run_key("k")
        self.assertEqual((self.done, first.body, again.body, again.status), (1, again.body, b'{"done":1}', 500))
        self.assertEqual((first.headers, again.headers), ([], [("Idempotent-Replayed", "true")]))
        self.assertEqual(self.run_key("k").headers, again.headers)
        self.run_key("other")
        self.run_key("")
        self.run_key("")
        self.assertEqual(self.done, 4, "another key is another call, and so is each one without a key")

    def test_a_key_belongs_to_one_request(self) -> None:
        self.run_key("k")
        self.assertRaises(KeyReused, self.run_key, "k", b'{"amount":2}')
        self.assertEqual(self.done, 1)

    def test_a_key_is_in_use_until_its_answer_is_sent(self) -> None:
        answer = self.run_key("k", finish=False)
        self.assertRaises(KeyInUse, self.run_key, "k")
        assert answer.finish
        answer.finish()
        self.assertEqual(self.run_key("k").body, answer.body)

    def test_a_key_is_forgotten_in_time_and_refusals_are_not_kept(self) -> None:
        self.run_key("k")
        self.clock.ahead += 3600
        self.run_key("k", b'{"amount":2}')
        self.assertEqual(self.done, 2)

        def refuse() -> Answer:
            raise Refusal(400, "no amount")

        self.assertRaises(Refusal, self.keys.run, "new", request("POST"), refuse)
        self.assertEqual(self.keys.run("new", request("POST"), self.work).status, 500)


class Visits(Generated):
    """Generated records; every other one leaves an hour later."""

    def runs(self, date: str) -> list[Run]:
        return {"came": [Run(self, self.count)], "left": [Run(self, self.count // 2, 2, 3600)]}.get(date, [])

    def key(self, index: int) -> str:
        return f"v{index + self.first:07d}"

    def find(self, key: str) -> int | None:
        return find_number(key, "v", self.first, self.count)

    def texts(self, indexes: range, full: bool) -> list[str]:
        return [json.dumps({"id": self.key(index)} | ({"notes": []} if full else {})) for index in indexes]


class ListedRecords(unittest.TestCase):
    """Listings of given and generated records."""

    START = 1_750_000_000

    def setUp(self) -> None:
        self.records = Records("id", "came", datetime.UTC, embedded=["notes"])

    def generate(self, count: int, first: int = 1, **spec: int) -> None:
        self.records.generate(Visits({"from": self.START, "count": count, **spec}, first, datetime.UTC))

    def keys(self, date: str = "came") -> list[Any]:
        listing = self.records.listing(date)
        found = [json.loads(text) for text in listing.texts(0, listing.count)]
        return [record["id"] if isinstance(record, dict) else record for record in found]

    def test_given_records_stand_between_generated_ones_by_time_then_key(self) -> None:
        self.generate(4, step_seconds=10)
        self.records.put([
            {"id": "u", "came": self.START + 10}, {"id": "w", "came": self.START + 10},
            {"id": "first"}, "text", {"_at": self.START + 15, "_raw": 17},
            {"id": "v0000004", "came": self.START + 99, "notes": [1]},
        ])
        self.assertEqual(self.keys(), ["text", "first", "v0000001", "u", "v0000002", "w", 17, "v0000003", "v0000004"])
        self.records.delete(["v0000002", "u"])
        self.assertEqual(self.keys(), ["text", "first", "v0000001", "w", 17, "v0000003", "v0000004"])

    def test_every_slice_of_a_listing_is_that_part_of_it(self) -> None:
        self.generate(40, step_seconds=1, same_second=3)
        self.generate(9, first=100, step_seconds=2)
        self.records.put([{"id": f"x{number}", "came": self.START + number} for number in range(0, 14, 3)])
        self.records.delete([f"v{number:07d}" for number in (1, 7, 8, 9, 40, 104)])
        listing, keys = self.records.listing("came"), self.keys()
        self.assertEqual((len(keys), len(set(keys)), listing.count), (48, 48, 48))
        for start in range(49):
            for end in range(start, 49):
                found = [json.loads(text)["id"] for text in listing.texts(start, end)]
                self.assertEqual(found, keys[start:end])

    def test_bounds_count_what_is_before_and_until_a_time(self) -> None:
        self.generate(1_000_000, step_seconds=1, same_second=10)
        self.records.put([{"id": "x", "came": self.START + 2}])
        self.records.delete(["v0000001", "v0000021", "v0000031"])
        listing = self.records.listing("came")
        self.assertEqual((listing.before(self.START + 2), listing.until(self.START + 2)), (19, 29))
        self.assertEqual(listing.count, 999_998)

    def test_another_date_lists_other_records(self) -> None:
        self.generate(5)
        self.records.put([
            {"id": "x", "came": self.START, "left": self.START},
            {"id": "y", "_at": {"left": "2100-01-01T00:00:00"}},
            {"id": "z", "came": self.START},
        ])
        self.assertEqual(self.keys("left"), ["x", "v0000002", "v0000004", "y"])

    def test_a_record_is_found_by_its_key_with_what_is_embedded_on_request(self) -> None:
        self.generate(3)
        self.records.put([{"id": "x", "notes": [1], "_at": 0}])
        self.records.delete(["v0000002"])
        found = [self.records.find(key, full) for key in ("x", "v0000003") for full in (False, True)]
        self.assertEqual([json.loads(text or "") for text in found], [
            {"id": "x"}, {"id": "x", "notes": [1]}, {"id": "v0000003"}, {"id": "v0000003", "notes": []},
        ])
        self.assertEqual([self.records.find(key) for key in ("v0000002", "v0000004", "v3", "")], [None] * 4)

    def test_a_time_that_is_none_is_refused(self) -> None:
        self.assertRaisesRegex(ValueError, "`from` is not a time: soon", Visits, {"from": "soon", "count": 1}, 1, None)
