"""What every measurement of a whole program needs: CPU seconds and peak memory of a process, the machine's load, what a
catalog says of a table, and sums over its rows by DuckDB."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "real"))

from readers import DuckReader, load  # noqa: E402
from servers import get  # noqa: E402

TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """User and system time so far, of all its threads."""
    fields = open(f"/proc/{pid}/stat", encoding="ascii").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def peak_mib(pid: int) -> float:
    for line in open(f"/proc/{pid}/status", encoding="ascii"):
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return 0.0


class Watch:
    """A context: reads VmHWM of a process and the load average ten times a second, until the process has ended."""

    def __init__(self, pid: int):
        self.pid = pid
        self.peak_mib = 0.0
        self.loads = []
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._run)

    def _run(self):
        while not self.stop.wait(0.1):
            self.loads.append(os.getloadavg()[0])
            try:
                self.peak_mib = max(self.peak_mib, peak_mib(self.pid))
            except (OSError, ValueError):
                return

    @property
    def load(self) -> float:
        return sum(self.loads) / max(1, len(self.loads))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()


def run_firn(command: list, out: pathlib.Path, log: pathlib.Path) -> tuple[dict, dict]:
    """A command of firn that ends by itself: its JSON report, and what it cost."""
    with open(out, "wb") as report, open(log, "wb") as errors:
        began = time.monotonic()
        process = subprocess.Popen([str(word) for word in command], stdout=report, stderr=errors)
        with Watch(process.pid) as watch:
            _, status, used = os.wait4(process.pid, 0)
        wall = time.monotonic() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"firn ended with {process.returncode}:\n{log.read_text()[-3000:]}")
    return json.loads(out.read_text()), {"cpu_s": used.ru_utime + used.ru_stime, "system_s": used.ru_stime,
                                         "wall_s": wall, "peak_mib": watch.peak_mib, "load": watch.load}


def in_new_folder(prefix: str, measure, json_file: pathlib.Path | None) -> dict:
    """What `measure(folder)` gives, in the file too if one is wanted. The folder stays only when it failed."""
    work = pathlib.Path(tempfile.mkdtemp(prefix=prefix))
    try:
        result = measure(work)
    except BaseException:
        print(f"[bench] logs and data: {work}", file=sys.stderr)
        raise
    shutil.rmtree(work, ignore_errors=True)
    if json_file:
        json_file.write_text(json.dumps(result, indent=1) + "\n")
    return result


def table_facts(rest_uri: str, table: str) -> dict:
    """Rows, files and bytes of a table by the catalog's word."""
    namespace, name = table.split(".")
    status, body = get(f"{rest_uri}/v1/namespaces/{namespace}/tables/{name}")
    nothing = {"rows": 0, "files": 0, "bytes": 0, "commits": 0}
    if status != 200:
        return nothing
    metadata = json.loads(body)["metadata"]
    current = metadata.get("current-snapshot-id")
    snapshots = metadata.get("snapshots", [])
    for snapshot in snapshots:
        if snapshot["snapshot-id"] == current:
            summary = snapshot["summary"]
            return {"rows": int(summary.get("total-records", 0)), "files": int(summary.get("total-data-files", 0)),
                    "bytes": int(summary.get("total-files-size", 0)), "commits": len(snapshots)}
    return nothing


def row_sums(lake, table: str) -> dict:
    """Column → sum of its values' hashes, as DuckDB reads them; "(rows)" ties the columns together."""
    reader = DuckReader(lake)
    names = [field.name for field in load(lake, table).schema().fields]
    sums = ", ".join(f'sum(hash("{name}")::HUGEINT)' for name in names)
    every = ", ".join(f'"{name}"' for name in names)
    found = reader.one(f"SELECT count(*), sum(hash({every})::HUGEINT), {sums} FROM {reader.source(table)}")
    return dict(zip(["(count)", "(rows)"] + names, map(str, found)))


def wait_while(condition, timeout_s: float, interval_s: float) -> bool:
    """False when the time was up."""
    deadline = time.monotonic() + timeout_s
    while condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(interval_s)
    return True
