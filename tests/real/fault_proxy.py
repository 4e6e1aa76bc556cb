"""FaultProxy: stands before a catalog or a store and does to single requests what networks and servers do.

It understands HTTP/1.1 enough to know where a request and an answer end, and changes no byte of them: an S3 signature
stays true, because the client has signed this proxy's own address. Each rule matches requests and names one fault; the
first rule that takes a request decides. A rule may also hold a request, before the server sees it or before the client
has the answer, until the test lets it go: so a test hits the moment itself and not some time about it.

Threads: one that accepts, one for each connection. Rules may be added and taken away at any time.
"""

import collections
import contextlib
import dataclasses
import json
import random
import re
import select
import socket
import threading
import time
import urllib.parse

from processes import free_port

HEAD_BYTES_MAX = 1 << 20
SERVER_TIMEOUT_S = 120
# Faults that leave the server untouched, and those that come when it has acted already.
BEFORE = ("drop_request", "cut_request", "answer")
AFTER = ("drop_answer", "cut_answer", "answer_after")


class Gone(Exception):
    """The other side has closed the connection."""


@dataclasses.dataclass
class Message:
    """One request or answer: the bytes as they came, and what was understood of them."""

    start: str  # first line
    headers: dict  # names in lower case
    head: bytes
    body: bytes  # as it came: chunks with their sizes

    @property
    def raw(self) -> bytes:
        return self.head + self.body


@dataclasses.dataclass
class Request:
    message: Message
    method: str
    path: str  # without the query, unquoted
    query: str

    def json(self) -> dict:
        return json.loads(self.message.body)


class Stream:
    """Reads messages off a socket."""

    def __init__(self, sock: socket.socket):
        self.sock = sock
        self.buffer = b""

    def _more(self):
        block = self.sock.recv(1 << 18)
        if not block:
            raise Gone
        self.buffer += block

    def _take(self, count: int) -> bytes:
        while len(self.buffer) < count:
            self._more()
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken

    def _line(self) -> bytes:
        while b"\r\n" not in self.buffer:
            self._more()
        return self._take(self.buffer.index(b"\r\n") + 2)

    def head(self) -> Message:
        while b"\r\n\r\n" not in self.buffer:
            if len(self.buffer) > HEAD_BYTES_MAX:
                raise Gone
            self._more()
        head = self._take(self.buffer.index(b"\r\n\r\n") + 4)
        start, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
        headers = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        return Message(start, headers, head, b"")

    def body(self, message: Message, until_closed: bool):
        if "chunked" in message.headers.get("transfer-encoding", "").lower():
            parts = []
            while True:
                size = self._line()
                parts.append(size)
                count = int(size.split(b";")[0], 16)
                if count == 0:
                    break
                parts.append(self._take(count + 2))
            while True:  # trailers, and the empty line
                parts.append(self._line())
                if parts[-1] == b"\r\n":
                    break
            message.body = b"".join(parts)
        elif "content-length" in message.headers:
            message.body = self._take(int(message.headers["content-length"]))
        elif until_closed:
            with contextlib.suppress(Gone):
                while True:
                    self._more()
            message.body, self.buffer = self.buffer, b""

    def request(self) -> Request:
        message = self.head()
        if "100-continue" in message.headers.get("expect", "").lower():
            self.sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        self.body(message, until_closed=False)
        method, target, _ = message.start.split(" ", 2)
        path, _, query = target.partition("?")
        return Request(message, method, urllib.parse.unquote(path), query)

    def answer(self, request: Request) -> Message:
        while True:
            message = self.head()
            status = int(message.start.split(" ")[1])
            if status >= 200:
                break
        if request.method != "HEAD" and status not in (204, 304):
            self.body(message, until_closed=True)
        return message


class Rule:
    """What happens to the requests that `match` takes, `times` times (0: as long as the rule stands)."""

    def __init__(self, match, fault: str, times: int = 0, status: int = 503, seconds: float = 0, chance: float = 1,
                 draw: random.Random | None = None):
        self.match, self.fault, self.times, self.status, self.seconds = match, fault, times, status, seconds
        self.chance = chance
        self.draw = draw or random.Random(0)
        self.hits = 0

    def takes(self, request: Request) -> bool:  # under the proxy's lock
        if self.times and self.hits >= self.times:
            return False
        if not self.match(request) or (self.chance < 1 and self.draw.random() >= self.chance):
            return False
        self.hits += 1
        return True


class Gate(Rule):
    """Holds the first request that matches. `reached` is true once it is there; then open() lets it go on its way and
    drop() makes it vanish: an answer of it, or, when it was held before the server, the request itself."""

    def __init__(self, match, fault: str):
        super().__init__(match, fault, times=1)
        self.request: Request | None = None
        self.status = 0  # of the server's answer
        self._there, self._open, self._answered = threading.Event(), threading.Event(), threading.Event()
        self._dropped = False

    @property
    def reached(self) -> bool:
        return self._there.is_set()

    def wait(self, timeout_s: float = 120) -> Request:
        assert self._there.wait(timeout_s), f"no request reached the gate within {timeout_s:.0f} s"
        return self.request

    def answer(self, timeout_s: float = 60) -> int:
        """The status that the server gave, whether or not the client is still there to hear it."""
        assert self._answered.wait(timeout_s), f"the server has not answered within {timeout_s:.0f} s"
        return self.status

    def note(self, answer: Message):
        self.status = int(answer.start.split(" ")[1])
        self._answered.set()

    def open(self):
        self._open.set()

    def drop(self):
        self._dropped = True
        self._open.set()

    def hold(self, request: Request):
        self.request = request
        self._there.set()
        self._open.wait()
        if self._dropped:
            raise Gone


class FaultProxy:
    """`target` is host:port; `speaks` is rest or s3 and shapes the errors that the proxy answers by itself."""

    def __init__(self, target: str, speaks: str = "rest"):
        host, _, port = target.removeprefix("http://").rstrip("/").partition(":")
        self.target = (host, int(port))
        self.speaks = speaks
        self.counts: collections.Counter = collections.Counter()  # fault → how often; requests
        self._lock = threading.Lock()
        self._ways = threading.RLock()  # who opens and closes the listener, one at a time
        self._rules: list[Rule] = []
        self._connections: set[socket.socket] = set()
        self._silent = False
        self._listener: socket.socket | None = None
        self._closing = False
        self.port = self._listen(free_port())
        self.address = f"127.0.0.1:{self.port}"
        self.url = f"http://{self.address}"

    # --- what tests call

    def add(self, rule: Rule) -> Rule:
        with self._lock:
            self._rules.append(rule)
        return rule

    def remove(self, rule: Rule):
        with self._lock:
            if rule in self._rules:
                self._rules.remove(rule)
        if isinstance(rule, Gate):
            rule.open()

    def clear(self):
        """Takes all rules away and lets everything through."""
        with self._lock:
            rules = list(self._rules)
        for rule in rules:
            self.remove(rule)
        self.heal()

    @contextlib.contextmanager
    def rule(self, match, fault: str, **more):
        made = self.add(Rule(match, fault, **more))
        try:
            yield made
        finally:
            self.remove(made)

    @contextlib.contextmanager
    def hold_before(self, match):
        """The first match waits before the server has seen it."""
        yield from self._gate(match, "hold_before")

    @contextlib.contextmanager
    def hold_after(self, match):
        """The server acts on the first match; its answer waits."""
        yield from self._gate(match, "hold_after")

    def _gate(self, match, fault: str):
        gate = self.add(Gate(match, fault))
        try:
            yield gate
        finally:
            self.remove(gate)

    def refuse(self):
        """Nobody listens any more; open connections are cut."""
        with self._ways:
            self._stop_listening()
        self._cut()
        self.counts["refuse"] += 1

    def silence(self):
        """Connections open, nothing is ever answered; what is under way hangs."""
        self._silent = True
        self.counts["silence"] += 1

    def heal(self):
        """Back to letting everything through that no rule takes. What hung in the silence is cut."""
        if self._silent:
            self._silent = False
            self._cut()
        with self._ways:
            if self._listener is None and not self._closing:
                self._listen(self.port)

    def close(self):
        self._closing = True
        with self._ways:
            self._stop_listening()
        with self._lock:
            rules, self._rules = self._rules, []
        for rule in rules:
            if isinstance(rule, Gate):
                rule.drop()
        self._cut()

    # --- inside

    def _listen(self, port: int) -> int:
        deadline = time.monotonic() + 60
        while True:
            listener = socket.socket()
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind(("127.0.0.1", port))
                listener.listen(256)
                break
            except OSError:  # not gone yet
                listener.close()
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
        return listener.getsockname()[1]

    def _stop_listening(self):
        listener, self._listener = self._listener, None
        if listener:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # close() alone leaves a thread in accept()
            listener.close()

    def _cut(self):
        with self._lock:
            connections = list(self._connections)
        for one in connections:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _accept(self, listener: socket.socket):
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket):
        with self._lock:
            self._connections.add(client)
        server = None
        try:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            stream = Stream(client)
            while not self._closing:
                request = stream.request()
                server = self._exchange(client, server, request)
                if server is None or request.message.headers.get("connection", "").lower() == "close":
                    break
        except (Gone, OSError, ValueError):
            pass
        finally:
            with self._lock:
                self._connections.discard(client)
            for one in (client, server):
                if one:
                    one.close()

    def _rule_for(self, request: Request) -> Rule | None:
        with self._lock:
            self.counts["requests"] += 1
            for rule in self._rules:
                if rule.takes(request):
                    self.counts[rule.fault if rule.fault not in ("answer", "answer_after")
                                else f"{rule.fault}_{rule.status}"] += 1
                    return rule
        return None

    def _exchange(self, client, server, request: Request):
        """The connection to the server when both may go on with it, else None."""
        self._wait_while_silent()
        rule = self._rule_for(request)
        fault = rule.fault if rule else ""
        if fault == "hold_before":
            rule.hold(request)
        elif fault == "delay":
            time.sleep(rule.seconds)
        elif fault == "drop_request":
            return None
        elif fault == "answer":
            client.sendall(self._error(request, rule.status))
            return server or self._connect()
        server = self._fresh(server)
        if fault == "cut_request":
            raw = request.message.raw
            server.sendall(raw[:len(request.message.head) + len(request.message.body) // 2])
            server.close()
            return None
        server.sendall(request.message.raw)
        answer = Stream(server).answer(request)
        if isinstance(rule, Gate):
            rule.note(answer)
        self._wait_while_silent()
        if fault == "hold_after":
            rule.hold(request)
        elif fault == "delay_answer":
            time.sleep(rule.seconds)
        elif fault == "drop_answer":
            server.close()
            return None
        elif fault == "answer_after":
            client.sendall(self._error(request, rule.status))
            return server
        elif fault == "cut_answer":
            raw = answer.raw
            client.sendall(raw[:len(answer.head) + len(answer.body) // 2])
            server.close()
            return None
        client.sendall(answer.raw)
        if answer.headers.get("connection", "").lower() == "close":
            server.close()
            return None
        return server

    def _wait_while_silent(self):
        waited = False
        while self._silent and not self._closing:
            waited = True
            time.sleep(0.05)
        if waited:
            raise Gone

    def _connect(self) -> socket.socket:
        server = socket.create_connection(self.target, timeout=SERVER_TIMEOUT_S)
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return server

    def _fresh(self, server):
        """A connection that the server has not closed meanwhile."""
        if server is not None:
            readable, _, _ = select.select([server], [], [], 0)
            if not readable:
                return server
            server.close()
        return self._connect()

    def _error(self, request: Request, status: int) -> bytes:
        if self.speaks == "s3":
            code = {409: "ConditionalRequestConflict", 500: "InternalError", 503: "SlowDown"}.get(status, "Refused")
            kind = "application/xml"
            body = f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>by the test</Message></Error>'
        else:
            kind = "application/json"
            types = {409: "CommitFailedException", 419: "AuthenticationTimeoutException"}
            body = json.dumps({"error": {"message": "by the test", "code": status,
                                         "type": types.get(status, "ServiceFailureException")}})
        head = (f"HTTP/1.1 {status} By-The-Test\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n")
        return head.encode() + (b"" if request.method == "HEAD" else body.encode())


# --- what rules match ----------------------------------------------------------------------------------------------

TABLE_PATH = re.compile(r"/namespaces/([^/]+)/tables/([^/]+)$")


def any_request(_request: Request) -> bool:
    return True


def table_of(request: Request) -> str:
    """namespace.table of a request to a table of a REST catalog, else nothing."""
    found = TABLE_PATH.search(request.path)
    return f"{found[1]}.{found[2]}" if found else ""


def commit_to(*tables: str):
    """A commit to one of these tables, to any when there are none."""
    def match(request: Request) -> bool:
        table = table_of(request) if request.method == "POST" else ""
        return bool(table) and (not tables or table in tables)
    return match


def upload_of(suffix: str = ".parquet"):
    """A write of an object of that kind: whole, or as a part of a multipart upload, or what begins or ends one."""
    return lambda request: request.method in ("PUT", "POST") and request.path.endswith(suffix)


def positions_of(request: Request) -> dict:
    """The positions that a commit of Firn writes (docs/formats/positions.md), else an empty document."""
    for update in request.json().get("updates", []):
        for key, value in update.get("updates", {}).items() if update.get("action") == "set-properties" else ():
            if key.startswith("firn.positions."):
                return json.loads(value)
    return {}


def mark_of(document: dict) -> int:
    """Sum of the offsets of a positions document."""
    return sum(mark[0] for topics in document.get("clusters", {}).values() for topic in topics.values()
               for mark in topic["partitions"].values())


def moves_to(table: str, above: int):
    """A commit to the table that moves its positions past this sum of offsets."""
    commits = commit_to(table)
    return lambda request: commits(request) and mark_of(positions_of(request)) > above


def lists(home: str, table: str):
    """The commit to the home by which it lists the table."""
    commits = commit_to(home)
    return lambda request: commits(request) and table in {
        one["table"] for one in positions_of(request).get("home", {}).get("tables", [])}


def added_records(request: Request) -> int:
    """How many rows the snapshot of this commit adds."""
    for update in request.json().get("updates", []):
        if update.get("action") == "add-snapshot":
            return int(update["snapshot"]["summary"].get("added-records", 0))
    return 0
