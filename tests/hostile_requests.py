"""More than a hundred requests that no client should send, with the status that each must get.

`REQUESTS` is a list of (name, status, bytes to send). A status is that of the last response; None
stands for a connection that the server closes without a word. `SLOW` are those that stop half-way.
"""

import json

BIRD = {
    "island": "Torgersen",
    "bill_length_mm": 39.1,
    "bill_depth_mm": 18.7,
    "flipper_length_mm": 181,
    "body_mass_g": 3750,
    "sex": "male",
    "year": 2007,
}
MAX_BYTES = 10 << 20
CLOSE = "connection: close"


def head(*lines, first="POST /predict HTTP/1.1"):
    return "\r\n".join([first, "host: localhost", *lines, "", ""]).encode("latin-1")


def post(body, *lines, first="POST /predict HTTP/1.1"):
    """A request, after which the server closes the connection."""
    body = body if isinstance(body, bytes) else body.encode()
    return head(f"content-length: {len(body)}", CLOSE, *lines, first=first) + body


def ask(instances, **more):
    """The request for these instances."""
    return post(json.dumps({"instances": instances, **more}))


def bird(**changes):
    """A request with one bird that differs from the good one; None leaves a feature out."""
    changed = {name: value for name, value in {**BIRD, **changes}.items() if value is not Ellipsis}
    return ask([changed])


def with_value(text):
    """A request whose body mass is this text of JSON."""
    return post(json.dumps({"instances": [BIRD]}).replace("3750", text))


def chunked(*chunks, lines=(), end=b"0\r\n\r\n"):
    body = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    return head("transfer-encoding: chunked", CLOSE, *lines) + body + end


def first_line(line):
    return head(CLOSE, first=line)


GOOD = json.dumps({"instances": [BIRD]}).encode()
KEPT = head(f"content-length: {len(GOOD)}") + GOOD  # the connection stays open
DEEP = b"[" * 1000 + b"]" * 1000
TOO_MANY = b'{"instances": [' + b",".join([b"0"] * 10_241) + b"]}"

NO_JSON = [
    ("no body", b""),
    ("blanks", b"  \n "),
    ("half of an object", b"{"),
    ("a word", b"instances"),
    ("half of a request", GOOD[:-9]),
    ("a trailing comma", b'{"instances": [1,]}'),
    ("single quotes", b"{'instances': [1]}"),
    ("a comment", b'{"instances": [1] /* one */}'),
    ("two documents", GOOD + GOOD),
    ("something behind the document", GOOD + b"x"),
    ("a mark of the byte order", b"\xef\xbb\xbf" + GOOD),
    ("UTF-16", GOOD.decode().encode("utf-16")),
    ("Latin-1", b'{"instances": ["\xe9"]}'),
    ("NUL bytes", b"\0" * 64),
    ("a control character in a text", b'{"instances": ["a\x01"]}'),
    ("half of a surrogate pair", b'{"instances": ["\\ud800"]}'),
    ("an unknown escape", b'{"instances": ["\\x41"]}'),
    ("200,000 brackets", b"[" * 200_000),
    ("200,000 objects", b'{"a":' * 200_000),
    ("a form", b"island=Dream&year=2007"),
    ("XML", b"<instances><bird/></instances>"),
    ("a file of a form", b'--x\r\ncontent-disposition: form-data; name="a"\r\n\r\n1\r\n--x--\r\n'),
]
NO_NUMBERS = ["NaN", "Infinity", "-Infinity", "01", "0x10", "1_000", "+1", ".5", "1.", "undefined"]
NO_REQUESTS = ["null", "1", "[]", '"instances"', "{}", "[{}]", '{"instance": []}']
NO_INSTANCES = [None, {}, "birds", 7, [], [None], [1], [[BIRD]], ["a"], [{}], [BIRD, 3], [True]]
WRONG_VALUES = {
    "a feature that is not there": {"sex": ...},
    "an unknown feature": {"wing_span": 3},
    "a misspelt feature": {"body_mass": 3},
    "an empty name": {"": 1},
    "a name of Python's": {"__class__": 1},
    "a name in another script": {"質量": 1},
    "a name of 100,000 letters": {"a" * 100_000: 1},
    "a number in quotes": {"year": "2007"},
    "true for a number": {"year": True},
    "a list for a number": {"year": [2007]},
    "an object for a number": {"year": {"b64": "AAAA"}},
    "an integer of 400 digits": {"year": 10**400},
    "a number for a text": {"island": 3},
    "false for a text": {"island": False},
    "a list for a text": {"island": ["Dream"]},
}
WRONG_PARAMETERS = [[], "top", 1, True, {"tops": 1}, {"": 1}, {"top": 0}, {"top": -1}, {"top": 1.5}]
WRONG_PARAMETERS += [{"top": True}, {"top": "3"}, {"top": [1]}, {"explain": 1}, {"partial": None}]
ODD_VALUES = {
    "a text of 100,000 letters": {"island": "a" * 100_000},
    "a NUL in a text": {"island": "a\0b"},
    "a text of emojis": {"island": "🐧" * 50},
    "the largest number": {"year": 1.7976931348623157e308},
    "the smallest number": {"year": 5e-324},
    "minus zero": {"year": -0.0},
    "2 to the power of 64": {"year": 2**64},
    "nothing": {"year": None, "sex": None},
}

REQUESTS = [
    *((name, 400, post(body)) for name, body in NO_JSON),
    *((f"the value {text}", 400, with_value(text)) for text in NO_NUMBERS),
    *((f"the body {text}", 400, post(text)) for text in NO_REQUESTS),
    *((f"instances {value!r:.40}", 400, ask(value)) for value in NO_INSTANCES),
    *((name, 400, bird(**changes)) for name, changes in WRONG_VALUES.items()),
    *((f"parameters {v}", 400, ask([BIRD], parameters=v)) for v in WRONG_PARAMETERS),
    *((name, 200, bird(**changes)) for name, changes in ODD_VALUES.items()),
    ("an unknown field", 400, ask([BIRD], signature_name="predict")),
    ("a misspelt field", 400, ask([BIRD], parameter={})),
    ("too many instances", 400, post(TOO_MANY)),
    ("more classes than there are", 200, ask([BIRD], parameters={"top": 10**9})),
    ("no parameters", 200, ask([BIRD], parameters=None)),
    ("wrong ones, partial", 200, ask([BIRD, 1, {}], parameters={"partial": True})),
    ("only wrong ones, partial", 200, ask([1, 2], parameters={"partial": True})),
    ("a feature twice", 200, post(GOOD.replace(b'"year"', b'"year": "x", "year"'))),
    ("the instances twice", 200, post(b'{"instances": 1, ' + GOOD[1:])),
    ("an escaped name", 200, post(GOOD.replace(b'"instances"', b'"\\u0069nstances"'))),
    ("1,000 lists for a text", 400, post(GOOD.replace(b'"Torgersen"', DEEP))),
    ("1e400", 400, with_value("1e400")),
    # Methods and paths
    *((method, 405, first_line(f"{method} /predict HTTP/1.1")) for method in ("GET", "PUT")),
    *((m, 405, first_line(f"{m} /predict HTTP/1.1")) for m in ("HEAD", "DELETE", "OPTIONS")),
    ("PATCH with a body", 405, post(GOOD, first="PATCH /predict HTTP/1.1")),
    ("POST to the health route", 405, post(GOOD, first="POST /health HTTP/1.1")),
    ("a method that HTTP does not have", 400, first_line("BREW /predict HTTP/1.1")),
    ("a method in small letters", 400, first_line("post /predict HTTP/1.1")),
    ("CONNECT", 400, first_line("CONNECT localhost:22 HTTP/1.1")),
    ("another path", 404, post(GOOD, first="POST /v1/models HTTP/1.1")),
    ("a slash behind the path", 404, post(GOOD, first="POST /predict/ HTTP/1.1")),
    ("two slashes before it", 404, post(GOOD, first="POST //predict HTTP/1.1")),
    ("capital letters", 404, post(GOOD, first="POST /PREDICT HTTP/1.1")),
    ("a way out of the folder", 404, first_line("GET /../../etc/passwd HTTP/1.1")),
    ("an escaped way out", 404, first_line("GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1")),
    ("an escaped NUL", 404, first_line("GET /page%00.html HTTP/1.1")),
    ("a path that is no ASCII", 400, first_line("GET /pr\xe9dict HTTP/1.1")),
    ("a path of 100,000 letters", 400, first_line(f"GET /{'a' * 100_000} HTTP/1.1")),
    ("a query", 200, post(GOOD, first="POST /predict?a=1&b=2 HTTP/1.1")),
    ("a whole address", 200, post(GOOD, first="POST http://localhost/predict HTTP/1.1")),
    # Heads
    ("HTTP/0.9", 405, b"GET /predict\r\n\r\n"),
    ("HTTP/1.0", 200, post(GOOD, first="POST /predict HTTP/1.0")),
    ("HTTP/3.7", 400, post(GOOD, first="POST /predict HTTP/3.7")),
    ("the beginning of HTTP/2", 400, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ("the beginning of TLS", 400, bytes.fromhex("16030100c8010000c40303") + bytes(190)),
    ("noise", 400, bytes(range(128, 256)) * 20),
    ("NUL", 400, bytes(1000)),
    ("empty lines before it", 200, b"\r\n\r\n" + post(GOOD)),
    ("no host", 200, post(GOOD).replace(b"host: localhost\r\n", b"")),
    ("a header without a colon", 400, post(GOOD, "nonsense")),
    ("a blank before the colon", 400, post(GOOD, "a : b")),
    ("a header in two lines", 400, post(GOOD, "a: b\r\n c")),
    ("a NUL in a header", 400, post(GOOD, "a: b\0c")),
    ("a header of a million letters", None, head("a: " + "b" * 1_000_000)),
    ("100,000 headers", None, head(*(f"a{i}: {i}" for i in range(100_000)))),
    # Lengths and codings
    ("a length below 0", 400, head("content-length: -1")),
    ("a length in letters", 400, head("content-length: many")),
    ("an empty length", 400, head("content-length: ")),
    ("a length in hexadecimal", 400, head("content-length: 0x10")),
    ("two lengths", 400, head("content-length: 3", "content-length: 4") + b"{}  "),
    ("a length of 12 digits", 413, head("content-length: 999999999999", CLOSE)),
    ("a length of 30 digits", 400, head(f"content-length: {10**29}")),
    ("a byte more than allowed", 413, post(b" " * (MAX_BYTES + 1))),
    ("no length", 400, head(CLOSE)),
    ("a length and chunks", 400, chunked(GOOD, lines=["content-length: 5"])),
    ("chunks", 200, chunked(GOOD[:20], GOOD[20:])),
    ("a chunk a byte", 200, chunked(*(bytes([byte]) for byte in GOOD))),
    ("chunks and a trailer", 200, chunked(GOOD, end=b"0\r\na: b\r\n\r\n")),
    ("chunks without an end of the line", 400, chunked(end=b"5;a=b\r\n12345678\r\n0\r\n\r\n")),
    ("a chunk of no size", 400, chunked(end=b"xyz\r\n")),
    ("a chunk of 20 digits", 400, chunked(end=b"f" * 20 + b"\r\n")),
    ("chunks of 11 MB", 413, chunked(*[b" " * (1 << 20)] * 11)),
    ("an unknown transfer", 400, head("transfer-encoding: gzip", CLOSE) + b"abc"),
    ("a compressed body", 415, post(b"\x1f\x8b" + bytes(20), "content-encoding: gzip")),
    ("an unknown coding", 415, post(GOOD, "content-encoding: nonsense")),
    ("100-continue", 200, post(GOOD, "expect: 100-continue")),
    (
        "100-continue, too long",
        413,
        head(f"content-length: {MAX_BYTES + 1}", "expect: 100-continue", CLOSE),
    ),  # fmt: skip
    ("another expectation", 200, post(GOOD, "expect: miracles")),
    ("a web socket", 200, post(GOOD, "upgrade: websocket", "sec-websocket-key: AAAA")),
    # Several on one connection
    ("three at once", 200, KEPT * 2 + post(GOOD)),
    ("a hundred at once", 200, KEPT * 99 + post(GOOD)),
    ("a wrong one first", 200, head("content-length: 1") + b"{" + post(GOOD)),
    ("noise behind a good one", 400, KEPT + bytes(100)),
]
SLOW = [
    ("nothing at all", None, b""),
    ("half of a first line", None, b"POST /pre"),
    ("half of a head", None, b"POST /predict HTTP/1.1\r\nhost: local"),
    ("a head and no body", 408, head("content-length: 100")),
    ("half of a body", 408, head("content-length: 100") + b'{"instances":'),
    ("chunks without an end", 408, chunked(GOOD, end=b"")),
    ("a chunk that does not come", 408, chunked(end=b"ff\r\n")),
    ("a good one, then half of a head", 200, KEPT + b"POST /pred"),
]
