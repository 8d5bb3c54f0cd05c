"""Verifies the DKIM signature of the mail on standard input with dkimpy; the DNS is the file named by the argument.

The file has a line `NAME TXT…` for each record. Exit code 0: the signature is valid.
"""

import sys

import dkim

records = dict(line.rstrip("\n").split(" ", 1) for line in open(sys.argv[1], encoding="ascii"))


def dnsfunc(name, timeout=5):
    return records[name.decode("ascii").rstrip(".")].encode("ascii")


verifier = dkim.DKIM(sys.stdin.buffer.read())
try:
    is_valid = verifier.verify(dnsfunc=dnsfunc)
except dkim.DKIMException:
    is_valid = False
if is_valid:
    print(b":".join(name.lower() for name, _ in verifier.signed_headers).decode("ascii"))
sys.exit(0 if is_valid else 1)
