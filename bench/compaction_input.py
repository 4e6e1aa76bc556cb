"""Tables of many small files for bench/compaction.py: network flows with the columns of OCSF (30 leaves below structs
and a list), written by pyarrow, or by Firn out of a Kafka topic. The same seed gives the same rows."""

import dataclasses
import datetime
import json
import os
import pathlib
import sys

import duckdb
import pyarrow
import pyarrow.parquet

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "real"))

import firn  # noqa: E402
from pyiceberg import types as t  # noqa: E402
from pyiceberg.partitioning import PartitionField, PartitionSpec  # noqa: E402
from pyiceberg.schema import Schema  # noqa: E402
from pyiceberg.transforms import HourTransform  # noqa: E402
from readers import catalog_of  # noqa: E402

TABLE = "bench.flows"
MIDNIGHT = datetime.datetime(2025, 10, 9, tzinfo=datetime.timezone.utc)
FILE_SPAN_US = 15_000_000  # the time that a file's rows lie in
LATE_MS = 4_000  # rows come in the order of their times but for so much
HOUR_US = 3_600_000_000
FILES_A_COMMIT = 50

ADDRESSES, HOSTS, USERS = 50_000, 50_000, 8_000
PORTS = {443: 0.41, 53: 0.16, 80: 0.12, 445: 0.06, 22: 0.05, 8080: 0.04, 123: 0.04, 3389: 0.03, 5432: 0.01}
WORDS = ["web", "db", "cache", "proxy", "edge", "auth", "mail", "build", "ldap", "print", "git", "dns"]
PRODUCTS = {("Firewall", "Northwall", "1.1.0"): 0.3, ("Zeek", "Zeek", "1.3.0"): 0.2,
            ("Flow Logs", "Cloud", "1.2.0"): 0.2, ("Suricata", "OISF", "1.3.0"): 0.1,
            ("Sensor", "Hawkeye", "1.4.0"): 0.1, ("Proxy", "Gateway", "1.1.0"): 0.05,
            ("DNS Firewall", "Cloud", "1.2.0"): 0.03, ("WAF", "Edge", "1.0.0"): 0.02}
SEVERITIES = {"Informational": 0.9, "Low": 0.05, "Medium": 0.03, "Unknown": 0.01, "High": 0.008, "Critical": 0.002}
ACTIVITIES = {"Traffic": 0.35, "Open": 0.25, "Close": 0.25, "Refuse": 0.07, "Fail": 0.05, "Reset": 0.03}
STATUSES = {"Success": 0.93, "Failure": 0.06, "Unknown": 0.01}
DIRECTIONS = {"Outbound": 0.7, "Inbound": 0.2, "Lateral": 0.1}


@dataclasses.dataclass
class Shape:
    """How many files of how many rows, and which hour each lies in."""

    files: int
    rows: int
    hours: int = 0  # partitions; 0: the table has none

    def begin_us(self, number: int) -> int:
        """Without partitions one after the other, half of them before midnight; else from hour to hour."""
        midnight = int(MIDNIGHT.timestamp()) * 1_000_000
        if self.hours == 0:
            return midnight + (number - self.files // 2) * FILE_SPAN_US
        return midnight + number % self.hours * HOUR_US + number // self.hours * FILE_SPAN_US


def shape_of(kind: str, scale: float) -> Shape:
    if kind == "tiny":
        hours = max(round(200 * scale), 1)
        return Shape(files=100 * hours, rows=500, hours=hours)
    return Shape(files=max(round(1000 * scale), 2), rows=7500)


def iceberg_schema() -> Schema:
    number = iter(range(1, 100))

    def field(name, kind, required=False):
        return t.NestedField(next(number), name, kind, required=required)

    def struct(**members):
        return t.StructType(*(field(name, kind) for name, kind in members.items()))

    text, small, large = t.StringType(), t.IntegerType(), t.LongType()
    endpoint = {"ip": text, "port": small, "hostname": text}
    return Schema(
        field("time", t.TimestamptzType(), True), field("class_uid", small), field("activity_id", small),
        field("activity_name", text), field("severity_id", small), field("severity", text), field("status", text),
        field("metadata", struct(uid=text, product_name=text, vendor_name=text, version=text)),
        field("src_endpoint", struct(**endpoint)), field("dst_endpoint", struct(**endpoint)),
        field("connection_info", struct(uid=text, protocol_name=text, protocol_num=small, direction=text)),
        field("traffic", struct(bytes_in=large, bytes_out=large, packets_in=large, packets_out=large)),
        field("duration", large), field("user_name", text),
        field("observables", t.ListType(next(number), struct(name=text, type_id=small, value=text),
                                        element_required=False)))


def chosen(shares: dict, salt: int, value=lambda name: f"'{name}'") -> str:
    """SQL: one of the names, each as often as its share says; the last one where nothing is left."""
    *ahead, last = shares
    reached, out = 0.0, f"CASE WHEN false THEN {value(last)}"
    for name in ahead:
        reached += shares[name]
        out += f" WHEN chance(i, {salt}) < {reached:.6f} THEN {value(name)}"
    return f"{out} ELSE {value(last)} END"


def numbered(shares: dict):
    names = list(shares)
    return lambda name: str(names.index(name) + 1)


def nth(n: int):
    """Of a tuple."""
    return lambda names: f"'{names[n]}'"


# Few members of a pool often, most of them rarely (skewed); all of it a function of the row's number.
MACROS = """
CREATE MACRO chance(i, salt) AS (hash(i, salt) >> 11)::DOUBLE / 9007199254740992.0;
CREATE MACRO skewed(i, salt, members) AS floor(members * chance(i, salt) ** 3)::INT;
CREATE MACRO pareto(i, salt, alpha) AS (1 - chance(i, salt)) ** (-1 / alpha) - 1;
CREATE MACRO word(n, salt) AS {words}[1 + (hash(n, salt) % {word_count})::INT];
CREATE MACRO address(first, n) AS concat_ws('.', first, hash(n, 1) % 256, hash(n, 2) % 256, 1 + hash(n, 3) % 254);
CREATE MACRO host(n) AS concat(word(n, 4), '-', word(n, 5), '-', lpad(n::VARCHAR, 5, '0'), '.corp.example.net');
CREATE MACRO packets(i, salt) AS least(pareto(i, salt, 1.2) * 4 + 1, 1e6)::BIGINT;
CREATE MACRO identifier(i, salt) AS md5(concat(i, salt))::UUID::VARCHAR;
"""

ROWS = f"""
WITH numbers AS (
  SELECT file * 1_000_000 + row AS i, file, begin_us, floor(chance(i, 12) * {FILE_SPAN_US // 1000})::BIGINT AS arrival,
    skewed(i, 1, {ADDRESSES}) AS source, skewed(i, 2, {ADDRESSES}) AS target
  FROM (SELECT unnest($files) AS file, unnest($begins) AS begin_us), (SELECT unnest(range($rows)) AS row)
), parts AS (
  SELECT *, {chosen(PORTS | {0: 0}, 5, str)} AS known_port, address('10', source) AS source_ip,
    address(1 + hash(target, 6) % 223, target) AS target_ip,
    CASE WHEN chance(i, 7) >= 0.4 THEN host(target % {HOSTS}) END AS target_host,
    packets(i, 8) AS packets_in, packets(i, 9) AS packets_out
  FROM numbers
), flows AS (
  SELECT *, CASE known_port WHEN 0 THEN 1024 + (hash(i, 10) % 64512)::INT ELSE known_port END AS port,
    CASE WHEN known_port = 53 THEN 'udp' WHEN chance(i, 11) < 0.01 THEN 'icmp' ELSE 'tcp' END AS protocol
  FROM parts
)
SELECT make_timestamptz(begin_us + (arrival + (hash(i, 25) % {LATE_MS})::BIGINT) * 1000) AS time,
  4001 AS class_uid, {chosen(ACTIVITIES, 13, numbered(ACTIVITIES))} AS activity_id,
  {chosen(ACTIVITIES, 13)} AS activity_name, {chosen(SEVERITIES, 14, numbered(SEVERITIES))} AS severity_id,
  {chosen(SEVERITIES, 14)} AS severity, {chosen(STATUSES, 15)} AS status,
  {{'uid': identifier(i, 'a'), 'product_name': {chosen(PRODUCTS, 16, nth(0))},
    'vendor_name': {chosen(PRODUCTS, 16, nth(1))}, 'version': {chosen(PRODUCTS, 16, nth(2))}}} AS metadata,
  {{'ip': source_ip, 'port': 32768 + (hash(i, 17) % 28232)::INT,
    'hostname': CASE WHEN chance(i, 18) >= 0.1 THEN host(source % {HOSTS}) END}} AS src_endpoint,
  {{'ip': target_ip, 'port': port, 'hostname': target_host}} AS dst_endpoint,
  {{'uid': identifier(i, 'b'), 'protocol_name': protocol,
    'protocol_num': CASE protocol WHEN 'tcp' THEN 6 WHEN 'udp' THEN 17 ELSE 1 END,
    'direction': {chosen(DIRECTIONS, 19)}}} AS connection_info,
  {{'bytes_in': packets_in * (40 + (hash(i, 20) % 1360)::BIGINT),
    'bytes_out': packets_out * (40 + (hash(i, 21) % 1360)::BIGINT),
    'packets_in': packets_in, 'packets_out': packets_out}} AS traffic,
  least(pareto(i, 22, 1.0) * 20, 3.6e6)::BIGINT AS duration,
  CASE WHEN chance(i, 23) >= 0.3 THEN concat('user', lpad(skewed(i, 24, {USERS})::VARCHAR, 5, '0'),
    '@corp.example.com') END AS user_name,
  list_filter([{{'name': 'src_endpoint.ip', 'type_id': 2, 'value': source_ip}},
    {{'name': 'dst_endpoint.ip', 'type_id': 2, 'value': target_ip}},
    {{'name': 'dst_endpoint.hostname', 'type_id': 1, 'value': target_host}}],
    lambda one: one.value IS NOT NULL) AS observables
FROM flows
"""


class Flows:
    """Makes the rows of files, of several at once because a query has its price."""

    def __init__(self, shape: Shape):
        self.shape = shape
        self.connection = duckdb.connect(config={"threads": 1})
        self.connection.execute(MACROS.format(words=WORDS, word_count=len(WORDS)))

    def _query(self, query: str, files: range):
        return self.connection.execute(query, {"files": list(files), "rows": self.shape.rows,
                                               "begins": [self.shape.begin_us(number) for number in files]})

    def arrow(self, schema: pyarrow.Schema, files: range) -> list:
        rows = self._query(f"{ROWS} ORDER BY file, arrival", files).to_arrow_table().cast(schema)
        return [rows.slice(part * self.shape.rows, self.shape.rows) for part in range(len(files))]

    def events(self, number: int) -> list:
        """A JSON object a row, times as milliseconds."""
        rows = f"SELECT * REPLACE (epoch_ms(time) AS time) FROM ({ROWS} ORDER BY arrival)"
        found = self._query(f"SELECT to_json(f)::VARCHAR FROM ({rows}) f", range(number, number + 1))
        return [text.encode() for text, in found.fetchall()]


# ---- files of pyarrow


def make_by_arrow(lake: firn.Lake, folder: pathlib.Path, shape: Shape):
    """zstd 3, a dictionary on every column; committed FILES_A_COMMIT at a time with their metrics."""
    from pyiceberg.io.pyarrow import schema_to_pyarrow
    catalog = catalog_of(lake)
    catalog.create_namespace("bench")
    place = {}
    if shape.hours:
        place["partition_spec"] = PartitionSpec(PartitionField(1, 1000, HourTransform(), "time_hour"))
    properties = {"format-version": "2", "write.parquet.compression-codec": "zstd",
                  "write.parquet.compression-level": "3"}
    table = catalog.create_table(TABLE, iceberg_schema(), properties=properties, **place)
    flows, schema = Flows(shape), schema_to_pyarrow(table.schema())
    entry = EntryMaker(table)
    for begin in range(0, shape.files, FILES_A_COMMIT):
        numbers, made = range(begin, min(begin + FILES_A_COMMIT, shape.files)), []
        for number, rows in zip(numbers, flows.arrow(schema, numbers)):
            hour = shape.begin_us(number) // HOUR_US if shape.hours else None
            path = folder / "data" / (f"time_hour={hour}" if shape.hours else "") / f"{number:05d}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            written = []
            pyarrow.parquet.write_table(rows, path, compression="zstd", compression_level=3, store_schema=False,
                                        metadata_collector=written)
            made.append(entry.of(path, hour, written[0]))
        with table.transaction() as change, change.update_snapshot().fast_append() as update:
            for one in made:
                update.append_data_file(one)


class EntryMaker:
    def __init__(self, table):
        from pyiceberg.io.pyarrow import compute_statistics_plan, parquet_path_to_id_mapping
        self.spec_id = table.metadata.default_spec_id
        self.plan = compute_statistics_plan(table.schema(), table.metadata.properties)
        self.paths = parquet_path_to_id_mapping(table.schema())

    def of(self, path: pathlib.Path, hour: int | None, written):
        """The manifest entry's data file; `written`: the footer as pyarrow has it."""
        from pyiceberg.io.pyarrow import data_file_statistics_from_parquet_metadata
        from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
        from pyiceberg.typedef import Record
        metrics = data_file_statistics_from_parquet_metadata(written, stats_columns=self.plan,
                                                             parquet_column_mapping=self.paths)
        return DataFile.from_args(
            content=DataFileContent.DATA, file_path=f"file://{path}", file_format=FileFormat.PARQUET,
            partition=Record() if hour is None else Record(hour), file_size_in_bytes=path.stat().st_size,
            sort_order_id=None, spec_id=self.spec_id, equality_ids=None, key_metadata=None,
            **metrics.to_serialized_dict())


# ---- files of Firn


def make_by_firn(lake: firn.Lake, folder: pathlib.Path, shape: Shape):
    """What `firn run` makes of a topic that gets the rows of a minute, and the next ones when those are committed:
    a commit and a file for each, day partitions, the defaults of everything else but compaction, which is off."""
    from confluent_kafka import Producer
    from confluent_kafka.admin import AdminClient, NewTopic
    from servers import KafkaBroker
    schema = iceberg_schema()
    columns = [{"name": field.name, "type": firn_type(field.field_type)} for field in schema.fields]
    columns[0] |= {"required": True, "epoch_unit": "ms"}
    broker = KafkaBroker(pathlib.Path(os.environ["FIRN_REAL_DEPS"]), folder / "kafka")
    pipeline = firn.Pipeline(folder / "pipeline", lake.config() | {
        "pipeline": "flows", "kafka": {"bootstrap.servers": broker.bootstrap}, "source": {"topics": ["flows"]},
        "commit": {"interval": "1h", "rows_max": shape.rows}, "compaction": {"enabled": False},
        "tables": [{"name": TABLE, "columns": columns, "partition": ["day(time)"]}]})
    connection = {"bootstrap.servers": broker.bootstrap, "log_level": 0}
    broker.start()
    try:
        admin = AdminClient(connection)
        admin.create_topics([NewTopic("flows", 1, 1, config={"retention.ms": "-1"})])["flows"].result()
        producer = Producer(connection | {"linger.ms": 5, "compression.type": "lz4",
                             "queue.buffering.max.messages": 2 * shape.rows})
        flows, run = Flows(shape), pipeline.start()
        for number in range(shape.files):
            for event in flows.events(number):
                producer.produce("flows", event)
            if producer.flush(60):
                raise SystemExit("the topic could not be filled")
            wanted = (number + 1) * shape.rows
            run.wait_for(lambda status: status["rows_committed"] == wanted, 120, f"{wanted} rows are committed")
        if run.stop() != firn.SUCCESS:
            raise SystemExit(f"firn run failed:\n{run.process.tail()}")
    finally:
        pipeline.end()
        broker.stop()


def firn_type(kind: t.IcebergType) -> str:
    """As Firn's configuration writes it."""
    if isinstance(kind, t.StructType):
        return f"struct<{', '.join(f'{one.name}: {firn_type(one.field_type)}' for one in kind.fields)}>"
    if isinstance(kind, t.ListType):
        return f"list<{firn_type(kind.element_type)}>"
    return str(kind)


def make(kind: str, folder: pathlib.Path, shape: Shape) -> firn.Lake:
    lake = firn.Lake("sqlite", "local", str(folder / "catalog.db"), f"file://{folder}/lake")
    (folder / "lake").mkdir(parents=True)
    (make_by_firn if kind == "firn" else make_by_arrow)(lake, folder, shape)
    (folder / "kind.json").write_text(json.dumps({"kind": kind, **dataclasses.asdict(shape)}))
    return lake
