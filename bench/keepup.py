"""Does compaction keep up with ingest, and does the lag that Firn tells hold when it is computed again from outside?

Called by ./firn-dev bench keepup. A real broker, a REST catalog over local files, a producer of --rate events a second for
--minutes, and `firn run` that commits every --interval and compacts beside it. Every ten seconds the metrics of lag, arrival
and capacity are read, and what the table has of files, manifests, snapshots and metadata. With --starved compaction may
take 1 % of a core for the first half of the time, and what the defaults say after a restart.

At the end every record is in the table once, by partition and offset; small files, arrival and write amplification are
computed from the table's metadata by PyIceberg and compared with `firn status --json`.
"""

import argparse
import json
import multiprocessing
import os
import pathlib
import re
import subprocess
import time

from freshness import ROOT, TABLE, Reader, produce, servers_for, start_firn  # it sets the paths of the rest

import pyiceberg.manifest  # noqa: E402
from ingest import say  # noqa: E402
from measure import Watch, cpu_seconds, in_new_folder  # noqa: E402
from processes import wait_until  # noqa: E402
from readers import DuckReader, load  # noqa: E402
from servers import get  # noqa: E402

SMALL = 0.75  # of the target: docs/lag.md
TARGET = 512 << 20
SAMPLE_S = 10
GAUGES = {"lag_files": "firn_compaction_lag_files", "lag_bytes": "firn_compaction_lag_bytes",
          "arrival": "firn_table_arrival_bytes_per_second", "capacity": "firn_compaction_capacity_bytes_per_second",
          "share": "firn_compaction_cpu_share", "cpu_s": "firn_compaction_cpu_seconds_total"}


def metrics(port: int) -> dict:
    """Our table's gauges, and those without a table; nan: not known yet. CPU seconds of no compaction are none."""
    _, text = get(f"http://127.0.0.1:{port}/metrics")
    text = text if isinstance(text, str) else text.decode()
    found = {}
    for name, metric in GAUGES.items():
        values = re.findall(rf'^{metric}(?:{{[^}}]*}})? (\S+)$', text, re.MULTILINE)
        found[name] = sum(map(float, values)) if values else 0.0 if name == "cpu_s" else float("nan")
    return found


def shape(lake) -> dict:
    """What a reader has to open, and what a commit has to write."""
    table = load(lake, TABLE)
    snapshot = table.current_snapshot()
    return {"files": int(snapshot.summary["total-data-files"]), "snapshots": len(table.metadata.snapshots),
            "manifests": len(snapshot.manifests(table.io)),
            "metadata_bytes": pathlib.Path("/" + table.metadata_location.removeprefix("file:").lstrip("/")).stat().st_size}


def from_outside(lake) -> dict:
    """Small files and their bytes, and the rates over all listed snapshots, as docs/lag.md defines them."""
    table = load(lake, TABLE)
    current = table.current_snapshot()
    live = [entry.data_file for manifest in current.manifests(table.io) for entry in
            manifest.fetch_manifest_entry(table.io, discard_deleted=True)
            if entry.data_file.content == pyiceberg.manifest.DataFileContent.DATA]
    small = [one.file_size_in_bytes for one in live if one.file_size_in_bytes < SMALL * TARGET]
    later = sorted(table.metadata.snapshots, key=lambda one: one.sequence_number)[1:]
    added = {True: 0, False: 0}
    for snapshot in later:
        replaces = snapshot.summary.operation.value in ("replace", "overwrite") and "firn.compaction-ms" in snapshot.summary
        added[replaces] += int(snapshot.summary["added-files-size"] or 0)
    return {"small_files": len(small), "small_bytes": sum(small), "arrived": added[False],
            "amplification": (added[True] + added[False]) / max(1, added[False])}


class Run:
    def __init__(self, options, work, broker, lake):
        self.options, self.work, self.broker, self.lake = options, work, broker, lake
        self.samples, self.cpu, self.peak_mib, self.firn = [], 0.0, 0.0, None
        self.compaction_cpu = 0.0

    def start(self, **more):
        self.firn, self.port, self.path = start_firn(self.options, self.work, self.broker, self.lake, **more)

    def sample(self, began: float, rows: int):
        one = {"t": time.monotonic() - began, "rows": rows, **metrics(self.port)}
        self.samples.append(one)
        return one

    def drive(self, producer, reader, seconds: float):
        """Until the time is over; the producer goes on."""
        began, said = time.monotonic(), 0.0
        before = cpu_seconds(self.firn.pid)
        with Watch(self.firn.pid) as watch:
            while time.monotonic() - began < seconds and producer.is_alive():
                time.sleep(SAMPLE_S)
                if not self.firn.running():
                    raise SystemExit(f"firn ended:\n{self.firn.tail()}")
                one = self.sample(began, reader.rows)
                if one["t"] - said >= 60:
                    said = one["t"]
                    told = shape(self.lake)
                    one.update(told)
                    say(f"{one['t']:.0f} s: {one['rows']:,} rows, lag {one['lag_files']:.0f} files {one['lag_bytes'] / 1e6:.0f} MB, "
                        f"arrival {one['arrival'] / 1e6:.2f} MB/s, capacity {one['capacity'] / 1e6:.1f} MB/s, share "
                        f"{one['share']:.2f}; table {told['files']} files, {told['manifests']} manifests, "
                        f"{told['snapshots']} snapshots, metadata {told['metadata_bytes'] // 1024} KiB")
            self.cpu += cpu_seconds(self.firn.pid) - before
            self.compaction_cpu += metrics(self.port)["cpu_s"]
        self.peak_mib = max(self.peak_mib, watch.peak_mib)


def run(options, work: pathlib.Path) -> dict:
    with servers_for(options, work) as (broker, lake):
        this = Run(options, work, broker, lake)
        seconds = options.minutes * 60
        sent = multiprocessing.Value("q", 0)
        reader = Reader(lake.uri)
        producer = multiprocessing.Process(target=produce,
                                           args=(broker.bootstrap, options.partitions, options.rate, seconds, sent))
        window = {"lag": {"window": "1h"}}
        looks = {"interval": "10s"}
        try:
            slow = {"enabled": False} if options.without else {**looks, "cpu_share": "1%", "cpu_share_max": "1%"}
            this.start(compaction=slow if options.starved or options.without else looks, **window)
            reader.start()
            producer.start()
            if options.starved:
                this.drive(producer, reader, seconds / 2)
                this.firn.terminate()
                this.firn.wait(60)
                say("compaction gets its share again")
                this.start(compaction=looks, **window)
                this.drive(producer, reader, seconds / 2)
            else:
                this.drive(producer, reader, seconds)
            producer.join()
            ended = time.monotonic()
            wait_until(lambda: reader.rows >= sent.value > 0, 300, f"all {sent.value} records are visible", 0.2)
            behind_s = time.monotonic() - ended
        finally:
            reader.done.set()
            if producer.is_alive():
                producer.terminate()
            if this.firn is not None:
                this.firn.terminate()
                this.firn.wait(120)
        binary = pathlib.Path(os.environ.get("FIRN_BIN", ROOT / "build/release/bin/firn")).resolve()
        status = json.loads(subprocess.run([binary, "status", "-c", this.path, "--window", "1d", "--json"], check=True,
                                           capture_output=True, text=True).stdout)
        duck = DuckReader(lake)
        rows, distinct = duck.one(f"SELECT count(*), count(DISTINCT (_kafka.partition, _kafka.\"offset\")) FROM "
                                  f"{duck.source(TABLE)}")
        if not rows == distinct == sent.value:
            raise SystemExit(f"{sent.value} records were sent; the table has {rows} rows of {distinct} records")
        return {"records": sent.value, "rate": sent.value / seconds, "minutes": options.minutes,
                "behind_at_the_end_s": behind_s, "cpu_s_per_million": this.cpu / sent.value * 1e6,
                "compaction_cpu_s_per_million": this.compaction_cpu / sent.value * 1e6, "peak_mib": this.peak_mib,
                "samples": this.samples, "shape": shape(lake), "outside": from_outside(lake), "status": status}


def main():
    parser = argparse.ArgumentParser(prog="firn-dev bench keepup", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--rate", type=int, default=20_000, help="events a second")
    parser.add_argument("--interval", default="10s", help="Firn's commit.interval")
    parser.add_argument("--partitions", type=int, default=6, help="of the topic")
    parser.add_argument("--starved", action="store_true", help="1 %% of a core for compaction in the first half")
    parser.add_argument("--without", action="store_true", help="without compaction: what ingest does alone")
    parser.add_argument("--json", type=pathlib.Path, help="a file for the figures")
    options = parser.parse_args()
    result = in_new_folder("firn-keepup-", lambda work: run(options, work), options.json)
    report(result)


def report(result: dict):
    print(f"\n{result['records']:,} records at {result['rate']:,.0f}/s, each in the table once; the last visible "
          f"{result['behind_at_the_end_s']:.1f} s after the end\n"
          f"CPU s a million: {result['cpu_s_per_million']:.2f}, of them compaction's "
          f"{result['compaction_cpu_s_per_million']:.2f}; peak {result['peak_mib']:.0f} MiB\n"
          f"table: {result['shape']}")
    samples = [one for one in result["samples"] if one["arrival"] > 0 and one["capacity"] > 0]
    if samples:
        print(f"lag at most {max(one['lag_bytes'] for one in samples) / 1e6:.1f} MB in "
              f"{max(one['lag_files'] for one in samples):.0f} files; capacity / arrival "
              f"{min(one['capacity'] / one['arrival'] for one in samples):,.0f} at least; share at most "
              f"{max(one['share'] for one in samples):.2f}")
    told, outside = result["status"]["tables"][0]["compaction"], result["outside"]
    window = told["window_seconds"]
    pairs = {"small files": (sum(told["left_alone_files"].values()) + told["uncompacted_files"], outside["small_files"]),
             "bytes of small files": (told["left_alone_bytes"] + told["uncompacted_bytes"], outside["small_bytes"]),
             "arrival, bytes": (told["arrival_bytes_per_second"] * window, outside["arrived"]),
             "write amplification": (told["write_amplification"], outside["amplification"])}
    wrong = 0
    for name, (says, is_so) in pairs.items():
        same = abs(says - is_so) <= 1e-6 * max(1, abs(is_so))
        wrong += not same
        print(f"{name}: firn status says {says:,.3f}, computed from outside {is_so:,.3f}{'' if same else ': NOT THE SAME'}")
    if wrong:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
