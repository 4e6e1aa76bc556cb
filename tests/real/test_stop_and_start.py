"""A worker that is stopped, killed, joined and left at any moment: each row once."""

import json
import os
import sqlite3
import threading
import time

import pytest

from invariants import assert_accounted, assert_rejected, reject_rows
from processes import wait_until
from produce import SMALL_COLUMNS, seeded, small_events
from readers import assert_once, assert_rows, ids, load

QUICK_SESSION = {"kafka": {"session.timeout.ms": 2000, "heartbeat.interval.ms": 400},
                 "commit": {"interval": "500ms"}, "positions": {"checkpoint": "700ms"}}


class Feed(threading.Thread):
    """Sends numbered events until it is told to stop."""

    def __init__(self, topics, topic: str, partitions: int, per_second: int, pad: int = 0):
        super().__init__(daemon=True)
        self.pad = pad  # bytes more in each note
        self.topics, self.topic, self.partitions, self.per_second = topics, topic, partitions, per_second
        self.sent = 0
        self.error: BaseException | None = None
        self._end = threading.Event()

    def run(self):
        try:
            with self.topics.producer() as producer:
                while not self._end.wait(0.1):
                    for value in small_events(self.sent, self.per_second // 10, self.pad).values:
                        producer.send(self.topic, value, self.sent % self.partitions)
                        self.sent += 1
        except BaseException as error:  # the test's thread raises it
            self.error = error

    def finish(self) -> int:
        self._end.set()
        self.join(90)
        if self.error:
            raise self.error
        return self.sent


def events_table(name: str) -> dict:
    return {"name": f"{name}.events", "columns": SMALL_COLUMNS, "partition": ["kind"]}


def test_ten_stops_and_kills_at_random_moments(lake, topics, pipelines, name):
    topics.create(name, 3)
    pipeline = pipelines(lake, [events_table(name)], changes=QUICK_SESSION)
    draw = seeded(name)
    feed = Feed(topics, name, 3, 2000)
    feed.start()
    for number in range(10):
        run = pipeline.start()
        run.wait_for(lambda status: status["records"] > 0, 60, "it reads records")
        time.sleep(draw.uniform(0, 1.5))
        if number % 2:
            run.kill()
        else:
            assert run.stop() == 0
    sent = feed.finish()
    pipeline.catch_up()
    assert_once(lake, f"{name}.events", 0, sent)
    assert_accounted(lake, pipeline, [f"{name}.events"], sent)


def test_a_stop_commits_what_was_read(lake, topics, pipelines, name):
    """SIGTERM makes the last commit, long before its interval would."""
    topics.create(name, 2)
    topics.send(name, small_events(0, 3000).values, 2)
    pipeline = pipelines(lake, [events_table(name)], changes={"commit": {"interval": "60s", "max_age": "1h"}})
    run = pipeline.start()
    run.wait_for(lambda status: status["records"] == 3000, 60, "it has read all")
    assert run.stop() == 0
    assert_once(lake, f"{name}.events", 0, 3000)
    again = pipeline.catch_up()
    assert again["rows_committed"] == 0


def test_a_second_worker_joins_leaves_and_dies_under_load(lake, topics, pipelines, name):
    topics.create(name, 6)
    pipeline = pipelines(lake, [events_table(name)], changes=QUICK_SESSION)
    feed = Feed(topics, name, 6, 2000)
    feed.start()
    first = pipeline.start()
    first.wait_for(lambda status: status["assigned_partitions"] == 6 and status["rows_committed"] > 0, 60,
                   "the first worker has all partitions")
    for leave in ("stop", "kill"):
        second = pipeline.start()
        second.wait_for(lambda status: status["assigned_partitions"] > 0 and status["rows_committed"] > 0, 60,
                        "the second worker has its share and commits")
        first.wait_for(lambda status: status["assigned_partitions"] < 6, 30, "the first worker has given some away")
        if leave == "stop":
            assert second.stop() == 0
        else:
            second.kill()
        first.wait_for(lambda status: status["assigned_partitions"] == 6, 60, "the first worker has all again")
    sent = feed.finish()
    assert first.stop() == 0
    pipeline.catch_up()
    assert_once(lake, f"{name}.events", 0, sent)
    assert_accounted(lake, pipeline, [f"{name}.events"], sent)


def test_the_first_reject_comes_late(lake, topics, pipelines, name):
    """The rejects table is made when it is first needed: long after the start, on top of many commits."""
    count = int(os.environ.get("FIRN_REAL_MANY", "200000"))
    topics.create(name, 4, {"retention.bytes": "-1"})
    with topics.producer() as producer:
        for start in range(0, count, 10_000):
            for number, value in enumerate(small_events(start, min(10_000, count - start)).values, start):
                producer.send(name, value, number % 4)
        producer.send(name, b'{"id": "not a number"}', 1)
    pipeline = pipelines(lake, [events_table(name)])
    result = pipeline.catch_up(timeout_s=60 + count / 2000)
    assert (result["rows_committed"], result["rejects_committed"]) == (count, 1)
    assert_once(lake, f"{name}.events", 0, count)
    reject, = reject_rows(lake, pipeline)
    assert (reject["code"], reject["partition"], reject["value"]) == ("wrong_type", 1, b'{"id": "not a number"}')
    assert reject["offset"] == len(range(1, count, 4))


class CatalogFile:
    """Looks at the SQLite catalog's own rows, hundreds of times a second."""

    def __init__(self, lake):
        self.connection = sqlite3.connect(f"file:{lake.uri}?mode=ro", uri=True, timeout=5)

    def location(self, table: str):
        namespace, short = table.rsplit(".", 1)
        row = self.connection.execute("select metadata_location from iceberg_tables where table_namespace = ? and "
                                      "table_name = ?", (namespace, short)).fetchone()
        return row[0] if row else None

    def wait_for_commit(self, table: str, timeout_s: float = 60):
        before = self.location(table)
        wait_until(lambda: self.location(table) != before, timeout_s, f"{table} has a new snapshot", 0.001)


def with_bad(first: int, count: int) -> list:
    """Every tenth record is malformed; no two of those are the same."""
    out = []
    for number, value in enumerate(small_events(first, count).values, first):
        out.append(value)
        if len(out) % 10 == 9:
            out.append(b'{"id": %d, "kind"' % number)
    return out


def is_broken(value: bytes) -> bool:
    return not value.endswith(b"}")


@pytest.mark.parametrize("between", ["main table and rejects", "rejects and home"])
def test_kills_between_the_commits_of_a_batch(lake, topics, pipelines, name, between):
    topics.create(name, 2)
    pipeline = pipelines(lake, [events_table(name)], changes=QUICK_SESSION)
    sent, rows = [], 0

    def send(count: int):
        nonlocal rows
        values = with_bad(rows, count)
        topics.send(name, values, 2)
        sent.extend(values)
        rows += count

    send(90)
    pipeline.catch_up()
    watched = f"{name}.events" if between.startswith("main") else pipeline.rejects
    catalog = CatalogFile(lake)
    for _ in range(4):
        run = pipeline.start()
        run.wait_for(lambda status: status["ready"], 60, "it is ready")
        send(360)
        catalog.wait_for_commit(watched)
        run.kill()
    pipeline.catch_up()
    assert_once(lake, f"{name}.events", 0, rows)
    assert_accounted(lake, pipeline, [f"{name}.events"], len(sent))
    assert_rejected(lake, pipeline, [value for value in sent if is_broken(value)])


def test_a_routing_rule_changes_across_a_kill(lake, topics, pipelines, name):
    """What may have gone elsewhere under the old rules goes to the rejects, nowhere twice and never nowhere."""
    topics.create(name, 2)

    def tables(kinds_of_a: str) -> list:
        return [{"name": f"{name}.a", "columns": SMALL_COLUMNS, "match": [{"field": "kind", "regex": kinds_of_a}]},
                {"name": f"{name}.b", "columns": SMALL_COLUMNS}]

    changes = {**QUICK_SESSION, "positions": {"checkpoint": "1h"}}
    pipeline = pipelines(lake, tables("k0|k1"), changes=changes)
    topics.send(name, small_events(0, 300).values, 2)
    pipeline.catch_up()
    run = pipeline.start()
    run.wait_for(lambda status: status["ready"], 60, "it is ready")
    topics.send(name, small_events(300, 3000).values, 2, start=300)
    CatalogFile(lake).wait_for_commit(f"{name}.a")
    run.kill()

    pipeline.change({"tables": tables("k1|k2")})
    topics.send(name, small_events(3300, 300).values, 2, start=3300)
    pipeline.catch_up()
    rejects = reject_rows(lake, pipeline)
    assert {one["code"] for one in rejects} <= {"rules_changed"}
    in_a, in_b = ids(lake, f"{name}.a"), ids(lake, f"{name}.b")
    rejected = sorted(json.loads(one["value"])["id"] for one in rejects)
    assert_rejected(lake, pipeline, [small_events(number, 1).values[0] for number in rejected], "rules_changed")
    # In doubt means: it may stand in a table already, by the old rules. No table has a row twice, no record is nowhere.
    assert len(set(in_a)) == len(in_a) and len(set(in_b)) == len(in_b)
    assert len(set(rejected)) == len(rejected)
    assert sorted(set(in_a + in_b + rejected)) == list(range(3600))
    for table, numbers in (("a", in_a), ("b", in_b)):
        assert_rows(lake, f"{name}.{table}", numbers)
    # The new rules hold for what came after.
    late = range(3300, 3600)
    assert {number % 3 for number in in_a if number in late} == {1, 2}
    assert {number % 3 for number in in_b if number in late} == {0}
    again = pipeline.catch_up()
    assert again["rows_committed"] == 0 and again["rejects_committed"] == 0


def test_positions_stand_in_the_tables_not_in_the_group(lake, topics, pipelines, name):
    """Group offsets are a copy for other tools: moving or losing them changes nothing."""
    topics.create(name, 2)
    topics.send(name, small_events(0, 500).values, 2)
    pipeline = pipelines(lake, [events_table(name)])
    pipeline.catch_up()
    group = f"firn-{name}"
    assert topics.committed(group, name) == topics.ends(name)
    topics.admin.delete_consumer_groups([group])[group].result(30)
    topics.send(name, small_events(500, 500).values, 2)
    assert pipeline.catch_up()["rows_committed"] == 500
    assert_once(lake, f"{name}.events", 0, 1000)
    assert load(lake, pipeline.home).scan().count() == 0
