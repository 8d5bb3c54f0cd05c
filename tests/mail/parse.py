"""Reads a mail from standard input with Python's own parser and prints what a mail program would show, as JSON."""

import email
import email.policy
import json
import sys

raw = sys.stdin.buffer.read()
message = email.message_from_bytes(raw, policy=email.policy.default)


def part(node):
    if node.is_multipart():
        return {"type": node.get_content_type(), "parts": [part(child) for child in node.iter_parts()]}
    shown = {"type": node.get_content_type(), "encoding": node["Content-Transfer-Encoding"]}
    if node.get_content_disposition():
        shown["disposition"] = node.get_content_disposition()
        shown["name"] = node.get_filename()
        shown["id"] = node["Content-ID"]
        shown["hex"] = node.get_payload(decode=True).hex()
    else:
        shown["text"] = node.get_content().replace("\r\n", "\n")
    return shown


json.dump(
    {
        "headers": [[name, str(value)] for name, value in message.items()],
        "from": [[a.display_name, a.addr_spec] for a in message["From"].addresses],
        "to": [[a.display_name, a.addr_spec] for a in message["To"].addresses],
        "body": part(message),
        "defects": [str(defect) for node in message.walk() for defect in node.defects]
        + [str(defect) for value in message.values() for defect in value.defects],
        "longest_line": max(len(line) for line in raw.split(b"\r\n")),
        "is_ascii": raw.isascii(),
        "bare_breaks": raw.replace(b"\r\n", b"").count(b"\n") + raw.replace(b"\r\n", b"").count(b"\r"),
    },
    sys.stdout,
)
