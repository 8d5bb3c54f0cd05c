"""Verifies the DKIM signatures of mails with dkimpy: verify_dkim.py DNS [MAIL…]

DNS is a file with a line `NAME TXT…` for each record. For each mail a line is printed: the headers that a valid signature
covers, or `invalid`. Without MAIL it is read from standard input, and the exit code is 1 if it is not valid.
"""

import sys

import dkim

records = dict(line.rstrip("\n").split(" ", 1) for line in open(sys.argv[1], encoding="ascii"))


def dnsfunc(name, timeout=5):
    return records[name.decode("ascii").rstrip(".")].encode("ascii")


def covered(mail):
    verifier = dkim.DKIM(mail)
    try:
        is_valid = verifier.verify(dnsfunc=dnsfunc)
    except dkim.DKIMException:
        is_valid = False
    return b":".join(name.lower() for name, _ in verifier.signed_headers).decode("ascii") if is_valid else None


if len(sys.argv) == 2:
    headers = covered(sys.stdin.buffer.read())
    print(headers or "invalid")
    sys.exit(0 if headers else 1)
for file in sys.argv[2:]:
    print(covered(open(file, "rb").read()) or "invalid")
