"""Compaction, measured: `firn compact --table` beside pyarrow and DuckDB, which decode and encode every row.

Called by ./firn-dev bench compaction. Tables of network flows with 30 leaf columns, a SQLite catalog, local files:
  arrow  1,000 files of 7,500 rows written by pyarrow (zstd 3, a dictionary on every column), no partitions
  firn   the same rows as Firn writes them from Kafka: a commit and a file a minute, day partitions, default settings
  tiny   20,000 files of 500 rows written by pyarrow, 200 hour partitions
--scale 0.2 takes a fifth of the files (of tiny: of the partitions). The engines run by turns, --runs times, on the
same files, partition by partition; the peers write zstd 3, Firn what the table asks for. CPU seconds are user and
system time; Firn's hold its start, planning and commits, the peers' begin when Python has loaded them. Memory is VmHWM
of the process. After the last run DuckDB compares a checksum of every column, and scans each output (CPU seconds, the
least of five).
"""

import argparse
import json
import os
import pathlib
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import duckdb
import pyarrow

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "tests" / "real"), str(HERE)]

PEERS = ("pyarrow", "duckdb")
BARS = {"arrow": 6, "firn": 15, "tiny": 5}  # times less CPU seconds than the best peer
PEAK_MIB_MAX = 384
GROWTH_MAX = 1.05  # of what Firn wrote
ROW_GROUP_ROWS = 1_000_000
SCAN_TIMES = 5


def parquet(files: list) -> str:
    """For DuckDB; what is in the paths are no columns."""
    return f"read_parquet({files}, hive_partitioning = false)"


# ---- the peers, each in a process of its own


def by_pyarrow(files: list, output: str):
    import pyarrow.dataset
    import pyarrow.parquet
    dataset = pyarrow.dataset.dataset(files, format="parquet")
    with pyarrow.parquet.ParquetWriter(output, dataset.schema, compression="zstd", compression_level=3) as writer:
        waiting, rows = [], 0

        def write():
            writer.write_table(pyarrow.Table.from_batches(waiting), row_group_size=ROW_GROUP_ROWS)

        for batch in dataset.to_batches(batch_readahead=4, fragment_readahead=4):
            waiting.append(batch)
            rows += batch.num_rows
            if rows >= ROW_GROUP_ROWS:
                write()
                waiting, rows = [], 0
        if waiting:
            write()


def by_duckdb(files: list, output: str):
    connection = duckdb.connect(config={"threads": 2, "preserve_insertion_order": True})
    connection.execute(f"COPY (SELECT * FROM {parquet(files)}) TO '{output}' "
                       "(FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 3)")


def cpu_now() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def be_peer(name: str, groups: pathlib.Path, output: pathlib.Path):
    """Puts each group of files into one; says what it took."""
    import pyarrow.dataset
    import pyarrow.parquet
    from measure import peak_mib
    work = {"pyarrow": by_pyarrow, "duckdb": by_duckdb}[name]
    cpu, began = cpu_now(), time.perf_counter()
    for number, files in enumerate(json.loads(groups.read_text())):
        work(files, str(output / f"{number:05d}.parquet"))
    print(json.dumps({"cpu_s": cpu_now() - cpu, "wall_s": time.perf_counter() - began,
                      "peak_mib": peak_mib(os.getpid())}))


# ---- what is there


def live_files(lake) -> list:
    """Lists of paths, a list for each partition, in the order of their commits."""
    from compaction_input import TABLE
    from readers import load
    table = load(lake, TABLE)
    found = []
    for manifest in table.current_snapshot().manifests(table.io):
        for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=True):
            path = entry.data_file.file_path.removeprefix("file://")
            found.append((str(entry.data_file.partition), entry.sequence_number or 0, path))
    groups = {}
    for partition, _, path in sorted(found):
        groups.setdefault(partition, []).append(path)
    return list(groups.values())


def flat(groups: list) -> list:
    return [path for files in groups for path in files]


def size_of(files: list) -> int:
    return sum(os.path.getsize(path) for path in files)


def checksums(files: list) -> dict:
    """Column → sum of its values' hashes; "(rows)" ties the columns together."""
    connection = duckdb.connect(config={"threads": 2})
    names = [row[0] for row in connection.execute(f"DESCRIBE SELECT * FROM {parquet(files)}").fetchall()]
    every = ", ".join(names)
    sums = ", ".join(f"sum(hash({name})::HUGEINT)" for name in names)
    found = connection.execute(f"SELECT count(*), sum(hash({every})::HUGEINT), {sums} FROM {parquet(files)}")
    return dict(zip(["(count)", "(rows)", *names], map(str, found.fetchone())))


SCANS = {
    "port": "SELECT count(*), sum(traffic.bytes_in + traffic.bytes_out) FROM {} WHERE dst_endpoint.port = 443",
    "60 s": "SELECT count(*), sum(traffic.bytes_in) FROM {} WHERE time >= TIMESTAMPTZ '2025-10-09 00:00:00+00' "
            "AND time < TIMESTAMPTZ '2025-10-09 00:01:00+00'",
    "top-k": "SELECT src_endpoint.ip, count(*) n, sum(traffic.bytes_out) FROM {} WHERE severity = 'Informational' "
             "GROUP BY 1 ORDER BY n DESC, 1 LIMIT 10",
    "unnest": "SELECT o.value, count(*) n FROM (SELECT unnest(observables) o FROM {}) GROUP BY 1 "
              "ORDER BY n DESC, 1 LIMIT 10",
}


def scan_costs(outputs: dict) -> dict:
    """Scan → whose files → CPU seconds, the least of SCAN_TIMES by turns. They must find the same."""
    costs = {}
    for scan, query in SCANS.items():
        answers, used = {}, {}
        for _ in range(SCAN_TIMES):
            for name, files in outputs.items():
                connection = duckdb.connect(config={"threads": 2})
                begin = cpu_now()
                answers[name] = connection.execute(query.format(parquet(files))).fetchall()
                used.setdefault(name, []).append(cpu_now() - begin)
                connection.close()
        if any(answer != answers["input"] for answer in answers.values()):
            raise SystemExit(f"the scan '{scan}' finds different rows: {answers}")
        costs[scan] = {name: min(times) for name, times in used.items()}
    return costs


# ---- a table and its engines


class Case:
    def __init__(self, kind: str, folder: pathlib.Path, scale: float):
        import compaction_input
        import firn
        self.kind, self.folder = kind, folder
        self.catalog, self.pristine = folder / "catalog.db", folder / "pristine.db"
        self.lake = firn.Lake("sqlite", "local", str(self.catalog), f"file://{folder}/lake")
        self.table, self.binary = compaction_input.TABLE, firn.binary()
        if not self.pristine.exists():
            shutil.rmtree(folder, ignore_errors=True)
            shape, began = compaction_input.shape_of(kind, scale), time.monotonic()
            compaction_input.make(kind, folder, shape)
            shutil.copy(self.catalog, self.pristine)
            say(f"{kind}: made in {time.monotonic() - began:.0f} s")
        self._restore()
        self.groups = live_files(self.lake)
        (folder / "groups.json").write_text(json.dumps(self.groups))
        self.input = flat(self.groups)
        (folder / "firn.json").write_text(json.dumps(self.lake.config() | {
            "pipeline": "compaction", "kafka": {"bootstrap.servers": "127.0.0.1:1"}, "source": {"topics": ["none"]},
            "tables": [{"name": self.table}], "http": {"listen": "off"}}))
        self.outputs = {"input": self.input}

    def _restore(self):
        """The table as it was made: its files and metadata are never changed, only the catalog's pointer."""
        shutil.copy(self.pristine, self.catalog)

    def _forget(self, engine: str):
        for path in self.outputs.pop(engine, []):
            os.unlink(path)

    def firn(self) -> dict:
        from measure import run_firn
        self._forget("firn")
        self._restore()
        command = [str(self.binary), "compact", "-c", str(self.folder / "firn.json"), "--table", self.table, "--json"]
        report, cost = run_firn(command, self.folder / "report.json", self.folder / "firn.log")
        if report["files"]["left_alone"] or report["groups"]["dropped"]:
            raise SystemExit(f"firn left files alone: {report}")
        self.outputs["firn"] = flat(live_files(self.lake))
        return {**cost, "pages": report["pages"], "chunks_decoded": report["chunks_decoded"]}

    def peer(self, name: str) -> dict:
        self._forget(name)
        output = self.folder / name
        shutil.rmtree(output, ignore_errors=True)
        output.mkdir()
        command = [sys.executable, __file__, "--be", name, str(self.folder / "groups.json"), str(output)]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
        self.outputs[name] = sorted(map(str, output.iterdir()))
        return json.loads(done.stdout)

    def run(self, engine: str) -> dict:
        before = os.getloadavg()[0]
        result = self.firn() if engine == "firn" else self.peer(engine)
        files = self.outputs[engine]
        result |= {"input": self.kind, "engine": engine, "files": len(files), "bytes": size_of(files),
                   "load": max(before, os.getloadavg()[0])}
        say(f"{self.kind}, {engine}: {result['cpu_s']:.2f} CPU s, {result['wall_s']:.1f} s, "
            f"{result['peak_mib']:.0f} MiB, {result['files']} files, {result['bytes'] / 1e6:.1f} MB, "
            f"load {result['load']:.1f}")
        return result

    def check(self):
        expected = checksums(self.input)
        for engine in self.outputs.keys() - {"input"}:
            found = checksums(self.outputs[engine])
            odd = [name for name, value in expected.items() if found.get(name) != value]
            if odd:
                raise SystemExit(f"{self.kind}: the rows of {engine} differ in {', '.join(odd)}")
        return int(expected["(count)"])


def measure(case: Case, options) -> dict:
    say(f"{case.kind}: {len(case.input):,} files in {len(case.groups)} partitions, {size_of(case.input) / 1e6:.1f} MB")
    engines = ("firn",) if options.alone else ("firn", *PEERS)
    runs = [case.run(engine) for _ in range(options.runs) for engine in engines]
    rows = case.check()
    say(f"{case.kind}: the same {rows:,} rows in every output")
    return {"input": case.kind, "scale": options.scale, "files": len(case.input), "partitions": len(case.groups),
            "rows": rows, "bytes": size_of(case.input), "runs": runs, "scans": scan_costs(case.outputs),
            "versions": {"pyarrow": pyarrow.__version__, "duckdb": duckdb.__version__}}


# ---- what is shown


def median(runs: list, engine: str, what: str) -> float:
    return statistics.median(run[what] for run in runs if run["engine"] == engine)


def show(result: dict):
    runs, size = result["runs"], result["bytes"] / 1e6
    engines = list(dict.fromkeys(run["engine"] for run in runs))
    print(f"\n{result['input']}: {result['files']:,} files, {result['rows']:,} rows, "
          f"{result['partitions']} partitions, {size:,.1f} MB; "
          + ", ".join(f"{name} {version}" for name, version in result["versions"].items()))
    print(f"{'engine':<9}{'CPU s':>8}  {'of the runs':<26}{'MB/CPU s':>9}{'wall s':>8}{'peak MiB':>10}{'MB':>9}"
          f"{'load':>6}")
    for engine in engines:
        every = " ".join(f"{run['cpu_s']:.2f}" for run in runs if run["engine"] == engine)
        cpu = median(runs, engine, "cpu_s")
        print(f"{engine:<9}{cpu:>8.2f}  {every:<26}{size / cpu:>9.1f}{median(runs, engine, 'wall_s'):>8.1f}"
              f"{median(runs, engine, 'peak_mib'):>10.0f}{median(runs, engine, 'bytes') / 1e6:>9.1f}"
              f"{median(runs, engine, 'load'):>6.1f}")
    print("scans, CPU ms: " + "; ".join(
        f"{scan} " + ", ".join(f"{name} {1000 * cost:.0f}" for name, cost in costs.items())
        for scan, costs in result["scans"].items()))
    for line in verdicts(result, [engine for engine in engines if engine != "firn"]):
        print(f"  {line}")


def verdicts(result: dict, peers: list) -> list:
    """Each figure beside its bar."""
    runs = result["runs"]

    def said(what: str, met: bool) -> str:
        return f"{'reached' if met else 'MISSED '}  {what}"

    peak = max(run["peak_mib"] for run in runs if run["engine"] == "firn")
    out = [said(f"peak memory {peak:.0f} MiB, at most {PEAK_MIB_MAX}", peak <= PEAK_MIB_MAX)]
    size = median(runs, "firn", "bytes")
    if result["input"] == "firn":
        growth = size / result["bytes"]
        out.append(said(f"output {growth:.3f} times the input, at most {GROWTH_MAX}", growth <= GROWTH_MAX))
    if not peers:
        return out
    best = min(peers, key=lambda peer: median(runs, peer, "cpu_s"))
    times, bar = median(runs, best, "cpu_s") / median(runs, "firn", "cpu_s"), BARS[result["input"]]
    out.append(said(f"CPU s 1/{times:.1f} of the better peer's ({best}), at most 1/{bar}", times >= bar))
    if result["input"] == "arrow":
        ratio = size / min(median(runs, peer, "bytes") for peer in peers)
        out.append(said(f"output {ratio:.2f} times the smaller peer's, at most 1", ratio <= 1))
    for scan, costs in result["scans"].items():
        ratio = costs["firn"] / min(costs[peer] for peer in peers)
        out.append(said(f"scan '{scan}' {ratio:.2f} times the better peer's, at most 1", ratio <= 1))
    return out


def say(text: str):
    print(f"[bench] {time.strftime('%H:%M:%S')} {text}", flush=True)


def main():
    parser = argparse.ArgumentParser(prog="firn-dev bench compaction", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", nargs="+", choices=list(BARS), default=list(BARS))
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--scale", type=float, default=0.2, help="of the number of files (0.2: minutes for all three)")
    parser.add_argument("--alone", action="store_true", help="Firn only")
    parser.add_argument("--keep", type=pathlib.Path, metavar="FOLDER",
                        help="leave the tables there, and take those that are there")
    parser.add_argument("--json", type=pathlib.Path, help="a file for all figures, written anew after each input")
    parser.add_argument("--be", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.be:
        return be_peer(options.be[0], *map(pathlib.Path, options.be[1:]))
    work = options.keep.resolve() if options.keep else pathlib.Path(tempfile.mkdtemp(prefix="firn-bench-"))
    results = []
    try:
        for kind in options.input:
            results.append(measure(Case(kind, work / kind, options.scale), options))
            if not options.keep:
                shutil.rmtree(work / kind)
            if options.json:
                options.json.write_text(json.dumps(results, indent=1) + "\n")
    finally:
        if not options.keep:
            shutil.rmtree(work, ignore_errors=True)
    for result in results:
        show(result)


if __name__ == "__main__":
    main()
