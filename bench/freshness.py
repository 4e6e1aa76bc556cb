"""Freshness, measured: how long after it was produced a record is visible to a reader of the table.

Called by ./firn-dev bench freshness. A real broker, a REST catalog over local files, `firn run` with a short
commit.interval, and a producer that sends --rate events a second, each with the moment of sending as its record's
timestamp. A reader that knows only the catalog asks it ten times a second for the current snapshot and notes when it
first sees one. A row's age is that moment less its record's timestamp, which Firn keeps in the column `_kafka`; it
holds up to 0.1 s of the reader's own waiting. At the end every row is counted: what was sent is there, once.
"""

import argparse
import collections
import contextlib
import json
import multiprocessing
import os
import pathlib
import statistics
import sys
import threading
import time
import urllib.error
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path[:0] = [str(ROOT / "tests" / "real"), str(HERE)]

import duckdb  # noqa: E402
from pyiceberg.manifest import ManifestEntryStatus  # noqa: E402

import events  # noqa: E402
from firn import Lake  # noqa: E402
from ingest import flow_columns, say  # noqa: E402
from measure import Watch, cpu_seconds, in_new_folder  # noqa: E402
from processes import Process, free_port, wait_until  # noqa: E402
from readers import load  # noqa: E402
from servers import KafkaBroker, RestFixture, get  # noqa: E402

TOPIC, TABLE = "fresh", "bench.fresh"
TICK_S = 0.01
POLL_S = 0.1
POOL = 20_000  # events that are sent again and again


def produce(bootstrap: str, partitions: int, rate: int, seconds: float, sent):
    """A process of its own. What it could not send in time it sends at once, with the time of sending."""
    from confluent_kafka import Producer
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 5, "compression.type": "lz4",
                         "enable.idempotence": True, "queue.buffering.max.messages": 1_000_000})
    pool = list(events.values("plain", POOL))
    started, number = time.monotonic(), 0
    while (now := time.monotonic() - started) < seconds:
        due = int(now * rate)
        stamp = int(time.time() * 1000)
        for number in range(number, due):
            producer.produce(TOPIC, pool[number % POOL], partition=number % partitions, timestamp=stamp)
        number = due
        producer.poll(0)
        time.sleep(TICK_S)
    left = producer.flush(60)
    sent.value = number - left


class Reader(threading.Thread):
    """Notes when it first sees a snapshot. It asks for the newest one only, and nothing when that is unchanged."""

    def __init__(self, uri: str):
        super().__init__(daemon=True)
        namespace, name = TABLE.split(".")
        self.url = f"{uri}/v1/namespaces/{namespace}/tables/{name}?snapshots=refs"
        self.seen_ms = {}  # snapshot id → time
        self.rows = 0
        self.done = threading.Event()

    def run(self):
        tag = ""
        while not self.done.wait(POLL_S):
            request = urllib.request.Request(self.url, headers={"If-None-Match": tag} if tag else {})
            try:
                with urllib.request.urlopen(request, timeout=30) as answer:
                    metadata, tag = json.loads(answer.read())["metadata"], answer.headers.get("ETag", "")
            except (urllib.error.HTTPError, OSError):  # unchanged, or not made yet
                continue
            current = metadata.get("current-snapshot-id")
            for snapshot in metadata.get("snapshots", []):
                if snapshot["snapshot-id"] == current and current not in self.seen_ms:
                    self.seen_ms[current] = time.time() * 1000
                    self.rows = int(snapshot["summary"].get("total-records", 0))


def ages_of(lake: Lake, seen_ms: dict) -> tuple[collections.Counter, list]:
    """Age in ms → rows, over all rows; and each append's oldest row."""
    ages, oldest = collections.Counter(), []
    table = load(lake, TABLE)
    connection = duckdb.connect(config={"threads": 1})
    pending = sorted(table.snapshots(), key=lambda one: one.sequence_number)
    seen = None
    for snapshot in reversed(pending):  # one that the reader missed was visible when it saw the next
        seen = seen_ms.get(snapshot.snapshot_id, seen)
        files = [entry.data_file.file_path.removeprefix("file://") for manifest in snapshot.manifests(table.io)
                 if manifest.added_snapshot_id == snapshot.snapshot_id
                 for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=True)
                 if entry.status == ManifestEntryStatus.ADDED]
        if snapshot.summary.operation.value != "append" or not files or seen is None:
            continue
        found = connection.execute("SELECT epoch_ms(_kafka.timestamp) AS sent, count(*) FROM read_parquet(?) GROUP BY 1",
                                   [files]).fetchall()
        for sent_ms, rows in found:
            ages[int(seen - sent_ms)] += rows
        oldest.append(max(seen - sent_ms for sent_ms, _ in found))
    return ages, oldest


def quantile(ages: collections.Counter, share: float) -> float:
    """In seconds: the least age that so great a share of the rows does not exceed."""
    wanted, met = share * ages.total(), 0
    for age in sorted(ages):
        met += ages[age]
        if met >= wanted:
            return age / 1000
    raise ValueError("no rows")


@contextlib.contextmanager
def servers_for(options, work: pathlib.Path):
    """A broker with the topic, and a lake."""
    from confluent_kafka.admin import AdminClient, NewTopic
    deps = pathlib.Path(os.environ["FIRN_REAL_DEPS"])
    servers = []
    try:
        broker = KafkaBroker(deps, work / "kafka")
        servers.append(broker.start())
        rest = RestFixture(deps, work / "rest", f"file://{work}/warehouse")
        servers.append(rest.start())
        admin = AdminClient({"bootstrap.servers": broker.bootstrap})
        admin.create_topics([NewTopic(TOPIC, options.partitions, 1)])[TOPIC].result()
        yield broker, Lake("rest", "local", rest.uri, rest.warehouse)
    finally:
        for server in reversed(servers):
            server.stop()


def start_firn(options, work: pathlib.Path, broker, lake: Lake, **more) -> tuple[Process, int, pathlib.Path]:
    """`firn run` that is ready, its port, and its configuration, with `more` of it."""
    binary = pathlib.Path(os.environ.get("FIRN_BIN", ROOT / "build/release/bin/firn")).resolve()
    port = free_port()
    config = {"pipeline": "fresh", "kafka": {"bootstrap.servers": broker.bootstrap}, "source": {"topics": [TOPIC]},
              **lake.config(), "commit": {"interval": options.interval}, "decode": {"kafka_column": True},
              "http": {"listen": f"127.0.0.1:{port}"}, **more}
    path = work / "firn.yaml"
    path.write_text(f"{{{json.dumps(config)[1:-1]}, tables: [{{name: {TABLE}, partition: [day(time)], columns: "
                    f"[{flow_columns()}]}}]}}\n", encoding="utf-8")
    firn = Process("firn", [binary, "run", "-c", path, "--json"], work / "firn.log", separate_output=True).start()
    wait_until(lambda: get(f"http://127.0.0.1:{port}/readyz")[0] == 200, 120, f"firn is ready:\n{firn.tail()}")
    return firn, port, path


def measure(options, work: pathlib.Path) -> dict:
    with servers_for(options, work) as (broker, lake):
        firn, _, _ = start_firn(options, work, broker, lake)
        try:
            return drive(options, broker.bootstrap, lake, firn)
        finally:
            firn.stop()


def drive(options, bootstrap: str, lake: Lake, firn: Process) -> dict:
    sent = multiprocessing.Value("q", 0)
    seconds = options.minutes * 60
    producer = multiprocessing.Process(target=produce,
                                       args=(bootstrap, options.partitions, options.rate, seconds, sent))
    reader = Reader(lake.uri)
    reader.start()
    began_cpu, began = cpu_seconds(firn.pid), time.monotonic()
    producer.start()
    with Watch(firn.pid) as watch:
        while producer.is_alive():
            producer.join(60)
            say(f"{reader.rows} rows visible, {len(reader.seen_ms)} snapshots, load {os.getloadavg()[0]:.1f}")
            if not firn.running():
                raise SystemExit(f"firn ended:\n{firn.tail()}")
        wait_until(lambda: reader.rows >= sent.value > 0, 120, f"all {sent.value} records are visible", 0.2)
        cpu, wall = cpu_seconds(firn.pid) - began_cpu, time.monotonic() - began
    reader.done.set()
    reader.join()
    firn.terminate()
    firn.wait(60)
    ages, oldest = ages_of(lake, reader.seen_ms)
    if ages.total() != sent.value or reader.rows != sent.value:
        raise SystemExit(f"{sent.value} records were sent, {reader.rows} are in the table, {ages.total()} were measured")
    return {"records": sent.value, "minutes": options.minutes, "rate": sent.value / seconds,
            "interval": options.interval, "p50_s": quantile(ages, 0.5), "p90_s": quantile(ages, 0.9),
            "p99_s": quantile(ages, 0.99), "p999_s": quantile(ages, 0.999), "max_s": max(ages) / 1000,
            "commits": len(oldest), "commit_oldest_median_s": statistics.median(oldest) / 1000,
            "cpu_share_of_a_core": cpu / wall, "cpu_s_per_million": cpu / sent.value * 1e6, "peak_mib": watch.peak_mib,
            "load": watch.load, "load_max": max(watch.loads)}


def main():
    parser = argparse.ArgumentParser(prog="firn-dev bench freshness", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--rate", type=int, default=10_000, help="events a second")
    parser.add_argument("--interval", default="5s", help="Firn's commit.interval")
    parser.add_argument("--partitions", type=int, default=6, help="of the topic")
    parser.add_argument("--json", type=pathlib.Path, help="a file for the figures")
    options = parser.parse_args()
    result = in_new_folder("firn-fresh-", lambda work: measure(options, work), options.json)
    print(f"\n{result['records']:,} records at {result['rate']:,.0f}/s, commit.interval {options.interval}, "
          f"{result['commits']} commits\nvisible in the table - produced: p50 {result['p50_s']:.2f} s, p90 "
          f"{result['p90_s']:.2f} s, p99 {result['p99_s']:.2f} s, p99.9 {result['p999_s']:.2f} s, max "
          f"{result['max_s']:.2f} s\nfirn: {result['cpu_share_of_a_core']:.2f} of a core, "
          f"{result['cpu_s_per_million']:.1f} CPU s/M (compaction included), peak {result['peak_mib']:.0f} MiB; load of "
          f"the machine {result['load']:.1f}, at most {result['load_max']:.1f}")


if __name__ == "__main__":
    main()
