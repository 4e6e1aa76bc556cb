"""Nessie makes tables of format v2 only and lists the current snapshot only, without parents and logs: exactly once
must not need a history there, and ordinary commits of others must raise no alarm."""

import json
import time
import urllib.request

from pyiceberg.expressions import EqualTo, LessThan

import firn
import pyarrow as pa
from fault_proxy import Rule, commit_to
from invariants import assert_accounted
from processes import wait_until
from produce import SMALL_COLUMNS, seeded, small_events
from readers import assert_rows, load
from test_exactly_once import row_count
from test_stop_and_start import QUICK_SESSION, Feed


def events_table(name: str) -> dict:
    return {"name": f"{name}.events", "columns": SMALL_COLUMNS, "partition": ["kind"]}


def append_rows(lake: firn.Lake, table: str, numbers):
    """By PyIceberg, as somebody else would."""
    loaded = load(lake, table)
    rows = [{"id": number, "kind": f"k{number % 3}", "note": f"note {number}"} for number in numbers]
    loaded.append(pa.Table.from_pylist(rows, schema=loaded.schema().as_arrow()))


def test_what_the_rules_for_it_rest_upon(lakes, topics, pipelines, readers, name):
    lake = lakes.get("nessie-s3")
    topics.create(name, 2)
    pipeline = pipelines(lake, [events_table(name)])
    for start in (0, 100, 200):
        topics.send(name, small_events(start, 100).values, 2)
        pipeline.catch_up()
    metadata = load(lake, f"{name}.events").metadata
    snapshot, = metadata.snapshots
    assert metadata.format_version == 2 and snapshot.parent_snapshot_id is None
    assert len(metadata.snapshot_log) <= 1 and metadata.properties["gc.enabled"] == "false"
    document = json.loads(metadata.properties[f"firn.positions.{name}"])
    assert document["snapshot_id"] == str(snapshot.snapshot_id)
    assert document["sequence_number"] == snapshot.sequence_number >= 3
    for reader in readers(lake):
        assert sorted(reader.read(f"{name}.events", ["id"])["id"]) == list(range(300)), reader.name


def test_rows_are_there_once_over_restarts(lakes, topics, pipelines, name):
    lake = lakes.get("nessie-s3")
    topics.create(name, 3)
    pipeline = pipelines(lake, [events_table(name)], changes=QUICK_SESSION)
    draw = seeded(name)
    feed = Feed(topics, name, 3, 1000)
    feed.start()
    for number in range(5):
        run = pipeline.start()
        run.wait_for(lambda status: status["records"] > 0, 90, "it reads records")
        time.sleep(draw.uniform(0, 2))
        if number % 2:
            assert run.stop() == 0
        else:
            run.kill()
    sent = feed.finish()
    pipeline.catch_up()
    assert_rows(lake, f"{name}.events", range(sent))
    assert_accounted(lake, pipeline, [f"{name}.events"], sent)


def test_ordinary_commits_of_others_raise_no_alarm(lakes, topics, pipelines, name):
    """Appended to, partly deleted and rewritten by PyIceberg, while a worker runs and while none does."""
    lake = lakes.get("nessie-s3")
    topics.create(name, 2)
    table = f"{name}.events"
    pipeline = pipelines(lake, [events_table(name)], changes=QUICK_SESSION)
    topics.send(name, small_events(0, 300).values, 2)
    pipeline.catch_up()
    expected = set(range(300))
    sent = 300
    for round_number in range(2):
        append_rows(lake, table, range(100_000 + round_number * 10, 100_010 + round_number * 10))
        load(lake, table).delete(EqualTo("id", 7 + round_number))  # rewrites the file it is in
        load(lake, table).delete(EqualTo("kind", "k1"))  # whole files
        expected |= set(range(100_000 + round_number * 10, 100_010 + round_number * 10))
        expected = {number for number in expected if number != 7 + round_number and number % 3 != 1}
        topics.send(name, small_events(sent, 300).values, 2)
        expected |= set(range(sent, sent + 300))
        sent += 300
        if round_number == 0:
            pipeline.catch_up()
            assert_rows(lake, table, expected)
            run = pipeline.start()
            run.wait_for(lambda status: status["ready"], 90, "it is ready")
        else:
            wait_until(lambda: row_count(lake, table) == len(expected), 90, "the running worker has committed", 0.5)
            assert_rows(lake, table, expected)
            assert not run.status()["detached"]
            assert run.stop() == 0
    # All that Firn wrote last is deleted, what it wrote before is not.
    load(lake, table).delete(LessThan("id", 100_000) & EqualTo("kind", "k2"))
    expected = {number for number in expected if number % 3 != 2 or number >= 100_000}
    assert not pipeline.catch_up()["detached"]
    assert_rows(lake, table, expected)


def test_nessie_is_killed_and_loses_answers(lakes, nessie, topics, pipelines, proxies, name):
    lake = lakes.get("nessie-s3")
    proxy = proxies(nessie.uri.removesuffix("/iceberg"))
    topics.create(name, 3)
    pipeline = pipelines(lake, [events_table(name)], changes={
        **QUICK_SESSION, "catalog": {"uri": f"{proxy.url}/iceberg", "timeout": "5s"}})
    draw = seeded(name)
    rules = [proxy.add(Rule(commit_to(), fault, status=503, chance=0.1, draw=draw))
             for fault in ("drop_answer", "drop_request", "answer_after", "answer")]
    feed = Feed(topics, name, 3, 300)
    feed.start()
    run = pipeline.start()
    wait_until(lambda: all(rule.hits > 1 for rule in rules), 180, "answers have been lost", 0.2)
    nessie.process.kill()
    asked = proxy.counts["requests"]
    wait_until(lambda: proxy.counts["requests"] >= asked + 3, 60, "the worker has asked in vain", 0.1)
    nessie.start()
    seen = row_count(lake, f"{name}.events")
    wait_until(lambda: row_count(lake, f"{name}.events") > seen, 120, "rows are committed again", 0.5)
    sent = feed.finish()
    assert run.stop() == 0
    proxy.clear()
    pipeline.catch_up()
    assert_rows(lake, f"{name}.events", range(sent))


class Branch:
    """main, by Nessie's own API."""

    def __init__(self, nessie):
        self.url = nessie.uri.removesuffix("/iceberg") + "/api/v2/trees/"

    def _call(self, method: str, path: str, body: dict | None = None) -> dict:
        request = urllib.request.Request(self.url + path, method=method, headers={"Content-Type": "application/json"},
                                         data=json.dumps(body).encode() if body else None)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def head(self) -> str:
        return self._call("GET", "main")["reference"]["hash"]

    def set_back(self, to: str):
        """All tables at once."""
        self._call("PUT", f"main@{self.head()}?type=BRANCH", {"type": "BRANCH", "name": "main", "hash": to})

    def revert(self, table: str, to: str):
        """One table, by a commit on top."""
        content = self._call("GET", f"main@{to}/contents/{table}")["content"]
        self._call("POST", f"main@{self.head()}/history/commit", {
            "commitMeta": {"message": "reverted by hand"},
            "operations": [{"type": "PUT", "key": {"elements": table.split(".")}, "content": content}]})


def test_the_branch_is_set_back(lakes, nessie, topics, pipelines, name):
    """Home and tables go back together, so what was committed since is read again, and nobody has to say a word:
    between two runs, and under a running worker that believes to be further."""
    lake, branch = lakes.get("nessie-s3"), Branch(nessie)
    table = f"{name}.events"
    topics.create(name, 2)
    pipeline = pipelines(lake, [events_table(name)], changes=QUICK_SESSION)
    topics.send(name, small_events(0, 300).values, 2)
    pipeline.catch_up()
    before = branch.head()
    topics.send(name, small_events(300, 300).values, 2)
    pipeline.catch_up()
    branch.set_back(before)
    assert_rows(lake, table, range(300))
    topics.send(name, small_events(600, 300).values, 2)
    result = pipeline.catch_up()
    assert not result["detached"] and result["rows_committed"] == 600
    assert_rows(lake, table, range(900))

    run = pipeline.start()
    run.wait_for(lambda status: status["ready"], 90, "it is ready")
    before = branch.head()
    topics.send(name, small_events(900, 300).values, 2)
    run.wait_for(lambda status: status["rows_committed"] == 300, 90, "more rows are committed")
    branch.set_back(before)
    topics.send(name, small_events(1200, 300).values, 2)
    wait_until(lambda: row_count(lake, table) >= 1500, 120, "the running worker has committed all of it again", 0.5)
    assert not run.status()["detached"]
    assert run.stop() == 0
    pipeline.catch_up()
    assert_rows(lake, table, range(1500))


def test_one_table_is_reverted(lakes, nessie, topics, pipelines, name):
    """The home stays, so rows are gone that it counts as committed: the table is held until a person has decided."""
    lake, branch = lakes.get("nessie-s3"), Branch(nessie)
    table, others = f"{name}.events", f"{name}.others"
    topics.create(name, 2)
    pipeline = pipelines(lake, [{**events_table(name), "match": [{"field": "kind", "equals": "k0"}]},
                                {"name": others, "columns": SMALL_COLUMNS}])
    topics.send(name, small_events(0, 300).values, 2)
    pipeline.catch_up()
    before = branch.head()
    topics.send(name, small_events(300, 300).values, 2)
    pipeline.catch_up()
    branch.revert(table, before)
    assert_rows(lake, table, range(0, 300, 3))
    topics.send(name, small_events(600, 300).values, 2)
    result = pipeline.catch_up(expect=firn.DETACHED)
    assert {one["table"] for one in result["detached"]} == {table}
    assert_rows(lake, table, range(0, 300, 3))
    assert_rows(lake, others, [number for number in range(900) if number % 3])
    run = pipeline.command("positions", "resume", "--table", table, "--rewind", "--yes", "--json")
    assert run.process.popen.returncode == firn.SUCCESS, run.process.tail()
    pipeline.catch_up()
    assert_rows(lake, table, range(0, 900, 3))
    assert_rows(lake, others, [number for number in range(900) if number % 3])
    assert pipeline.catch_up()["rows_committed"] == 0
