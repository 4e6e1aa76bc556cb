"""Nessie makes tables of format v2 only and lists the current snapshot only, without parents and logs: exactly once
must not need a history there, and ordinary commits of others must raise no alarm."""

import json
import time

from pyiceberg.expressions import EqualTo, LessThan

import firn
import pyarrow as pa
from fault_proxy import Rule, commit_to
from invariants import assert_accounted
from processes import wait_until
from produce import SMALL_COLUMNS, seeded, small_events
from readers import ids, load
from test_exactly_once import assert_rows, row_count
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
            assert ids(lake, table) == sorted(expected)
            run = pipeline.start()
            run.wait_for(lambda status: status["ready"], 90, "it is ready")
        else:
            wait_until(lambda: ids(lake, table) == sorted(expected), 90, "the running worker has committed", 0.5)
            assert not run.status()["detached"]
            assert run.stop() == 0
    # All that Firn wrote last is deleted, what it wrote before is not.
    load(lake, table).delete(LessThan("id", 100_000) & EqualTo("kind", "k2"))
    expected = {number for number in expected if number % 3 != 2 or number >= 100_000}
    assert not pipeline.catch_up()["detached"]
    assert ids(lake, table) == sorted(expected)


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
    time.sleep(3)
    nessie.start()
    seen = row_count(lake, f"{name}.events")
    wait_until(lambda: row_count(lake, f"{name}.events") > seen, 120, "rows are committed again", 0.5)
    sent = feed.finish()
    assert run.stop() == 0
    proxy.clear()
    pipeline.catch_up()
    assert_rows(lake, f"{name}.events", range(sent))
