"""`firn maintain`: what it takes away, what it never takes, what it refuses; and the pipeline goes on exactly."""

import datetime
import os
import pathlib
import time
import urllib.parse

import pytest
from pyiceberg.schema import Schema
from pyiceberg.types import LongType, NestedField

import firn
from processes import wait_until
from produce import SMALL_COLUMNS, small_events
from readers import assert_once, catalog_of, ids, load

HOUR = 3600


def events_table(name: str, **more) -> dict:
    return {"name": f"{name}.events", "columns": SMALL_COLUMNS, **more}


def maintain(pipeline: firn.Pipeline, table: str, *words, expect: int = firn.SUCCESS) -> dict:
    run = pipeline.command("maintain", "--table", table, "--json", *words)
    assert run.process.popen.returncode == expect, run.process.tail()
    return run.result()


def compact(pipeline: firn.Pipeline, table: str):
    run = pipeline.command("compact", "--table", table, "--json")
    assert run.process.popen.returncode == firn.SUCCESS and run.result()["groups"]["done"] == 1, run.process.tail()


def commits(pipeline: firn.Pipeline, topics, name: str, counts: list, first: int = 0) -> int:
    for count in counts:
        topics.send(name, small_events(first, count).values, 1)
        first += count
        pipeline.catch_up()
    return first


def folder_of(table) -> pathlib.Path:
    return pathlib.Path(urllib.parse.urlparse(table.location()).path)


def files_below(table) -> set:
    return {str(path) for path in folder_of(table).rglob("*") if path.is_file()}


def referenced(table) -> set:
    """Paths that any snapshot of the table reaches, by PyIceberg's eyes."""
    found = {table.metadata_location, *(entry.metadata_file for entry in table.metadata.metadata_log)}
    for snapshot in table.metadata.snapshots:
        found.add(snapshot.manifest_list)
        for manifest in snapshot.manifests(table.io):
            found.add(manifest.manifest_path)
            found |= {entry.data_file.file_path for entry in manifest.fetch_manifest_entry(table.io)}
    return {urllib.parse.urlparse(one).path for one in found}


def plant(path: pathlib.Path, age_s: float = 4 * 24 * HOUR, text: str = "nobody's"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    then = time.time() - age_s
    os.utime(path, (then, then))


def make_old(table):
    """Everything looks four days old, as to a listing: only being referenced protects a file then."""
    then = time.time() - 4 * 24 * HOUR
    for path in files_below(table):
        os.utime(path, (then, then))


def assert_read_by_all(readers, lake, table: str, count: int):
    for reader in readers(lake):
        assert sorted(reader.read(table, ["id"])["id"]) == list(range(count)), reader.name


def test_orphans_are_found_and_referenced_files_never(lake, topics, pipelines, readers, name):
    topics.create(name, 1)
    table_name = f"{name}.events"
    pipeline = pipelines(lake, [events_table(name)])
    sent = commits(pipeline, topics, name, [50, 50, 50])
    compact(pipeline, table_name)
    table = load(lake, table_name)
    make_old(table)
    kept = referenced(table)
    folder = folder_of(table)
    planted = [folder / "data/crashed.parquet", folder / "metadata/lost-m0.avro", folder / "data/firn-00ff.tmp"]
    for path in planted:
        plant(path)
    # Metadata that nobody can read may be another table's.
    unknown = folder / "metadata/00099-lost.metadata.json"
    plant(unknown)
    refused = maintain(pipeline, table_name, "--orphans", "--apply", expect=firn.FAILURE)
    assert refused["error"]["code"] == "unsupported" and planted[0].exists()
    unknown.unlink()
    plant(folder / "data/young.parquet", age_s=HOUR)
    plant(folder / "_other/checkpoint")
    before = files_below(table)
    dry = maintain(pipeline, table_name, "--orphans")
    assert dry["applied"] is False and dry["orphans"]["orphans"]["files"] == len(planted)
    found = {urllib.parse.urlparse(one).path for one in dry["orphans"]["locations"]}
    assert found == {str(path) for path in planted} and files_below(table) == before
    assert dry["orphans"]["young"]["files"] == 1 and dry["orphans"]["hidden"]["files"] == 1
    done = maintain(pipeline, table_name, "--orphans", "--apply")
    assert done["orphans"]["deleted"] == {"files": 3, "bytes": 3 * len("nobody's"), "failed": 0}
    now = load(lake, table_name)
    assert before - files_below(now) == {str(path) for path in planted}
    assert kept <= files_below(now) and referenced(now) <= files_below(now)
    assert_read_by_all(readers, lake, table_name, sent)
    sent = commits(pipeline, topics, name, [30], sent)
    assert_once(lake, table_name, 0, sent)


def test_what_is_not_safe_is_refused(lake, topics, pipelines, name):
    topics.create(name, 1)
    table_name = f"{name}.events"
    pipeline = pipelines(lake, [events_table(name)])
    commits(pipeline, topics, name, [20])
    table = load(lake, table_name)
    orphan = folder_of(table) / "data/crashed.parquet"
    plant(orphan)

    def refused(*words, code="unsupported", expect=firn.FAILURE):
        for more in ((), ("--apply",)):
            document = maintain(pipeline, table_name, *words, *more, expect=expect)
            assert document["error"]["code"] == code and document["error"]["message"], document
        assert orphan.exists()

    with table.transaction() as change:
        change.set_properties({"gc.enabled": "false"})
    refused("--orphans")
    refused("--expire")
    with load(lake, table_name).transaction() as change:
        change.set_properties({"gc.enabled": "true"})
    inner = catalog_of(lake).create_table(f"{name}.inner", Schema(NestedField(1, "id", LongType())),
                                          location=f"{table.location()}/inner")
    refused("--orphans")
    # The catalog forgets it; its metadata are still there.
    catalog_of(lake).drop_table(inner.name())
    refused("--orphans")
    refused("--orphans", "--older-than", "59h", code="invalid_input", expect=firn.USAGE)
    refused("--retain", "id=90d", code="invalid_input", expect=firn.USAGE)
    for path in (folder_of(table) / "inner").rglob("*.metadata.json"):
        path.unlink()
    assert maintain(pipeline, table_name, "--orphans", "--apply")["orphans"]["deleted"]["files"] == 1


def test_expiry_frees_what_only_old_snapshots_reach_and_a_tag_keeps_its_own(lake, topics, pipelines, readers, name):
    topics.create(name, 1)
    table_name = f"{name}.events"
    pipeline = pipelines(lake, [events_table(name)])
    sent = commits(pipeline, topics, name, [40, 40])
    table = load(lake, table_name)
    tagged = table.current_snapshot().snapshot_id
    table.manage_snapshots().create_tag(tagged, "audit").commit()
    sent = commits(pipeline, topics, name, [40, 40], sent)
    compact(pipeline, table_name)
    sent = commits(pipeline, topics, name, [40], sent)
    # A day old or younger: nothing to do.
    assert maintain(pipeline, table_name, "--expire")["expiry"]["snapshots"] == []
    dry = maintain(pipeline, table_name, "--expire", "--snapshot-age", "0s")["expiry"]
    before = files_below(load(lake, table_name))
    done = maintain(pipeline, table_name, "--expire", "--snapshot-age", "0s", "--apply")["expiry"]
    assert done["snapshots"] == dry["snapshots"] and done["files"] == dry["files"]
    assert done["deleted"]["failed"] == 0 and done["deleted"]["files"] == sum(done["files"].values())
    now = load(lake, table_name)
    assert {one.snapshot_id for one in now.metadata.snapshots} == {tagged, now.current_snapshot().snapshot_id}
    assert before - files_below(now) and referenced(now) <= files_below(now)
    # Of five files, those that the tag has are there, and the two that came after it are not.
    assert done["files"]["data"] == 2
    assert sorted(now.scan(snapshot_id=tagged).to_arrow()["id"].to_pylist()) == list(range(80))
    assert_read_by_all(readers, lake, table_name, sent)
    # The home keeps the snapshot that proves its positions.
    home = maintain(pipeline, pipeline.home, "--expire", "--snapshot-age", "0s", "--apply")["expiry"]
    assert home["snapshots_before"] > len(load(lake, pipeline.home).metadata.snapshots) >= 1
    sent = commits(pipeline, topics, name, [25], sent)
    assert_once(lake, table_name, 0, sent)


def test_old_partitions_leave_and_a_tag_is_a_legal_hold(lake, topics, pipelines, readers, name):
    topics.create(name, 1)
    table_name = f"{name}.events"
    columns = [{"name": "id", "type": "long", "required": True}, {"name": "time", "type": "timestamptz"}]
    pipeline = pipelines(lake, [{"name": table_name, "columns": columns, "partition": ["day(time) as event_day"]}])
    now = datetime.datetime.now(datetime.timezone.utc)

    def send(first: int, days_ago: int, count: int = 10):
        when = (now - datetime.timedelta(days=days_ago)).isoformat()
        topics.send(name, [f'{{"id":{number},"time":"{when}"}}'.encode() for number in range(first, first + count)], 1)

    for number, days_ago in enumerate((0, 1, 40, 41)):
        send(number * 10, days_ago)
    pipeline.catch_up()
    table = load(lake, table_name)
    held = table.current_snapshot().snapshot_id
    table.manage_snapshots().create_tag(held, "case-4711").commit()
    send(40, 40)
    pipeline.catch_up()
    dry = maintain(pipeline, table_name, "--retain", "event_day=30d")["retention"]
    assert (dry["partitions"], dry["files"], dry["rows"]) == (2, 3, 30)
    assert dry["held"]["case-4711"]["files"] == 2 and len(ids(lake, table_name)) == 50
    done = maintain(pipeline, table_name, "--retain", "event_day=30d", "--expire", "--snapshot-age", "0s", "--apply")
    # The pipeline's last snapshot with rows still reaches all of it.
    assert done["retention"]["rows"] == 30 and "data" not in done["expiry"]["files"]
    assert_read_by_all(readers, lake, table_name, 20)
    after = load(lake, table_name)
    assert after.current_snapshot().summary.additional_properties["deleted-records"] == "30"
    # It goes on in order; late rows come in, once.
    send(20, 40)
    send(30, 2)
    pipeline.catch_up()
    assert ids(lake, table_name) == list(range(40))
    expired = maintain(pipeline, table_name, "--expire", "--snapshot-age", "0s", "--apply")["expiry"]
    assert expired["files"]["data"] == 1
    assert len(load(lake, table_name).scan(snapshot_id=held).to_arrow()) == 40


def test_manifests_are_clustered_and_nothing_else_changes(lake, topics, pipelines, readers, name):
    topics.create(name, 1)
    table_name = f"{name}.events"
    pipeline = pipelines(lake, [events_table(name, partition=["kind"],
                                             properties={"commit.manifest-merge.enabled": "false"})])
    sent = commits(pipeline, topics, name, [30, 30, 30])
    before = load(lake, table_name)
    files = {task.file.file_path for task in before.scan().plan_files()}
    done = maintain(pipeline, table_name, "--manifests", "--apply")["manifests"]
    assert done["manifests"] == {"before": 3, "after": 1} and done["entries"] == 9
    now = load(lake, table_name)
    assert len(now.current_snapshot().manifests(now.io)) == 1
    assert {task.file.file_path for task in now.scan().plan_files()} == files
    entries = {one["data_file"]["file_path"]: one for one in now.inspect.entries().to_pylist()}
    for old in before.inspect.entries().to_pylist():
        new = entries[old["data_file"]["file_path"]]
        assert (new["sequence_number"], new["snapshot_id"]) == (old["sequence_number"], old["snapshot_id"])
    assert_read_by_all(readers, lake, table_name, sent)
    sent = commits(pipeline, topics, name, [10], sent)
    assert_once(lake, table_name, 0, sent)


@pytest.mark.parametrize("which", ["rest-local"])
def test_while_a_pipeline_runs(lakes, topics, pipelines, name, which):
    """Everything is cleaned up again and again under a commit every half second."""
    lake = lakes.get(which)
    topics.create(name, 1)
    table_name = f"{name}.events"
    pipeline = pipelines(lake, [events_table(name)], changes={"commit": {"interval": "500ms", "max_age": "1m"}})
    run = pipeline.start()
    sent = 0
    for _ in range(4):
        topics.send(name, small_events(sent, 40).values, 1)
        sent += 40
        run.wait_for(lambda page: page["rows_committed"] >= sent, 60, "they are committed")
        plant(folder_of(load(lake, table_name)) / "data/crashed.parquet", age_s=HOUR)
        topics.send(name, small_events(sent, 10).values, 1)
        sent += 10
        done = maintain(pipeline, table_name, "--expire", "--snapshot-age", "0s", "--manifests", "--orphans",
                        "--older-than", "10m", "--apply")
        assert done["orphans"]["deleted"]["files"] == 1 and done["orphans"]["fenced"]
    run.wait_for(lambda page: page["rows_committed"] >= sent, 60, "the last ones are committed")
    assert not run.status()["detached"]
    assert run.stop() == 0
    assert_once(lake, table_name, 0, sent)
    table = load(lake, table_name)
    assert referenced(table) <= files_below(table) | {table.metadata_location.removeprefix("file:")}


def test_the_loop_does_it_by_itself(lakes, topics, pipelines, name):
    """Short intervals: what only old snapshots reach goes, orphans where they are asked for, in the home too. `firn
    status` says what was freed, and which error stands until it is mended."""
    lake = lakes.get("rest-local")
    topics.create(name, 1)
    table_name = f"{name}.events"
    short = {"history.expire.max-snapshot-age-ms": "1000", "history.expire.min-snapshots-to-keep": "1"}
    pipeline = pipelines(lake, [events_table(name, properties=short)], changes={
        "commit": {"interval": "500ms", "max_age": "5s"}, "compaction": {"interval": "1s"},
        "maintenance": {"expire": {"interval": "1s"}, "orphans": {"interval": "1s", "older_than": "1m"}}})
    sent = commits(pipeline, topics, name, [40, 40, 40])
    planted = [folder_of(load(lake, one)) / "data/crashed.parquet" for one in (table_name, pipeline.home)]
    for path in planted:
        plant(path, age_s=HOUR)
    run = pipeline.start()

    def upkeep(condition, what: str) -> dict:
        def look():
            ask = pipeline.command("status", "--json", "--table", table_name, "--worker", f"127.0.0.1:{run.http_port}")
            document = ask.result()
            assert ask.process.popen.returncode == firn.SUCCESS and document["workers"][0]["reachable"], document
            of_table, = document["tables"]
            return of_table["upkeep"] if condition(of_table["upkeep"]) else None
        return wait_until(look, 60, what, 0.5)

    def errors_of(found) -> dict:
        return {one["task"]: one for one in found["errors"]}

    wait_until(lambda: not any(path.exists() for path in planted), 60, "orphans are gone")
    done = upkeep(lambda found: found and found["maintenance"]["expire"]["freed"].get("snapshots", 0) > 0,
                  "snapshots expire")
    assert done["maintenance"]["orphans"]["freed"] == {"files": 1, "bytes": len("nobody's")} and not done["errors"]
    with load(lake, table_name).transaction() as change:
        change.set_properties({"gc.enabled": "false"})
    standing = upkeep(lambda found: "orphans" in errors_of(found), "the refusal stands there")
    # What was not asked for stands aside without a word.
    assert set(errors_of(standing)) == {"orphans"}
    assert errors_of(standing)["orphans"]["code"] == "unsupported" and errors_of(standing)["orphans"]["remedy"]
    with load(lake, table_name).transaction() as change:
        change.set_properties({"gc.enabled": "true"})
    upkeep(lambda found: not found["errors"], "the error goes when it is mended")
    topics.send(name, small_events(sent, 30).values, 1)
    sent += 30
    run.wait_for(lambda page: page["rows_committed"] >= 30, 60, "new rows are committed")
    assert not run.status()["detached"] and run.stop() == 0
    table = load(lake, table_name)
    assert referenced(table) <= files_below(table) | {urllib.parse.urlparse(table.metadata_location).path}
    sent = commits(pipeline, topics, name, [20], sent)
    assert_once(lake, table_name, 0, sent)


def test_on_s3(lakes, topics, pipelines, name):
    lake = lakes.get("rest-s3")
    topics.create(name, 1)
    table_name = f"{name}.events"
    # Java's first request to a bucket may take long on a busy machine.
    pipeline = pipelines(lake, [events_table(name)], changes={"catalog": {"timeout": "60s"}})
    sent = commits(pipeline, topics, name, [30, 30])
    compact(pipeline, table_name)
    sent = commits(pipeline, topics, name, [30], sent)
    table = load(lake, table_name)
    with table.io.new_output(f"{table.location()}/data/crashed.parquet").create() as stream:
        stream.write(b"nobody's")
    report = maintain(pipeline, table_name, "--orphans")["orphans"]
    # A bucket's times cannot be set back: it is seen, and too young.
    assert report["orphans"]["files"] == 0 and report["young"]["files"] >= 1
    assert report["referenced"]["files"] >= len(referenced(table)) - 1
    done = maintain(pipeline, table_name, "--expire", "--snapshot-age", "0s", "--apply")["expiry"]
    assert done["files"]["data"] == 2 and done["deleted"]["failed"] == 0
    assert_once(lake, table_name, 0, sent)
    sent = commits(pipeline, topics, name, [30], sent)
    assert_once(lake, table_name, 0, sent)
