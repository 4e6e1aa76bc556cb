"""Ingest, measured: the same events of a real Kafka topic into a table by Firn and by the Kafka Connect Iceberg sink.

Called by ./firn-dev bench ingest. One broker; for each store a REST catalog; for each codec and shape a topic that is filled
before. The engines drain it one after the other, --repeat times, into tables of the same columns, partition and codec;
DuckDB compares the rows. CPU seconds are user and system time of the one process, to the last commit; memory is its
VmHWM. Firn's figures include its start; of the sink, the start of the JVM stands by itself and is in no ratio.
"""

import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path[:0] = [str(ROOT / "tests" / "real"), str(HERE)]

import connect_sink  # noqa: E402
import events as odd_events  # noqa: E402
from firn import Lake  # noqa: E402
from measure import row_sums, run_firn, table_facts  # noqa: E402
from readers import catalog_of, load  # noqa: E402
from servers import KafkaBroker, ObjectServer, RestFixture  # noqa: E402

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


def prepare_sink_table(lake: Lake, model: str, table: str):
    """Columns, partition and Parquet properties of Firn's table. The sink would make one of its own types."""
    there = load(lake, model)
    properties = {key: value for key, value in there.properties.items() if key.startswith("write.parquet.")}
    catalog_of(lake).create_table(table, there.schema(), partition_spec=there.spec(), properties=properties)


class Case:
    """One topic and one store: where the engines are compared."""

    def __init__(self, bench: "Bench", codec: str, store: str, shape: str):
        self.bench, self.codec, self.store, self.shape = bench, codec, store, shape
        self.lake = bench.lake(store)
        self.topic = bench.topic(codec, shape)
        self.name = f"{codec}_{store}_{shape}"

    def run(self, number: int, results: list):
        options = self.bench.options
        say(f"{self.name}, run {number + 1} of {options.repeat}, load {os.getloadavg()[0]:.1f}")
        table = f"bench.firn_{self.name}_{number}"
        results.append(self._noted(number, self._firn(table), table))
        if options.peer:
            sink_table = f"bench.sink_{self.name}_{number}"
            prepare_sink_table(self.lake, table, sink_table)
            sink = connect_sink.ConnectSink(self.bench.deps, self.bench.work, self.bench.broker.bootstrap)
            found = sink.drain(self.lake, self.topic, sink_table, f"sink-{self.name}-{number}".replace("_", "-"),
                               options.events, options.interval, options.timeout)
            results.append(self._noted(number, found, sink_table))
            if results[-1]["sums"] != results[-2]["sums"]:
                odd = [name for name, value in results[-1]["sums"].items() if results[-2]["sums"].get(name) != value]
                raise SystemExit(f"{self.name}: the two tables differ in {', '.join(odd)}: {results[-2:]}")

    def _noted(self, number: int, result: dict, table: str) -> dict:
        result |= {"codec": self.codec, "store": self.store, "shape": self.shape, "run": number,
                   "events": self.bench.options.events, "sums": row_sums(self.lake, table)}
        if result["rows"] != self.bench.options.events:
            raise SystemExit(f"{table} has {result['rows']} rows: {result}")
        say(f"  {result['engine']}: {per_million(result):.2f} CPU s/M, {rate(result):,.0f} events/s, "
            f"{result['peak_mib']:.0f} MiB, {result['bytes'] / result['rows']:.1f} B/event, load {result['load']:.1f}")
        return result

    def _firn(self, table: str) -> dict:
        """`firn run --until-caught-up`: its CPU seconds as the kernel gives them with its exit status."""
        options, name = self.bench.options, table.removeprefix("bench.")
        config = {"pipeline": name, "kafka": {"bootstrap.servers": self.bench.broker.bootstrap},
                  "source": {"topics": [self.topic]}, **self.lake.config(),
                  "commit": {"interval": f"{options.interval}s"}, "http": {"listen": "127.0.0.1:0"}}
        properties = {"write.parquet.compression-codec": "zstd",
                      "write.parquet.compression-level": str(options.zstd_level)}
        text = json.dumps(config)[1:-1]  # JSON is YAML; the columns are written as people write them
        path, log = self.bench.work / f"{name}.yaml", self.bench.work / f"{name}.log"
        path.write_text(f"{{{text}, tables: [{{name: {table}, partition: [day(time)], properties: "
                        f"{json.dumps(properties)}, columns: [{flow_columns()}]}}]}}\n", encoding="utf-8")
        command = [*options.prefix.split(), self.bench.binary, "run", "-c", path, "--until-caught-up", "--json"]
        report, cost = run_firn(command, log.with_suffix(".out"), log)
        return {"engine": "firn", **cost, "stages": report["cpu_seconds"],
                **table_facts(self.lake.uri, table)}


def flow_columns() -> str:
    return ", ".join(line.strip().removeprefix("- ") for line in COLUMNS.strip().splitlines())


class Bench:
    """The servers, and what is asked of them once."""

    def __init__(self, options, work: pathlib.Path):
        self.options, self.work = options, work
        self.binary = pathlib.Path(os.environ.get("FIRN_BIN", ROOT / "build/release/bin/firn")).resolve()
        self.deps = pathlib.Path(os.environ["FIRN_REAL_DEPS"])
        self.broker = KafkaBroker(self.deps, work / "kafka")
        self.servers = [self.broker.start()]
        self.lakes, self.topics = {}, set()

    def lake(self, store: str) -> Lake:
        if store not in self.lakes:
            endpoint, warehouse = "", f"file://{self.work}/warehouse"
            if store == "s3":
                server = ObjectServer(self.deps / "venv/bin/weed", self.work / "s3").start()
                self.servers.append(server)
                endpoint, warehouse = server.endpoint, "s3://lake/bench"
            rest = RestFixture(self.deps, self.work / f"rest-{store}", warehouse, endpoint or None).start()
            self.servers.append(rest)
            self.lakes[store] = Lake("rest", store, rest.uri, warehouse, name=store, s3_endpoint=endpoint)
        return self.lakes[store]

    def topic(self, codec: str, shape: str) -> str:
        from confluent_kafka.admin import AdminClient, NewTopic
        name, options = f"{shape}-{codec}", self.options
        if name in self.topics:
            return name
        admin = AdminClient({"bootstrap.servers": self.broker.bootstrap})
        admin.create_topics([NewTopic(name, options.partitions, 1, config={"retention.ms": "-1"})])[name].result()
        say(f"filling the topic {name}")
        if shape == "plain":
            subprocess.run([self.binary, "generate", "--bootstrap", self.broker.bootstrap, "--topic", name, "--count",
                            str(options.events), "--partitions", str(options.partitions), "--compression", codec],
                           check=True)
        else:
            odd_events.fill(self.broker.bootstrap, name, shape, options.events, options.partitions, codec)
        self.topics.add(name)
        return name

    def stop(self):
        for server in reversed(self.servers):
            server.stop()


def say(text: str):
    print(f"[bench] {time.strftime('%H:%M:%S')} {text}", flush=True)


def per_million(result: dict) -> float:
    return result["cpu_s"] / result["events"] * 1e6


def rate(result: dict) -> float:
    return result["events"] / result["wall_s"]


def stage_table(results: list) -> str:
    """CPU seconds a million events by stage, medians. Encoding holds compression, which happens in it."""
    def median(value) -> float:
        return statistics.median(value(result) / result["events"] * 1e6 for result in results)
    names = {"fetch": "fetch (poll thread)", "parse": "parse (JSON into columns)", "group": "group (by partition, sort)",
             "encode": "encode (pages, with compression)", "upload": "write (files)", "commit": "commit"}
    lines = [f"{text:<38}{median(lambda r, n=name: r['stages'].get(n, 0)):>8.2f}" for name, text in names.items()]
    rest = median(lambda r: r["cpu_s"] - sum(r["stages"].values()))
    return "\n".join(lines + [f"{'rest (Kafka client threads, start)':<38}{rest:>8.2f}"])


def show(results: list):
    print(f"\n{'codec':<6}{'store':<7}{'shape':<10}{'engine':<9}{'CPU s/M':>9}{'start':>7}{'events/s':>10}{'peak MiB':>10}"
          f"{'commits':>9}{'files':>7}{'B/event':>9}{'load':>6}")
    for one in results:
        print(f"{one['codec']:<6}{one['store']:<7}{one['shape']:<10}{one['engine']:<9}{per_million(one):>9.2f}"
              f"{one.get('start_cpu_s', 0):>7.1f}{rate(one):>10,.0f}{one['peak_mib']:>10.0f}{one['commits']:>9}"
              f"{one['files']:>7}{one['bytes'] / one['rows']:>9.1f}{one['load']:>6.1f}")
    cases = {(one["codec"], one["store"], one["shape"]): [] for one in results}
    for one in results:
        cases[one["codec"], one["store"], one["shape"]].append(one)
    for case, ones in cases.items():
        firn = [one for one in ones if one["engine"] == "firn"]
        sink = [one for one in ones if one["engine"] == "connect"]
        print(f"\n{' '.join(case)}: Firn by stage, CPU s/M\n{stage_table(firn)}")
        if sink:
            print(f"{' '.join(case)}: {ratios(firn, sink)}")


def ratios(firn: list, sink: list) -> str:
    """Of the medians, and against Firn: its worst run beside the sink's best."""
    out = []
    for what, value, more_is_better in (("CPU s/M", per_million, False), ("events/s", rate, True),
                                        ("peak MiB", lambda one: one["peak_mib"], False),
                                        ("B/event", lambda one: one["bytes"] / one["rows"], False)):
        ours, theirs = [value(one) for one in firn], [value(one) for one in sink]
        if more_is_better:
            middle, least = statistics.median(ours) / statistics.median(theirs), min(ours) / max(theirs)
        else:
            middle, least = statistics.median(theirs) / statistics.median(ours), min(theirs) / max(ours)
        out.append(f"{what} {middle:.2f} times better (at least {least:.2f})")
    return "; ".join(out)


def parse_options():
    parser = argparse.ArgumentParser(prog="firn-dev bench ingest", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=3_000_000)
    parser.add_argument("--repeat", type=int, default=3, help="runs of each engine and case")
    parser.add_argument("--codec", nargs="+", default=["lz4"], choices=["lz4", "zstd", "snappy", "gzip", "none"],
                        help="of the producer; one topic each")
    parser.add_argument("--store", nargs="+", default=["local"], choices=["local", "s3"])
    parser.add_argument("--shape", nargs="+", default=["plain"], choices=["plain", *odd_events.SHAPES],
                        help="shuffled: keys; hostile: nulls, escapes, other scripts; three: kinds by turns")
    parser.add_argument("--peer", choices=["connect"], help="measure the Kafka Connect Iceberg sink as well")
    parser.add_argument("--partitions", type=int, default=6, help="of the topic")
    parser.add_argument("--interval", type=int, default=10, help="seconds between commits, of both")
    parser.add_argument("--zstd-level", type=int, default=3, help="of the Parquet files, on both sides")
    parser.add_argument("--timeout", type=float, default=1800, help="seconds for one run of the sink")
    parser.add_argument("--prefix", default="", help="put before Firn's command, such as 'perf record -g -o FILE'")
    parser.add_argument("--json", type=pathlib.Path, help="a file for all figures, written anew after each run")
    return parser.parse_args()


def main():
    options = parse_options()
    if options.peer:
        connect_sink.check(pathlib.Path(os.environ["FIRN_REAL_DEPS"]))
    work = pathlib.Path(tempfile.mkdtemp(prefix="firn-bench-"))
    bench, results = None, []
    try:
        bench = Bench(options, work)
        for shape in options.shape:
            for codec in options.codec:
                for store in options.store:
                    case = Case(bench, codec, store, shape)
                    for number in range(options.repeat):
                        case.run(number, results)
                        if options.json:
                            options.json.write_text(json.dumps(results, indent=1) + "\n")
    finally:
        if results:
            show(results)
        if bench:
            bench.stop()
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
