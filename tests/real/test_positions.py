"""`firn positions`: shown as they stand in the tables; set, resumed and rebuilt by hand."""

import base64
import json
import pathlib
import uuid

import pytest
from pyiceberg.expressions import GreaterThanOrEqual

import firn
from produce import SMALL_COLUMNS, small_events
from readers import assert_once, assert_rows, catalog_of, load


def events_table(name: str) -> dict:
    return {"name": f"{name}.events", "columns": SMALL_COLUMNS}


def positions(pipeline: firn.Pipeline, *words, expect: int = firn.SUCCESS) -> dict:
    run = pipeline.command("positions", *words, "--json")
    assert run.process.popen.returncode == expect, run.process.tail()
    return run.result()


def offsets(marks: list) -> dict:
    return {mark["partition"]: mark["offset"] for mark in marks}


def test_show_is_what_the_properties_hold(lake, topics, pipelines, name):
    topics.create(name, 2)
    pipeline = pipelines(lake, [events_table(name)])
    missing = pipeline.command("positions", "show", "--json")
    assert missing.process.popen.returncode == firn.FAILURE and "catalog-local.db" in missing.log
    topics.send(name, small_events(0, 101).values, 2)
    pipeline.catch_up()
    shown = positions(pipeline, "show")
    assert offsets(shown["home"]["positions"]) == {0: 51, 1: 50}
    table, = [one for one in shown["tables"] if one["table"] == f"{name}.events"]
    assert table["listed"] and not table["problem"] and offsets(table["positions"]) == {0: 51, 1: 50}

    loaded = load(lake, f"{name}.events")
    value = loaded.properties[f"firn.positions.{name}"]
    document = json.loads(value)
    assert document["v"] == 1 and document["min_v"] == 1 and document["table"] == f"{name}.events"
    assert document["table_uuid"] == str(loaded.metadata.table_uuid)
    assert document["snapshot_id"] == str(loaded.current_snapshot().snapshot_id)
    assert document["sequence_number"] == loaded.current_snapshot().sequence_number
    cluster, = document["clusters"].values()
    topic, = cluster.values()
    assert topic["topic"] == name and {int(p): mark[0] for p, mark in topic["partitions"].items()} == {0: 51, 1: 50}
    assert " " not in value
    # The same value stands in the header of that snapshot's manifest list.
    with loaded.io.new_input(loaded.current_snapshot().manifest_list).open() as stream:
        assert value.encode() in stream.read()
    assert loaded.current_snapshot().summary.additional_properties["firn.pipeline"] == name


def test_set_forward_skips_and_without_yes_changes_nothing(lake, topics, pipelines, name):
    topics.create(name, 1)
    topics.send(name, small_events(0, 100).values, 1)
    pipeline = pipelines(lake, [events_table(name)])
    pipeline.catch_up()
    topics.send(name, small_events(100, 100).values, 1)
    plan = positions(pipeline, "set", "--topic", name, "--offset", "150", "--tables")
    assert not plan["done"] and plan["changes"]
    assert offsets(positions(pipeline, "show")["home"]["positions"]) == {0: 100}
    assert positions(pipeline, "set", "--topic", name, "--offset", "150", "--tables", "--yes")["done"]
    pipeline.catch_up()
    assert_rows(lake, f"{name}.events", [*range(100), *range(150, 200)])


def test_set_backward_with_tables_reads_again_and_without_skips(lake, topics, pipelines, name):
    topics.create(name, 1)
    topics.send(name, small_events(0, 100).values, 1)
    pipeline = pipelines(lake, [events_table(name)])
    pipeline.catch_up()
    positions(pipeline, "set", "--topic", name, "--offset", "40", "--yes")
    pipeline.catch_up()
    assert_once(lake, f"{name}.events", 0, 100)
    # A person removes rows and has them read again.
    load(lake, f"{name}.events").delete(GreaterThanOrEqual("id", 40))
    positions(pipeline, "set", "--topic", name, "--offset", "40", "--tables", "--yes")
    pipeline.catch_up()
    assert_once(lake, f"{name}.events", 0, 100)


def test_a_lost_home_stops_the_pipeline_until_it_is_rebuilt(lake, topics, pipelines, name):
    topics.create(name, 2)
    topics.send(name, small_events(0, 100).values, 2)
    pipeline = pipelines(lake, [events_table(name)])
    pipeline.catch_up()
    catalog_of(lake).drop_table(pipeline.home)
    topics.send(name, small_events(100, 100).values, 2)
    pipeline.catch_up(expect=firn.FAILURE)
    assert "positions rebuild" in pipeline.output()
    assert_once(lake, f"{name}.events", 0, 100)
    positions(pipeline, "rebuild", "--yes")
    pipeline.catch_up()
    assert_once(lake, f"{name}.events", 0, 200)


def test_a_rolled_back_table_is_held_and_resumed(lake, topics, pipelines, name):
    """Somebody sets the table back to an older snapshot: Firn waits for a person's word, others see why."""
    topics.create(name, 1)
    pipeline = pipelines(lake, [events_table(name)])
    for start in (0, 100):
        topics.send(name, small_events(start, 100).values, 1)
        pipeline.catch_up()
    table = load(lake, f"{name}.events")
    with_rows = [one for one in table.metadata.snapshots
                 if one.summary.additional_properties.get("total-records") == "100"]
    table.manage_snapshots().rollback_to_snapshot(with_rows[-1].snapshot_id).commit()
    topics.send(name, small_events(200, 100).values, 1)
    result = pipeline.catch_up(expect=firn.DETACHED)
    assert [one["table"] for one in result["detached"]] == [f"{name}.events"]
    detached, = positions(pipeline, "show")["home"]["detached"]
    assert detached["table"] == f"{name}.events" and detached["hold"]
    positions(pipeline, "resume", "--table", f"{name}.events", "--rewind", "--yes")
    pipeline.catch_up()
    assert_once(lake, f"{name}.events", 0, 300)


def test_a_dropped_and_remade_table_is_not_attached_afresh(lake, topics, pipelines, name):
    topics.create(name, 1)
    topics.send(name, small_events(0, 100).values, 1)
    pipeline = pipelines(lake, [events_table(name)], changes={"commit": {"detach_after": "2s"}})
    pipeline.catch_up()
    catalog = catalog_of(lake)
    schema = load(lake, f"{name}.events").schema()
    catalog.drop_table(f"{name}.events")
    catalog.create_table(f"{name}.events", schema)
    topics.send(name, small_events(100, 100).values, 1)
    pipeline.catch_up(expect=firn.DETACHED)
    assert_rows(lake, f"{name}.events", [])
    positions(pipeline, "resume", "--table", f"{name}.events", "--continue", "--yes")
    # Its old rows are gone and are not read again; those that came while it was held are its own.
    pipeline.catch_up()
    topics.send(name, small_events(200, 100).values, 1)
    pipeline.catch_up()
    assert_rows(lake, f"{name}.events", range(100, 300))


def test_two_pipelines_of_one_topic_need_a_word(lake, topics, pipelines, name):
    topics.create(name, 1)
    topics.send(name, small_events(0, 50).values, 1)
    pipelines(lake, [events_table(name)]).catch_up()
    second = pipelines(lake, [events_table(name)], pipeline=f"{name}_2")
    second.catch_up(expect=firn.FAILURE)
    assert_once(lake, f"{name}.events", 0, 50)
    second.change({"allow_shared_topic": True})
    second.catch_up()
    assert_rows(lake, f"{name}.events", [*range(50), *range(50)])


def test_move_to_a_mirror_on_another_cluster(lake, topics, other_topics, pipelines, name, work):
    """Its offsets are others: the old log has transaction markers, the mirror has none. Each record is there once, and
    the mirror is read from where the old log was left."""
    topics.create(name, 2)
    with topics.producer(**{"transactional.id": name}) as producer:
        producer.inner.init_transactions(30)
        producer.inner.begin_transaction()
        for number, value in enumerate(small_events(0, 100).values):
            producer.send(name, value, number % 2)
        producer.inner.commit_transaction(30)
    topics.send(name, small_events(100, 100).values, 2)
    pipeline = pipelines(lake, [events_table(name)])
    pipeline.catch_up()
    before = positions(pipeline, "show")
    assert offsets(before["home"]["positions"]) == {0: 101, 1: 101}
    other_topics.create(name, 2)
    other_topics.send(name, small_events(0, 300).values, 2)

    old_cluster, old_topic_id = topics.identity(name)
    mark = before["home"]["positions"][0]
    assert (mark["cluster_id"], mark["topic_id"]) == (old_cluster, old_topic_id)
    cluster, topic_id = other_topics.identity(name)
    pairs = work / f"{name}.pairs"
    as_kafka_prints_it = base64.urlsafe_b64encode(uuid.UUID(topic_id).bytes).decode().rstrip("=")
    words = ("move", "--topic", name, "--from-cluster", old_cluster, "--cluster-id", cluster, "--topic-id",
             as_kafka_prints_it, "--offsets", str(pairs))
    pairs.write_text("0 101 100\n1 101 100\n")
    for wrong in (name, as_kafka_prints_it[1:], f"name:{name}"):
        run = pipeline.command("positions", *(wrong if one == as_kafka_prints_it else one for one in words), "--yes")
        assert run.process.popen.returncode not in (firn.SUCCESS, None), f"{wrong} names no topic"
    assert positions(pipeline, "show") == before
    pairs.write_text("0 101 100\n")
    run = pipeline.command("positions", *words, "--yes", "--json")
    assert run.process.popen.returncode not in (firn.SUCCESS, None), "an offset of partition 1 is missing"
    pairs.write_text("0 101 100\n1 101 100\n")
    assert not positions(pipeline, *words)["done"]
    assert positions(pipeline, "show") == before, "a plan changes nothing"
    assert positions(pipeline, *words, "--yes")["done"]
    assert {mark["topic_id"] for mark in positions(pipeline, "show")["home"]["positions"]} == {old_topic_id, topic_id}

    pipeline.change({"kafka": {"bootstrap.servers": other_topics.bootstrap}})
    result = pipeline.catch_up()
    assert (result["records"], result["rows_committed"]) == (100, 100), "the mirror is read from its copy of the end"
    assert_once(lake, f"{name}.events", 0, 300)
    assert other_topics.committed(f"firn-{name}", name) == other_topics.ends(name)


def registered(lake, table: str, copy: str):
    """By register_table, from the table's own metadata."""
    catalog_of(lake).register_table(copy, load(lake, table).metadata_location)


def copied(lake, table: str, copy: str):
    """The metadata file is copied, with a folder and a uuid of its own: as backup tools do."""
    document = json.loads(local(load(lake, table).metadata_location).read_text())
    document["location"] = document["location"].rsplit("/", 1)[0] + "/copy"
    document["table-uuid"] = str(uuid.uuid4())
    folder = local(document["location"]) / "metadata"
    folder.mkdir(parents=True)
    (folder / "00000-copy.metadata.json").write_text(json.dumps(document))
    catalog_of(lake).register_table(copy, f"file://{folder}/00000-copy.metadata.json")


def local(location: str) -> pathlib.Path:
    return pathlib.Path("/" + location.removeprefix("file:").lstrip("/"))


@pytest.mark.parametrize("clone", [registered, copied], ids=lambda clone: clone.__name__)
def test_a_clone_is_never_taken_for_a_new_table(lake, topics, pipelines, name, clone):
    """A copy has the positions of the table that it was made from. The table itself is not concerned; when a rule leads
    to the copy the pipeline stops before it commits anything, whatever the policy, and goes on when the rule is gone."""
    topics.create(name, 2)
    table, copy, others = (f"{name}.{one}" for one in ("events", "copy", "others"))
    tables = [{"name": table, "columns": SMALL_COLUMNS, "match": [{"field": "kind", "equals": "k0"}]},
              {"name": others, "columns": SMALL_COLUMNS}]
    pipeline = pipelines(lake, tables)
    topics.send(name, small_events(0, 300).values, 2)
    pipeline.catch_up()
    clone(lake, table, copy)
    topics.send(name, small_events(300, 300).values, 2)
    assert not pipeline.catch_up()["detached"]
    to_copy = {"name": copy, "columns": SMALL_COLUMNS, "match": [{"field": "kind", "equals": "k1"}]}
    topics.send(name, small_events(600, 300).values, 2)
    for policy in ("hold", "rewind", "continue"):
        pipeline.change({"history": {"policy": policy}, "tables": [tables[0], to_copy, tables[1]]})
        error = pipeline.catch_up(expect=firn.FAILURE)["error"]
        assert error["code"] == "invalid_input" and copy in error["message"]
        assert_rows(lake, copy, range(0, 300, 3))
        assert_rows(lake, table, range(0, 600, 3))
        assert_rows(lake, others, [number for number in range(600) if number % 3])
    pipeline.change({"tables": tables})
    assert pipeline.catch_up()["rejects_committed"] == 0
    assert_rows(lake, copy, range(0, 300, 3))
    assert_rows(lake, table, range(0, 900, 3))
    assert_rows(lake, others, [number for number in range(900) if number % 3])
