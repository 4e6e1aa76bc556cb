"""Records that cannot become rows, and sources that are not what they seem: nothing lost, nothing twice, all told."""

import pytest

import firn
from invariants import assert_accounted, dropped, reject_rows, row_count
from produce import SMALL_COLUMNS, small_events
from readers import assert_once, assert_rows, exists, ids, load

BAD = [
    (b"not json at all", "malformed_json"),
    (b'{"id": 1', "malformed_json"),
    (b'{"id": 1} {"id": 2}', "malformed_json"),
    (b'{"id": 01}', "malformed_json"),
    (b'{"id": 1, "note": "\xff\xfe"}', "invalid_utf8"),
    (b'[{"id": 1}]', "not_an_object"),
    (b'"text"', "not_an_object"),
    (b'{"id": 1, "note": ' + b"[" * 80 + b"]" * 80 + b"}", "too_deep"),
    (b'{"id": 1, "note": "' + b"x" * 70_000 + b'"}', "too_large"),
    (b'{"id": "seven"}', "wrong_type"),
    (b'{"id": {"a": 1}}', "wrong_type"),
    (b'{"id": 9223372036854775808}', "out_of_range"),
    (b'{"id": 1.5}', "inexact_number"),
    (b'{"kind": "k"}', "missing_required"),
    (b'{"id": null}', "null_required"),
    (b"", "empty_value"),
    (None, "tombstone"),
]


def events_table(name: str, **more) -> dict:
    return {"name": f"{name}.events", "columns": SMALL_COLUMNS, **more}


def test_each_kind_of_bad_record_is_kept_with_its_bytes_place_and_code(lake, topics, pipelines, name):
    topics.create(name, 1)
    good = small_events(0, len(BAD) * 10).values
    with topics.producer() as producer:
        sent = []
        for number, (value, _) in enumerate(BAD):
            for one in good[number * 10:number * 10 + 10]:
                producer.send(name, one, 0)
                sent.append(one)
            producer.send(name, value, 0, key=b"key\x00%d" % number, headers=[("h", b"1"), ("h", b"2"), ("n", None)],
                          timestamp_ms=1_700_000_000_000 + number)
            sent.append(value)
    pipeline = pipelines(lake, [events_table(name)], changes={"decode": {"record_bytes_max": "64KiB"}})
    result = pipeline.catch_up()
    assert (result["rows_committed"], result["rejects_committed"]) == (len(good), len(BAD))
    assert_once(lake, f"{name}.events", 0, len(good))
    assert_accounted(lake, pipeline, [f"{name}.events"], len(sent))
    rejects = sorted(reject_rows(lake, pipeline), key=lambda one: one["offset"])
    assert [one["code"] for one in rejects] == [code for _, code in BAD]
    for number, (one, (value, _)) in enumerate(zip(rejects, BAD)):
        assert one["value"] == value, one["code"]
        assert one["offset"] == number * 11 + 10 and one["partition"] == 0 and one["topic"] == name
        assert one["key"] == b"key\x00%d" % number
        assert [(header["name"], header["value"]) for header in one["headers"]] == [("h", b"1"), ("h", b"2"),
                                                                                     ("n", None)]
        assert one["timestamp"].timestamp() * 1000 == 1_700_000_000_000 + number
        assert one["intended_table"] == f"{name}.events"
        assert one["message"]


def test_policy_drop_counts_and_policy_stop_stops(lake, topics, pipelines, name):
    topics.create(name, 1)
    values = small_events(0, 50).values + [b"bad", b'{"id": 1.5}', None] + small_events(50, 50).values
    topics.send(name, values, 1)

    stopping = pipelines(lake, [events_table(name)], changes={"rejects": {"policy": "stop"}})
    stopping.catch_up(expect=firn.FAILURE)
    assert "malformed" in stopping.output().lower()

    dropping = pipelines(lake, [events_table(name)], changes={"rejects": {"policy": "drop"}})
    result = dropping.catch_up()
    assert result["dropped"] == 3
    assert_once(lake, f"{name}.events", 0, 100)
    assert dropped(lake, dropping) == 3
    codes = {}
    for snapshot in load(lake, dropping.home).metadata.snapshots:
        for key, value in snapshot.summary.additional_properties.items():
            if key.startswith("firn.dropped-records."):
                codes[key.removeprefix("firn.dropped-records.")] = int(value)
    assert codes == {"malformed_json": 1, "inexact_number": 1, "tombstone": 1}
    assert not exists(lake, dropping.rejects)


def test_only_bad_records(lake, topics, pipelines, name):
    topics.create(name, 2)
    topics.send(name, [b"bad %d" % number for number in range(500)], 2)
    pipeline = pipelines(lake, [events_table(name)])
    assert pipeline.catch_up()["rejects_committed"] == 500
    assert_accounted(lake, pipeline, [f"{name}.events"], 500)


def test_unknown_fields_are_counted_kept_or_rejected(lake, topics, pipelines, name):
    topics.create(name, 1)
    topics.send(name, [b'{"id": 0, "x": {"y": [1, 2]}, "z": null}', b'{"id": 1}'], 1)
    kept = pipelines(lake, [events_table(f"{name}_kept")], pipeline=f"{name}_kept",
                     changes={"decode": {"unknown_fields": "keep", "unknown_column": "rest"}})
    kept.catch_up()
    rows = load(lake, f"{name}_kept.events").scan().to_arrow().sort_by("id").to_pylist()
    assert rows[0]["rest"].replace(" ", "") == '{"x":{"y":[1,2]},"z":null}'
    assert rows[1]["rest"] in (None, "{}")
    strict = pipelines(lake, [events_table(f"{name}_strict")], pipeline=f"{name}_strict",
                       changes={"decode": {"unknown_fields": "reject"}})
    strict.catch_up()
    assert [one["code"] for one in reject_rows(lake, strict)] == ["unknown_field"]
    assert ids(lake, f"{name}_strict.events") == [1]


def test_records_without_a_route_and_tables_by_template(lake, topics, pipelines, name):
    topics.create(name, 1)
    values = [b'{"id": 0, "kind": "Alpha-1"}', b'{"id": 1, "kind": "beta"}', b'{"id": 2}', b'{"id": 3, "kind": "beta"}']
    topics.send(name, values, 1)
    pipeline = pipelines(lake, [{"name": f"{name}.of_{{field:kind}}", "columns": SMALL_COLUMNS,
                                 "match": [{"field": "kind", "regex": ".*"}]}],
                         changes={"home": f"{name}.home", "rejects": {"table": f"{name}.rejects"}})
    pipeline.catch_up()
    assert ids(lake, f"{name}.of_alpha_1") == [0]
    assert ids(lake, f"{name}.of_beta") == [1, 3]
    reject, = load(lake, f"{name}.rejects").scan().to_arrow().to_pylist()
    assert (reject["code"], reject["offset"], reject["intended_table"]) == ("no_route", 2, None)


def test_service_columns_say_where_a_row_came_from(lake, topics, pipelines, name):
    topics.create(name, 2)
    with topics.producer() as producer:
        for number in range(10):
            producer.send(name, b'{"id": %d}' % number, number % 2, key=b"k%d" % number,
                          headers=[("a", b"\x00\xff"), ("a", None)], timestamp_ms=1_700_000_000_123)
    pipeline = pipelines(lake, [events_table(name)], changes={"decode": {"kafka_column": "true", "raw_column": "_raw"}})
    pipeline.catch_up()
    rows = load(lake, f"{name}.events").scan().to_arrow().sort_by("id").to_pylist()
    for number, row in enumerate(rows):
        source = row["_kafka"]
        assert (source["topic"], source["partition"], source["offset"]) == (name, number % 2, number // 2)
        assert source["timestamp"].timestamp() == 1_700_000_000.123
        assert source["key"] == b"k%d" % number
        assert [tuple(header.values()) for header in source["headers"]] == [("a", b"\x00\xff"), ("a", None)]
        raw = row["_raw"]
        assert (raw.encode() if isinstance(raw, str) else raw) == b'{"id": %d}' % number


def test_aborted_transactions_are_not_read(lake, topics, pipelines, name):
    topics.create(name, 2)
    committed = []

    def transaction(producer, first: int, count: int, commit: bool):
        producer.inner.begin_transaction()
        for number, value in enumerate(small_events(first, count).values, first):
            producer.send(name, value, number % 2)
        producer.flush()
        if commit:
            producer.inner.commit_transaction(30)
            committed.extend(range(first, first + count))
        else:
            producer.inner.abort_transaction(30)

    producer = topics.producer(**{"transactional.id": name})
    producer.inner.init_transactions(30)
    transaction(producer, 0, 100, True)
    transaction(producer, 100, 100, False)
    transaction(producer, 200, 101, True)
    transaction(producer, 301, 1, False)  # the topic ends in aborted data and markers
    pipeline = pipelines(lake, [events_table(name)])
    pipeline.catch_up()
    assert_rows(lake, f"{name}.events", committed)
    # An open transaction holds back what stands behind it, and no more than that.
    producer.inner.begin_transaction()
    producer.send(name, small_events(400, 1).values[0], 0)
    producer.flush()
    topics.send(name, small_events(500, 2).values, 1)  # behind it, partition 0
    run = pipeline.start()
    run.wait_for(lambda status: status["ready"] and status["lag_records"] == 0, 60, "it has read what may be read")
    assert_rows(lake, f"{name}.events", committed)
    producer.inner.commit_transaction(30)
    run.wait_for(lambda status: status["rows_committed"] == 3, 60, "the rows are there after the transaction's end")
    run.stop()
    assert_rows(lake, f"{name}.events", committed + [400, 500, 501])


def test_new_partitions_of_a_topic_are_read_from_their_start(lake, topics, pipelines, name):
    topics.create(name, 1)
    topics.send(name, small_events(0, 100).values, 1)
    changes = {"kafka": {"topic.metadata.refresh.interval.ms": 1000, "metadata.max.age.ms": 3000}}
    pipeline = pipelines(lake, [events_table(name)], changes=changes)
    run = pipeline.start()
    run.wait_for(lambda status: status["rows_committed"] == 100, 60, "the first partition is read")
    topics.add_partitions(name, 4)
    topics.send(name, small_events(100, 400).values, 4, start=100)
    run.wait_for(lambda status: status["rows_committed"] == 500, 90, "the new partitions are read")
    assert run.stop() == 0
    topics.add_partitions(name, 5)
    topics.send(name, small_events(500, 50).values, 5, start=500)
    pipeline.catch_up()
    assert_once(lake, f"{name}.events", 0, 550)


@pytest.mark.parametrize("while_running", [pytest.param(True, marks=pytest.mark.slow), False])
def test_a_topic_that_was_deleted_and_made_again_is_another_topic(lake, topics, pipelines, name, while_running):
    topics.create(name, 2)
    topics.send(name, small_events(0, 200).values, 2)
    changes = {"kafka": {"topic.metadata.refresh.interval.ms": 1000, "metadata.max.age.ms": 3000}}
    pipeline = pipelines(lake, [events_table(name)], changes=changes)
    run = None
    if while_running:
        run = pipeline.start()
        run.wait_for(lambda status: status["rows_committed"] == 200, 60, "the old topic is read")
    else:
        pipeline.catch_up()
    topics.delete(name)
    topics.create(name, 2)
    topics.send(name, small_events(200, 50).values, 2, start=200)
    if run:
        run.wait_for(lambda status: status["rows_committed"] == 250 or not status["ready"], 90,
                     "the running worker has noticed the new topic")
        run.stop()
    pipeline.catch_up()
    assert_once(lake, f"{name}.events", 0, 250)


def test_several_topics_by_pattern_and_a_new_one(lake, topics, pipelines, name):
    for number in range(2):
        topics.create(f"{name}.{number}", 2)
        topics.send(f"{name}.{number}", small_events(number * 100, 100).values, 2)
    topics.create(f"other.{name}", 1)
    topics.send(f"other.{name}", small_events(9000, 10).values, 1)
    pipeline = pipelines(lake, [{"name": f"{name}.of_{{topic}}", "columns": SMALL_COLUMNS}], topic=[],
                         changes={"source": {"topics": None, "topics_regex": f"^{name}\\..*"},
                                  "home": f"{name}.home", "rejects": {"table": f"{name}.rejects"},
                                  "kafka": {"topic.metadata.refresh.interval.ms": 1000}})
    pipeline.catch_up()
    topics.create(f"{name}.2", 1)
    topics.send(f"{name}.2", small_events(200, 100).values, 1)
    run = pipeline.start()
    run.wait_for(lambda status: status["rows_committed"] == 100, 60, "the new topic is read")
    run.stop()
    for number in range(3):
        table = f"{name}.of_{name}_{number}"
        assert row_count(lake, table) == 100
        assert_once(lake, table, number * 100, 100)
