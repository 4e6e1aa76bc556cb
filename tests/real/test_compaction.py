"""Compaction: files of Firn, PyIceberg, DuckDB and Spark put together, rows that others have deleted left out, and every
reader finds the rows that it found.

Rows are compared by checksums of each column that do not depend on their order. Others write to the table between the
merge and its commit: a proxy before the catalog holds the commit meanwhile.
"""

import signal

import duckdb
import pyarrow.parquet as pq
import pytest
from pyiceberg import types as t
from pyiceberg.schema import Schema
from pyiceberg.table.sorting import NullOrder, SortDirection, SortField, SortOrder
from pyiceberg.transforms import DayTransform, IdentityTransform

import firn
import ocsf
from arrow_rows import append
from fault_proxy import commit_to
from metadata_checks import check_files, check_partitions, live_files
from processes import wait_until
from produce import SMALL_COLUMNS, seeded, small_events
from readers import DuckReader, PyIcebergReader, assert_once, assert_same, catalog_of, load, read_checksums
from row_deletes import delete_equal, delete_positions, live_delete_files
from test_types import config_columns, schema_of
from typed_rows import rows_of

TYPED = ["boolean", "int", "long", "float", "double", "decimal_9", "decimal_18", "decimal_38", "string", "binary",
         "date", "timestamptz", "timestamp", "numbers", "pair", "by_name", "deep"]
SEVERAL = 6
PATIENT = {"catalog": {"timeout": "5m"}}  # a commit that is held stays the same commit, however slow the others are


def events_table(name: str) -> dict:
    return {"name": f"{name}.events", "columns": SMALL_COLUMNS}


def compact(pipeline: firn.Pipeline, table: str, *words, expect: int = firn.SUCCESS) -> dict:
    run = pipeline.command("compact", "--table", table, "--json", *words)
    assert run.process.popen.returncode == expect, run.process.tail()
    return run.result()


def feed(pipeline: firn.Pipeline, topics, name: str, count: int, times: int = SEVERAL, first: int = 0):
    """So many commits, so many small files."""
    for number in range(times):
        topics.send(name, small_events(first + number * count, count).values, 2)
        pipeline.catch_up()


def assert_unchanged(before: dict, table: str, fields):
    for reader, sums in before.items():
        after = read_checksums(reader, table, fields)
        assert after == sums, f"{reader.name} reads {table} differently since (now != before): {after.difference(sums)}"


def sums_of(readers: list, table: str, fields) -> dict:
    return {reader: read_checksums(reader, table, fields) for reader in readers}


def test_files_of_firn(lakes, topics, pipelines, readers, name):
    """Nested columns and partitions; metrics of the new files are true, and Firn goes on with the table."""
    lake = lakes.get("rest-local")
    table = f"{name}.network_activity"
    topics.create(name, 2)
    pipeline = pipelines(lake, [{"name": table, "columns": ocsf.COLUMNS, "partition": ["activity_id"]}])
    rows = []
    for number in range(3):
        batch = ocsf.events(200, f"{name} {number}")
        topics.send(name, batch.values, 2)
        rows += batch.rows
        pipeline.catch_up()
    report = compact(pipeline, table)
    assert report["groups"] == {"planned": 6, "done": 6, "dropped": {}} and report["rows"] == len(rows)
    assert report["chunks_decoded"] == {}
    loaded = load(lake, table)
    assert len(live_files(loaded)) == 6 and loaded.current_snapshot().summary.operation.value == "replace"
    check_files(loaded, live_files(loaded))
    check_partitions(loaded, rows)
    for reader in readers(lake):
        assert_same(reader, table, ocsf.SCHEMA.fields, rows)
    more = ocsf.events(150, f"{name} more")
    topics.send(name, more.values, 2)
    assert pipeline.catch_up()["rows_committed"] == 150
    assert_same(PyIcebergReader(lake), table, ocsf.SCHEMA.fields, rows + more.rows)


@pytest.mark.parametrize("codec", ["zstd", "snappy"])
def test_files_of_pyiceberg(lake, pipelines, readers, name, codec):
    """Every type, nulls and nesting, as Arrow's writer encodes them; a column that came later, one that became wider."""
    catalog = catalog_of(lake)
    catalog.create_namespace_if_not_exists(name)
    schema = schema_of(TYPED)
    table = catalog.create_table(f"{name}.all", schema, properties={"write.parquet.compression-codec": codec})
    rows = []
    for number in range(SEVERAL):
        if number == SEVERAL // 2:
            with table.update_schema() as update:
                update.update_column("int", field_type=schema_of(["long"]).fields[0].field_type)
        part = rows_of(TYPED, 200, seeded(name, number))
        append(table, part)
        rows += part
    fields = table.schema().fields
    before = sums_of(readers(lake), f"{name}.all", fields)
    report = compact(pipelines(lake, [events_table(name)]), f"{name}.all")
    assert report["files"] == {"before": SEVERAL, "after": 1, "left_alone": {}}
    assert_unchanged(before, f"{name}.all", fields)
    assert_same(PyIcebergReader(lake), f"{name}.all", fields, rows)


def test_files_of_duckdb(lakes, pipelines, name):
    """Written through the catalog; and plain Parquet without field ids, which stays as it is."""
    lake = lakes.get("rest-local")
    catalog = catalog_of(lake)
    catalog.create_namespace_if_not_exists(name)
    kinds = ["long", "double", "string", "timestamp", "numbers"]
    # DuckDB writes required columns as optional ones, and such files stay as they are.
    fields = [t.NestedField(field.field_id, field.name, field.field_type) for field in schema_of(kinds).fields]
    table = catalog.create_table(f"{name}.all", Schema(*fields))
    duck = DuckReader(lake, attach=True)
    for number in range(SEVERAL):
        duck.connection.execute(
            f"INSERT INTO {duck.source(f'{name}.all')} SELECT i, i * 7919 % 1000003, CASE WHEN i % 5 > 0 THEN i / 3.0 END, "
            f"'text ' || i % 50, TIMESTAMP '2026-11-01 00:00:00' + INTERVAL (i) SECOND, [i, NULL, i + 1] "
            f"FROM range({number * 3000}, {(number + 1) * 3000}) t(i)")
    table = table.refresh()
    plain = [f"{table.location()}/data/plain{number}.parquet" for number in range(2)]
    for path in plain:
        data = table.scan(limit=10).to_arrow()
        pq.write_table(data.replace_schema_metadata(None).cast(without_ids(data.schema)), path.removeprefix("file://"))
    table.add_files(plain)
    before = sums_of([PyIcebergReader(lake), DuckReader(lake)], f"{name}.all", table.schema().fields)
    files = len(live_files(table.refresh()))
    report = compact(pipelines(lake, [events_table(name)]), f"{name}.all")
    assert report["files"] == {"before": files - 2, "after": 1, "left_alone": {"no_field_ids": 2}}
    assert_unchanged(before, f"{name}.all", table.schema().fields)


def without_ids(schema):
    import pyarrow as pa
    return pa.schema([pa.field(field.name, _plain(field.type), field.nullable) for field in schema])


def _plain(kind):
    import pyarrow as pa
    return pa.list_(pa.field("element", kind.value_type)) if pa.types.is_list(kind) or pa.types.is_large_list(kind) \
        else kind


def test_a_dry_run_changes_nothing(lake, topics, pipelines, name):
    topics.create(name, 2)
    pipeline = pipelines(lake, [events_table(name)])
    feed(pipeline, topics, name, 40)
    table = f"{name}.events"
    warehouse = firn.pathlib.Path(lake.warehouse.removeprefix("file://"))

    def everything() -> dict:
        return {path: path.stat().st_mtime_ns for path in sorted(warehouse.rglob("*")) if path.is_file()}

    before, pointer, files = everything(), load(lake, table).metadata_location, len(live_files(load(lake, table)))
    said = compact(pipeline, table, "--dry-run")
    assert everything() == before and load(lake, table).metadata_location == pointer
    done = compact(pipeline, table)
    assert said["files"] == done["files"] == {"before": files, "after": 1, "left_alone": {}} and files >= SEVERAL
    assert said["commits"] == 0 and done["commits"] == 1
    assert_once(lake, table, 0, 40 * SEVERAL)


def test_bad_input_is_refused(lake, topics, pipelines, name):
    topics.create(name, 1)
    pipeline = pipelines(lake, [events_table(name)])
    topics.send(name, small_events(0, 10).values, 1)
    pipeline.catch_up()
    table = f"{name}.events"
    for words, code in (((), firn.USAGE), (("--table", "nothing"), firn.USAGE),
                        (("--table", f"{name}.nothing"), firn.FAILURE),
                        (("--table", table, "--where", "no=1"), firn.USAGE),
                        (("--table", table, "--where", "no"), firn.USAGE),
                        (("--table", table, "--watch", "--dry-run"), firn.USAGE),
                        (("--table", table, "--strategy", "sort"), firn.USAGE),
                        (("--table", table, "--sort-by", "id"), firn.USAGE),
                        (("--table", table, "--strategy", "sort", "--sort-by", "no"), firn.USAGE)):
        run = pipeline.command("compact", *words)
        assert run.process.popen.returncode == code, (words, run.process.tail())


class Watched:
    """A lake whose catalog Firn reaches through a proxy."""

    def __init__(self, lake: firn.Lake, proxies, pipelines, topics, name: str):
        self.lake = lake
        self.proxy = proxies(lake.uri)
        through = firn.Lake(lake.catalog, lake.store, self.proxy.url, lake.warehouse, lake.name, lake.s3_endpoint)
        topics.create(name, 2)
        self.pipeline = pipelines(through, [events_table(name)], changes=PATIENT)
        feed(self.pipeline, topics, name, 40)
        self.table = f"{name}.events"


@pytest.mark.parametrize("moment", ["before the commit", "after the commit"])
def test_sigkill(lakes, proxies, pipelines, topics, readers, name, moment):
    """Killed with merged files and no answer; whoever comes next finds a whole table, and what is left to do."""
    watched = Watched(lakes.get("rest-local"), proxies, pipelines, topics, name)
    fields = load(watched.lake, watched.table).schema().fields
    before = sums_of(readers(watched.lake), watched.table, fields)
    hold = watched.proxy.hold_before if moment == "before the commit" else watched.proxy.hold_after
    with hold(commit_to(watched.table)) as gate:
        run = watched.pipeline.begin("compact", "--table", watched.table, "--json")
        gate.wait()
        run.kill()
        gate.drop()
    applied = len(live_files(load(watched.lake, watched.table))) == 1
    assert applied == (moment == "after the commit")
    assert_unchanged(before, watched.table, fields)
    report = compact(watched.pipeline, watched.table)
    assert report["groups"]["done"] == (0 if applied else 1)
    assert_unchanged(before, watched.table, fields)


def test_a_delete_by_pyiceberg_before_the_commit(lakes, proxies, pipelines, topics, readers, name):
    """It writes files anew: the group whose input is gone is dropped, and what was deleted stays deleted."""
    watched = Watched(lakes.get("rest-local"), proxies, pipelines, topics, name)
    with watched.proxy.hold_before(commit_to(watched.table)) as gate:
        run = watched.pipeline.begin("compact", "--table", watched.table, "--json")
        gate.wait()
        table = load(watched.lake, watched.table)
        table.delete("id >= 3 and id < 30")
        fields, before = table.schema().fields, sums_of(readers(watched.lake), watched.table, table.schema().fields)
        gate.open()
        assert run.process.wait(60) == firn.SUCCESS, run.process.tail()
    report = run.result()
    assert report["groups"] == {"planned": 1, "done": 0, "dropped": {"input_gone": 1}} and report["conflicts"] == 1
    assert_unchanged(before, watched.table, fields)
    assert compact(watched.pipeline, watched.table)["groups"]["done"] == 1
    assert_unchanged(before, watched.table, fields)


def test_beside_ingest(lake, topics, pipelines, readers, name):
    """`firn run` compacts while it ingests, two processes each their part; a stop is prompt, and all rows are there once."""
    topics.create(name, 4)
    table = {"name": f"{name}.events", "columns": SMALL_COLUMNS, "partition": ["kind"]}
    pipeline = pipelines(lake, [table], changes={
        "compaction": {"interval": "1s", "files_min": 3, "cold_after": "3s"}})
    runs = [pipeline.start(), pipeline.start()]
    for run in runs:
        run.wait_for(lambda status: status["assigned_partitions"] == 2, 60, "two partitions each")
    sent = 0
    for _ in range(8):
        topics.send(name, small_events(sent, 300, 8).values, 4)
        sent += 300
        wait_until(lambda: sum(run.status()["rows_committed"] for run in runs) == sent, 30, "commits of all rows", 0.1)

    def of(word: str) -> list:
        return [sum(value for key, value in run.metrics().items() if key.startswith(word)) for run in runs]

    wait_until(lambda: len(live_files(load(lake, f"{name}.events"))) <= 8, 60, "one file a partition", 0.3)
    assert all(count > 0 for count in of("firn_compaction_files_added_total")), "both have their part"
    assert sum(of("firn_compaction_errors_total")) == 0
    for run in runs:
        assert run.stop(30) == firn.SUCCESS, run.process.tail()
    rows = small_events(0, sent, 8).rows
    for reader in readers(lake):
        assert_same(reader, f"{name}.events", load(lake, f"{name}.events").schema().fields, rows)


def test_watch(lake, topics, pipelines, name):
    topics.create(name, 2)
    pipeline = pipelines(lake, [events_table(name)], changes={
        "compaction": {"enabled": False, "interval": "1s", "files_min": 4, "cold_after": "1h"}})
    feed(pipeline, topics, name, 40, times=1)
    watching = [pipeline.begin("compact", "--watch"), pipeline.begin("compact", "--watch")]
    feed(pipeline, topics, name, 40, times=4, first=40)
    wait_until(lambda: len(live_files(load(lake, f"{name}.events"))) < 4, 60, "fewer files", 0.3)
    for run in watching:
        run.process.popen.send_signal(signal.SIGTERM)
        assert run.process.wait(20) == firn.SUCCESS, run.process.tail()
    assert_once(lake, f"{name}.events", 0, 200)


def typed_table(lake, name: str):
    """Files of PyIceberg, and their rows; "id" goes on from file to file."""
    catalog = catalog_of(lake)
    catalog.create_namespace_if_not_exists(name)
    table = catalog.create_table(f"{name}.all", schema_of(TYPED))
    rows = []
    for number in range(SEVERAL):
        part = rows_of(TYPED, 200, seeded(name, number))
        for row in part:
            row["id"] += 200 * number
        append(table, part)
        rows += part
    return table, rows


def assert_deletes_applied(pipeline, lake, name: str, deleted: set, rows: list, before: dict, removed: int):
    """Compacts: the rows are those that readers gave who applied the deletes, and nobody has to apply them any more."""
    report = compact(pipeline, f"{name}.all")
    assert report["deletes"] == {"applied": len(deleted), "files_removed": removed}
    assert report["files"]["left_alone"] == {} and report["files"]["after"] == 1
    table = load(lake, f"{name}.all")
    fields = table.schema().fields
    assert live_delete_files(table) == [] and len(live_files(table)) == 1
    check_files(table, live_files(table))
    assert_unchanged(before, f"{name}.all", fields)
    assert_same(PyIcebergReader(lake), f"{name}.all", fields, rows)
    assert compact(pipeline, f"{name}.all")["groups"]["planned"] == 0


def test_position_deletes(lakes, pipelines, readers, name):
    """Of several files and of one, with bounds and without; of rows that are not there too."""
    lake = lakes.get("rest-local")
    table, rows = typed_table(lake, name)
    paths = {file.lower_bounds[1]: file.file_path for file in live_files(table.refresh())}
    paths = [path for _, path in sorted(paths.items(), key=lambda item: int.from_bytes(item[0], "little"))]
    table = delete_positions(table, [(paths[0], 0), (paths[0], 199), (paths[2], 7), (paths[2], 5000)])
    table = delete_positions(table, [(paths[1], position) for position in range(0, 200, 3)], bounds=True)
    table = delete_positions(table, [(paths[2], 7), (paths[2], 8)], bounds=True)
    deleted = {0, 199, 407, 408, *range(200, 400, 3)}
    rows = [row for row in rows if row["id"] not in deleted]
    before = sums_of(readers(lake), f"{name}.all", table.schema().fields)
    assert_deletes_applied(pipelines(lake, [events_table(name)]), lake, name, deleted, rows, before, 3)


@pytest.mark.parametrize("column", ["id", "string"])
def test_equality_deletes(lakes, pipelines, readers, name, column):
    """Rows that came again after the delete stay. PyIceberg refuses to read such deletes; DuckDB (1.5.5) applies them, but
    takes rows with a null in the column away too."""
    lake = lakes.get("rest-local")
    table, rows = typed_table(lake, name)
    values = {row[column] for row in rows[::7] if row[column] is not None}
    table = delete_equal(table, column, sorted(values))
    deleted = {row["id"] for row in rows if row[column] in values}
    rows = [row for row in rows if row["id"] not in deleted]
    again = rows_of(TYPED, 200, seeded(name, "again"))
    append(table, again)
    rows += again
    able = [reader for reader in readers(lake) if reader.name == "duckdb" and column == "id"]
    before = sums_of(able, f"{name}.all", table.schema().fields)
    assert_deletes_applied(pipelines(lake, [events_table(name)]), lake, name, deleted, rows, before, 1)


def test_a_row_deleted_before_the_commit(lakes, proxies, pipelines, topics, readers, name):
    """A delete of an input between pick and commit stops its group; the next run applies it."""
    watched = Watched(lakes.get("rest-local"), proxies, pipelines, topics, name)
    with watched.proxy.hold_before(commit_to(watched.table)) as gate:
        run = watched.pipeline.begin("compact", "--table", watched.table, "--json")
        gate.wait()
        table = load(watched.lake, watched.table)
        delete_positions(table, [(live_files(table)[0].file_path, 1)])
        fields, before = table.schema().fields, sums_of(readers(watched.lake), watched.table, table.schema().fields)
        gate.open()
        assert run.process.wait(60) == firn.SUCCESS, run.process.tail()
    assert run.result()["groups"] == {"planned": 1, "done": 0, "dropped": {"deletes_changed": 1}}
    assert_unchanged(before, watched.table, fields)
    report = compact(watched.pipeline, watched.table)
    assert report["groups"]["done"] == 1 and report["deletes"] == {"applied": 1, "files_removed": 1}
    assert_unchanged(before, watched.table, fields)


def ids_of_row_groups(table) -> list:
    """The ids of each row group of each file, in the file's order."""
    groups = []
    for file in live_files(table):
        with table.io.new_input(file.file_path).open() as stream:
            parquet = pq.ParquetFile(stream)
            groups += [parquet.read_row_group(number, ["id"]).column("id").to_pylist()
                       for number in range(parquet.num_row_groups)]
    return groups


def test_sort(lakes, pipelines, readers, name, tmp_path):
    """Files that each have rows from everywhere become files in the table's order, which name it: a range of its first
    field is in one of them, and in few of its row groups. Rows that were deleted are left out."""
    lake = lakes.get("rest-local")
    catalog = catalog_of(lake)
    catalog.create_namespace_if_not_exists(name)
    schema = Schema(t.NestedField(1, "id", t.LongType()), t.NestedField(2, "text", t.StringType()),
                    t.NestedField(3, "at", t.TimestampType()))
    order = SortOrder(SortField(1, IdentityTransform(), SortDirection.DESC, NullOrder.NULLS_LAST),
                      SortField(3, DayTransform(), SortDirection.ASC, NullOrder.NULLS_FIRST))
    table = catalog.create_table(f"{name}.all", schema, sort_order=order,
                                 properties={"firn.parquet.row-group-row-limit": "2000"})
    for number in range(SEVERAL):
        table.append(duckdb.sql(
            f"SELECT i * {SEVERAL} + {number} AS id, md5(i || ' {number}') AS text, "
            "CASE WHEN i % 9 > 0 THEN TIMESTAMP '2026-11-01' + INTERVAL (i * 977 % 500) HOUR END AS at "
            "FROM range(8000) t(i)").fetch_arrow_table())
    count = 8000 * SEVERAL
    table = catalog.load_table(f"{name}.all")
    with table.transaction() as change:
        change.set_properties({"write.target-file-size-bytes": "300000"})  # PyIceberg keeps to it too
    first = live_files(table)[0].file_path
    table = delete_positions(table, [(first, 0), (first, 1)])
    some = {"row_filter": "id >= 40000 and id < 40030"}
    assert len(list(table.scan(**some).plan_files())) == SEVERAL
    before = sums_of(readers(lake)[:2], f"{name}.all", table.schema().fields)
    pipeline = pipelines(lake, [events_table(name)], changes={"spill": {"dir": str(tmp_path / "spill")}})
    said = compact(pipeline, f"{name}.all", "--strategy", "sort", "--dry-run")
    assert said["files"]["before"] == SEVERAL and said["files"]["after"] > 1
    report = compact(pipeline, f"{name}.all", "--strategy", "sort")
    assert report["sort"]["rows"] == count - 2 and report["deletes"] == {"applied": 2, "files_removed": 1}
    assert report["files"]["before"] == SEVERAL and report["files"]["left_alone"] == {}
    table = load(lake, f"{name}.all")
    check_files(table, live_files(table))
    assert_unchanged(before, f"{name}.all", table.schema().fields)
    assert {file.sort_order_id for file in live_files(table)} == {table.sort_order().order_id}
    assert len(list(table.scan(**some).plan_files())) == 1 < len(live_files(table))
    groups = ids_of_row_groups(table)
    groups.sort(key=lambda group: -group[0])
    ids = [number for group in groups for number in group]
    assert ids == sorted(ids, reverse=True) and len(ids) == count - 2
    assert sum(group[-1] < 40030 and group[0] >= 40000 for group in groups) <= 2 < len(groups)
    assert compact(pipeline, f"{name}.all", "--strategy", "sort")["groups"]["planned"] == 0
    assert compact(pipeline, f"{name}.all", "--strategy", "sort", "--sort-by", "text, id")["groups"]["done"] == 1
    assert {file.sort_order_id for file in live_files(load(lake, f"{name}.all"))} == {None}
    assert_unchanged(before, f"{name}.all", table.schema().fields)


@pytest.mark.spark
@pytest.mark.slow
def test_spark(spark_lakes, spark, proxies, pipelines, topics, readers, name):
    """Files of Spark; its row deletes between pick and commit, which must stay in force; it reads what Firn has made."""
    lake = spark_lakes["rest-local"]
    spark.of(lake)
    table, source = f"{name}.events", spark.table(f"{name}.events")
    spark.sql(f"CREATE NAMESPACE IF NOT EXISTS {spark.catalog_name(lake)}.{name}")
    spark.sql(f"CREATE TABLE {source} (id bigint, kind string, tags array<string>, at timestamp, amount decimal(12,2)) "
              "USING iceberg TBLPROPERTIES ('format-version'='2', 'write.delete.mode'='merge-on-read', "
              "'write.delete.granularity'='file')")
    for number in range(SEVERAL):
        spark.sql(f"INSERT INTO {source} SELECT /*+ COALESCE(1) */ id, concat('k', id % 5), "
                  "if(id % 3 = 0, null, array(cast(id as string), null)), timestamp_seconds(1790000000 + id), "
                  f"cast(id / 7 as decimal(12,2)) FROM range({number * 500}, {number * 500 + 500})")
    proxy = proxies(lake.uri)
    through = firn.Lake(lake.catalog, lake.store, proxy.url, lake.warehouse, lake.name, lake.s3_endpoint)
    pipeline = pipelines(through, [events_table(name)], changes=PATIENT)
    fields = load(lake, table).schema().fields
    with proxy.hold_before(commit_to(table)) as gate:
        run = pipeline.begin("compact", "--table", table, "--json")
        gate.wait()
        spark.sql(f"DELETE FROM {source} WHERE id BETWEEN 490 AND 520")
        before = sums_of([*readers(lake), spark.of(lake)], table, fields)
        gate.open()
        assert run.process.wait(60) == firn.SUCCESS, run.process.tail()
    assert run.result()["groups"] == {"planned": 1, "done": 0, "dropped": {"deletes_changed": 1}}
    assert_unchanged(before, table, fields)
    spark.sql(f"CREATE TABLE {source}_v3 (id bigint) USING iceberg TBLPROPERTIES ('format-version'='3')")
    spark.sql(f"INSERT INTO {source}_v3 VALUES (1)")
    refused = compact(pipeline, f"{table}_v3", expect=firn.FAILURE)
    assert refused["error"]["code"] == "unsupported"
    report = compact(pipeline, table)
    assert report["files"] == {"before": SEVERAL, "after": 1, "left_alone": {}}
    assert report["deletes"] == {"applied": 31, "files_removed": 2}
    assert_unchanged(before, table, fields)
    # Spark's equality deletes do not exist; it reads others'.
    spark.sql(f"INSERT INTO {source} SELECT id, 'late', null, timestamp_seconds(1790000000), 1.5 FROM range(9000, 9050)")
    delete_equal(load(lake, table), "kind", ["k3", "late"])
    spark.sql(f"INSERT INTO {source} SELECT id, 'late', null, timestamp_seconds(1790000000), 2.5 FROM range(9000, 9003)")
    before = sums_of([DuckReader(lake), spark.of(lake)], table, fields)
    report = compact(pipeline, table)
    assert report["deletes"]["files_removed"] == 1 and report["deletes"]["applied"] > 50
    assert_unchanged(before, table, fields)
    # One delete file of all files of the partition.
    spark.sql(f"ALTER TABLE {source} SET TBLPROPERTIES ('write.delete.granularity'='partition')")
    spark.sql(f"INSERT INTO {source} SELECT id, 'last', null, timestamp_seconds(1790000000), 3.5 FROM range(9100, 9300)")
    spark.sql(f"DELETE FROM {source} WHERE id % 10 = 1")
    before = sums_of([*readers(lake), spark.of(lake)], table, fields)
    report = compact(pipeline, table)
    assert report["files"]["after"] == 1 and report["deletes"]["applied"] > 200
    assert live_delete_files(load(lake, table)) == []
    assert_unchanged(before, table, fields)
    # Sorted as Spark has declared it.
    spark.sql(f"ALTER TABLE {source} WRITE ORDERED BY kind DESC NULLS LAST, bucket(4, id), id")
    report = compact(pipeline, table, "--strategy", "sort")
    assert report["groups"]["done"] == 1 and report["sort"]["rows"] == report["rows"]
    loaded = load(lake, table)
    assert [file.sort_order_id for file in live_files(loaded)] == [loaded.sort_order().order_id]
    assert_unchanged(before, table, fields)
    assert compact(pipeline, table, "--strategy", "sort")["groups"]["planned"] == 0


@pytest.mark.spark
@pytest.mark.slow
def test_spark_reads_values_compressed_in_parts(spark_lakes, spark, pipelines, readers, name):
    """Dictionaries of unique values, of several files in one page, each compressed by itself."""
    lake = spark_lakes["rest-local"]
    catalog = catalog_of(lake)
    catalog.create_namespace_if_not_exists(name)
    table = catalog.create_table(f"{name}.unique", Schema(t.NestedField(1, "uid", t.StringType())))
    chance = seeded(name, 1)
    for _ in range(SEVERAL):
        append(table, [{"uid": f"{chance.getrandbits(128):032x}" if i % 9 else None} for i in range(900)])
    every, fields = [*readers(lake), spark.of(lake)], table.schema().fields
    before = sums_of(every, f"{name}.unique", fields)
    report = compact(pipelines(lake, [events_table(name)]), f"{name}.unique")
    assert report["pages"]["dictionaries_as_values"] == SEVERAL
    assert_unchanged(before, f"{name}.unique", fields)
