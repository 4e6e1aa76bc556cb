"""The Kafka Connect Iceberg sink in a standalone worker: one run that drains a topic into a table that is there."""

import collections
import pathlib
import time

from measure import Watch, cpu_seconds, table_facts
from processes import Process
from servers import S3_KEY, S3_REGION, S3_SECRET, java

# The one line that says a task has begun to poll; all others from warnings upwards.
LOGGING = """<Configuration status="WARN"><Appenders><Console name="c"><PatternLayout pattern="[%d] %p %m (%c:%L)%n"/>
</Console></Appenders><Loggers><Logger name="org.apache.kafka.connect.runtime.WorkerSinkTask" level="INFO"/>
<Root level="WARN"><AppenderRef ref="c"/></Root></Loggers></Configuration>"""
BEGUN = ("Sink task finished initialization and start", "Executing sink task")
TASKS = 2
IDLE_CORE, IDLE_S = 0.25, 2.0  # less than this share of a core over so long: it waits for its next commit
WORKER = """bootstrap.servers={bootstrap}
key.converter=org.apache.kafka.connect.storage.StringConverter
value.converter=org.apache.kafka.connect.json.JsonConverter
value.converter.schemas.enable=false
offset.storage.file.filename={folder}/offsets
offset.flush.interval.ms=10000
plugin.path={folder}/plugins
listeners=http://127.0.0.1:0
consumer.max.poll.records=5000
consumer.fetch.min.bytes=262144
consumer.max.partition.fetch.bytes=4194304
consumer.auto.offset.reset=earliest
"""
SINK = """name={name}
connector.class=org.apache.iceberg.connect.IcebergSinkConnector
tasks.max={tasks}
topics={topic}
iceberg.tables={table}
iceberg.control.topic=control-{name}
iceberg.control.commit.interval-ms={interval_ms}
iceberg.catalog=rest
iceberg.catalog.type=rest
iceberg.catalog.uri={uri}
"""
LOCAL = "iceberg.catalog.io-impl=org.apache.iceberg.hadoop.HadoopFileIO\n"
S3 = """iceberg.catalog.io-impl=org.apache.iceberg.aws.s3.S3FileIO
iceberg.catalog.s3.endpoint={endpoint}
iceberg.catalog.s3.path-style-access=true
iceberg.catalog.s3.access-key-id={key}
iceberg.catalog.s3.secret-access-key={secret}
iceberg.catalog.client.region={region}
"""


def check(deps: pathlib.Path):
    for folder in ("connect", "connect-runtime"):
        if not list((deps / folder).glob("*.jar")):
            raise SystemExit(f"bench: the Kafka Connect Iceberg sink is not in {deps / folder}; ./firn-dev bench ingest "
                             "--peer connect fetches it by Maven")


class ConnectSink:
    def __init__(self, deps: pathlib.Path, work: pathlib.Path, bootstrap: str):
        self.deps, self.work, self.bootstrap = deps, work, bootstrap

    def drain(self, lake, topic: str, table: str, name: str, events: int, interval_s: int, timeout_s: float) -> dict:
        """Until the table has `events` rows. CPU seconds are those up to then; what its start took, until a task polls,
        stands beside them. `wall_s` is the time in which it worked: its waiting for the last commit is left out."""
        process = self._start(lake, topic, table, name, interval_s)
        try:
            return self._measure(process, lake, table, events, timeout_s)
        finally:
            process.stop(60)

    def _start(self, lake, topic: str, table: str, name: str, interval_s: int) -> Process:
        from confluent_kafka.admin import AdminClient, NewTopic
        folder = self.work / name
        (folder / "plugins").mkdir(parents=True)
        (folder / "plugins/iceberg").symlink_to(self.deps / "connect")
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        admin.create_topics([NewTopic(f"control-{name}", 1, 1)])[f"control-{name}"].result()
        (folder / "log4j2.xml").write_text(LOGGING)
        (folder / "worker.properties").write_text(WORKER.format(bootstrap=self.bootstrap, folder=folder))
        store = S3.format(endpoint=lake.s3_endpoint, key=S3_KEY, secret=S3_SECRET, region=S3_REGION)
        (folder / "sink.properties").write_text(SINK.format(
            name=name, tasks=TASKS, topic=topic, table=table, interval_ms=interval_s * 1000, uri=lake.uri) +
            (store if lake.store == "s3" else LOCAL))
        command = [java(), "-Xms2g", "-Xmx2g", "-XX:+UseG1GC", f"-Dlog4j2.configurationFile={folder}/log4j2.xml", "-cp",
                   f"{self.deps}/connect-runtime/*", "org.apache.kafka.connect.cli.ConnectStandalone",
                   folder / "worker.properties", folder / "sink.properties"]
        return Process("connect", command, folder / "connect.log", env={"AWS_REGION": S3_REGION}).start()

    def _measure(self, process: Process, lake, table: str, events: int, timeout_s: float) -> dict:
        started = time.monotonic()
        begun = None  # wall and CPU seconds when a task polls
        samples = collections.deque()  # the same, of the last IDLE_S
        asked = busy = 0.0
        rows = 0
        with Watch(process.pid) as watch:
            while rows < events:
                time.sleep(0.1)
                if not process.running() or "Task is being killed" in process.tail(50):
                    raise SystemExit(f"the sink failed:\n{process.tail()}")
                wall, cpu = time.monotonic() - started, cpu_seconds(process.pid)
                passed = wall - samples[-1][0] if samples else 0.0
                samples.append((wall, cpu))
                while samples[0][0] < wall - IDLE_S:
                    samples.popleft()
                if begun and cpu - samples[0][1] > IDLE_CORE * (wall - samples[0][0]):
                    busy += passed
                if begun is None and any(line in process.log.read_text(errors="replace") for line in BEGUN):
                    begun = wall, cpu
                if wall > timeout_s:
                    raise SystemExit(f"the sink has {rows} of {events} rows after {wall:.0f} s:\n{process.tail()}")
                if wall > asked + 0.5:
                    asked = wall
                    facts = table_facts(lake.uri, table)
                    rows = facts["rows"]
            start_wall, start_cpu = begun or (0.0, 0.0)
            return {"engine": "connect", "cpu_s": cpu - start_cpu, "start_cpu_s": start_cpu,
                    "wall_s": busy, "until_visible_s": wall - start_wall,
                    "peak_mib": watch.peak_mib, "load": watch.load, "stages": {}, **facts}
