#!/usr/bin/env python3
"""A month of minute commits, 43,200 small files in 30 day partitions: what a full scan of it costs before and after
`firn compact`, and what that costs.

The files are pyarrow's (17 columns of network flows with nulls and a list, zstd 3, --rows rows each), the manifests
PyIceberg's: full ones of 8 MB, as merge-append leaves them, and --small-manifests of one file each, the newest. No
server: a SQLite catalog in the folder. Planning is PyIceberg's plan_files and DuckDB's EXPLAIN, each in a process of
its own, the median of three; a full scan is DuckDB's sum of a hash of all columns. Bytes read are those of the
process's read calls (rchar of /proc/self/io) while it does that; CPU seconds are user and system time.
"""

import argparse
import json
import pathlib
import random
import shutil
import subprocess
import sys
import time

import pyarrow
import pyarrow.parquet

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "real"))

TABLE = "bench.month"
MINUTES_A_DAY = 1440
START_US = 1_759_276_800_000_000  # 2025-10-01
KINDS = 60  # files of different content; the others differ from them by their times
MANIFEST_BYTES = 8 << 20  # commit.manifest.target-size-bytes
FIRST_MANIFEST = 500  # entries; tells how many fit into a full one
RUNS = 3


def lake_of(folder: pathlib.Path):
    import firn
    return firn.Lake("sqlite", "local", str(folder / "catalog.db"), f"file://{folder}/lake")


def flow(chance: random.Random) -> dict:
    """A network flow; `time` is set later."""
    hosts = [f"{chance.choice(['web', 'db', 'edge', 'mail'])}-{int(50_000 * chance.random() ** 3):05d}.corp.example.net"
             for _ in range(2)]
    addresses = [".".join(str(chance.randrange(1, 255)) for _ in range(4)) for _ in range(2)]
    packets = int(min(chance.paretovariate(1.2) * 4, 1_000_000))
    return {
        "uid": f"{chance.getrandbits(128):032x}", "flow_id": f"{chance.getrandbits(128):032x}",
        "activity": chance.choice(["Open", "Close", "Reset", "Traffic", "Fail"]), "severity": chance.randrange(6),
        "product": f"product {chance.randrange(8)}",
        "source_ip": addresses[0], "source_port": chance.randrange(32768, 61000),
        "source_host": hosts[0] if chance.random() > 0.1 else None,
        "target_ip": addresses[1], "target_port": chance.choice([443, 80, 53, 22, 3389, 445]),
        "target_host": hosts[1] if chance.random() > 0.4 else None,
        "user": f"user{chance.randrange(8000):05d}@corp.example.net" if chance.random() > 0.3 else None,
        "packets": packets, "bytes": packets * chance.randrange(40, 1400),
        "duration": int(min(chance.paretovariate(1.0) * 20, 3_600_000)), "addresses": addresses}


def iceberg_schema():
    from pyiceberg import types as t
    from pyiceberg.schema import Schema
    kinds = {"time": t.TimestampType(), "severity": t.IntegerType(), "source_port": t.IntegerType(),
             "target_port": t.IntegerType(), "packets": t.LongType(), "bytes": t.LongType(), "duration": t.LongType(),
             "addresses": t.ListType(100, t.StringType(), element_required=False)}
    names = ["time", *flow(random.Random(0))]
    return Schema(*(t.NestedField(number, name, kinds.get(name, t.StringType()), required=False)
                    for number, name in enumerate(names, 1)))


def arrow_tables(schema, rows: int) -> list:
    """A few tables with field ids, to be written again and again with other times."""
    from pyiceberg.io.pyarrow import schema_to_pyarrow
    chance = random.Random(7)
    return [pyarrow.Table.from_pylist([flow(chance) for _ in range(rows)], schema=schema_to_pyarrow(schema))
            for _ in range(KINDS)]


class Writer:
    """Files of one minute each. Those of a kind have the rows in common, but for times and identifiers, and so most of
    their metrics, which take PyIceberg longer than the file."""

    def __init__(self, table, rows: int):
        from pyiceberg.io.pyarrow import compute_statistics_plan, parquet_path_to_id_mapping
        self.table = table
        self.rows = rows
        self.arrows = arrow_tables(table.schema(), rows)
        self.plan = compute_statistics_plan(table.schema(), table.metadata.properties)
        self.paths = parquet_path_to_id_mapping(table.schema())
        self.chance = random.Random(11)
        self.known = {}  # metrics by kind

    def write(self, path: pathlib.Path, minute: int):
        """Returns the manifest entry's data file."""
        from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
        from pyiceberg.typedef import Record
        begin, step_us = START_US + minute * 60_000_000, 60_000_000 // self.rows
        times = pyarrow.array(range(begin, begin + step_us * self.rows, step_us), pyarrow.int64())
        arrow = self.arrows[minute % KINDS]
        arrow = arrow.set_column(0, arrow.schema.field(0), times.cast(arrow.schema.field(0).type))
        bounds = {1: (begin.to_bytes(8, "little"), times[-1].as_py().to_bytes(8, "little"))}
        for column in (1, 2):
            digits = self.chance.randbytes(16 * self.rows).hex()
            texts = [digits[i:i + 32] for i in range(0, 32 * self.rows, 32)]
            field = arrow.schema.field(column)
            arrow = arrow.set_column(column, field, pyarrow.array(texts, field.type))
            upper = max(texts)[:16]
            bounds[column + 1] = (min(texts)[:16].encode(), (upper[:-1] + chr(ord(upper[-1]) + 1)).encode())
        written = []
        pyarrow.parquet.write_table(arrow, path, compression="zstd", compression_level=3, store_schema=False,
                                    metadata_collector=written)
        metrics = self._metrics(minute % KINDS, written[0])
        lower = metrics["lower_bounds"] | {column: low for column, (low, _) in bounds.items()}
        upper = metrics["upper_bounds"] | {column: high for column, (_, high) in bounds.items()}
        return DataFile.from_args(
            content=DataFileContent.DATA, file_path=f"file://{path}", file_format=FileFormat.PARQUET,
            partition=Record(begin // 86_400_000_000), file_size_in_bytes=path.stat().st_size, sort_order_id=None,
            spec_id=self.table.metadata.default_spec_id, equality_ids=None, key_metadata=None,
            **(metrics | {"lower_bounds": lower, "upper_bounds": upper}))

    def _metrics(self, kind: int, written) -> dict:
        from pyiceberg.io.pyarrow import data_file_statistics_from_parquet_metadata
        if kind not in self.known:
            self.known[kind] = data_file_statistics_from_parquet_metadata(
                written, stats_columns=self.plan, parquet_column_mapping=self.paths).to_serialized_dict()
        return self.known[kind]


def make(folder: pathlib.Path, days: int, rows: int, small_manifests: int):
    from pyiceberg.partitioning import PartitionField, PartitionSpec
    from pyiceberg.transforms import DayTransform
    from readers import catalog_of
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "lake").mkdir(parents=True)
    catalog = catalog_of(lake_of(folder))
    schema = iceberg_schema()
    catalog.create_namespace("bench")
    table = catalog.create_table(TABLE, schema, properties={"format-version": "2"},
                                 partition_spec=PartitionSpec(PartitionField(1, 1000, DayTransform(), "event_day")))
    writer = Writer(table, rows)
    data = folder / "lake" / "data"
    files = []
    for minute in range(days * MINUTES_A_DAY):
        day = data / f"event_day={minute // MINUTES_A_DAY:02d}"
        day.mkdir(parents=True, exist_ok=True)
        files.append(writer.write(day / f"{minute:05d}.parquet", minute))

    def commit(part: list):
        with table.transaction() as change, change.update_snapshot().fast_append() as update:
            for one in part:
                update.append_data_file(one)
        return table.current_snapshot().manifests(table.io)

    small, full = files[len(files) - small_manifests:], files[:len(files) - small_manifests]
    first, = commit(full[:FIRST_MANIFEST])
    a_manifest = max(MANIFEST_BYTES * FIRST_MANIFEST // first.manifest_length, 1)
    for begin in range(FIRST_MANIFEST, len(full), a_manifest):
        commit(full[begin:begin + a_manifest])
    for one in small:
        commit([one])


# ---- each in a process of its own


def read_bytes() -> int:
    return int(open("/proc/self/io", encoding="ascii").read().split("rchar:")[1].split()[0])


def measured(work):
    before, began, cpu_before = read_bytes(), time.perf_counter(), time.process_time()
    value = work()
    return {"seconds": time.perf_counter() - began, "cpu": time.process_time() - cpu_before,
            "read": read_bytes() - before, "value": value}


def plan_pyiceberg(folder: pathlib.Path):
    from readers import load
    load(lake_of(folder), TABLE)  # what is imported by the way
    return measured(lambda: len(list(load(lake_of(folder), TABLE).scan().plan_files())))


def by_duckdb(folder: pathlib.Path, select: str):
    from readers import DuckReader
    duck = DuckReader(lake_of(folder))
    source = duck.source(TABLE)
    return measured(lambda: str(duck.one(select.format(source))[-1])[:200])


def plan_duckdb(folder: pathlib.Path):
    return by_duckdb(folder, "EXPLAIN SELECT * FROM {}") | {"value": ""}


def scan_duckdb(folder: pathlib.Path):
    return by_duckdb(folder, "SELECT count(*) || ' ' || sum(hash(t)::HUGEINT) FROM {} t")


def column_duckdb(folder: pathlib.Path):
    return by_duckdb(folder, "SELECT count(*) || ' ' || sum(hash(bytes)::HUGEINT) FROM {}")


PLANS = {"plan (PyIceberg)": plan_pyiceberg, "plan (DuckDB)": plan_duckdb}
SCANS = {"scan of one column (DuckDB)": column_duckdb, "scan of all columns (DuckDB)": scan_duckdb}
STEPS = PLANS | SCANS


def step(folder: pathlib.Path, name: str, runs: int) -> dict:
    found = []
    for _ in range(runs):
        command = [sys.executable, __file__, "--step", name, str(folder)]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
        found.append(json.loads(done.stdout))
    middle = sorted(found, key=lambda one: one["seconds"])[len(found) // 2]
    return middle | {"from": min(one["seconds"] for one in found), "to": max(one["seconds"] for one in found)}


def facts(folder: pathlib.Path) -> dict:
    from readers import load
    table = load(lake_of(folder), TABLE)
    snapshot = table.current_snapshot()
    manifests = snapshot.manifests(table.io)
    size = {"metadata.json": pathlib.Path(table.metadata_location.removeprefix("file://")).stat().st_size,
            "manifest list": pathlib.Path(snapshot.manifest_list.removeprefix("file://")).stat().st_size,
            "manifests": sum(one.manifest_length for one in manifests)}
    summary = snapshot.summary.additional_properties
    return {"files": int(summary["total-data-files"]), "bytes": int(summary["total-files-size"]),
            "rows": int(summary["total-records"]), "manifests": len(manifests), "metadata": size}


def measure(folder: pathlib.Path, runs: int, steps: list) -> dict:
    now = facts(folder)
    size = now["metadata"]
    print(f"  {now['files']:,} files, {now['bytes'] / 1e6:,.1f} MB, {now['rows']:,} rows; {now['manifests']} manifests "
          f"{size['manifests'] / 1e6:.2f} MB, manifest list {size['manifest list'] / 1e3:.1f} kB, metadata.json "
          f"{size['metadata.json'] / 1e3:.1f} kB", flush=True)
    for name in steps:
        found = step(folder, name, runs)
        now[name] = found
        print(f"  {name:30} {found['seconds']:8.2f} s ({found['from']:.2f}-{found['to']:.2f}), "
              f"{found['cpu']:7.2f} CPU s, {found['read'] / 1e6:9.1f} MB read", flush=True)
    return now


def config_of(folder: pathlib.Path) -> pathlib.Path:
    path = folder / "firn.json"
    path.write_text(json.dumps(lake_of(folder).config() | {
        "pipeline": "month", "kafka": {"bootstrap.servers": "127.0.0.1:1"}, "source": {"topics": ["none"]},
        "tables": [{"name": TABLE}], "http": {"listen": "off"}}))
    return path


def compact(folder: pathlib.Path) -> None:
    import firn
    from measure import run_firn
    command = [firn.binary(), "compact", "-c", config_of(folder), "--table", TABLE, "--json"]
    report, cost = run_firn(command, folder / "report.json", folder / "firn.log")
    print(f"firn compact: {report['files']['before']:,} files became {report['files']['after']:,}, "
          f"{report['bytes']['before'] / 1e6:,.1f} MB -> {report['bytes']['after'] / 1e6:,.1f} MB, {report['commits']} "
          f"commits; {cost['cpu_s']:.1f} CPU s, {cost['wall_s']:.1f} s, peak {cost['peak_mib']:.0f} MiB; "
          f"left alone {report['files']['left_alone']}; load {cost['load']:.1f}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=pathlib.Path, default=ROOT / "build" / "bench-month")
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--rows", type=int, default=200, help="rows of each file (200)")
    parser.add_argument("--small-manifests", type=int, default=99, help="the newest files, a manifest each (99)")
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--one-column", action="store_true", help="no scan of all columns: it takes the longest")
    parser.add_argument("--keep", action="store_true", help="leave the folder, and take the table that is there")
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    folder = options.folder.resolve()
    if options.step:
        print(json.dumps(STEPS[options.step](folder)))
        return 0
    if not (options.keep and (folder / "made").exists()):
        began = time.perf_counter()
        make(folder, options.days, options.rows, options.small_manifests)
        (folder / "made").touch()
        print(f"made in {time.perf_counter() - began:.0f} s: {folder}", flush=True)
    print("before", flush=True)
    steps = [name for name in STEPS if not options.one_column or STEPS[name] is not scan_duckdb]
    before = measure(folder, options.runs, steps)
    compact(folder)
    print("after", flush=True)
    after = measure(folder, options.runs, steps)
    found = [(one["rows"], *(one[name]["value"] for name in steps if name in SCANS)) for one in (before, after)]
    same = found[0] == found[1]
    print("the same rows" if same else f"NOT THE SAME: {found[0]} and {found[1]}")
    if not options.keep:
        shutil.rmtree(folder)
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
