"""Exactly once where others lose or double rows: killed, suspended and cut off at chosen moments, and the cases that
users of other systems report (#n: apache/iceberg, tab#n: the fork of its Kafka Connect sink that came before).

A fault proxy holds the very request of the moment, so nothing here depends on how fast the machine is. Rows are read
and compared by DuckDB.
"""

import json
import threading
import time

import pytest
from confluent_kafka import Consumer, TopicPartition

import firn
from fault_proxy import Rule, added_records, any_request, commit_to, lists, mark_of, moves_to, positions_of, upload_of
from invariants import assert_accounted, assert_rejected, reject_rows
from processes import wait_until
from produce import SMALL_COLUMNS, Topics, seeded, small_events
from readers import assert_rows, catalog_of, exists, load, small_rows
from test_stop_and_start import QUICK_SESSION, Feed, is_broken, with_bad


def events_table(name: str, table: str = "events", **more) -> dict:
    return {"name": f"{name}.{table}", "columns": SMALL_COLUMNS, **more}


class Attacked:
    """A lake whose catalog and store are reached through proxies by Firn, and directly by those who check."""

    def __init__(self, lake: firn.Lake, proxies):
        self.lake = lake
        self.catalog = proxies(lake.uri)
        self.store = proxies(lake.s3_endpoint, "s3") if lake.s3_endpoint else None

    def changes(self, more: dict | None = None) -> dict:
        out = {"catalog": {"uri": self.catalog.url}, **QUICK_SESSION}
        if self.store:
            out["store"] = {"s3": {"endpoint": self.store.url}}
        return firn.merged(out, more or {})


@pytest.fixture
def attacked(lakes, proxies) -> Attacked:
    return Attacked(lakes.get("rest-s3"), proxies)


def wait_assigned(run: firn.Run, partitions: int):
    return run.wait_for(lambda status: status["ready"] and status["assigned_partitions"] == partitions, 120,
                        f"the worker has its {partitions} partitions")


# --- killed at a moment --------------------------------------------------------------------------------------------

def rows_to(table: str):
    commits = commit_to(table)
    return lambda request: commits(request) and added_records(request) > 0


MOMENTS = {  # where, before or after the server has acted, which request: of the pipeline, and of the records before
    "while a data file is on its way": ("store", "before", lambda pipeline, read: upload_of(".parquet")),
    "after the upload, before the commit": ("catalog", "before", lambda pipeline, read: rows_to(main_table(pipeline))),
    "after the commit, before its answer": ("catalog", "after", lambda pipeline, read: rows_to(main_table(pipeline))),
    # Not any commit to the home: the one that moves its mark.
    "after the home, before the group's offset": ("catalog", "after",
                                                  lambda pipeline, read: moves_to(pipeline.home, read)),
}


def main_table(pipeline: firn.Pipeline) -> str:
    return pipeline.config["tables"][0]["name"]


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed(attacked, topics, pipelines, name, moment):
    """Twice in a row at the same moment, the second time while it mends the first."""
    topics.create(name, 2)
    pipeline = pipelines(attacked.lake, [events_table(name)], changes=attacked.changes())
    rows, sent = 0, []

    def send(count: int):
        nonlocal rows
        values = with_bad(rows, count)
        topics.send(name, values, 2, start=len(sent))
        rows += count
        sent.extend(values)

    send(90)
    pipeline.catch_up()
    where, when, what = MOMENTS[moment]
    proxy = getattr(attacked, where)
    hold = proxy.hold_before if when == "before" else proxy.hold_after
    read = len(sent)  # what the home's mark has passed at least
    for _ in range(2):
        run = pipeline.start()
        wait_assigned(run, 2)
        with hold(what(pipeline, read)) as gate:
            send(360)
            gate.wait()
            run.kill()
            if when == "after":
                assert gate.answer() == 200
            gate.drop()
        read = max(read, mark_of(positions_of(gate.request))) if moment.startswith("after the home") else read
    group = f"firn-{name}"
    ends = topics.ends(name)
    if moment.endswith("the group's offset"):
        assert topics.committed(group, name) != ends
    result = pipeline.catch_up()
    assert result["caught_up"] and topics.committed(group, name) == ends
    assert_rows(attacked.lake, f"{name}.events", range(rows))
    assert_accounted(attacked.lake, pipeline, [f"{name}.events"], len(sent))
    assert_rejected(attacked.lake, pipeline, [value for value in sent if is_broken(value)])


def creation_of(table: str):
    short = table.rsplit(".", 1)[1]
    return lambda request: (request.method == "POST" and request.path.endswith("/tables")
                            and request.json().get("name") == short)


def of_kinds(first: int, count: int, kinds: set) -> list:
    return [value for number, value in enumerate(small_events(first, count).values, first) if number % 3 in kinds]


def test_tables_that_are_new_meet_kills_and_two_workers(attacked, topics, pipelines, name):
    """Each table is first named by a record, and the worker dies in the middle of taking it in: when the home lists it,
    when it is made, when it gets its positions. Then two workers meet a new table at the same time."""
    topics.create(name, 4)
    pipeline = pipelines(attacked.lake, [events_table(name, "{field:kind}")], changes=attacked.changes())
    moments = (lists(pipeline.home, f"{name}.k0"), creation_of(f"{name}.k1"), commit_to(f"{name}.k2"))
    sent = 0
    pipeline.catch_up()
    for kind, moment in enumerate(moments):
        run = pipeline.start()
        wait_assigned(run, 4)
        with attacked.catalog.hold_after(moment) as gate:
            topics.send(name, of_kinds(sent, 300, {kind}), 4)
            gate.wait()
            run.kill()
            assert gate.answer() == 200
            gate.drop()
        if kind == 0:
            assert not exists(attacked.lake, f"{name}.k0"), "it is listed before it is made"
        if kind == 2:
            # Its first commit: positions, and no row yet.
            assert positions_of(gate.request)["table"] == f"{name}.k2" and added_records(gate.request) == 0
            topics.send(name, of_kinds(sent, 300, {0, 1}), 4)
        sent += 300
    pipeline.catch_up()

    runs = [pipeline.start() for _ in range(2)]
    for run in runs:
        run.wait_for(lambda status: status["assigned_partitions"] == 2, 120, "each worker has its half")
    late = [value.replace(b'"kind":"k', b'"kind":"late') for value in small_events(9_999, 400).values]
    with attacked.catalog.hold_before(creation_of(f"{name}.late0")) as gate:
        topics.send(name, late[::3], 4)
        gate.wait()
        wait_until(lambda: exists(attacked.lake, f"{name}.late0"), 120, "the other worker has made it", 0.2)
        gate.open()
        assert gate.answer() == 409, "who comes second finds it made"
    for run in runs:
        run.wait_for(lambda status: status["rows_committed"] > 0, 120, "both have committed rows of it")
        assert run.stop() == 0
    pipeline.catch_up()
    assert_rows(attacked.lake, f"{name}.late0",
                rows=[(number, "late0", f"note {number}") for number in range(9_999, 10_399, 3)])
    assert_rows(attacked.lake, f"{name}.k0", [*range(0, 300, 3), *range(600, 900, 3)])
    assert_rows(attacked.lake, f"{name}.k1", [*range(301, 600, 3), *range(601, 900, 3)])
    assert_rows(attacked.lake, f"{name}.k2", range(602, 900, 3))


def test_a_zombie_in_the_middle_of_its_commit(attacked, topics, pipelines, name):
    """#17551: a worker sleeps past its session while its commit is under way; another takes over and commits; then the
    old commit arrives at the catalog after all, and the sleeper wakes up. Then the group is lost, and new records come
    while nobody listens: 'latest' is where a topic begins, not what is fallen back upon."""
    topics.create(name, 4)
    changes = attacked.changes({"source": {"start": "latest"}})
    pipeline = pipelines(attacked.lake, [events_table(name)], changes=changes)
    first = pipeline.start()
    wait_assigned(first, 4)
    first.wait_for(lambda status: load_positions(pipeline), 60, "the start is resolved")
    with attacked.catalog.hold_before(rows_to(f"{name}.events")) as gate:
        topics.send(name, small_events(0, 400).values, 4)
        gate.wait()
        first.process.suspend()
        second = pipeline.start()
        second.wait_for(lambda status: status["assigned_partitions"] == 4 and status["rows_committed"] == 400, 120,
                        "the other worker has taken over and committed")
        gate.open()
        assert gate.answer() == 409, "the late commit is refused"
    first.process.resume()
    topics.send(name, small_events(400, 400).values, 4)
    wait_until(lambda: row_count(attacked.lake, f"{name}.events") >= 800, 120, "the rest is committed", 0.3)
    for run in (first, second):
        assert run.stop() == 0
    # The group forgets its offsets, and more records come while nobody listens.
    group = f"firn-{name}"
    topics.admin.delete_consumer_groups([group])[group].result(30)
    topics.send(name, small_events(800, 400).values, 4)
    pipeline.catch_up()
    assert_rows(attacked.lake, f"{name}.events", range(1200))
    refused = pipelines(attacked.lake, [events_table(name)], changes={"kafka": {"auto.offset.reset": "latest"}})
    refused.catch_up(expect=firn.USAGE)


def row_count(lake: firn.Lake, table: str) -> int:
    return load(lake, table).scan().count()


def load_positions(pipeline: firn.Pipeline) -> bool:
    """Does the home name its topic?"""
    run = pipeline.command("positions", "show", "--json")
    return run.process.popen.returncode == firn.SUCCESS and bool(run.result()["home"]["positions"])


# --- networks and servers ------------------------------------------------------------------------------------------


def test_requests_and_answers_get_lost_everywhere(attacked, topics, pipelines, name):
    """Of all requests to catalog and store a part is lost before or after its effect, cut in the middle, refused, or
    answered by an error that may or may not be true."""
    topics.create(name, 3)
    pipeline = pipelines(attacked.lake, [events_table(name, "{field:kind}")], changes=attacked.changes(
        {"commit": {"shutdown_deadline": "80s"}}))
    feed = Feed(topics, name, 3, 500)
    feed.start()
    run = pipeline.start()
    run.wait_for(lambda status: status["rows_committed"] > 0, 120, "the first rows are committed")
    draw = seeded(name)
    rules = []
    for proxy, only_commits in ((attacked.catalog, commit_to()), (attacked.store, any_request)):
        for fault, status in (("drop_answer", 0), ("drop_request", 0), ("answer_after", 502), ("answer", 503),
                              ("answer", 500), ("answer", 409), ("answer", 419), ("cut_answer", 0)):
            if proxy is attacked.store and status in (409, 419):
                continue  # this store knows no such answers to plain requests
            chance = 0.03 if proxy is attacked.store else 0.1
            rules.append(proxy.add(Rule(only_commits, fault, status=status, chance=chance, draw=draw)))
    rules.append(attacked.store.add(Rule(upload_of(), "cut_request", chance=0.3, draw=draw)))
    rules.append(attacked.store.add(Rule(any_request, "delay_answer", seconds=0.5, chance=0.06, draw=draw)))
    rules.append(attacked.catalog.add(Rule(any_request, "delay", seconds=0.5, chance=0.06, draw=draw)))

    def enough() -> bool:
        assert run.process.running(), run.process.tail()
        return all(rule.hits >= 2 for rule in rules)
    try:
        wait_until(enough, 300, "each fault has come twice", 0.5)
    except TimeoutError as error:
        raise AssertionError([(rule.fault, rule.status, rule.hits) for rule in rules]) from error
    sent = feed.finish()
    assert run.stop(90) == 0
    for proxy in (attacked.catalog, attacked.store):
        proxy.clear()
    pipeline.catch_up()
    for kind in range(3):
        assert_rows(attacked.lake, f"{name}.k{kind}", range(kind, sent, 3))


def members_of(topics: Topics, group: str) -> set:
    found = topics.admin.describe_consumer_groups([group], request_timeout=30)[group].result(30)
    return {member.member_id for member in found.members}


PAD = 1000  # bytes more in a record: 64 MiB are full long before the store is back
RESIDENT_MAX = 400 << 20


@pytest.mark.slow
def test_the_store_is_away_for_90_s_and_the_session_lives_on(attacked, topics, pipelines, name):
    """Much longer than max.poll.interval.ms, and with more records than memory may hold: partitions are paused, and
    the consumer is polled whatever happens to the data."""
    topics.create(name, 3)
    pipeline = pipelines(attacked.lake, [events_table(name)], changes=attacked.changes({
        "kafka": {"max.poll.interval.ms": 10000, "session.timeout.ms": 6000}, "memory": {"limit": "64MiB"}}))
    feed = Feed(topics, name, 3, 800, PAD)
    feed.start()
    run = pipeline.start()
    run.wait_for(lambda status: status["rows_committed"] > 0, 120, "the first rows are committed")
    members = members_of(topics, f"firn-{name}")
    assert len(members) == 1
    attacked.store.refuse()
    away_until = time.monotonic() + 90
    read, paused, resident = [], 0, 0
    while time.monotonic() < away_until:
        assert members_of(topics, f"firn-{name}") == members, "the group was rebalanced"
        status = run.status()
        assert status["assigned_partitions"] == 3
        read.append(status["records"])
        # It reads no more, though there is more and more to read.
        paused += len(read) > 2 and read[-1] == read[-3] and feed.sent > read[-1] + 2000
        resident = max(resident, run.metrics()["process_resident_memory_bytes"])
        time.sleep(2)
    assert paused >= 3, f"the partitions were not paused: {read} of {feed.sent}"
    assert resident < RESIDENT_MAX
    attacked.store.heal()
    sent = feed.finish()
    run.wait_for(lambda status: status["rows_committed"] == sent, 180, "everything is committed")
    assert members_of(topics, f"firn-{name}") == members
    assert run.stop() == 0
    assert_rows(attacked.lake, f"{name}.events", rows=small_rows(range(sent), PAD))
    assert "maximum poll interval" not in pipeline.output().lower()


class Visitor(threading.Thread):
    """A member of the group that comes and goes, and reads nothing that counts: each visit is two rebalances."""

    def __init__(self, topics: Topics, group: str, topic: str):
        super().__init__(daemon=True)
        self.topics, self.group, self.topic = topics, group, topic
        self.visits = 0
        self.error: BaseException | None = None
        self.end = threading.Event()

    def run(self):
        try:
            while not self.end.is_set():
                self._visit()
        except BaseException as error:  # the test's thread raises it
            self.error = error

    def _visit(self):
        assigned = threading.Event()
        consumer = Consumer({"bootstrap.servers": self.topics.bootstrap, "group.id": self.group, "log_level": 0,
                             "partition.assignment.strategy": "cooperative-sticky", "enable.auto.commit": False,
                             "session.timeout.ms": 6000, "auto.offset.reset": "latest"})
        consumer.subscribe([self.topic], on_assign=lambda one, partitions: partitions and assigned.set())
        while not (assigned.is_set() or self.end.is_set()):
            consumer.poll(0.2)
        self.visits += 1
        self.end.wait(1)
        consumer.close()
        self.end.wait(2)


VISITS = 6


def test_three_workers_under_endless_rebalances(attacked, topics, pipelines, name):
    """Progress and exactness: rows are committed after each rebalance while partitions move all the time, and each is
    there once."""
    topics.create(name, 12)
    pipeline = pipelines(attacked.lake, [events_table(name)], changes=attacked.changes(
        {"kafka": {"session.timeout.ms": 6000, "heartbeat.interval.ms": 500}}))
    feed = Feed(topics, name, 12, 600)
    feed.start()
    runs = [pipeline.start() for _ in range(3)]
    for run in runs:
        run.wait_for(lambda status: status["assigned_partitions"] > 0, 120, "each worker has its share")
    visitor = Visitor(topics, f"firn-{name}", name)
    visitor.start()

    def rows() -> int:
        for run in runs:
            assert run.process.running(), run.process.tail()
        assert not visitor.error, visitor.error
        return sum(run.status()["rows_committed"] for run in runs)

    for visit in range(1, VISITS + 1):
        wait_until(lambda visit=visit: visitor.visits >= visit, 120, f"visit {visit} has come", 0.2)
        before = rows()
        wait_until(lambda before=before: rows() > before, 120, f"rows are committed after visit {visit}", 0.2)
    visitor.end.set()
    visitor.join(60)
    sent = feed.finish()
    for run in runs:
        assert run.stop() == 0
    pipeline.catch_up()
    assert_rows(attacked.lake, f"{name}.events", range(sent))


# --- what users of others complain about ---------------------------------------------------------------------------


def test_records_for_a_missing_table_are_kept(lake, topics, pipelines, name):
    """#17641: a name made from the record leads to a table that is not there, and may not be made. Its records are in
    the rejects with all their bytes, an error says so, and the other tables go on; once it is there, it is filled."""
    topics.create(name, 2)
    catalog_of(lake).create_namespace_if_not_exists(name)
    schema = make_events(lake, f"{name}.k0").schema()
    pipeline = pipelines(lake, [{"name": f"{name}.{{field:kind}}", "match": [{"field": "kind", "regex": "k[01]"}]},
                                events_table(name, "rest")], changes={"log": {"level": "info", "format": "json"}})
    topics.send(name, small_events(0, 300).values, 2)
    run = pipeline.start()
    run.wait_for(lambda status: status["rejects_committed"] == 100 and status["rows_committed"] == 200, 60,
                 "rows and rejects are committed")
    assert run.metrics()[f'firn_rejects_total{{code="no_route",pipeline="{name}"}}'] == 100
    assert run.stop() == 0
    lines = [json.loads(line) for line in run.log.splitlines()]
    assert any(line["level"] == "error" and f"{name}.k1" in json.dumps(line) for line in lines), "no error names it"
    assert_rows(lake, f"{name}.k0", range(0, 300, 3))
    assert_rows(lake, f"{name}.rest", range(2, 300, 3))
    rejects = reject_rows(lake, pipeline)
    assert {(one["code"], one["intended_table"]) for one in rejects} == {("no_route", f"{name}.k1")}
    assert sorted(one["value"] for one in rejects) == sorted(small_events(0, 300).values[1::3])
    topics.send(name, small_events(300, 300).values, 2)
    catalog_of(lake).create_table(f"{name}.k1", schema)
    pipeline.catch_up()
    assert_rows(lake, f"{name}.k1", range(301, 600, 3))
    assert_accounted(lake, pipeline, [f"{name}.{table}" for table in ("k0", "k1", "rest")], 600)


def test_rejects_wait_while_their_table_is_away(attacked, topics, pipelines, name):
    """Found by torture (seed 7): the rejects table is detached after a while of trouble, and the home's mark goes on.
    Records that no table takes, which only the rejects table is owed, are in it when it is back."""
    topics.create(name, 2)
    pipeline = pipelines(attacked.lake, [events_table(name, match=[{"field": "kind", "regex": "k.*"}])],
                         changes=attacked.changes({"commit": {"detach_after": "2s"}}))
    topics.send(name, with_bad(0, 90), 2)
    pipeline.catch_up()
    run = pipeline.start()
    wait_assigned(run, 2)
    with attacked.catalog.rule(commit_to(pipeline.rejects), "answer", status=503):
        topics.send(name, with_bad(90, 360), 2)
        run.wait_for(lambda status: pipeline.rejects in {one["table"] for one in status["detached"]}, 120,
                     "the rejects table is detached")
        run.stop()
    pipeline.catch_up()
    assert_rows(attacked.lake, f"{name}.events", range(450))
    assert_accounted(attacked.lake, pipeline, [f"{name}.events"], 500)
    assert_rejected(attacked.lake, pipeline,
                    [value for value in with_bad(0, 90) + with_bad(90, 360) if is_broken(value)])


def make_events(lake: firn.Lake, table: str):
    """The table of small_events(), made by somebody else."""
    from pyiceberg import types as t
    from pyiceberg.schema import Schema
    return catalog_of(lake).create_table(table, Schema(
        t.NestedField(1, "id", t.LongType(), required=True), t.NestedField(2, "kind", t.StringType()),
        t.NestedField(3, "note", t.StringType())))


def test_a_replaced_table_loses_no_record(lake, topics, pipelines, name):
    """#18012: the table is dropped and made anew behind Firn's back. Its positions stand still until a person has
    decided; then everything since is there, and what the old table had can be had again."""
    topics.create(name, 2)
    pipeline = pipelines(lake, [events_table(name)], changes={"commit": {"detach_after": "2s"}})
    topics.send(name, small_events(0, 200).values, 2)
    pipeline.catch_up()
    catalog_of(lake).drop_table(f"{name}.events")
    make_events(lake, f"{name}.events")
    topics.send(name, small_events(200, 200).values, 2)
    for _ in range(2):
        pipeline.catch_up(expect=firn.DETACHED)
        assert_rows(lake, f"{name}.events", [])
    shown = pipeline.command("positions", "show", "--json").result()
    detached = shown["home"]["detached"]
    assert {one["table"] for one in detached} == {f"{name}.events"} and all(one["hold"] for one in detached)
    # The person wants all of it: from the start of the log.
    for words in (["resume", "--table", f"{name}.events", "--continue", "--yes"],
                  ["set", "--topic", name, "--offset", "0", "--table", f"{name}.events", "--yes"]):
        run = pipeline.command("positions", *words, "--json")
        assert run.process.popen.returncode == firn.SUCCESS, run.process.tail()
    pipeline.catch_up()
    assert_rows(lake, f"{name}.events", range(400))


def test_a_kafka_cluster_made_anew_under_the_same_names(lake, topics, other_topics, pipelines, name):
    """tab#308: its offsets begin at 0 again, far below those of the old cluster."""
    topics.create(name, 2)
    topics.send(name, small_events(0, 1000).values, 2)
    pipeline = pipelines(lake, [events_table(name)])
    pipeline.catch_up()
    other_topics.create(name, 2)
    other_topics.send(name, small_events(1000, 100).values, 2)
    pipeline.change({"kafka": {"bootstrap.servers": other_topics.bootstrap}}).catch_up()
    assert_rows(lake, f"{name}.events", range(1100))
    other_topics.send(name, small_events(1100, 100).values, 2)
    assert pipeline.catch_up()["rows_committed"] == 100
    assert_rows(lake, f"{name}.events", range(1200))


def test_a_quiet_table_costs_nothing_and_loses_nothing(attacked, topics, pipelines, name):
    """One row in many goes to a quiet table. Then the group is deleted, and the log cut off right below the home's
    mark, far above what the quiet table has seen: no loss, no stop, nothing read again but what came after the
    checkpoint."""
    topics.create(name, 2)
    tables = [events_table(name, "quiet", match=[{"field": "note", "equals": "note 10"},
                                                 {"field": "note", "equals": "note 5010"},
                                                 {"field": "note", "equals": "note 6010"}]),
              events_table(name, "busy")]
    pipeline = pipelines(attacked.lake, tables, changes=attacked.changes())
    topics.send(name, small_events(0, 3000).values, 2)
    pipeline.catch_up()
    topics.send(name, small_events(3000, 2000).values, 2)
    pipeline.catch_up()
    before = load(attacked.lake, f"{name}.quiet").metadata_location
    forget_below(topics, name, {0: 2500, 1: 2500})
    topics.send(name, small_events(5000, 1000).values, 2)
    result = pipeline.catch_up()
    assert (result["records"], result["skipped"], result["rows_committed"]) == (1000, 0, 1000)
    assert load(attacked.lake, f"{name}.quiet").metadata_location != before

    # The same, but killed: between the busy table's commit and the checkpoint. The quiet row of it is not lost.
    run = pipeline.start()
    wait_assigned(run, 2)
    with attacked.catalog.hold_before(moves_to(pipeline.home, 6000)) as gate:
        topics.send(name, small_events(6000, 1000).values, 2)
        gate.wait()
        run.kill()
        gate.drop()
    forget_below(topics, name, {0: 3000, 1: 3000})
    topics.send(name, small_events(7000, 1000).values, 2)
    result = pipeline.catch_up()
    assert result["records"] == 2000, "more was read again than what came after the checkpoint"
    assert_rows(attacked.lake, f"{name}.quiet", [10, 5010, 6010])
    assert_rows(attacked.lake, f"{name}.busy", [number for number in range(8000) if number not in (10, 5010, 6010)])


def forget_below(topics: Topics, topic: str, offsets: dict):
    """The group's offsets are gone, and so is the log below these offsets."""
    group = f"firn-{topic}"
    wait_until(lambda: not members_of(topics, group), 60, "the group is empty", 0.2)
    topics.admin.delete_consumer_groups([group])[group].result(30)
    asked = [TopicPartition(topic, partition, offset) for partition, offset in offsets.items()]
    for future in topics.admin.delete_records(asked).values():
        future.result(30)
