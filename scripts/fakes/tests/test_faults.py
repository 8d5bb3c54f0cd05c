"""Faults: what each sends, and which calls a rule hits."""

from __future__ import annotations

import pathlib
import re
import time
import unittest
import zlib
from typing import Any

from fakeserver.faults import COMMON, FAULTS, packed_blanks

from . import Reply, ServerTest, read_all, request_bytes

PAGE = b'{"books":["one","two","three"],"more":true}'
DOCUMENT = pathlib.Path(__file__).resolve().parents[3] / "docs/fakes.md"


class Faults(ServerTest):
    """What a client gets."""

    def setUp(self) -> None:
        super().setUp()
        self.control("data", {"books": ["one", "two", "three"]})

    def fault(self, kind: str, **parameters: Any) -> Reply:
        """The answer that this fault breaks, read until the connection ends."""
        self.control("faults", {"rules": [{"fault": kind, **parameters}]})
        return self.ask("GET", "/a/books")

    def test_an_answer_is_replaced(self) -> None:
        error = self.fault("status", status=429, message="slow", headers={"Retry-After": "3"})
        self.assertEqual((error.status, error.headers["retry-after"], error.json), (429, "3", {"error": "slow"}))
        self.assertEqual(self.fault("status").json, {"error": "Service Unavailable"})
        self.assertEqual(self.fault("status", body={"a": 1}).json, {"a": 1})
        self.assertEqual(self.fault("status", status=200, body='{"a').body, b'{"a')
        page = self.fault("html", status=403)
        self.assertEqual((page.status, page.headers["content-type"]), (403, "text/html; charset=utf-8"))
        self.assertIn(b"<html>", page.body)
        broken = self.fault("garbage")
        self.assertEqual((broken.status, broken.body[:10]), (200, b'{"books":['))
        self.assertRaises(ValueError, lambda: broken.json)
        self.assertEqual((self.fault("empty").status, self.fault("empty").body), (200, b""))
        moved = self.fault("redirect", location="http://127.0.0.1:9/")
        self.assertEqual((moved.status, moved.headers["location"]), (302, "http://127.0.0.1:9/"))
        self.assertEqual(self.fault("redirect", location="/b", status=307).status, 307)

    def test_a_bomb_is_small_until_it_is_unpacked(self) -> None:
        bomb = self.fault("bomb", mebibytes=3)
        self.assertEqual(bomb.headers["content-encoding"], "gzip")
        self.assertLess(len(bomb.body), 10_000)
        unpacker = zlib.decompressobj(31)
        self.assertEqual(unpacker.decompress(bomb.body), b" " * (3 << 20))
        self.assertTrue(unpacker.eof, "checksum and size are right")
        self.assertLess(len(packed_blanks(64)), 64 << 11)

    def test_a_body_without_end_goes_on_until_the_client_leaves(self) -> None:
        self.control("faults", {"rules": [{"fault": "huge"}]})
        stream = self.connect()
        stream.sendall(request_bytes("GET", "/a/books"))
        raw = b""
        while len(raw) < 1 << 20:
            raw += stream.recv(1 << 16)
        reply = Reply(raw)
        self.assertEqual(reply.headers["transfer-encoding"], "chunked")
        self.assertNotIn("content-length", reply.headers)
        self.assertTrue(reply.body.startswith(b'b\r\n{"books":[1\r\n10000\r\n,1,1,1'), reply.body[:40])

    def test_an_answer_is_changed(self) -> None:
        cut = self.fault("truncated")
        self.assertEqual((cut.body, cut.headers["content-length"]), (PAGE[:21], "21"))
        self.assertEqual(self.fault("empty_page").json, {"books": [], "more": True})
        self.assertEqual(self.fault("short_page").json, {"books": ["one", "two"], "more": True})
        headers = {"content-type": "text/plain", "Date": None, "Content-Encoding": "gzip"}
        odd = self.fault("headers", headers=headers)
        self.assertEqual((odd.body, odd.headers["content-type"]), (PAGE, "text/plain"))
        self.assertEqual(odd.headers["content-encoding"], "gzip")
        self.assertNotIn("date", odd.headers)
        self.assertEqual([entry["rows"] for entry in self.log()["requests"]], [3, 0, 2, 3])

    def test_a_header_of_a_rule_stands_in_the_place_of_the_platforms(self) -> None:
        self.control("faults", {"rules": [{"fault": "headers", "headers": {"location": "/x", "x-left": "0"}}]})
        reply = self.ask("POST", "/a/books", 1)
        self.assertEqual((reply.headers["location"], reply.headers["x-left"]), ("/x", "0"))
        self.assertEqual((reply.raw.lower().count(b"location"), reply.raw.lower().count(b"x-left")), (1, 1))

    def test_what_is_packed_is_not_packed_again(self) -> None:
        self.control("settings", {"gzip": True})
        self.control("faults", {"rules": [{"fault": "bomb", "mebibytes": 1}]})
        bomb = self.ask("GET", "/a/books", accept_encoding="gzip")
        self.assertEqual(zlib.decompress(bomb.body, 31), b" " * (1 << 20))
        self.control("faults", {"rules": [{"fault": "repeat_page", "after": 1}]})
        self.assertEqual(zlib.decompress(self.ask("GET", "/a/books", accept_encoding="gzip").body, 31), PAGE)
        self.assertEqual(self.ask("GET", "/a/books").body, PAGE)

    def test_the_page_before_is_repeated(self) -> None:
        self.control("faults", {"rules": [{"fault": "repeat_page", "method": "GET", "after": 1, "times": 2}]})
        counts = []
        for number in range(4):
            counts.append(len(self.ask("GET", f"/a/books?offset={number}").json["books"]))
            self.ask("POST", "/a/books", number)
        self.assertEqual(counts, [3, 3, 3, 6])

    def test_an_answer_is_sent_badly(self) -> None:
        self.assertEqual(self.fault("reset").raw, b"<reset>")
        self.assertEqual(self.fault("lost").raw, b"")
        self.assertEqual(self.fault("noise").status, 0)
        self.assertEqual([entry["status"] for entry in self.log()["requests"]], [0, 0, 0])
        half = self.fault("cut")
        self.assertEqual((half.headers["content-length"], half.body), ("43", PAGE[:21]))
        self.assertEqual(self.fault("slow", seconds=0.01).body, PAGE)
        started = time.monotonic()
        self.assertEqual(self.fault("drip", bytes_per_second=1000).body, PAGE)
        self.assertGreaterEqual(time.monotonic() - started, 0.04)

    def test_a_stalled_answer_ends_with_its_release(self) -> None:
        self.control("faults", {"rules": [{"fault": "stall"}]})
        stream = self.connect()
        stream.sendall(request_bytes("GET", "/a/books"))
        self.await_held(1)
        self.assertTrue(stream.recv(10_000).endswith(PAGE[:21]))
        self.control("release")
        self.assertEqual(stream.recv(1), b"")

    def test_a_wrong_length_ends_the_connection_or_spoils_the_next_answer(self) -> None:
        self.control("faults", {"rules": [{"fault": "length", "by": 5}]})
        longer = self.send(request_bytes("GET", "/a/books"))
        self.assertEqual((longer.headers["content-length"], longer.body), ("48", PAGE))
        self.control("faults", {"rules": [{"fault": "length", "by": -3}]})
        reply = self.send(request_bytes("GET", "/a/books") + request_bytes("GET", "/a/books", connection="close"))
        self.assertEqual(reply.headers["content-length"], "40")
        self.assertTrue(reply.body.startswith(PAGE + b"HTTP/1.1 200 OK"), reply.body)

    def test_a_call_may_be_done_although_its_answer_is_replaced(self) -> None:
        def added(**rule: Any) -> int:
            self.control("faults", {"rules": [rule]})
            before = self.log()["summary"]["added"]
            self.ask("POST", "/a/books", 1)
            return int(self.log()["summary"]["added"] - before)

        self.assertEqual(added(fault="status"), 0)
        self.assertEqual(added(fault="status", done=True), 1)
        self.assertEqual(added(fault="reset", done=True), 1)
        self.assertEqual(added(fault="lost"), 1)
        self.assertEqual(added(fault="lost", undone=True), 0)


    def test_a_key_repeats_the_true_answer_of_a_call_that_seemed_to_fail(self) -> None:
        self.control("faults", {"rules": [{"fault": "status", "status": 500, "done": True}]})
        self.assertEqual(self.ask("POST", "/a/books", 1, idempotency_key="k").status, 500)
        again = self.ask("POST", "/a/books", 1, idempotency_key="k")
        self.assertEqual((again.status, again.json), (201, {"added": 4}))

    def test_a_key_is_in_use_while_its_answer_is_held(self) -> None:
        self.control("faults", {"rules": [{"fault": "hold"}]})
        first = self.connect()
        first.sendall(request_bytes("POST", "/a/books", 1, idempotency_key="k", connection="close"))
        self.await_held(1)
        self.assertEqual(self.ask("POST", "/a/books", 1, idempotency_key="k").status, 409)
        self.control("release")
        self.assertEqual(Reply(read_all(first)).json, {"added": 4})
        self.assertEqual(self.ask("POST", "/a/books", 1, idempotency_key="k").json, {"added": 4})


class Rules(ServerTest):
    """Which calls are hit."""

    def hits(self, calls: list[tuple[str, str, object]], *rules: dict[str, Any]) -> list[Any]:
        self.control("faults", {"rules": list(rules)})
        self.control("log/clear")
        for method, path, body in calls:
            self.ask(method, f"/a/{path}", body)
        return [entry["fault"] for entry in self.log()["requests"]]

    def test_a_rule_lets_some_calls_pass_and_hits_so_many(self) -> None:
        calls: list[tuple[str, str, object]] = [("GET", "books", None)] * 5
        self.assertEqual(self.hits(calls, {"fault": "empty"}), ["empty", None, None, None, None])
        rule = {"fault": "empty", "after": 1, "times": 2}
        self.assertEqual(self.hits(calls, rule), [None, "empty", "empty", None, None])
        self.assertEqual(self.hits(calls, rule | {"times": -1}), [None] + ["empty"] * 4)

    def test_a_rule_names_its_calls_by_path_method_and_body(self) -> None:
        calls: list[tuple[str, str, object]] = [
            ("GET", "books?page=2", None), ("GET", "books", None), ("POST", "books", "red"), ("POST", "books", "blue"),
        ]
        rule = {"fault": "empty", "times": -1}
        self.assertEqual(self.hits(calls, rule | {"path": "page=2"}), ["empty", None, None, None])
        self.assertEqual(self.hits(calls, rule | {"method": "POST"}), [None, None, "empty", "empty"])
        self.assertEqual(self.hits(calls, rule | {"contains": "blue"}), [None, None, None, "empty"])

    def test_the_first_rule_that_hits_is_taken_and_all_count(self) -> None:
        calls: list[tuple[str, str, object]] = [("GET", "books", None)] * 4
        rules = {"fault": "empty"}, {"fault": "html", "after": 1}, {"fault": "garbage", "after": 1}
        self.assertEqual(self.hits(calls, *rules), ["empty", "html", "garbage", None])


class Documentation(unittest.TestCase):
    """The table of faults in docs/fakes.md."""

    def test_every_fault_and_parameter_is_documented(self) -> None:
        section = DOCUMENT.read_text(encoding="utf-8").partition("### Faults")[2].partition("\n### ")[0]
        rows = re.findall(r"^\| `(\w+)` \| (.*) \|", section, re.MULTILINE)
        self.assertEqual(sorted(name for name, _ in rows), sorted(FAULTS))
        for name, row in rows:
            for parameter in FAULTS[name].parameters - COMMON:
                self.assertIn(f"`{parameter}`", row)
        for parameter in COMMON:
            self.assertRegex(section, rf"""[`"]{parameter}[`"]""")
