"""The local schema registry, as a client sees it, and the comparison of schemas beneath it."""

from __future__ import annotations

import base64
import http.client
import json
import pathlib
import subprocess
import tempfile
import unittest
from typing import Any

from fakeserver.avro import InvalidSchema, incompatibilities, parse

PROGRAM = pathlib.Path(__file__).resolve().parents[1] / "schema-registry"


def record(*fields: object, name: str = "R") -> str:
    return json.dumps({"type": "record", "name": name, "fields": list(fields)})


def field(name: str, of: object, **more: object) -> dict[str, object]:
    return {"name": name, "type": of} | more


A, B = field("a", "int"), field("b", "string")
B_WITH_DEFAULT = field("b", "string", default="")


class Comparing(unittest.TestCase):
    def problems(self, reader: str, writer: str) -> list[str]:
        return [line.split("'")[1] for line in incompatibilities(parse(reader), parse(writer), "new", "old")]

    def test_who_reads_needs_a_default_for_what_was_not_written(self) -> None:
        self.assertEqual(self.problems(record(A, B_WITH_DEFAULT), record(A)), [])
        self.assertEqual(self.problems(record(A), record(A, B)), [])
        self.assertEqual(self.problems(record(A, B), record(A)), ["READER_FIELD_MISSING_DEFAULT_VALUE"])
        self.assertEqual(self.problems(record(field("c", "int", aliases=["a"])), record(A)), [])

    def test_the_words_name_the_field(self) -> None:
        found = incompatibilities(parse(record(A, B)), parse(record(A)), "new", "old")
        self.assertEqual(found, [
            "{errorType:'READER_FIELD_MISSING_DEFAULT_VALUE', description:'The field 'b' at path '/fields/1' in the new "
            "schema has no default value and is missing in the old schema', additionalInfo:'b'}"
        ])

    def test_numbers_may_grow_and_not_shrink(self) -> None:
        for reader, writer, problems in [
            ("long", "int", []), ("double", "float", []), ("string", "bytes", []), ("int", "long", ["TYPE_MISMATCH"]),
            ("int", "string", ["TYPE_MISMATCH"]), (["null", "int"], "int", []), ("int", ["null", "int"], ["TYPE_MISMATCH"]),
            (["null", "int"], ["null", "string"], ["MISSING_UNION_BRANCH"]),
            ({"type": "array", "items": "long"}, {"type": "array", "items": "int"}, []),
            ({"type": "map", "values": "int"}, {"type": "map", "values": "string"}, ["TYPE_MISMATCH"]),
        ]:
            found = self.problems(record(field("a", reader)), record(field("a", writer)))
            self.assertEqual(found, problems, f"{reader} reads {writer}")

    def test_enums_and_fixed_keep_what_was_written(self) -> None:
        def enum(*symbols: str, **more: object) -> str:
            return json.dumps({"type": "enum", "name": "E", "symbols": symbols} | more)

        self.assertEqual(self.problems(enum("A", "B"), enum("A")), [])
        self.assertEqual(self.problems(enum("A"), enum("A", "B")), ["MISSING_ENUM_SYMBOLS"])
        self.assertEqual(self.problems(enum("A", default="A"), enum("A", "B")), [])

        def fixed(size: int) -> str:
            return json.dumps({"type": "fixed", "name": "F", "size": size})

        self.assertEqual(self.problems(fixed(2), fixed(3)), ["FIXED_SIZE_MISMATCH"])
        self.assertEqual(self.problems(record(A), record(A, name="S")), ["NAME_MISMATCH"])

    def test_a_schema_of_itself_has_an_end(self) -> None:
        tree = record(field("next", ["null", "R"]))
        self.assertEqual(self.problems(tree, tree), [])

    def test_what_is_not_a_schema_says_why(self) -> None:
        for text, why in [
            ("{", "not JSON"), ('"lnog"', '"lnog" is not a defined name'), (record(A, A), "Duplicate field a"),
            (record(field("a", "int", default="x")), "Invalid default for field a"),
            (record(field("a", ["null", "int"], default=1)), "Invalid default for field a"),
            ('["null", "null"]', "Duplicate in union"), (record(name="1"), "Illegal character"),
        ]:
            with self.assertRaisesRegex(InvalidSchema, why):
                parse(text)


class Registry(unittest.TestCase):
    """The program, each test with a registry of its own."""

    process: subprocess.Popen[str]
    folder: tempfile.TemporaryDirectory[str]
    port: int

    @classmethod
    def setUpClass(cls) -> None:
        cls.folder = tempfile.TemporaryDirectory()
        port_file = pathlib.Path(cls.folder.name) / "port"
        command = [str(PROGRAM), "--port", "0", "--port-file", str(port_file)]
        cls.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert cls.process.stdout
        cls.process.stdout.readline()
        cls.port = int(port_file.read_text(encoding="ascii"))

    @classmethod
    def tearDownClass(cls) -> None:
        cls.process.kill()
        cls.process.communicate()
        cls.folder.cleanup()

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        given = {"content-type": "application/vnd.schemaregistry.v1+json"}
        given |= {name.replace("_", "-"): text for name, text in headers.items()}
        connection.request(method, f"/{self.id()}{path}", None if body is None else json.dumps(body), given)
        reply = connection.getresponse()
        found = reply.status, json.loads(reply.read())
        connection.close()
        return found

    def refused(self, method: str, path: str, body: object = None) -> tuple[int, int]:
        status, answer = self.ask(method, path, body)
        return status, answer["error_code"]

    def register(self, subject: str, schema: str) -> int:
        status, answer = self.ask("POST", f"/subjects/{subject}/versions", {"schema": schema})
        self.assertEqual(status, 200, answer)
        return int(answer["id"])

    def test_a_schema_has_one_id_whatever_its_subject_and_its_spaces(self) -> None:
        first = self.register("s", record(A))
        self.assertEqual(self.register("s", record(A).replace(" ", "")), first)
        self.assertEqual(self.register("t", record(A)), first)
        self.assertEqual(self.register("s", record(A, B_WITH_DEFAULT)), first + 1)
        self.assertEqual(self.ask("GET", "/subjects/s/versions"), (200, [1, 2]))
        self.assertEqual(self.ask("GET", "/subjects"), (200, ["s", "t"]))
        status, found = self.ask("POST", "/subjects/s", {"schema": record(A)})
        self.assertEqual((status, found["subject"], found["version"], found["id"]), (200, "s", 1, first))
        self.assertEqual(json.loads(found["schema"]), json.loads(record(A)))
        self.assertEqual(json.loads(self.ask("GET", f"/schemas/ids/{first}")[1]["schema"]), json.loads(record(A)))
        self.assertEqual(self.ask("GET", "/subjects/s/versions/latest")[1]["version"], 2)

    def test_what_is_not_there_says_which(self) -> None:
        self.assertEqual(self.refused("POST", "/subjects/s", {"schema": record(A)}), (404, 40401))
        self.register("s", record(A))
        self.assertEqual(self.refused("POST", "/subjects/s", {"schema": record(B)}), (404, 40403))
        self.assertEqual(self.refused("GET", "/subjects/s/versions/7"), (404, 40402))
        self.assertEqual(self.refused("GET", "/subjects/s/versions/x"), (422, 42202))
        self.assertEqual(self.refused("GET", "/schemas/ids/7"), (404, 40403))
        self.assertEqual(self.refused("POST", "/subjects/s/versions", {"schema": "{"}), (422, 42201))
        self.assertEqual(self.refused("POST", "/subjects/s/versions", {}), (422, 42201))
        self.assertEqual(self.refused("GET", "/nothing"), (404, 404))

    def test_an_incompatible_schema_is_refused_with_its_field(self) -> None:
        self.register("s", record(A))
        status, answer = self.ask("POST", "/subjects/s/versions", {"schema": record(A, B)})
        self.assertEqual((status, answer["error_code"]), (409, 40901))
        self.assertIn("The field 'b' at path '/fields/1' in the new schema has no default value", answer["message"])
        for path in ("/versions/latest", "/versions/1", "/versions"):
            _, judged = self.ask("POST", f"/compatibility/subjects/s{path}?verbose=true", {"schema": record(A, B)})
            self.assertFalse(judged["is_compatible"])
            self.assertIn("'b'", judged["messages"][0])
        good = self.ask("POST", "/compatibility/subjects/s/versions/latest", {"schema": record(A, B_WITH_DEFAULT)})
        self.assertEqual(good, (200, {"is_compatible": True}))
        none = self.ask("POST", "/compatibility/subjects/t/versions/latest", {"schema": record(A)})
        self.assertEqual(none, (200, {"is_compatible": True}))

    def test_a_level_decides_who_has_to_read_whom(self) -> None:
        self.assertEqual(self.ask("GET", "/config"), (200, {"compatibilityLevel": "BACKWARD"}))
        self.assertEqual(self.refused("GET", "/config/s"), (404, 40408))
        self.assertEqual(self.ask("GET", "/config/s?defaultToGlobal=true"), (200, {"compatibilityLevel": "BACKWARD"}))
        self.assertEqual(self.refused("PUT", "/config/s", {"compatibility": "SOME"}), (422, 42203))
        for level, added, removed in [("BACKWARD", 409, 200), ("FORWARD", 200, 409), ("FULL", 409, 409), ("NONE", 200, 200)]:
            self.assertEqual(self.ask("PUT", f"/config/{level}", {"compatibility": level}), (200, {"compatibility": level}))
            self.register(level, record(A))
            self.assertEqual(self.ask("POST", f"/subjects/{level}/versions", {"schema": record(A, B)})[0], added, level)
            other = f"{level}-2"
            self.ask("PUT", f"/config/{other}", {"compatibility": level})
            self.register(other, record(A, B))
            self.assertEqual(self.ask("POST", f"/subjects/{other}/versions", {"schema": record(A)})[0], removed, level)

    def test_a_transitive_level_looks_at_all_versions(self) -> None:
        for level, status in [("BACKWARD", 200), ("BACKWARD_TRANSITIVE", 409)]:
            self.ask("PUT", f"/config/{level}", {"compatibility": level})
            self.register(level, record(A))
            self.register(level, record(A, B_WITH_DEFAULT))
            self.assertEqual(self.ask("POST", f"/subjects/{level}/versions", {"schema": record(A, B)})[0], status)

    def test_a_subject_is_deleted_softly_first(self) -> None:
        first = self.register("s", record(A))
        self.assertEqual(self.refused("DELETE", "/subjects/s?permanent=true"), (404, 40405))
        self.assertEqual(self.ask("DELETE", "/subjects/s"), (200, [1]))
        self.assertEqual(self.refused("DELETE", "/subjects/s"), (404, 40404))
        self.assertEqual(self.refused("POST", "/subjects/s", {"schema": record(A)}), (404, 40401))
        self.assertEqual(self.ask("POST", "/subjects/s?deleted=true", {"schema": record(A)})[1]["id"], first)
        self.assertEqual(self.register("s", record(A)), first)
        self.assertEqual(self.ask("GET", "/subjects/s/versions"), (200, [2]))
        self.ask("DELETE", "/subjects/s")
        self.assertEqual(self.ask("DELETE", "/subjects/s?permanent=true"), (200, [1, 2]))
        self.assertEqual(self.refused("DELETE", "/subjects/s"), (404, 40401))

    def test_a_mode_may_refuse_to_register(self) -> None:
        self.register("s", record(A))
        self.assertEqual(self.ask("PUT", "/mode", {"mode": "READONLY"}), (200, {"mode": "READONLY"}))
        self.assertEqual(self.refused("POST", "/subjects/s/versions", {"schema": record(B)}), (422, 42205))
        self.assertEqual(self.ask("POST", "/subjects/s", {"schema": record(A)})[0], 200)
        self.assertEqual(self.refused("PUT", "/mode", {"mode": "OPEN"}), (422, 42204))

    def test_a_login_is_asked_for_where_one_is_set(self) -> None:
        control = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        control.request("POST", f"/_control/{self.id()}/settings", json.dumps({"login": "ci:secret"}))
        self.assertEqual(control.getresponse().status, 200)
        control.close()
        self.assertEqual(self.ask("GET", "/subjects"), (401, {"error_code": 401, "message": "Unauthorized"}))
        for login, status in [("ci:secret", 200), ("ci:other", 401), ("", 401)]:
            encoded = base64.b64encode(login.encode()).decode()
            self.assertEqual(self.ask("GET", "/subjects", authorization=f"Basic {encoded}")[0], status)

    def test_another_content_type_is_refused(self) -> None:
        self.assertEqual(self.ask("POST", "/subjects/s", {"schema": record(A)}, content_type="text/plain")[0], 415)
        self.assertEqual(self.ask("POST", "/subjects/s", {"schema": record(A)}, content_type="application/json")[0], 404)
