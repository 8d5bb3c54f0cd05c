"""What the local platforms in this folder share: a server, faults, and the rules that many platforms have.

    server       accounts, the control API, the log; starting and stopping
    messages     requests, answers, refusals
    wire         bytes on a connection
    faults       ways to break an answer
    clock        the time of an account
    throttles    leaky bucket, window, burst
    oauth        codes, access tokens, refresh tokens
    paging       numbers and lists in a query, pages by offset and by cursor
    idempotency  keys that make a repeated call answer as the first one did
    records      records given by a test and millions of generated ones, in the order of a date

Almost every test starts a process of its own, so starting has to be cheap: a platform imports only what it uses, and
nothing here imports `typing` or `dataclasses` at run time. docs/fakes.md shows how to write a platform.
"""
