"""Spark reads what Firn wrote; then rewrites, deletes from and evolves the table, and Firn goes on with it.

All of it is one session of Spark, because starting one costs half a minute.
"""

import datetime

import pytest

import ocsf
from produce import encode_rows, seeded
from readers import DuckReader, PyIcebergReader, assert_same, load
from test_types import config_columns, schema_of
from typed_rows import rows_of

pytestmark = [pytest.mark.spark, pytest.mark.slow]

# Spark has no time and no uuid of its own; years before 1900 it reads by another calendar only where told to.
SPARK_NAMES = ["boolean", "int", "long", "float", "double", "decimal_9", "decimal_18", "decimal_38", "string", "binary",
               "date", "timestamptz", "timestamp", "numbers", "pair", "by_name", "deep"]


def network_table(table: str) -> dict:
    return {"name": table, "columns": ocsf.COLUMNS, "partition": ocsf.PARTITION}


def check(lake, spark, table: str, rows: list, fields):
    for reader in (PyIcebergReader(lake), DuckReader(lake), spark.of(lake)):
        assert_same(reader, table, fields, rows)


@pytest.mark.parametrize("lake_name", ["sqlite-local", "rest-local"])
def test_spark_reads_every_type(spark_lakes, spark, topics, pipelines, name, lake_name):
    lake = spark_lakes[lake_name]
    # truncate(10) of the smallest int overflows by the spec's formula, and pruning by Spark then loses its rows.
    rows = rows_of(SPARK_NAMES, 120, seeded(name), keep=lambda value: value != -(2**31))
    schema = schema_of(SPARK_NAMES)
    topics.create(name, 2)
    topics.send(name, encode_rows(rows, schema.as_struct()), 2)
    pipelines(lake, [{"name": f"{name}.all", "columns": config_columns(SPARK_NAMES),
                      "partition": ["day(timestamptz)", "bucket(3, string)", "truncate(10, int)", "decimal_38"]}]
              ).catch_up()
    assert_same(spark.of(lake), f"{name}.all", schema.fields, rows)
    source = spark.table(f"{name}.all")
    assert spark.sql(f"SELECT sum(record_count) FROM {source}.files").first()[0] == len(rows)
    assert spark.sql(f"SELECT sum(record_count) FROM {source}.partitions").first()[0] == len(rows)
    assert spark.sql(f"SELECT count(*) FROM {source}.snapshots").first()[0] >= 1
    for where, kept in ((" WHERE int < 0", [row for row in rows if row["int"] is not None and row["int"] < 0]),
                        (" WHERE string = 'abc'", [row for row in rows if row["string"] == "abc"]),
                        (" WHERE int IS NULL", [row for row in rows if row["int"] is None])):
        assert spark.sql(f"SELECT count(*) FROM {source}{where}").first()[0] == len(kept), where


def renamed(row: dict) -> dict:
    """A row as it stands after the changes of test_spark_changes_a_table_and_firn_goes_on."""
    out = {key: value for key, value in row.items() if key not in ("activity_name", "status_detail")}
    out["activity_label"] = row["activity_name"]
    out["src_endpoint"] = {("host" if key == "hostname" else key): value
                           for key, value in row["src_endpoint"].items()}
    out.setdefault("category_uid", None)
    return out


def test_spark_changes_a_table_and_firn_goes_on(spark_lakes, spark, topics, pipelines, name):
    lake = spark_lakes["rest-local"]
    spark.of(lake)
    table = f"{name}.network_activity"
    source = spark.table(table)
    topics.create(name, 2)
    parts = [ocsf.events(600, f"{name} {number}") for number in range(5)]
    pipeline = pipelines(lake, [network_table(table)])

    def take(number: int, expect: int = 600):
        topics.send(name, parts[number].values, 2)
        assert pipeline.catch_up()["rows_committed"] == expect

    take(0)
    rows = parts[0].rows
    check(lake, spark, table, rows, ocsf.SCHEMA.fields)

    # Compaction by somebody else.
    take(1)
    rows = rows + parts[1].rows
    catalog, short = spark.catalog_name(lake), table
    done = spark.sql(f"CALL {catalog}.system.rewrite_data_files(table => '{short}', "
                     "options => map('min-input-files', '2'))").first()
    assert done["rewritten_data_files_count"] > 0
    check(lake, spark, table, rows, ocsf.SCHEMA.fields)

    # Deletes: by rewriting files, then by position deletes.
    spark.sql(f"DELETE FROM {source} WHERE activity_id = 3")
    rows = [row for row in rows if row["activity_id"] != 3]
    spark.sql(f"ALTER TABLE {source} SET TBLPROPERTIES ('write.delete.mode' = 'merge-on-read')")
    spark.sql(f"DELETE FROM {source} WHERE src_endpoint.port < 9000")
    rows = [row for row in rows if row["src_endpoint"]["port"] >= 9000]
    take(2)
    rows = rows + parts[2].rows
    check(lake, spark, table, rows, ocsf.SCHEMA.fields)

    # Schema: add (the events have the field already), rename, rename inside a struct, widen, reorder, drop.
    for change in ("ADD COLUMN category_uid int AFTER class_uid", "RENAME COLUMN activity_name TO activity_label",
                   "RENAME COLUMN src_endpoint.hostname TO host", "ALTER COLUMN activity_id TYPE bigint",
                   "ALTER COLUMN traffic FIRST", "DROP COLUMN status_detail",
                   "REPLACE PARTITION FIELD time_day WITH months(time)",
                   "ADD PARTITION FIELD truncate(4, activity_label)",
                   "WRITE ORDERED BY severity_id DESC NULLS LAST, time"):
        spark.sql(f"ALTER TABLE {source} {change}")
    take(3)
    rows = [renamed(row) for row in rows] + [{**renamed(row), "category_uid": 4} for row in parts[3].rows]
    loaded = load(lake, table)
    assert loaded.schema().fields[0].name == "traffic"
    check(lake, spark, table, rows, loaded.schema().fields)
    newest = {file.spec_id for file in _files_of_last_append(loaded)}
    assert newest == {loaded.spec().spec_id}, "the new spec is not used"

    # Manifests rewritten, snapshots expired, an older tag kept: the positions are still there.
    spark.sql(f"CALL {catalog}.system.rewrite_manifests('{short}')")
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M:%S.%f")
    spark.sql(f"CALL {catalog}.system.expire_snapshots(table => '{short}', older_than => TIMESTAMP '{now}', "
              "retain_last => 1)")
    assert len(load(lake, table).metadata.snapshots) == 1
    take(4)
    rows = rows + [{**renamed(row), "category_uid": 4} for row in parts[4].rows]
    check(lake, spark, table, rows, load(lake, table).schema().fields)
    assert pipeline.catch_up()["rows_committed"] == 0


def _files_of_last_append(table) -> list:
    manifests = table.current_snapshot().manifests(table.io)
    snapshot = table.current_snapshot().snapshot_id
    return [entry.data_file for manifest in manifests for entry in manifest.fetch_manifest_entry(table.io)
            if entry.snapshot_id == snapshot]


def test_spark_changes_a_table_under_a_running_worker(spark_lakes, spark, topics, pipelines, name):
    lake = spark_lakes["rest-local"]
    spark.of(lake)
    table = f"{name}.network_activity"
    source = spark.table(table)
    topics.create(name, 2)
    parts = [ocsf.events(400, f"{name} {number}") for number in range(5)]
    pipeline = pipelines(lake, [network_table(table)])
    run = pipeline.start()
    committed = 0

    def take(number: int):
        nonlocal committed
        topics.send(name, parts[number].values, 2)
        committed += 400
        run.wait_for(lambda status: status["rows_committed"] == committed, 60, f"{committed} rows are committed")

    take(0)
    take(1)
    spark.sql(f"CALL {spark.catalog_name(lake)}.system.rewrite_data_files(table => '{table}', "
              "options => map('min-input-files', '2'))")
    take(2)
    spark.sql(f"DELETE FROM {source} WHERE activity_id = 5")
    rows = [renamed(row) for part in parts[:3] for row in part.rows if row["activity_id"] != 5]
    for change in ("RENAME COLUMN activity_name TO activity_label", "RENAME COLUMN src_endpoint.hostname TO host",
                   "DROP COLUMN status_detail", "ADD COLUMN category_uid int",
                   "REPLACE PARTITION FIELD time_day WITH hours(time)"):
        spark.sql(f"ALTER TABLE {source} {change}")
    take(3)
    take(4)
    assert run.stop() == 0
    # A batch that was decoded before the change was seen may lack the new column; the next one has it.
    loaded = load(lake, table)
    rows += [renamed(row) for part in parts[3:] for row in part.rows]
    fields = [field for field in loaded.schema().fields if field.name != "category_uid"]
    check(lake, spark, table, rows, fields)
    values = PyIcebergReader(lake).read(table, ["category_uid"])["category_uid"]
    assert values.count(4) >= 400


@pytest.mark.parametrize("lake_name", ["sqlite-local", "rest-local"])
def test_a_table_that_spark_made(spark_lakes, spark, topics, pipelines, name, lake_name):
    lake = spark_lakes[lake_name]
    spark.of(lake)
    source = spark.table(f"{name}.foreign")
    spark.sql(f"CREATE NAMESPACE {spark.catalog_name(lake)}.{name}")
    spark.sql(f"CREATE TABLE {source} (id bigint NOT NULL, string string, timestamptz timestamp, "
              "timestamp timestamp_ntz, decimal_9 decimal(9,2), double double, numbers array<bigint>, "
              "pair struct<a: int, b: struct<c: string, d: decimal(12,3)>>, by_name map<string, int>) USING iceberg "
              "PARTITIONED BY (days(timestamptz), bucket(4, string), truncate(3, string)) "
              "TBLPROPERTIES ('format-version' = '2', 'write.parquet.compression-codec' = 'snappy', "
              "'write.object-storage.enabled' = 'true')")
    spark.sql(f"ALTER TABLE {source} WRITE DISTRIBUTED BY PARTITION LOCALLY ORDERED BY timestamptz DESC, id")
    names = ["string", "timestamptz", "timestamp", "decimal_9", "double", "numbers", "pair", "by_name"]
    rows = rows_of(names, 150, seeded(name))
    # A row of Spark's own stands beside ours.
    spark.sql(f"INSERT INTO {source} (id, string) VALUES (-1, 'spark')")
    topics.create(name, 2)
    schema = schema_of(names)
    topics.send(name, encode_rows(rows, schema.as_struct()), 2)
    pipelines(lake, [{"name": f"{name}.foreign"}]).catch_up()
    own = {"id": -1, **dict.fromkeys(names), "string": "spark"}
    check(lake, spark, f"{name}.foreign", [own, *rows], load(lake, f"{name}.foreign").schema().fields)
    # Spark's rows and ours of one partition lie in one partition: the transforms agree.
    listed = spark.sql(f"SELECT count(*), count(DISTINCT partition) FROM {source}.partitions").first()
    assert listed[0] == listed[1]


def test_spark_makes_a_v3_table_and_firn_refuses_it(spark_lakes, spark, topics, pipelines, name):
    lake = spark_lakes["rest-local"]
    spark.of(lake)
    spark.sql(f"CREATE NAMESPACE {spark.catalog_name(lake)}.{name}")
    spark.sql(f"CREATE TABLE {spark.table(f'{name}.new')} (id bigint) USING iceberg "
              "TBLPROPERTIES ('format-version' = '3')")
    topics.create(name, 1)
    topics.send(name, [b'{"id": 1}'], 1)
    pipeline = pipelines(lake, [{"name": f"{name}.new"}])
    run = pipeline.command("check", "--json")
    assert run.process.popen.returncode == 1
    assert "version 3" in pipeline.output() or "v3" in pipeline.output()
