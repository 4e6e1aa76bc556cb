"""The readers that are not ours: DuckDB, PyIceberg, Spark. Each gives columns of Python values.

A reader is asked for a table of a lake, some columns and perhaps a predicate. Spark is one session for all its checks.
"""

import datetime
import decimal
import importlib.util
import math
import os
import pathlib
import time
import uuid

import duckdb
import pyarrow as pa
import pyiceberg.avro.file
from pyiceberg import types as t
from pyiceberg.avro.decoder import StreamingBinaryDecoder
from pyiceberg.catalog import load_catalog
from pyiceberg.exceptions import NoSuchTableError

import firn
from produce import small_note
from servers import JAVA_OPTIONS, S3_KEY, S3_REGION, S3_SECRET
from values import EPOCH, Checksums, checksums, checksums_of_rows

# The compiled decoder of PyIceberg 0.12 returns a double as a C float: partition values of that type come out wrong.
# Its decoder in Python is right.
pyiceberg.avro.file.new_decoder = StreamingBinaryDecoder


def catalog_of(lake: firn.Lake):
    return load_catalog(f"{lake.name}", **lake.pyiceberg_properties())


def load(lake: firn.Lake, table: str):
    return catalog_of(lake).load_table(table)


def exists(lake: firn.Lake, table: str) -> bool:
    try:
        load(lake, table)
        return True
    except NoSuchTableError:
        return False


def columns_of(arrow: pa.Table) -> dict:
    return {name: arrow.column(name).to_pylist() for name in arrow.column_names}


class PyIcebergReader:
    name = "pyiceberg"

    def __init__(self, lake: firn.Lake):
        self.lake = lake

    def read(self, table: str, names: list, predicate=None, kind=None) -> dict:
        del kind
        arguments = {"row_filter": predicate.expression()} if predicate else {}
        scan = load(self.lake, table).scan(selected_fields=tuple(names) or ("*",), **arguments)
        return columns_of(scan.to_arrow())

    def takes(self, predicate, transform: str = "") -> bool:
        """Its scan filters by whole columns, its transforms step over the calendar's ends, no float is infinite to it."""
        value = predicate.value
        if isinstance(value, uuid.UUID) and transform == "{}":
            return False  # a partition's uuid and a literal's are never equal to it
        at_the_end = isinstance(value, datetime.date) and value.year in (1, 9999)
        infinite = isinstance(value, float) and math.isinf(value)
        return "." not in predicate.column and not at_the_end and not infinite

    def reads(self, field, rows: list) -> bool:
        """It gives a null list or map of structs as an empty one: not our affair, but a false alarm."""
        kind = field.field_type
        inner = (kind.element_type if isinstance(kind, t.ListType) else
                 kind.value_type if isinstance(kind, t.MapType) else None)
        return not (isinstance(inner, t.StructType) and any(row.get(field.name) is None for row in rows))


class DuckReader:
    """`attach`: over the REST catalog; else the current metadata file is read by its path."""

    name = "duckdb"

    def __init__(self, lake: firn.Lake, attach: bool = False):
        self.lake = lake
        self.attach = attach
        self.connection = duckdb.connect(config={"threads": 2})
        # iceberg needs avro loaded first, else it would try to fetch it.
        for extension in ("avro", "iceberg", "httpfs"):
            self.connection.execute(f"LOAD '{extension_path(extension)}'")
        self.connection.execute("SET TimeZone = 'UTC'")
        if lake.store == "s3":
            endpoint = lake.s3_endpoint.removeprefix("http://")
            self.connection.execute(
                f"CREATE SECRET (TYPE s3, KEY_ID '{S3_KEY}', SECRET '{S3_SECRET}', ENDPOINT '{endpoint}', "
                f"URL_STYLE 'path', USE_SSL false, REGION '{S3_REGION}')")
        if attach:
            self.connection.execute(f"ATTACH '' AS lake (TYPE iceberg, ENDPOINT '{lake.uri}', "
                                    "AUTHORIZATION_TYPE 'none', ACCESS_DELEGATION_MODE 'none')")

    def source(self, table: str) -> str:
        if self.attach:
            return "lake." + ".".join(f'"{part}"' for part in table.split("."))
        return f"iceberg_scan('{load(self.lake, table).metadata_location}')"

    def read(self, table: str, names: list, predicate=None, kind=None) -> dict:
        chosen = ", ".join(f'"{name}"' for name in names) or "*"
        where = f" WHERE {predicate.sql(kind)}" if predicate else ""
        return columns_of(self.query(f"SELECT {chosen} FROM {self.source(table)}{where}"))

    def takes(self, predicate, transform: str = "") -> bool:
        """Its day and month before 1970 are cut towards zero, or fail: it skips partitions of any writer. So it does with
        truncated decimals that are negative (an internal error) or large, and with bucketed uuids."""
        value = predicate.value
        if isinstance(value, decimal.Decimal):
            return not transform.startswith("truncate")
        if isinstance(value, uuid.UUID):
            return not transform.startswith("bucket")
        if isinstance(value, datetime.datetime):
            return value.replace(tzinfo=None) >= EPOCH
        return not isinstance(value, datetime.date) or value >= EPOCH.date()

    def reads(self, field, rows: list) -> bool:
        del field, rows
        return True

    def query(self, sql: str) -> pa.Table:
        return self.connection.execute(sql).fetch_arrow_table()

    def one(self, sql: str):
        return self.connection.execute(sql).fetchone()


def extension_path(name: str) -> pathlib.Path:
    package = importlib.util.find_spec(f"duckdb_extension_{name}")
    found = list(pathlib.Path(next(iter(package.submodule_search_locations))).rglob(f"{name}.duckdb_extension"))
    assert len(found) == 1, f"DuckDB's extension {name} is not installed as expected: {found}"
    return found[0]


class SparkReader:
    """Catalogs are added by lake; tables are named <catalog>.<namespace>.<table> in SQL."""

    name = "spark"

    def __init__(self, deps: pathlib.Path, work: pathlib.Path, lakes: list):
        from pyspark.sql import SparkSession  # only here: --quick does without
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
        os.environ.setdefault("SPARK_LOCAL_HOSTNAME", "localhost")
        os.environ["AWS_REGION"] = S3_REGION
        self.lake = None
        jars = ",".join(str(jar) for jar in sorted((deps / "spark-runtime").glob("*.jar")))
        builder = SparkSession.builder.master("local[2]").appName("firn-tests")
        settings = {
            "spark.jars": jars,
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.driver.host": "127.0.0.1",
            "spark.driver.memory": "1g",
            "spark.driver.extraJavaOptions": " ".join(JAVA_OPTIONS),
            "spark.ui.enabled": "false",
            "spark.sql.session.timeZone": "UTC",
            "spark.sql.shuffle.partitions": "2",
            "spark.sql.ansi.enabled": "true",
            "spark.sql.warehouse.dir": str(work / "spark-warehouse"),
            "spark.sql.extensions": "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions",
        }
        for lake in lakes:
            settings |= self._catalog_settings(lake)
        for key, value in settings.items():
            builder = builder.config(key, value)
        self.session = builder.getOrCreate()
        self.session.sparkContext.setLogLevel("ERROR")

    @staticmethod
    def catalog_name(lake: firn.Lake) -> str:
        return f"{lake.catalog}_{lake.store}"

    def _catalog_settings(self, lake: firn.Lake) -> dict:
        prefix = f"spark.sql.catalog.{self.catalog_name(lake)}"
        settings = {prefix: "org.apache.iceberg.spark.SparkCatalog", f"{prefix}.cache-enabled": "false"}
        if lake.catalog == "sqlite":
            return settings | {f"{prefix}.type": "jdbc", f"{prefix}.uri": f"jdbc:sqlite:{lake.uri}",
                               f"{prefix}.warehouse": lake.warehouse, f"{prefix}.jdbc.schema-version": "V1"}
        return settings | {f"{prefix}.type": "rest", f"{prefix}.uri": lake.uri}

    def of(self, lake: firn.Lake) -> "SparkReader":
        self.lake = lake
        return self

    def table(self, table: str) -> str:
        return f"{self.catalog_name(self.lake)}.{table}"

    def sql(self, text: str):
        return self.session.sql(text)

    def read(self, table: str, names: list, predicate=None, kind=None) -> dict:
        chosen = ", ".join(f"`{name}`" for name in names) or "*"
        where = f" WHERE {predicate.sql(kind)}" if predicate else ""
        return columns_of(self.sql(f"SELECT {chosen} FROM {self.table(table)}{where}").toArrow())

    def reads(self, field, rows: list) -> bool:
        del field, rows
        return True

    def stop(self):
        self.session.stop()


def read_checksums(reader, table: str, fields) -> Checksums:
    return checksums(reader.read(table, [field.name for field in fields]), fields)


def assert_same(reader, table: str, fields, rows: list):
    """The table has exactly these rows, as this reader sees it, in any order."""
    fields = [field for field in fields if reader.reads(field, rows)]
    expected = checksums_of_rows(rows, fields)
    found = read_checksums(reader, table, fields)
    assert found == expected, (
        f"{reader.name} reads {table} differently (read != produced): {found.difference(expected)}")


def ids(lake: firn.Lake, table: str, column: str = "id") -> list:
    return sorted(load(lake, table).scan(selected_fields=(column,)).to_arrow().column(column).to_pylist())


def small_rows(numbers, pad: int = 0) -> list:
    """The rows of produce.small_events() with these ids: id, kind, note."""
    return [(number, f"k{number % 3}", small_note(number, pad)) for number in numbers]


def assert_rows(lake: firn.Lake, table: str, numbers=(), rows=()):
    """The table has the rows of small_events() with these ids, and `rows` besides: each once, with its values, and no
    others. Compared by DuckDB, and by PyIceberg, which has to find the same rows."""
    duck = DuckReader(lake)
    wanted = small_rows(numbers) + list(rows)
    columns = [list(column) for column in zip(*wanted)] or [[], [], []]
    duck.connection.register("sent", pa.table(columns, schema=pa.schema(
        [("id", pa.int64()), ("kind", pa.string()), ("note", pa.string())])))
    duck.connection.register("of_pyiceberg", load(lake, table).scan(selected_fields=("id", "kind", "note")).to_arrow())
    duck.query(f"CREATE TABLE of_duckdb AS SELECT id, kind, note FROM {duck.source(table)}")
    duck.query("CREATE TABLE of_pyiceberg_ AS SELECT id, kind, note FROM of_pyiceberg")
    for stands in ("of_duckdb", "of_pyiceberg_"):
        missing, more = f"(FROM sent EXCEPT ALL FROM {stands})", f"(FROM {stands} EXCEPT ALL FROM sent)"
        lost, strange, count = (duck.one(f"SELECT count(*) FROM {one}")[0] for one in (missing, more, stands))
        assert (lost, strange) == (0, 0), (
            f"{table} {stands.strip('_')} has {count} rows of {len(wanted)}: {lost} are missing or wrong, {strange} "
            f"doubled, wrong or never sent; missing: {duck.query(f'SELECT * FROM {missing} ORDER BY id LIMIT 5').to_pylist()}, "
            f"too many: {duck.query(f'SELECT * FROM {more} ORDER BY id LIMIT 5').to_pylist()}")


def assert_once(lake: firn.Lake, table: str, first: int, count: int):
    """The rows of small_events(first, count), each once with its values, and nothing else."""
    assert_rows(lake, table, range(first, first + count))


def wait_for_snapshot(lake: firn.Lake, table: str, after: int | None, timeout_s: float = 60) -> int:
    """Id of the current snapshot once it is another one than `after`; polls as fast as the catalog answers."""
    catalog = catalog_of(lake)
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        try:
            snapshot = catalog.load_table(table).current_snapshot()
            if snapshot and snapshot.snapshot_id != after:
                return snapshot.snapshot_id
        except NoSuchTableError:
            time.sleep(0.05)
    raise TimeoutError(f"{table} has no new snapshot after {timeout_s:.0f} s")
