"""memory.limit holds: the peak of the process (VmHWM) stays below it and a stated margin, whatever comes in."""

import json
import random

import pytest

from firn import SUCCESS
from produce import SMALL_COLUMNS, seeded
from readers import ids

LIMIT_MIB = 128
MARGIN_MIB = 96  # the program, its libraries, what allocators keep (docs/memory.md)
EVENTS = 300_000
EVENT_BYTES = 950


def words(draw: random.Random, count: int) -> list:
    """Text as events have it: it compresses, but not to nothing."""
    return ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=draw.randint(4, 12))) for _ in range(count)]


def produce(topics, topic: str, count: int, size: int, kinds: int, draw: random.Random):
    pool = words(draw, 5_000)
    words_each = size // 9
    with topics.producer() as producer:
        for number in range(count):
            start = draw.randrange(len(pool))
            text = " ".join((pool[start:] + pool)[:min(words_each, len(pool))])
            text = (text * (size // len(text) + 1))[:size]
            value = f'{{"id":{number},"kind":"k{draw.randrange(kinds)}","note":"{text}"}}'
            producer.send(topic, value.encode(), number % 4)


def peak_mib(run, timeout_s: float) -> float:
    """The highest VmHWM that was seen; waits for the end of the process."""
    peak = 0.0
    remaining = timeout_s
    while run.process.running():
        try:
            with open(f"/proc/{run.process.pid}/status", encoding="ascii") as status:
                for line in status:
                    if line.startswith("VmHWM:"):
                        peak = max(peak, int(line.split()[1]) / 1024)
        except (OSError, ProcessLookupError):
            break
        try:
            run.process.wait(0.1)
        except TimeoutError:
            remaining -= 0.1
            assert remaining > 0, f"still running after {timeout_s} s:\n{run.process.tail()}"
    return peak


@pytest.mark.slow
@pytest.mark.parametrize("spill", [False, True], ids=["no_spill", "spill"])
@pytest.mark.parametrize("shape", ["10_partitions", "1000_partitions", "sorted", "1MB_records"])
def test_peak_memory(lake, topics, pipelines, name, work, shape, spill):
    long_records = shape == "1MB_records"
    kinds = 1_000 if shape == "1000_partitions" else 10
    count, size = (400, 1_000_000) if long_records else (EVENTS, EVENT_BYTES)
    topics.create(name, 4, config={"max.message.bytes": "4000000"})
    produce(topics, name, count, size, kinds, seeded(name))
    table = {"name": f"{name}.events", "columns": SMALL_COLUMNS, "partition": ["kind"]}
    if shape == "sorted":
        table["sort_order"] = ["note", "id desc"]
    changes = {"memory": {"limit": f"{LIMIT_MIB}MiB"}, "log": {"level": "info"},
               "commit": {"interval": "10m", "max_age": "1h", "upload_threads": 2}, "positions": {"checkpoint": "60s"}}
    if spill:
        changes["spill"] = {"dir": str(work / name / "spill"), "limit": "4GiB"}
    pipeline = pipelines(lake, [table], changes=changes)
    run = pipeline.begin("run", "--until-caught-up", "--json")
    peak = peak_mib(run, 600)
    assert run.process.wait(10) == SUCCESS, run.process.tail()
    result = run.result()
    print(f"{shape}, spill {spill}: VmHWM {peak:.0f} MiB, {json.dumps(result)}")
    assert peak <= LIMIT_MIB + MARGIN_MIB, f"VmHWM {peak:.0f} MiB"
    assert ids(lake, f"{name}.events") == list(range(count))
    # One file a partition and commit; with spill the commits come when they are due, and all is one.
    assert result["data_files"] <= kinds * result["commits"]
    if spill:
        assert result["data_files"] == kinds
        assert not list((work / name / "spill").iterdir()), "spill files have no names"
