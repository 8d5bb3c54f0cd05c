"""Avro schemas: whether a text is one, and whether who reads by one can read what was written by another.

As much as a registry decides by (Avro 1.12, "Schema resolution"); nothing is encoded here.
"""

from __future__ import annotations

import json
import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PRIMITIVES = ("null", "boolean", "int", "long", "float", "double", "bytes", "string")
# What a reader takes for what it expects.
PROMOTIONS = {
    "long": ("int",), "float": ("int", "long"), "double": ("int", "long", "float"), "string": ("bytes",),
    "bytes": ("string",),
}
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")


class InvalidSchema(Exception):
    """Why a text is not a schema."""


class Field:
    """A field of a record."""

    def __init__(self, name: str, of: Schema, has_default: bool, aliases: list[str]) -> None:
        self.name, self.of, self.has_default, self.aliases = name, of, has_default, aliases


class Schema:
    """A schema whose names are resolved. A union has the kind `union`."""

    def __init__(self, kind: str, name: str = "") -> None:
        self.kind, self.name = kind, name
        self.fields: list[Field] = []
        self.branches: list[Schema] = []
        self.symbols: list[str] = []
        self.default: str | None = None
        self.size = 0
        self.of: Schema | None = None

    def is_called(self, other: Schema) -> bool:
        """By the unqualified name, as Avro compares them."""
        return self.name.rpartition(".")[2] == other.name.rpartition(".")[2]


def parse(text: str) -> Schema:
    try:
        value = json.loads(text)
    except (ValueError, TypeError):
        raise InvalidSchema("it is not JSON") from None
    return Reader().read(value, "")


class Reader:
    """Reads one schema, and knows the names that it has defined."""

    def __init__(self) -> None:
        self.named: dict[str, Schema] = {}

    def read(self, value: Any, space: str) -> Schema:
        if isinstance(value, str):
            return self.by_name(value, space)
        if isinstance(value, list):
            return self.union(value, space)
        if not isinstance(value, dict):
            raise InvalidSchema(f"No type: {json.dumps(value)}")
        kind = value.get("type")
        if not isinstance(kind, str):
            return self.read(kind, space)
        if kind in ("record", "error", "enum", "fixed"):
            return self.define(kind, value, space)
        if kind in ("array", "map"):
            schema = Schema(kind)
            schema.of = self.read(value.get("items" if kind == "array" else "values"), space)
            return schema
        return self.by_name(kind, space)

    def by_name(self, name: str, space: str) -> Schema:
        if name in PRIMITIVES:
            return Schema(name)
        full = name if "." in name or not space else f"{space}.{name}"
        found = self.named.get(full) or self.named.get(name)
        if found is None:
            raise InvalidSchema(f'"{name}" is not a defined name.')
        return found

    def union(self, values: list[Any], space: str) -> Schema:
        schema = Schema("union")
        seen = set()
        for value in values:
            branch = self.read(value, space)
            if branch.kind == "union":
                raise InvalidSchema("Nested union")
            if (key := (branch.kind, branch.name)) in seen:
                raise InvalidSchema(f"Duplicate in union:{branch.name or branch.kind}")
            seen.add(key)
            schema.branches.append(branch)
        return schema

    def define(self, kind: str, value: dict[str, Any], space: str) -> Schema:
        name, given_space = value.get("name"), value.get("namespace")
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise InvalidSchema(f"Illegal character in: {name}" if name else "No name in schema")
        if "." not in name and (given_space or space):
            name = f"{given_space or space}.{name}"
        if name in self.named:
            raise InvalidSchema(f"Can't redefine: {name}")
        schema = self.named[name] = Schema("record" if kind == "error" else kind, name)
        if kind == "fixed":
            schema.size = value.get("size", -1)
            if not isinstance(schema.size, int) or schema.size < 0:
                raise InvalidSchema("Invalid or no size")
        elif kind == "enum":
            symbols = value.get("symbols")
            if not isinstance(symbols, list) or not all(isinstance(symbol, str) for symbol in symbols):
                raise InvalidSchema("Enum has no symbols")
            if len(set(symbols)) < len(symbols):
                raise InvalidSchema("Duplicate enum symbol")
            schema.symbols, schema.default = symbols, value.get("default")
        else:
            schema.fields = self.fields(value.get("fields"), name.rpartition(".")[0])
        return schema

    def fields(self, values: Any, space: str) -> list[Field]:
        if not isinstance(values, list):
            raise InvalidSchema("Record has no fields")
        fields: list[Field] = []
        for value in values:
            if not isinstance(value, dict) or not isinstance(value.get("name"), str):
                raise InvalidSchema("No field name")
            name, of = value["name"], self.read(value.get("type"), space)
            if any(field.name == name for field in fields):
                raise InvalidSchema(f"Duplicate field {name} in record")
            if "default" in value and not takes_default(of, value["default"]):
                raise InvalidSchema(f"Invalid default for field {name}: {json.dumps(value['default'])}")
            fields.append(Field(name, of, "default" in value, value.get("aliases", [])))
        return fields


def takes_default(schema: Schema, value: Any) -> bool:
    """Whether a default is one of the type; of a union it is one of the first branch."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    match schema.kind:
        case "union":
            return bool(schema.branches) and takes_default(schema.branches[0], value)
        case "null":
            return value is None
        case "boolean":
            return isinstance(value, bool)
        case "int" | "long":
            bits = 31 if schema.kind == "int" else 63
            return isinstance(value, int) and is_number and -(1 << bits) <= value < 1 << bits
        case "float" | "double":
            return is_number
        case "string":
            return isinstance(value, str)
        case "bytes" | "fixed":
            return isinstance(value, str) and all(ord(letter) < 256 for letter in value)
        case "enum":
            return value in schema.symbols
        case "array":
            return isinstance(value, list) and all(schema.of and takes_default(schema.of, item) for item in value)
        case "map":
            return isinstance(value, dict) and all(schema.of and takes_default(schema.of, item) for item in value.values())
    if not isinstance(value, dict):
        return False
    return all(
        takes_default(field.of, value[field.name]) if field.name in value else field.has_default for field in schema.fields
    )


def incompatibilities(reader: Schema, writer: Schema, reads: str, wrote: str) -> list[str]:
    """Why who reads by one schema cannot read what was written by the other, in a registry's words.

    `reads` and `wrote` say which of them is the new and which the old schema.
    """
    return Comparison(reads, wrote).compare(reader, writer, "/")


class Comparison:
    """One comparison. Pairs that are being compared count as compatible, or a schema of itself would have no end."""

    def __init__(self, reads: str, wrote: str) -> None:
        self.reads, self.wrote = reads, wrote
        self.compared: set[tuple[int, int]] = set()

    def copy(self) -> Comparison:
        """Another one, for a branch that may fail: what that compares must not count as compared here."""
        copy = Comparison(self.reads, self.wrote)
        copy.compared = set(self.compared)
        return copy

    def says(self, error: str, description: str, info: str) -> list[str]:
        return [f"{{errorType:'{error}', description:'{description}', additionalInfo:'{info}'}}"]

    def compare(self, reader: Schema, writer: Schema, path: str) -> list[str]:
        if (pair := (id(reader), id(writer))) in self.compared:
            return []
        self.compared.add(pair)
        if writer.kind == "union" and reader.kind != "union":
            return [line for branch in writer.branches for line in self.compare(reader, branch, path)]
        if reader.kind == "union":
            return self.to_union(reader, writer, path)
        if reader.kind != writer.kind:
            if writer.kind in PROMOTIONS.get(reader.kind, ()):
                return []
            return self.says(
                "TYPE_MISMATCH",
                f"The type (path '{path}') of a field in the {self.reads} schema does not match with the {self.wrote} schema",
                f"reader type: {reader.kind.upper()} not compatible with writer type: {writer.kind.upper()}",
            )
        match reader.kind:
            case "array" | "map":
                assert reader.of and writer.of
                part = "items" if reader.kind == "array" else "values"
                return self.compare(reader.of, writer.of, f"{path.rstrip('/')}/{part}")
            case "record" | "enum" | "fixed" if not reader.is_called(writer):
                return self.says(
                    "NAME_MISMATCH", f"The name of the schema has changed (path '{path}')", f"expected: {writer.name}"
                )
            case "record":
                return self.records(reader, writer, path)
            case "enum":
                lost = [symbol for symbol in writer.symbols if symbol not in reader.symbols]
                if lost and reader.default is None:
                    return self.says(
                        "MISSING_ENUM_SYMBOLS",
                        f"The {self.reads} schema is missing enum symbols '{lost}' at path '{path}' in the {self.wrote} schema",
                        str(lost),
                    )
            case "fixed" if reader.size != writer.size:
                return self.says(
                    "FIXED_SIZE_MISMATCH", f"The size of FIXED type field at path '{path}' does not match",
                    f"expected: {writer.size}, found: {reader.size}",
                )
        return []

    def to_union(self, reader: Schema, writer: Schema, path: str) -> list[str]:
        branches = writer.branches if writer.kind == "union" else [writer]
        for branch in branches:
            if all(self.copy().compare(own, branch, path) for own in reader.branches):
                return self.says(
                    "MISSING_UNION_BRANCH",
                    f"The {self.reads} schema is missing a type inside a union field at path '{path}' in the {self.wrote} schema",
                    f"reader union lacking writer type: {branch.kind.upper()}",
                )
        return []

    def records(self, reader: Schema, writer: Schema, path: str) -> list[str]:
        found = []
        for number, field in enumerate(reader.fields):
            place = f"{path.rstrip('/')}/fields/{number}"
            written = next((other for other in writer.fields if other.name in (field.name, *field.aliases)), None)
            if written:
                found += self.compare(field.of, written.of, f"{place}/type")
            elif not field.has_default:
                found += self.says(
                    "READER_FIELD_MISSING_DEFAULT_VALUE",
                    f"The field '{field.name}' at path '{place}' in the {self.reads} schema has no default value and is "
                    f"missing in the {self.wrote} schema",
                    field.name,
                )
        return found
