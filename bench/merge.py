#!/usr/bin/env python3
"""Small Parquet files put together: the input, and what others need for it.

  merge.py make FOLDER [FILES] [ROWS]   files as pyarrow writes them (dictionary everywhere, zstd 3), and schema.json
  merge.py peers FOLDER                 CPU seconds and output size of pyarrow and DuckDB, which decode every row
  merge.py compare FOLDER               merged.out, made by file_merge_benchmark, against the input, row by row

Needs pyarrow and numpy; peers and compare need duckdb too. The same seed gives the same files.
"""

import json
import pathlib
import resource
import sys
import time

import numpy
import pyarrow
import pyarrow.parquet

LARGE = 1_000_000
ROLES = ["web", "db", "cache", "proxy", "edge", "auth", "mail", "build"]


def pick(random, pool, rows, skew=3.0):
    """Few members of the pool often, most of them rarely."""
    return pool.take(pyarrow.array((len(pool) * random.random(rows) ** skew).astype("int64")))


def pools():
    random = numpy.random.default_rng(7)

    def addresses(count):
        parts = random.integers(1, 255, (count, 4))
        return pyarrow.array([".".join(map(str, row)) for row in parts.tolist()])

    hosts = pyarrow.array([f"{ROLES[i % 8]}-{i:05d}.corp.example.net" for i in range(50_000)])
    users = pyarrow.array([f"user{i:05d}@corp.example.net" for i in range(8_000)])
    return addresses(50_000), addresses(50_000), hosts, users


def identifiers(random, rows):
    digits = random.bytes(16 * rows).hex()
    return pyarrow.array([digits[i:i + 32] for i in range(0, 32 * rows, 32)])


def with_nulls(random, values, share):
    return pyarrow.compute.if_else(pyarrow.array(random.random(len(values)) < share), None, values)


def make_table(number, rows, sources, targets, hosts, users):
    random = numpy.random.default_rng(1000 + number)
    times = 1_760_000_000_000_000 + number * 15_000_000 + numpy.sort(random.integers(0, 15_000_000, rows)) // 1000 * 1000
    packets = numpy.minimum(random.pareto(1.2, rows) * 4 + 1, LARGE).astype("int64")
    source, target = pick(random, sources, rows), pick(random, targets, rows)
    ports = numpy.array([443, 80, 53, 22, 3389, 445, 8080, 123], dtype="int32")
    lists = pyarrow.ListArray.from_arrays(
        pyarrow.array(numpy.arange(rows + 1, dtype="int32") * 2),
        pyarrow.chunked_array([source, target]).combine_chunks().take(
            pyarrow.array(numpy.stack([numpy.arange(rows), numpy.arange(rows) + rows], 1).ravel())))
    return {
        "time": ("timestamp", pyarrow.array(times, pyarrow.timestamp("us"))),
        "uid": ("string", identifiers(random, rows)),
        "flow_id": ("string", identifiers(random, rows)),
        "activity": ("string", pick(random, pyarrow.array(["Open", "Close", "Reset", "Traffic", "Fail"]), rows)),
        "severity": ("int", pyarrow.array(random.choice(6, rows).astype("int32"))),
        "product": ("string", pick(random, pyarrow.array([f"product {i}" for i in range(8)]), rows)),
        "source_ip": ("string", source),
        "source_port": ("int", pyarrow.array(random.integers(32768, 61000, rows).astype("int32"))),
        "source_host": ("string", with_nulls(random, pick(random, hosts, rows), 0.1)),
        "target_ip": ("string", target),
        "target_port": ("int", pyarrow.array(ports[random.choice(8, rows)])),
        "target_host": ("string", with_nulls(random, pick(random, hosts, rows), 0.4)),
        "user": ("string", with_nulls(random, pick(random, users, rows), 0.3)),
        "packets": ("long", pyarrow.array(packets)),
        "bytes": ("long", pyarrow.array(packets * random.integers(40, 1400, rows))),
        "duration": ("long", pyarrow.array((random.pareto(1.0, rows) * 20).clip(0, 3.6e6).astype("int64"))),
        "addresses": ("list", lists),
    }


def make(folder, files=100, rows=7500):
    folder.mkdir(parents=True, exist_ok=True)
    everything = pools()
    for number in range(files):
        columns = make_table(number, rows, *everything)
        ids = {name: {b"PARQUET:field_id": str(i + 1).encode()} for i, name in enumerate(columns)}
        fields = []
        for name, (kind, values) in columns.items():
            kind_of = values.type
            if kind == "list":
                element = {b"PARQUET:field_id": str(len(columns) + 1).encode()}
                kind_of = pyarrow.list_(pyarrow.field("element", pyarrow.string(), metadata=element))
            fields.append(pyarrow.field(name, kind_of, metadata=ids[name]))
        arrays = [values.cast(field.type) for (_, values), field in zip(columns.values(), fields)]
        table = pyarrow.table(arrays, schema=pyarrow.schema(fields))
        pyarrow.parquet.write_table(table, folder / f"{number:05d}.parquet", compression="zstd", compression_level=3,
                                    store_schema=False)
    members = []
    for i, (name, (kind, _)) in enumerate(columns.items()):
        kind_of = {"type": "list", "element-id": len(columns) + 1, "element": "string", "element-required": False}
        members.append({"id": i + 1, "name": name, "required": False, "type": kind_of if kind == "list" else kind})
    document = {"type": "struct", "schema-id": 0, "fields": members}
    (folder / "schema.json").write_text(json.dumps(document))


def inputs(folder):
    return sorted(str(path) for path in folder.glob("*.parquet"))


def measured(name, work, output):
    before, began = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
    work()
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"{name:8} {cpu:6.2f} CPU s  {time.monotonic() - began:6.2f} s  {output.stat().st_size / 1e6:7.1f} MB", flush=True)


def peers(folder):
    import duckdb
    files = inputs(folder)
    print(f"input    {len(files)} files, {sum(pathlib.Path(f).stat().st_size for f in files) / 1e6:.1f} MB")
    output = folder / "peer.out"

    def by_pyarrow():
        with pyarrow.parquet.ParquetWriter(output, pyarrow.parquet.read_schema(files[0]), compression="zstd",
                                           compression_level=3) as writer:
            for begin in range(0, len(files), 130):
                tables = [pyarrow.parquet.read_table(f) for f in files[begin:begin + 130]]
                writer.write_table(pyarrow.concat_tables(tables), row_group_size=LARGE)

    def by_duckdb():
        connection = duckdb.connect()
        connection.execute("set threads=2; set preserve_insertion_order=true")
        connection.execute(f"copy (from read_parquet({files})) to '{output}' "
                           "(format parquet, compression zstd, compression_level 3, row_group_size 1000000)")

    for _ in range(3):
        measured("pyarrow", by_pyarrow, output)
        measured("duckdb", by_duckdb, output)
    output.unlink()


def compare(folder):
    merged = pyarrow.parquet.read_table(folder / "merged.out")
    expected = pyarrow.concat_tables([pyarrow.parquet.read_table(f) for f in inputs(folder)])
    same = expected.num_rows == merged.num_rows and all(
        a.combine_chunks().equals(b.combine_chunks()) for a, b in zip(expected.columns, merged.columns))
    print("the same rows in the same order" if same else "NOT THE SAME")
    return 0 if same else 1


def main():
    if len(sys.argv) < 3 or sys.argv[1] not in ("make", "peers", "compare"):
        print(__doc__)
        return 2
    folder = pathlib.Path(sys.argv[2])
    if sys.argv[1] == "make":
        return make(folder, *map(int, sys.argv[3:5])) or 0
    return peers(folder) or 0 if sys.argv[1] == "peers" else compare(folder)


if __name__ == "__main__":
    sys.exit(main())
