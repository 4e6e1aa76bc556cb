"""Memory, measured: the peak of `firn run` (VmHWM) against memory.limit, in the shapes that are hard on it.

    .deps/real/venv/bin/python bench/memory.py [--limit MiB] [--spill] [--interval S] [SHAPE...]

One broker (Kafka, KRaft) with a topic of four partitions for each kind of events, filled before; the catalog is SQLite
and the store a local folder, for `stalled` an S3 server that is suspended for --stall seconds. The program drains the
topic with --until-caught-up; its peak is read ten times a second and at its end, and its metrics once a second. Each
shape is one run and one line of the table. tests/real/run.sh --set-up-only installs what this needs.
"""

import argparse
import json
import os
import pathlib
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path[:0] = [str(ROOT / "tests" / "real"), str(HERE)]

from ingest import COLUMNS  # noqa: E402
from measure import peak_mib  # noqa: E402
from processes import free_port  # noqa: E402
from servers import BUCKET, S3_KEY, S3_REGION, S3_SECRET, KafkaBroker, ObjectServer, get  # noqa: E402

MARGIN_MIB = 96  # docs/memory.md
WIDE_COLUMNS = 500
TABLES = 500
SHAPES = {  # events, and the partition of the table
    "10_partitions": ("flows", "bucket(10, metadata.uid)"),
    "1000_partitions": ("flows", "bucket(1000, metadata.uid)"),
    "5000_partitions": ("flows", "bucket(5000, metadata.uid)"),
    "500_tables": ("tables", None),
    "500_columns": ("wide", None),
    "1MB_records": ("long", None),
    "1MB_alike": ("alike", None),  # what LZ4 makes a hundredth of
    "stalled": ("flows", "bucket(10, metadata.uid)"),
}


def words(draw: random.Random, count: int) -> list:
    """Text as events have it: it compresses, but not to nothing."""
    return ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=draw.randint(4, 12))) for _ in range(count)]


def text_of(draw: random.Random, pool: list, size: int) -> str:
    return " ".join(draw.choices(pool, k=size // 5))[:size]


def made_events(kind: str, count: int):
    draw = random.Random(7)
    if kind == "alike":
        for number in range(count):
            note = f"the same {number % 10} again " * 55_000
            yield f'{{"id":{number},"t":"t","note":"{note[:1_000_000]}"}}'
        return
    pool = words(draw, 5_000)
    texts = [text_of(draw, pool, 1_000_000 if kind == "long" else 900) for _ in range(40 if kind == "long" else 3_000)]
    for number in range(count):
        if kind == "wide":
            fields = ",".join(f'"c{at}":{(number * at) % 9973}' if at % 2 else f'"c{at}":"{pool[(number + at) % 5000]}"'
                              for at in range(WIDE_COLUMNS))
            yield f"{{{fields}}}"
        else:
            yield f'{{"id":{number},"t":"t{draw.randrange(TABLES)}","note":"{texts[draw.randrange(len(texts))]}"}}'


def fill(binary, bootstrap: str, topic: str, kind: str, count: int):
    from confluent_kafka import Producer
    from confluent_kafka.admin import AdminClient, NewTopic
    admin = AdminClient({"bootstrap.servers": bootstrap})
    config = {"retention.ms": "-1", "max.message.bytes": "4000000"}
    admin.create_topics([NewTopic(topic, 4, 1, config=config)])[topic].result()
    if kind == "flows":
        subprocess.run([binary, "generate", "--bootstrap", bootstrap, "--topic", topic, "--count", str(count),
                        "--partitions", "4"], check=True)
        return
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 50, "compression.type": "lz4",
                         "message.max.bytes": 4_000_000, "queue.buffering.max.kbytes": 131_072})
    for number, event in enumerate(made_events(kind, count)):
        while True:
            try:
                producer.produce(topic, event, partition=number % 4)
                break
            except BufferError:
                producer.poll(0.1)
        if number % 1000 == 0:
            producer.poll(0)
    producer.flush()


def table_of(kind: str, partition: str | None) -> str:
    if kind == "flows":
        return f"  - name: bench.flows\n    columns:{COLUMNS}\n    partition: ['{partition}']\n"
    if kind == "wide":
        columns = "".join(f"      - {{name: c{at}, type: {'long' if at % 2 else 'string'}}}\n"
                          for at in range(WIDE_COLUMNS))
        return f"  - name: bench.wide\n    columns:\n{columns}"
    columns = ("    columns:\n      - {name: id, type: long}\n      - {name: t, type: string}\n"
               "      - {name: note, type: string}\n")
    return f"  - name: \"bench.{'{field:t}' if kind == 'tables' else 'long'}\"\n{columns}"


def write_config(path: pathlib.Path, kind: str, partition, topic: str, bootstrap: str, port: int, s3, options):
    work = path.parent
    store = f"file://{work}/{path.stem}-lake"
    extra = ""
    if s3 is not None:
        store = f"s3://{BUCKET}/{path.stem}"
        extra = (f"store: {{s3: {{endpoint: '{s3.endpoint}', region: {S3_REGION}, path_style: true, "
                 f"access_key_id: {S3_KEY}, secret_access_key: {S3_SECRET}}}}}\n")
    if options.spill:
        extra += f"spill: {{dir: '{work}/spill', limit: 20GiB}}\n"
    path.write_text(f"""
pipeline: {path.stem.lower()}
kafka: {{bootstrap.servers: "{bootstrap}"{"".join(f", {each}" for each in options.kafka)}}}
source: {{topics: [{topic}]}}
catalog: {{type: sqlite, uri: "{work}/{path.stem}.db", warehouse: "{store}"}}
commit: {{interval: {options.interval}s, max_age: 1h, detach_after: 1h}}
memory: {{limit: {options.limit}MiB}}
http: {{listen: "127.0.0.1:{port}"}}
home: bench.home
rejects: {{policy: table, table: bench.rejects}}
{extra}tables:
{table_of(kind, partition)}""", encoding="utf-8")


class Watch(threading.Thread):
    """Peaks of the process and of what it says of itself."""

    def __init__(self, process, port: int):
        super().__init__()
        self.process, self.port = process, port
        self.peak, self.metrics = 0.0, {}

    def run(self):
        asked = 0.0
        while self.process.poll() is None:
            try:
                self.peak = max(self.peak, peak_mib(self.process.pid))
            except (OSError, ValueError):
                return
            if time.monotonic() - asked > 1:
                asked = time.monotonic()
                self._ask()
            time.sleep(0.1)

    def _ask(self):
        for line in get(f"http://127.0.0.1:{self.port}/metrics", 2)[1].decode(errors="replace").splitlines():
            if line.startswith(("firn_memory_", "firn_spilled_bytes_total", "firn_early_commits_total")):
                name, value = line.rsplit(" ", 1)
                name = name.split("{")[0] + (name[name.index("reason"):].rstrip("}") if "reason" in name else "")
                self.metrics[name] = max(self.metrics.get(name, 0.0), float(value))


def stall(s3, process, seconds: float):
    time.sleep(8)
    s3.suspend()
    until = time.monotonic() + seconds
    while time.monotonic() < until and process.poll() is None:
        time.sleep(0.2)
    s3.resume()


def run(binary, work: pathlib.Path, shape: str, topic: str, bootstrap: str, s3, options) -> dict:
    kind, partition = SHAPES[shape]
    port = free_port()
    config = work / f"{shape}.yaml"
    write_config(config, kind, partition, topic, bootstrap, port, s3, options)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.monotonic()
    with open(work / f"{shape}.log", "wb") as log:
        process = subprocess.Popen([binary, "run", "-c", config, "--until-caught-up", "--json"], stdout=subprocess.PIPE,
                                   stderr=log)
    watch = Watch(process, port)
    watch.start()
    if s3 is not None:
        threading.Thread(target=stall, args=(s3, process, options.stall)).start()
    output = process.stdout.read()
    process.wait()
    wall = time.monotonic() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    watch.join()
    if process.returncode != 0:
        raise SystemExit(f"firn ended with {process.returncode}:\n{(work / f'{shape}.log').read_text()[-3000:]}")
    report = json.loads(output)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"shape": shape, "peak_mib": watch.peak, "wall_s": wall, "cpu_s": cpu, "report": report,
            "metrics": watch.metrics}


def show(results: list, options):
    print(f"\nmemory.limit {options.limit} MiB, commit.interval {options.interval} s, "
          f"{'with' if options.spill else 'without'} spill; to hold: {options.limit + MARGIN_MIB} MiB\n")
    print("| shape | peak MiB | events | wall s | events/s | CPU s | commits | files | early | spilled MiB |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for result in results:
        report, metrics = result["report"], result["metrics"]
        early = sum(value for name, value in metrics.items() if name.startswith("firn_early"))
        print(f"| {result['shape']} | {result['peak_mib']:.0f} | {report['records']:,} | {result['wall_s']:.1f} "
              f"| {report['records'] / result['wall_s']:,.0f} | {result['cpu_s']:.1f} | {report['commits']} "
              f"| {report['data_files']} | {early:.0f} "
              f"| {metrics.get('firn_spilled_bytes_total', 0) / 2**20:.0f} |")
    for result in results:
        uses = {name[len("firn_memory_"):-len("_bytes")]: f"{value / 2**20:.0f}"
                for name, value in sorted(result["metrics"].items()) if name.startswith("firn_memory_")}
        print(f"{result['shape']}: highest that was seen of each use, MiB: {uses}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shapes", nargs="*", metavar="SHAPE", help=", ".join(SHAPES))
    parser.add_argument("--limit", type=int, default=512, help="memory.limit, MiB")
    parser.add_argument("--spill", action="store_true", help="with a spill folder")
    parser.add_argument("--interval", type=int, default=15, help="commit.interval, seconds")
    parser.add_argument("--stall", type=float, default=60, help="how long the store stands still, seconds")
    parser.add_argument("--kafka", action="append", default=[], metavar="'NAME: VALUE'", help="of the Kafka client")
    parser.add_argument("--flows", type=int, default=3_000_000, help="events of 950 bytes")
    parser.add_argument("--tables-events", type=int, default=1_000_000, help="events of 950 bytes for 500 tables")
    parser.add_argument("--wide", type=int, default=150_000, help="events of 500 columns, 8 KB")
    parser.add_argument("--long", type=int, default=3_000, help="events of 1 MB")
    options = parser.parse_args()
    shapes = options.shapes or list(SHAPES)
    if unknown := [shape for shape in shapes if shape not in SHAPES]:
        parser.error(f"no such shape: {unknown}")
    binary = pathlib.Path(os.environ.get("FIRN_BIN", ROOT / "build/release/bin/firn")).resolve()
    deps = pathlib.Path(os.environ.get("FIRN_DEPS", ROOT / ".deps")) / "real"
    counts = {"flows": options.flows, "tables": options.tables_events, "wide": options.wide, "long": options.long,
              "alike": options.long}
    work = pathlib.Path(tempfile.mkdtemp(prefix="firn-memory-", dir=os.environ.get("TMPDIR", "/var/tmp")))
    broker = KafkaBroker(deps, work / "kafka")
    results = []
    try:
        broker.start()
        for kind in dict.fromkeys(SHAPES[shape][0] for shape in shapes):
            fill(binary, broker.bootstrap, kind, kind, counts[kind])
        for shape in shapes:
            print(f"[bench] {shape}, load {os.getloadavg()[0]:.1f}", flush=True)
            s3 = ObjectServer(deps / "venv/bin/weed", work / "s3").start() if shape == "stalled" else None
            try:
                results.append(run(binary, work, shape, SHAPES[shape][0], broker.bootstrap, s3, options))
            finally:
                if s3 is not None:
                    s3.stop()
        show(results, options)
    finally:
        broker.stop()
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
