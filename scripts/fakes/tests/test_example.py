"""The example of docs/fakes.md, taken from the page and started as a test of a job would start it."""

from __future__ import annotations

import http.client
import json
import os
import pathlib
import re
import signal
import subprocess
import tempfile
import time
import unittest
from typing import Any

FAKES = pathlib.Path(__file__).resolve().parents[1]
PAGE = FAKES.parents[1] / "docs/fakes.md"


class Example(unittest.TestCase):
    """The program of the page, in its own folder next to the package."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        code = re.search(r"^```python\n(#!.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
        assert code, "the page has an example"
        program = self.folder / "parcels"
        program.write_text(code[1], encoding="utf-8")
        program.chmod(0o755)
        (self.folder / "fakeserver").symlink_to(FAKES / "fakeserver")
        self.port_file = self.folder / "port"
        self.compiled_before = list(FAKES.rglob("__pycache__"))
        # From another folder and by its absolute path, with its own cache.
        self.process = subprocess.Popen(
            [program, "--port", "0", "--port-file", self.port_file, "--api-key", "secret"],
            cwd="/", env=os.environ | {"XDG_CACHE_HOME": folder.name}, stdout=subprocess.PIPE, text=True,
        )
        self.addCleanup(self.stop)
        assert self.process.stdout
        self.announcement = self.process.stdout.readline()
        self.port = int(self.port_file.read_text(encoding="ascii"))

    def stop(self) -> None:
        self.process.kill()
        self.process.communicate()

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> tuple[int, Any, dict[str, str]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        given = {"authorization": "Bearer secret"} | {name.replace("_", "-"): text for name, text in headers.items()}
        connection.request(method, path, None if body is None else json.dumps(body), given)
        reply = connection.getresponse()
        found = reply.status, json.loads(reply.read()), dict(reply.getheaders())
        connection.close()
        return found

    def test_the_example_of_the_page_is_a_platform(self) -> None:
        base = f"http://127.0.0.1:{self.port}"
        self.assertEqual(
            self.announcement, f"Parcels for depot DEPOT at {base}/DEPOT, control at {base}/_control/DEPOT\n"
        )
        self.assertEqual(self.ask("GET", "/d/v1/shipments", authorization="Bearer other")[0], 401)
        self.assertEqual(self.ask("GET", "/d/v1/other")[:2], (404, {"error": "no such path"}))

        self.ask("POST", "/_control/d/data", {"shipments": [{"id": f"sh_{number}"} for number in range(1, 121)]})
        cursor, pages = "", []
        while True:
            _, page, _ = self.ask("GET", f"/d/v1/shipments?cursor={cursor.replace('+', '%2B')}")
            pages.append(len(page["shipments"]))
            if not (cursor := page["next_cursor"]):
                break
        self.assertEqual(pages, [50, 50, 20])
        refused = self.ask("GET", "/d/v1/shipments?cursor=x")
        self.assertEqual(refused[:2], (400, {"error": "cursor is not a cursor of this list"}))

        for _ in range(2):
            status, added, _ = self.ask("POST", "/d/v1/shipments", {"to": "Seoul"}, idempotency_key="k1")
            self.assertEqual((status, added), (201, {"to": "Seoul", "id": "sh_121"}))
        self.assertEqual(self.ask("POST", "/d/v1/shipments", {"to": "Tokyo"}, idempotency_key="k1")[0], 400)

        # Nine calls so far.
        remaining = [self.ask("GET", "/d/v1/shipments")[2]["X-RateLimit-Remaining"] for _ in range(51)]
        self.assertEqual(remaining, [str(50 - number) for number in range(51)])
        status, error, headers = self.ask("GET", "/d/v1/shipments")
        self.assertEqual((status, error), (429, {"error": "too many calls"}))
        self.assertLessEqual(int(headers["Retry-After"]), 60)
        self.ask("POST", "/_control/d/settings", {"clock": 60})
        self.assertEqual(self.ask("GET", "/d/v1/shipments")[0], 200)

    def test_a_signal_ends_it_without_a_word(self) -> None:
        for _ in range(2):
            self.ask("GET", "/")
        self.process.send_signal(signal.SIGTERM)
        self.assertEqual((self.process.wait(10), self.process.stdout and self.process.stdout.read()), (-15, ""))

    def test_a_port_that_is_taken_is_told(self) -> None:
        command = [str(self.folder / "parcels"), "--port", str(self.port)]
        second = subprocess.run(command, capture_output=True, text=True, timeout=10)
        told = f"failed to listen on port {self.port}: Address already in use\n"
        self.assertEqual((second.returncode, second.stdout, second.stderr), (1, "", told))

    def test_nothing_is_compiled_into_the_checkout(self) -> None:
        cache = self.folder / "batchctl-fakes"
        deadline = time.monotonic() + 10
        while not list(cache.rglob("server.*.pyc")) and time.monotonic() < deadline:
            time.sleep(0.01)
        self.assertTrue(list(cache.rglob("server.*.pyc")))
        self.assertEqual(list(FAKES.rglob("__pycache__")), self.compiled_before)
