"""Every type, transform, null pattern and extreme, written by Firn, read by DuckDB and PyIceberg.

Firn made the tables, or PyIceberg or DuckDB did, with a spec and sort order of theirs (Spark's: test_spark.py).
"""

import datetime
import json
import urllib.request

import pytest
from pyiceberg import types as t
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table.sorting import NullOrder, SortDirection, SortField, SortOrder
from pyiceberg.transforms import BucketTransform, DayTransform, IdentityTransform, TruncateTransform

import firn
import metadata_checks
from invariants import reject_rows
from predicates import around
from produce import encode_rows, seeded
from readers import DuckReader, PyIcebergReader, assert_same, catalog_of, load
from typed_rows import (CONFIG_TYPE, NESTED, NESTED_CONFIG, PRIMITIVES, column_values, fits, rows_of, transforms_of)

ROWS = 60


def schema_of(names: list) -> Schema:
    fields = [t.NestedField(1, "id", t.LongType(), required=True)]
    fields += [t.NestedField(number, name, column_values(name)[0]) for number, name in enumerate(names, 2)]
    return Schema(*fields)


def config_columns(names: list) -> list:
    return [{"name": "id", "type": "long", "required": True}] + [
        {"name": name, "type": CONFIG_TYPE.get(name) or NESTED_CONFIG.get(name) or name} for name in names]


def routed(rows: list, schema: Schema, word: str) -> list:
    """Values with the field "t" that the route looks at."""
    return [b'{"t":"%s",' % word.encode() + value[1:] for value in encode_rows(rows, schema.as_struct())]


def check_reads(lake, table: str, schema: Schema, rows: list, draw, predicates: int = 6, transform: str = ""):
    for reader in (PyIcebergReader(lake), DuckReader(lake)):
        assert_same(reader, table, schema.fields, rows)
        for field in schema.fields[1:2] if predicates else []:
            if not isinstance(field.field_type, t.PrimitiveType):
                continue
            asked = [one for one in around(rows, field.name, field.field_type) if reader.takes(one, transform)]
            for predicate in draw.sample(asked, min(predicates, len(asked))):
                if _asks_about_nan(rows, field, predicate):
                    continue
                kept = [row["id"] for row in rows if predicate.holds(row, field.field_type)]
                try:
                    read = reader.read(table, ["id"], predicate, field.field_type)["id"]
                except Exception as error:
                    raise AssertionError(f"{reader.name}: {table} WHERE {predicate}: {str(error)[:300]}") from None
                assert sorted(read) == kept, f"{reader.name}: {table} WHERE {predicate}"


def _asks_about_nan(rows: list, field, predicate) -> bool:
    """Engines differ on whether NaN is greater than, or unequal to, a number."""
    floating = isinstance(field.field_type, (t.FloatType, t.DoubleType))
    return floating and predicate.operator in (">", ">=", "!=", "<", "<=")


def test_every_type_by_every_transform(lake, topics, pipelines, name):
    draw = seeded(name)
    cases, tables, values = {}, [], []
    for kind in PRIMITIVES:
        for number, text in enumerate(transforms_of(kind)):
            word = f"{kind}_{number}"
            rows = rows_of([kind], ROWS, draw, keep=lambda value, text=text, kind=kind: fits(value, kind, text))
            cases[word] = (kind, text, rows)
            values += routed(rows, schema_of([kind]), word)
            tables.append({"name": f"{name}.{word}", "columns": config_columns([kind]),
                           "partition": [text.format(kind)], "match": [{"field": "t", "equals": word}]})
    topics.create(name, 2)
    draw.shuffle(values)
    topics.send(name, values, 2)
    pipeline = pipelines(lake, tables)
    result = pipeline.catch_up(timeout_s=240)
    rejects = reject_rows(lake, pipeline)
    assert not rejects, [(one["code"], one["message"], one["value"]) for one in rejects[:5]]
    assert result["rows_committed"] == len(values)
    for word, (kind, text, rows) in cases.items():
        table = load(lake, f"{name}.{word}")
        spec_field, = table.spec().fields
        assert spec_field.transform == transforms_of(kind)[text], word
        try:
            metadata_checks.check_files(table, metadata_checks.live_files(table))
            metadata_checks.check_partitions(table, rows)
            metadata_checks.check_snapshots(table, metadata_checks.live_files(table), len(rows))
        except AssertionError as error:
            raise AssertionError(f"{kind} by {text}: {error}") from error
        check_reads(lake, f"{name}.{word}", schema_of([kind]), rows, draw, transform=text)


@pytest.mark.parametrize("null_share", [0.0, 0.3, 1.0])
def test_all_types_side_by_side(lake, topics, pipelines, name, null_share):
    names = [*PRIMITIVES, *NESTED]
    rows = rows_of(names, 150, seeded(name), null_share)
    schema = schema_of(names)
    topics.create(name, 2)
    topics.send(name, encode_rows(rows, schema.as_struct()), 2)
    pipeline = pipelines(lake, [{"name": f"{name}.all", "columns": config_columns(names),
                                 "partition": ["day(timestamptz)", "bucket(3, string)", "truncate(3, binary)"]}])
    pipeline.catch_up()
    table = load(lake, f"{name}.all")
    metadata_checks.check_all(table, rows)
    check_reads(lake, f"{name}.all", schema, rows, seeded(name))


FOREIGN_NAMES = ["timestamp", "string", "int", "uuid", "decimal_38", "binary", "deep", "by_name", "pair"]


def foreign_properties() -> dict:
    return {"write.parquet.compression-codec": "gzip", "write.metadata.metrics.default": "full",
            "write.metadata.metrics.column.string": "none", "write.target-file-size-bytes": "1048576",
            "write.metadata.previous-versions-max": "3", "write.metadata.delete-after-commit.enabled": "true"}


def test_a_table_that_pyiceberg_made(lake, topics, pipelines, name):
    """With ids that do not begin at 1, a spec of several fields, a sort order and properties."""
    fields = [t.NestedField(1, "id", t.LongType(), required=True)]
    fields += [t.NestedField(50 - number, kind, column_values(kind)[0])
               for number, kind in enumerate(FOREIGN_NAMES)]
    schema = Schema(*fields)
    catalog = catalog_of(lake)
    catalog.create_namespace(name)
    table = catalog.create_table(
        f"{name}.foreign", schema, properties=foreign_properties(),
        partition_spec=PartitionSpec(PartitionField(schema.find_field("timestamp").field_id, 1000, DayTransform(), "d"),
                                     PartitionField(schema.find_field("string").field_id, 1001, TruncateTransform(2),
                                                    "s"),
                                     PartitionField(schema.find_field("uuid").field_id, 1002, BucketTransform(3),
                                                    "u")),
        sort_order=SortOrder(SortField(schema.find_field("int").field_id, IdentityTransform(), SortDirection.DESC,
                                       NullOrder.NULLS_LAST)))
    schema = table.schema()
    rows = rows_of(FOREIGN_NAMES, 200, seeded(name))
    topics.create(name, 2)
    topics.send(name, encode_rows(rows, schema.as_struct()), 2)
    pipelines(lake, [{"name": f"{name}.foreign"}]).catch_up()
    table = catalog.load_table(f"{name}.foreign")
    metadata_checks.check_all(table, rows)
    check_reads(lake, f"{name}.foreign", schema, rows, seeded(name))
    string_id = schema.find_field("string").field_id
    for file in metadata_checks.live_files(table):
        assert string_id not in (file.lower_bounds or {}) and string_id not in (file.value_counts or {})
    assert len(table.metadata.metadata_log) <= 3
    # A column chunk that the codec does not make smaller is left as it is.
    assert firn_codecs(table) - {"UNCOMPRESSED"} == {"GZIP"}


def firn_codecs(table) -> set:
    codecs = set()
    for file in metadata_checks.live_files(table):
        with table.io.new_input(file.file_path).open() as stream:
            metadata = metadata_checks.pq.ParquetFile(stream).metadata
        codecs |= {metadata.row_group(group).column(column).compression
                   for group in range(metadata.num_row_groups) for column in range(metadata.num_columns)}
    return codecs


def test_a_table_that_duckdb_made(lakes, topics, pipelines, name):
    lake = lakes.get("rest-local")
    duck = DuckReader(lake, attach=True)
    duck.connection.execute(f"CREATE SCHEMA lake.{name}")
    duck.connection.execute(f'CREATE TABLE lake.{name}.foreign (id BIGINT, "string" VARCHAR, '
                            f'"timestamptz" TIMESTAMPTZ, "decimal_9" DECIMAL(9, 2), "numbers" BIGINT[], '
                            f'"pair" STRUCT(a INTEGER, b STRUCT(c VARCHAR, d DECIMAL(12, 3))))')
    duck.connection.execute(f"INSERT INTO lake.{name}.foreign (id) VALUES (-1)")
    names = ["string", "timestamptz", "decimal_9", "numbers", "pair"]
    rows = rows_of(names, 100, seeded(name))
    topics.create(name, 2)
    topics.send(name, encode_rows(rows, schema_of(names).as_struct()), 2)
    pipelines(lake, [{"name": f"{name}.foreign"}]).catch_up()
    own = {"id": -1, **dict.fromkeys(names)}
    schema = load(lake, f"{name}.foreign").schema()
    for reader in (PyIcebergReader(lake), DuckReader(lake, attach=True)):
        assert_same(reader, f"{name}.foreign", schema.fields, [own, *rows])


def test_a_table_of_format_v3_is_refused(lakes, topics, pipelines, name):
    lake = lakes.get("rest-local")
    catalog_of(lake).create_namespace(name)
    make_v3_table(lake, name, "new")
    assert load(lake, f"{name}.new").format_version == 3
    topics.create(name, 1)
    topics.send(name, [b'{"id":1}'], 1)
    pipeline = pipelines(lake, [{"name": f"{name}.new"}])
    run = pipeline.command("check", "--json", timeout_s=60)
    assert run.process.popen.returncode == firn.FAILURE
    refused = [one for one in run.result()["checks"] if one["verdict"] == "error"]
    assert [one["code"] for one in refused] == ["unsupported"], refused
    assert "3" in refused[0]["message"]
    pipeline.change({"commit": {"detach_after": "1s"}})
    run = pipeline.begin("run", "--until-caught-up", "--json")
    assert run.process.wait(60) in (firn.FAILURE, firn.DETACHED)
    assert f"{name}.new" in run.log
    assert load(lake, f"{name}.new").scan().count() == 0


def make_v3_table(lake, namespace: str, table: str):
    """By the REST protocol itself: PyIceberg makes none."""
    document = {"name": table, "schema": {"type": "struct", "schema-id": 0, "fields": [
        {"id": 1, "name": "id", "type": "long", "required": False}]}, "properties": {"format-version": "3"}}
    request = urllib.request.Request(f"{lake.uri}/v1/namespaces/{namespace}/tables", json.dumps(document).encode(),
                                     {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.status == 200


def test_a_partition_of_a_date_before_the_epoch_is_its_own(lake, topics, pipelines, name):
    """1969-12-31T23:59:59.999999 is day -1, hour -1, month -1, year -1: floors, not cuts towards zero."""
    at = datetime.datetime(1969, 12, 31, 23, 59, 59, 999999, datetime.timezone.utc)
    topics.create(name, 1)
    topics.send(name, [b'{"id":1,"timestamptz":"1969-12-31T23:59:59.999999Z"}'], 1)
    parts = ["day", "hour", "month", "year"]
    tables = [{"name": f"{name}.by_{word}", "columns": config_columns(["timestamptz"]),
               "partition": [f"{word}(timestamptz)"]} for word in parts]
    for table in tables:
        pipelines(lake, [table], pipeline=f"{name}_{table['name'].rsplit('_', 1)[1]}").catch_up()
        loaded = load(lake, table["name"])
        file, = metadata_checks.live_files(loaded)
        assert metadata_checks._inner(file.partition[0], t.IntegerType() if not isinstance(
            file.partition[0], datetime.date) else t.DateType()) == -1
        assert loaded.scan().to_arrow().column("timestamptz").to_pylist() == [at]
