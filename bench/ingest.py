"""Ingest, measured: the same events of a real Kafka topic into a table by Firn and by the Kafka Connect Iceberg sink.

Called by ./firn-dev bench ingest. One broker, one REST catalog, one local warehouse; each drains a topic that was filled
before. CPU seconds are user and system time of the one process, start included; memory is its VmHWM. Firn's own report
says where its CPU seconds went.
"""

import argparse
import json
import os
import pathlib
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT / "tests" / "real"))

from processes import Process, wait_until  # noqa: E402
from servers import KafkaBroker, RestFixture, get, java  # noqa: E402

TICKS = os.sysconf("SC_CLK_TCK")
COLUMNS = """
      - {name: time, type: timestamptz, required: true, epoch_unit: ms}
      - {name: event_time, type: timestamptz}
      - {name: class_uid, type: int}
      - {name: class_name, type: string}
      - {name: category_uid, type: int}
      - {name: category_name, type: string}
      - {name: activity_id, type: int}
      - {name: activity_name, type: string}
      - {name: type_uid, type: long}
      - {name: type_name, type: string}
      - {name: severity_id, type: int}
      - {name: severity, type: string}
      - {name: status_id, type: int}
      - {name: metadata, type: "struct<uid: string, version: string, product: struct<name: string, vendor_name: string, version: string>, logged_time: long>"}
      - {name: src_endpoint, type: "struct<ip: string, port: int, hostname: string>"}
      - {name: dst_endpoint, type: "struct<ip: string, port: int>"}
      - {name: connection_info, type: "struct<protocol_name: string, protocol_num: int, direction_id: int, uid: string>"}
      - {name: traffic, type: "struct<bytes_in: long, bytes_out: long, packets_in: long, packets_out: long>"}
      - {name: observables, type: "list<struct<name: string, type_id: int, value: string>>"}
"""


def cpu_seconds(pid: int) -> float:
    fields = open(f"/proc/{pid}/stat", encoding="ascii").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def peak_mib(pid: int) -> float:
    for line in open(f"/proc/{pid}/status", encoding="ascii"):
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return 0.0


def table_facts(rest_uri: str, table: str) -> dict:
    """Rows, files and bytes of a table by the catalog's word."""
    status, body = get(f"{rest_uri}/v1/namespaces/bench/tables/{table}")
    if status != 200:
        return {"rows": 0, "files": 0, "bytes": 0}
    metadata = json.loads(body)["metadata"]
    current = metadata.get("current-snapshot-id")
    for snapshot in metadata.get("snapshots", []):
        if snapshot["snapshot-id"] == current:
            summary = snapshot["summary"]
            return {"rows": int(summary.get("total-records", 0)), "files": int(summary.get("total-data-files", 0)),
                    "bytes": int(summary.get("total-files-size", 0))}
    return {"rows": 0, "files": 0, "bytes": 0}


def run_firn(binary, work: pathlib.Path, bootstrap: str, rest: RestFixture, topic: str, run: int, options,
             codec: str = "zstd") -> dict:
    table = f"firn_{run}_{codec}"
    config = work / f"{table}.yaml"
    config.write_text(f"""
pipeline: bench{run}_{codec}
kafka: {{bootstrap.servers: "{bootstrap}"}}
source: {{topics: [{topic}]}}
catalog: {{type: rest, uri: "{rest.uri}"}}
commit: {{interval: {options.interval}}}
http: {{listen: "127.0.0.1:0"}}
tables:
  - name: bench.{table}
    columns:{COLUMNS}
    partition: ["day(time)"]
    properties: {{write.parquet.compression-codec: {codec}, write.parquet.compression-level: "{options.zstd_level}"}}
""", encoding="utf-8")
    started = time.monotonic()
    with open(work / f"{table}.log", "wb") as log:
        process = subprocess.Popen([binary, "run", "-c", config, "--until-caught-up", "--json"], stdout=subprocess.PIPE,
                                   stderr=log)
    peak = [0.0]

    def watch():
        while process.poll() is None:
            try:
                peak[0] = max(peak[0], peak_mib(process.pid))
            except (OSError, ValueError):
                return
            time.sleep(0.1)

    watcher = threading.Thread(target=watch)
    watcher.start()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    output = process.stdout.read()
    process.wait()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    wall = time.monotonic() - started
    watcher.join()
    if process.returncode != 0:
        raise SystemExit(f"firn ended with {process.returncode}:\n{(work / f'{table}.log').read_text()[-3000:]}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    report = json.loads(output)
    return {"engine": "firn", "cpu_s": cpu, "wall_s": wall, "peak_mib": peak[0], "stages": report.get("cpu_seconds", {}),
            **table_facts(rest.uri, table)}


def install_connect(deps: pathlib.Path):
    for name in ("connect", "connect-runtime"):
        folder = deps / name
        if (folder / "done").exists():
            continue
        print(f"[bench] Java libraries of the sink: {name}", flush=True)
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["mvn", "-q", "-B", "-f", HERE / "maven" / name / "pom.xml", "dependency:copy-dependencies",
                        f"-DoutputDirectory={folder}"], check=True, stdin=subprocess.DEVNULL)
        (folder / "done").touch()


def run_connect(deps: pathlib.Path, work: pathlib.Path, bootstrap: str, rest: RestFixture, topic: str, run: int, options):
    from confluent_kafka.admin import AdminClient, NewTopic
    table, folder = f"connect_{run}", work / f"connect{run}"
    plugins = folder / "plugins"
    plugins.mkdir(parents=True)
    (plugins / "iceberg").symlink_to(deps / "connect")
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(f"control{run}", 1, 1)])[f"control{run}"].result()
    (folder / "log4j2.xml").write_text('<Configuration status="WARN"><Appenders><Console name="c"><PatternLayout '
                                       'pattern="[%d] %p %m (%c:%L)%n"/></Console></Appenders><Loggers><Root level="WARN">'
                                       '<AppenderRef ref="c"/></Root></Loggers></Configuration>')
    (folder / "worker.properties").write_text(f"""bootstrap.servers={bootstrap}
key.converter=org.apache.kafka.connect.storage.StringConverter
value.converter=org.apache.kafka.connect.json.JsonConverter
value.converter.schemas.enable=false
offset.storage.file.filename={folder}/offsets
plugin.path={plugins}
listeners=http://127.0.0.1:0
consumer.max.poll.records=5000
consumer.fetch.min.bytes=262144
consumer.max.partition.fetch.bytes=4194304
consumer.auto.offset.reset=earliest
""")
    (folder / "sink.properties").write_text(f"""name=sink{run}
connector.class=org.apache.iceberg.connect.IcebergSinkConnector
tasks.max=2
topics={topic}
iceberg.tables=bench.{table}
iceberg.tables.auto-create-enabled=true
iceberg.tables.evolve-schema-enabled=true
iceberg.tables.default-partition-by=days(time)
iceberg.tables.schema-force-optional=true
iceberg.tables.auto-create-props.write.parquet.compression-level={options.zstd_level}
iceberg.control.topic=control{run}
iceberg.control.commit.interval-ms=10000
iceberg.catalog=rest
iceberg.catalog.type=rest
iceberg.catalog.uri={rest.uri}
iceberg.catalog.io-impl=org.apache.iceberg.hadoop.HadoopFileIO
transforms=ts
transforms.ts.type=org.apache.kafka.connect.transforms.TimestampConverter$Value
transforms.ts.field=time
transforms.ts.target.type=Timestamp
transforms.ts.unix.precision=milliseconds
""")
    command = [java(), "-Xms2g", "-Xmx2g", "-XX:+UseG1GC", f"-Dlog4j2.configurationFile={folder}/log4j2.xml", "-cp",
               f"{deps}/connect-runtime/*", "org.apache.kafka.connect.cli.ConnectStandalone",
               folder / "worker.properties", folder / "sink.properties"]
    started = time.monotonic()
    process = Process("connect", command, folder / "connect.log").start()
    pid = process.popen.pid
    facts, cpu, peak = {"rows": 0}, 0.0, 0.0
    while facts["rows"] < options.events and time.monotonic() - started < options.timeout:
        if not process.running():
            raise SystemExit(f"the sink ended:\n{process.tail()}")
        cpu, peak = cpu_seconds(pid), peak_mib(pid)
        facts = table_facts(rest.uri, table)
        time.sleep(0.5)
    wall = time.monotonic() - started
    process.stop()
    return {"engine": "connect sink", "cpu_s": cpu, "wall_s": wall, "peak_mib": peak, "stages": {}, **facts}


def stage_table(result: dict, plain: dict, events: int) -> str:
    """CPU seconds a million events by stage. Compression happens inside of the encoder: its share is the encoder's time
    less that of a run without compression."""
    stages = {name: value / events * 1e6 for name, value in result["stages"].items()}
    encode = min(plain["stages"]["encode"] / events * 1e6, stages["encode"])
    rest = result["cpu_s"] / events * 1e6 - sum(stages.values())
    rows = {"fetch (poll thread)": stages["fetch"], "parse (JSON into columns)": stages["parse"],
            "group (by partition, sort)": stages["group"], "encode (pages)": encode,
            "compress": stages["encode"] - encode, "write (files)": stages["upload"], "commit": stages["commit"],
            "rest (Kafka client's threads, start)": rest}
    return "\n".join([f"{'Firn by stage':<38}{'CPU s/M':>8}"] + [f"{name:<38}{value:>8.2f}" for name, value in rows.items()])


def show(results: list, plain: dict, events: int):
    print(f"\n{'engine':<14}{'rows':>10}{'CPU s':>9}{'CPU s/M':>9}{'wall s':>8}{'events/s':>10}{'peak MiB':>10}"
          f"{'files':>7}{'B/event':>9}")
    for result in results:
        print(f"{result['engine']:<14}{result['rows']:>10}{result['cpu_s']:>9.1f}{result['cpu_s'] / events * 1e6:>9.2f}"
              f"{result['wall_s']:>8.1f}{events / result['wall_s']:>10.0f}{result['peak_mib']:>10.0f}"
              f"{result['files']:>7}{result['bytes'] / max(1, result['rows']):>9.1f}")
    for result in results:
        if result["stages"]:
            print("\n" + stage_table(result, plain, events))
    firn = [r for r in results if r["engine"] == "firn"]
    sink = [r for r in results if r["engine"] != "firn"]
    if firn and sink:
        ratio = min(r["cpu_s"] for r in sink) / max(r["cpu_s"] for r in firn)
        print(f"\nthe sink's least CPU seconds are {ratio:.1f} times Firn's most")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--partitions", type=int, default=6)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--interval", default="60s", help="Firn's commit.interval")
    parser.add_argument("--zstd-level", type=int, default=3)
    parser.add_argument("--compression", default="lz4", help="of the producer")
    parser.add_argument("--peer", action="store_true", help="measure the Kafka Connect Iceberg sink as well")
    parser.add_argument("--timeout", type=float, default=900)
    options = parser.parse_args()
    binary = pathlib.Path(os.environ.get("FIRN_BIN", ROOT / "build/release/bin/firn")).resolve()
    deps = pathlib.Path(os.environ["FIRN_REAL_DEPS"])
    if options.peer:
        install_connect(deps)
    from confluent_kafka.admin import AdminClient, NewTopic
    work = pathlib.Path(tempfile.mkdtemp(prefix="firn-bench-"))
    broker = KafkaBroker(deps, work / "kafka")
    rest = RestFixture(deps, work / "rest", f"file://{work}/warehouse")
    results = []
    try:
        broker.start()
        rest.start()
        admin = AdminClient({"bootstrap.servers": broker.bootstrap})
        admin.create_topics([NewTopic("events", options.partitions, 1, config={"retention.ms": "-1"})])["events"].result()
        subprocess.run([binary, "generate", "--bootstrap", broker.bootstrap, "--topic", "events", "--count",
                        str(options.events), "--partitions", str(options.partitions), "--compression",
                        options.compression], check=True)
        for run in range(options.runs):
            print(f"[bench] run {run + 1} of {options.runs}, load {os.getloadavg()[0]:.1f}", flush=True)
            results.append(run_firn(binary, work, broker.bootstrap, rest, "events", run, options))
            if options.peer:
                results.append(run_connect(deps, work, broker.bootstrap, rest, "events", run, options))
        plain = run_firn(binary, work, broker.bootstrap, rest, "events", options.runs, options, "uncompressed")
        show(results, plain, options.events)
    finally:
        rest.stop()
        broker.stop()
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
