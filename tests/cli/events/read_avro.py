"""Reads messages as a consumer does that has nothing of ours: by Apache's own Avro for Python.

A line of stdin is {"schema": TEXT, "hex": MESSAGE}; a line of stdout is {"id": ID, "value": VALUE}.
"""

import datetime
import io
import json
import sys
import warnings

# It says of a logical type that it does not know that it leaves it alone.
warnings.simplefilter("ignore")

import avro.io
import avro.schema


def shown(value: object) -> str:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    return str(value)


for line in sys.stdin:
    case = json.loads(line)
    message = bytes.fromhex(case["hex"])
    assert message[0] == 0, "another magic byte"
    schema = avro.schema.parse(case["schema"])
    datum = io.BytesIO(message[5:])
    value = avro.io.DatumReader(schema, schema).read(avro.io.BinaryDecoder(datum))
    assert not datum.read(), "bytes are left"
    print(json.dumps({"id": int.from_bytes(message[1:5], "big"), "value": value}, default=shown))
