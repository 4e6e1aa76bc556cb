"""The program under test: configurations as values, runs as processes, their results as JSON."""

import json
import os
import pathlib
import re
import signal
import urllib.error

import yaml

from processes import Process, free_port, wait_until
from servers import BUCKET, S3_KEY, S3_REGION, S3_SECRET, get

SUCCESS, FAILURE, USAGE, DETACHED, INTERRUPTED = 0, 1, 2, 3, 130


def binary() -> pathlib.Path:
    root = pathlib.Path(__file__).resolve().parents[2]
    return pathlib.Path(os.environ.get("FIRN_BIN", root / "build/release/bin/firn")).resolve()


class Lake:
    """A catalog and a place for tables: what a configuration and a reader need to know of it."""

    def __init__(self, catalog: str, store: str, uri: str, warehouse: str, name: str = "firn", s3_endpoint: str = "",
                 credential: str = ""):
        self.catalog = catalog  # sqlite | rest
        self.store = store  # local | s3
        self.uri = uri
        self.warehouse = warehouse
        self.name = name
        self.s3_endpoint = s3_endpoint
        self.credential = credential

    def __str__(self):
        return f"{self.catalog}-{self.store}"

    def config(self) -> dict:
        block = {"type": self.catalog, "uri": self.uri, "timeout": "10s"}
        if self.catalog == "sqlite":
            block |= {"warehouse": self.warehouse, "name": self.name}
        if self.credential:
            block |= {"credential": self.credential, "warehouse": self.warehouse}
        out = {"catalog": block}
        if self.store == "s3":
            out["store"] = {"s3": {"endpoint": self.s3_endpoint, "region": S3_REGION, "path_style": True,
                                   "access_key_id": S3_KEY, "secret_access_key": S3_SECRET}}
        return out

    def pyiceberg_properties(self) -> dict:
        out = {"type": "sql" if self.catalog == "sqlite" else "rest",
               "uri": f"sqlite:///{self.uri}" if self.catalog == "sqlite" else self.uri}
        if self.catalog == "sqlite" or self.credential:
            out["warehouse"] = self.warehouse
        if self.credential:
            out["credential"] = self.credential
        if self.store == "s3":
            out |= {"s3.endpoint": self.s3_endpoint, "s3.access-key-id": S3_KEY, "s3.secret-access-key": S3_SECRET,
                    "s3.region": S3_REGION, "s3.path-style-access": "true",
                    "py-io-impl": "pyiceberg.io.pyarrow.PyArrowFileIO"}
        return out


def merged(base: dict, changes: dict) -> dict:
    """`changes` over `base`, mapping by mapping; None takes a key away."""
    out = dict(base)
    for key, value in changes.items():
        if value is None:
            out.pop(key, None)
        elif isinstance(value, dict) and isinstance(out.get(key), dict):
            out[key] = merged(out[key], value)
        else:
            out[key] = value
    return out


class Run:
    """One started `firn run`."""

    def __init__(self, process: Process, http_port: int):
        self.process = process
        self.http_port = http_port

    def page(self, path: str) -> tuple[int, bytes]:
        return get(f"http://127.0.0.1:{self.http_port}{path}")

    def status(self) -> dict:
        """Waits for a page that comes late."""
        return self.wait_for(lambda status: True, 60, "the status page answers")

    def _status_now(self) -> dict:
        code, body = self.page("/status")
        return json.loads(body) if code == 200 else {}

    def metrics(self) -> dict:
        """Name with labels → value. Waits for a page that comes late."""
        def answered():
            assert self.process.running(), f"firn ended with {self.process.popen.returncode}:\n{self.process.tail()}"
            code, body = self.page("/metrics")
            return body if code == 200 else b""
        body = wait_until(answered, 60, "the page of metrics answers", 0.1)
        out = {}
        for line in body.decode().splitlines():
            match = re.match(r"^([a-zA-Z_:][^ ]*(?:\{.*\})?) ([^ ]+)$", line)
            if match and not line.startswith("#"):
                out[match[1]] = float(match[2])
        return out

    def wait_for(self, condition, timeout_s: float, what: str):
        """`condition` of the status page's document; fails at once when the program ends."""
        def check():
            if not self.process.running():
                raise AssertionError(f"firn ended with {self.process.popen.returncode}:\n{self.process.tail()}")
            try:
                status = self._status_now()
            except (urllib.error.URLError, ValueError):
                return None
            return status and condition(status) and status
        try:
            return wait_until(check, timeout_s, what, 0.1)
        except TimeoutError as error:
            raise AssertionError(f"{error}; status: {self._status_now()}\n{self.process.tail()}") from error

    def stop(self, timeout_s: float = 60) -> int:
        if self.process.running():
            self.process.terminate()
        return self.process.wait(timeout_s)

    def kill(self):
        self.process.popen.send_signal(signal.SIGKILL)
        self.process.popen.wait()

    @property
    def log(self) -> str:
        return self.process.log.read_text(errors="replace") if self.process.log.exists() else ""

    def result(self) -> dict:
        text = self.process.output.read_text()
        return json.loads(text) if text.strip() else {}


class Pipeline:
    """A configuration in a folder of its own, and the runs that were started with it. Ended by the fixture."""

    def __init__(self, folder: pathlib.Path, config: dict, env: dict | None = None, prefix: list | None = None):
        self.folder = folder
        self.config = config
        self.env = {"AWS_EC2_METADATA_DISABLED": "true", **(env or {})}
        self.prefix = prefix
        self.runs: list[Run] = []
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def home(self) -> str:
        return f"{self._namespace()}.{self.config['pipeline'].replace('-', '_')}__home"

    @property
    def rejects(self) -> str:
        return f"{self._namespace()}.{self.config['pipeline'].replace('-', '_')}__rejects"

    def _namespace(self) -> str:
        return self.config["tables"][0]["name"].rsplit(".", 1)[0]

    def change(self, changes: dict):
        self.config = merged(self.config, changes)
        return self

    def _write(self, number: int, http_port: int) -> pathlib.Path:
        path = self.folder / f"firn-{number}.yaml"
        config = merged({"http": {"listen": f"127.0.0.1:{http_port}"}}, self.config)
        path.write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=True))
        return path

    def command(self, *words, timeout_s: float = 60) -> Run:
        """Any subcommand with this configuration, run to its end."""
        run = self.begin(*words)
        run.process.wait(timeout_s)
        return run

    def begin(self, *words) -> Run:
        """The same, without waiting for it."""
        number, http_port = len(self.runs) + 1, free_port()
        config = self._write(number, http_port)
        log = self.folder / f"{words[0]}-{number}.log"
        process = Process(f"firn {' '.join(words)}", [binary(), *words, "-c", config], log,
                          env=self.env, separate_output=True, prefix=self.prefix)
        run = Run(process.start(), http_port)
        self.runs.append(run)
        return run

    def start(self) -> Run:
        """Runs until stopped."""
        return self.begin("run", "--json")

    def catch_up(self, timeout_s: float = 120, expect: int = SUCCESS) -> dict:
        """Runs until everything that is readable now is committed; the final figures."""
        run = self.begin("run", "--until-caught-up", "--json")
        code = run.process.wait(timeout_s)
        assert code == expect, f"firn run gave {code}, expected {expect}:\n{run.process.tail()}"
        return run.result()

    def end(self):
        for run in self.runs:
            run.process.stop(5)

    def output(self) -> str:
        """Everything that its runs have printed."""
        texts = []
        for run in self.runs:
            texts += [path.read_text(errors="replace") for path in {run.process.log, run.process.output}
                      if path.exists()]
        return "\n".join(texts)


def warehouse_uri(folder: pathlib.Path) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    return f"file://{folder}"


def bucket_uri(prefix: str) -> str:
    return f"s3://{BUCKET}/{prefix}"
