"""Servers, once a session and only when a test asks for them; lakes, topics and pipelines, new for each test."""

import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import zlib

import pytest

from fault_proxy import FaultProxy
from firn import Lake, Pipeline, binary, bucket_uri, merged, warehouse_uri
from produce import Topics
from readers import DuckReader, PyIcebergReader, SparkReader
from servers import BUCKET, KafkaBroker, Nessie, ObjectServer, RestFixture

QUICK = os.environ.get("FIRN_REAL_QUICK") == "1"
LAKES = ("sqlite-local", "rest-local", "sqlite-s3", "rest-s3")


def pytest_collection_modifyitems(config, items):
    if not QUICK:
        return
    for item in items:
        for marker in ("slow", "spark"):
            if marker in item.keywords:
                item.add_marker(pytest.mark.skip(reason="left out by --quick"))
                break


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.when == "call" and report.failed and "pipelines" in getattr(item, "funcargs", {}):
        # The folder of a failed test is kept and named.
        item.session.config.stash[KEEP] = True


KEEP = pytest.StashKey[bool]()


@pytest.fixture(scope="session")
def deps() -> pathlib.Path:
    default = pathlib.Path(__file__).resolve().parents[2] / ".deps/real"
    return pathlib.Path(os.environ.get("FIRN_REAL_DEPS", default))


@pytest.fixture(scope="session")
def work(request):
    """A folder for all data and logs; removed when every test has passed."""
    base = os.environ.get("FIRN_REAL_WORK")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="firn-real-", dir=base))
    yield folder
    if request.session.config.stash.get(KEEP, False):
        print(f"\nlogs and data of the failed tests: {folder}")
    else:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def firn_version() -> str:
    if not binary().exists():
        pytest.fail(f"the program under test is missing: {binary()}")
    return subprocess.run([binary(), "--version"], capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="session")
def kafka(deps, work):
    server = KafkaBroker(deps, work / "kafka").start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def other_topics(deps, work) -> Topics:
    """Of another cluster."""
    server = KafkaBroker(deps, work / "other-kafka").start()
    yield Topics(server.bootstrap)
    server.stop()


@pytest.fixture(scope="session")
def topics(kafka) -> Topics:
    return Topics(kafka.bootstrap)


@pytest.fixture(scope="session")
def s3(deps, work):
    server = ObjectServer(deps / "venv/bin/weed", work / "s3").start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def rest_local(deps, work):
    server = RestFixture(deps, work / "rest-local", warehouse_uri(work / "rest-local-warehouse")).start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def rest_s3(deps, work, s3):
    server = RestFixture(deps, work / "rest-s3", bucket_uri("rest"), s3.endpoint).start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def nessie(deps, work, s3):
    server = Nessie(deps, work / "nessie", s3.endpoint).start()
    yield server
    server.stop()


@pytest.fixture
def proxies():
    """Makes fault proxies before servers."""
    made = []

    def make(target: str, speaks: str = "rest") -> FaultProxy:
        made.append(FaultProxy(target, speaks))
        return made[-1]

    yield make
    for one in made:
        one.close()


class Lakes:
    """Lakes by name: those of LAKES, and nessie-s3. A SQLite lake is a file and a warehouse of the test's own; a REST
    lake is shared by all tests."""

    def __init__(self, request, folder: pathlib.Path):
        self.request = request
        self.folder = folder

    def get(self, name: str) -> Lake:
        catalog, store = name.split("-")
        server = self.request.getfixturevalue("s3") if store == "s3" else None
        endpoint = server.endpoint if server else ""
        if catalog == "nessie":
            here = self.request.getfixturevalue("nessie")
            return Lake("rest", store, here.uri, here.warehouse, s3_endpoint=endpoint)
        if catalog == "rest":
            fixture = self.request.getfixturevalue(f"rest_{store}")
            return Lake("rest", store, fixture.uri, fixture.warehouse, s3_endpoint=endpoint)
        self.folder.mkdir(parents=True, exist_ok=True)
        warehouse = bucket_uri(self.folder.name) if server else warehouse_uri(self.folder / "warehouse")
        return Lake("sqlite", store, str(self.folder / f"catalog-{store}.db"), warehouse, s3_endpoint=endpoint)


@pytest.fixture
def name(request) -> str:
    """A word for this test: topics, pipelines and namespaces are called by it. Short enough for a pipeline's id."""
    word = re.sub(r"[^a-z0-9]+", "_", request.node.name.lower().removeprefix("test_")).strip("_")
    if len(word) > 40:
        word = f"{word[:32].strip('_')}_{zlib.crc32(word.encode()):08x}"
    return word


@pytest.fixture
def lakes(request, work, name) -> Lakes:
    return Lakes(request, work / name)


@pytest.fixture
def lake(lakes) -> Lake:
    """The plainest one, for tests that are not about catalogs."""
    return lakes.get("sqlite-local")


@pytest.fixture
def pipelines(kafka, firn_version, work, name):
    """Makes pipelines; all their processes are gone when the test ends."""
    made = []

    def make(lake: Lake, tables: list, topic=None, pipeline: str = "", changes: dict | None = None, **more) -> Pipeline:
        config = {
            "pipeline": pipeline or name,
            "kafka": {"bootstrap.servers": kafka.bootstrap, "session.timeout.ms": 6000,
                      "heartbeat.interval.ms": 1000},
            "source": {"topics": [topic or name] if not isinstance(topic, list) else topic},
            **lake.config(),
            "tables": tables,
            "commit": {"interval": "1s", "upload_threads": 1},
            "positions": {"checkpoint": "2s"},
            "memory": {"limit": "256MiB"},
            "log": {"level": "debug"},
        }
        one = Pipeline(work / name / f"pipeline-{len(made)}", merged(config, changes or {}), **more)
        made.append(one)
        return one

    yield make
    for one in made:
        one.end()


@pytest.fixture
def readers():
    """The quick readers of a lake."""
    def make(lake: Lake) -> list:
        out = [PyIcebergReader(lake), DuckReader(lake)]
        if lake.catalog == "rest":
            out.append(DuckReader(lake, attach=True))
        return out
    return make


@pytest.fixture(scope="session")
def spark_lakes(request, work) -> dict:
    """The lakes that Spark knows; session-wide, because its session is."""
    folder = work / "spark-lakes"
    lakes = {name: Lakes(request, folder).get(name) for name in ("sqlite-local", "rest-local")}
    # Java's JDBC catalog keeps its tables under the name that Spark has for it.
    lakes["sqlite-local"].name = SparkReader.catalog_name(lakes["sqlite-local"])
    return lakes


@pytest.fixture(scope="session")
def spark(deps, work, spark_lakes):
    reader = SparkReader(deps, work, list(spark_lakes.values()))
    yield reader
    reader.stop()


__all__ = ["BUCKET", "LAKES"]
