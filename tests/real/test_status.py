"""`firn status` and the lag metrics: every figure is computed again from outside, out of what PyIceberg sees."""

import time

import firn
from processes import free_port, wait_until
from produce import SMALL_COLUMNS, small_events
from readers import load

TARGET = 20_000  # bytes of a full file: events of these tests make files of about 2 kB
COLD_S = 1  # compaction.cold_after: all partitions are cold when the tests look
CPU_SHARE = 0.5
COMPACTION = {"cold_after": f"{COLD_S}s", "cpu_share_max": f"{CPU_SHARE:.0%}"}


def events_table(name: str, **more) -> dict:
    return {"name": f"{name}.events", "columns": SMALL_COLUMNS, "partition": ["kind"],
            "properties": {"write.target-file-size-bytes": str(TARGET)}, **more}


def status(pipeline: firn.Pipeline, *words, expect: int = firn.SUCCESS) -> dict:
    run = pipeline.command("status", "--json", *words)
    assert run.process.popen.returncode == expect, run.process.tail()
    return run.result()


def of_table(document: dict, table: str) -> dict:
    found, = [one for one in document["tables"] if one["table"] == table]
    return found


def groups_of(files: list) -> list:
    """What compaction takes of a cold partition (docs/compaction.md): files as (size, snapshot id, sequence number)."""
    keep, total = 0, 0
    by_size = sorted((one for one in files if one[0] < 0.75 * TARGET), key=lambda one: one[0])
    for index, (size, *_) in enumerate(by_size):
        if index == 0 or size <= 2 * total:
            keep = index + 1
        total += size
    groups, group = [], []
    for one in sorted(by_size[:keep], key=lambda one: one[2]):
        if sum(size for size, *_ in group) + one[0] > TARGET:
            groups.append(group)
            group = []
        group.append(one)
    return [one for one in [*groups, group] if len(one) > 1]


def judged(bytes_left: int, arrival: float, capacity: float | None, compacted: float, waiting_s: float) -> tuple:
    """State and forecast by the table of docs/lag.md."""
    speed = compacted if capacity is None else capacity
    if bytes_left == 0:
        return "clear", 0
    if waiting_s > 1800 or speed == 0:
        return "not_compacted", None
    gain = speed - arrival
    if bytes_left > speed * 3600:
        return "behind", bytes_left / gain if gain > 0 else None
    if gain > 0:
        return "keeps_up", bytes_left / gain
    return "falls_behind", (speed * 3600 - bytes_left) / -gain if gain < 0 else None


def recomputed(table, window_s: float, now_ms: int) -> dict:
    """docs/lag.md in Python, on PyIceberg's view of the table."""
    entries = [one for one in table.inspect.entries().to_pylist() if one["status"] != 2]
    snapshots = {one.snapshot_id: one for one in table.metadata.snapshots}
    current = table.current_snapshot()
    partitions = {}
    for entry in entries:
        file = entry["data_file"]
        partitions.setdefault(str(file["partition"]), []).append(
            (file["file_size_in_bytes"], entry["snapshot_id"], entry["sequence_number"]))
    groups = {partition: groups_of(files) for partition, files in partitions.items()}
    uncompacted = {partition: sum(found, []) for partition, found in groups.items() if found}
    small = [one for files in partitions.values() for one in files if one[0] < 0.75 * TARGET]
    chain, at = [], current
    while at is not None:
        chain.append(at)
        at = snapshots.get(at.parent_snapshot_id)
    begin = max(now_ms - window_s * 1000, chain[-1].timestamp_ms)
    inside = [one for one in chain if one.timestamp_ms > begin]

    def total(member: str, *, replace=None) -> int:
        return sum(int(one.summary.additional_properties.get(member, 0)) for one in inside
                   if replace is None or (one.summary.operation.value == "replace") == replace)

    arrived = total("added-files-size", replace=False)
    manifests = [one for one in current.manifests(table.io)
                 if (one.added_files_count or 0) + (one.existing_files_count or 0) > 0]
    small_files = [one for files in uncompacted.values() for one in files]
    measured = [one for one in chain if int(one.summary.additional_properties.get("firn.compaction-ms", 0)) > 0]
    cpu_ms = sum(int(one.summary.additional_properties["firn.compaction-ms"]) for one in measured)
    moved = sum(int(one.summary.additional_properties["removed-files-size"]) for one in measured)
    compactions = [one for one in chain if one.summary.operation.value == "replace"]
    ready_ms = min(max(snapshots[snapshot].timestamp_ms for _, snapshot, _ in group) + COLD_S * 1000
                   for found in groups.values() for group in found)
    return {
        "capacity": moved / cpu_ms * 1000 * CPU_SHARE if cpu_ms else None,
        "waiting_s": (now_ms - max([ready_ms, *(one.timestamp_ms for one in compactions)])) / 1000,
        "left_alone": len(small) - len(small_files),
        "left_alone_bytes": sum(one[0] for one in small) - sum(one[0] for one in small_files),
        "data_files": len(entries),
        "data_bytes": sum(entry["data_file"]["file_size_in_bytes"] for entry in entries),
        "rows": sum(entry["data_file"]["record_count"] for entry in entries),
        "partitions": len(partitions),
        "snapshots": len(snapshots),
        "manifests": len(manifests),
        "manifest_bytes": sum(one.manifest_length for one in manifests),
        "metadata_bytes": len(table.io.new_input(table.metadata_location)),
        "uncompacted_files": len(small_files),
        "uncompacted_bytes": sum(size for size, *_ in small_files),
        "uncompacted_partitions": len(uncompacted),
        "oldest_ms": min(snapshots[snapshot].timestamp_ms for _, snapshot, _ in small_files),
        "arrived": arrived,
        "compacted": total("removed-files-size", replace=True),
        "window_s": (now_ms - begin) / 1000,
        "write_amplification": total("added-files-size") / arrived,
        "worst": sorted((len(files) for files in uncompacted.values()), reverse=True),
    }


def commits(pipeline: firn.Pipeline, topics, name: str, counts: list, partitions: int = 1, first: int = 0):
    """A run and with it a commit for each count."""
    for count in counts:
        topics.send(name, small_events(first, count).values, partitions, start=first)
        first += count
        pipeline.catch_up()


def test_figures_are_those_that_pyiceberg_gives(lake, topics, pipelines, name):
    topics.create(name, 1)
    pipeline = pipelines(lake, [events_table(name)], changes={"compaction": COMPACTION})
    commits(pipeline, topics, name, [60, 50, 40])
    done = pipeline.command("compact", "--table", f"{name}.events", "--where", "kind=k1", "--json")
    assert done.process.popen.returncode == firn.SUCCESS and done.result()["groups"]["done"] >= 1
    commits(pipeline, topics, name, [30], first=150)
    time.sleep(COLD_S + 0.1)
    document = status(pipeline, "--table", f"{name}.events")
    found = of_table(document, f"{name}.events")
    compaction, scan = found["compaction"], found["scan"]
    wanted = recomputed(load(lake, f"{name}.events"), 3600, document["time_ms"])
    assert compaction["uncompacted_files"] > 4 and wanted["compacted"] > 0
    for figure in ("data_files", "data_bytes", "rows", "partitions", "snapshots"):
        assert found[figure] == wanted[figure], figure
    for figure in ("manifests", "manifest_bytes", "metadata_bytes"):
        assert scan[figure] == wanted[figure], figure
    for figure in ("uncompacted_files", "uncompacted_bytes", "uncompacted_partitions"):
        assert compaction[figure] == wanted[figure], figure
    assert scan["data_files"] == wanted["data_files"] and scan["delete_files"] == 0
    # The clock is read once for the ages and once for each table's rates.
    oldest_s = (document["time_ms"] - wanted["oldest_ms"]) / 1000
    assert abs(compaction["oldest_seconds"] - oldest_s) < 0.001 and not compaction["oldest_is_lower_bound"]
    window_s = compaction["window_seconds"]
    assert wanted["window_s"] - 2 <= window_s <= wanted["window_s"]
    assert abs(compaction["arrival_bytes_per_second"] * window_s - wanted["arrived"]) < 0.01
    assert abs(compaction["compacted_bytes_per_second"] * window_s - wanted["compacted"]) < 0.01
    assert abs(compaction["write_amplification"] - wanted["write_amplification"]) < 1e-9
    assert [one["uncompacted_files"] for one in compaction["worst_partitions"]] == wanted["worst"]
    assert sum(compaction["left_alone_files"].values()) == wanted["left_alone"]
    assert compaction["left_alone_bytes"] == wanted["left_alone_bytes"]
    assert wanted["waiting_s"] - 2 <= compaction["waiting_seconds"] <= wanted["waiting_s"]
    # Rates have been held against the window; what follows from them is exact.
    arrival, capacity = compaction["arrival_bytes_per_second"], compaction["capacity_bytes_per_second"]
    assert wanted["capacity"] is not None and abs(capacity / wanted["capacity"] - 1) < 1e-9
    assert abs(compaction["capacity_ratio"] / (wanted["capacity"] / arrival) - 1) < 1e-9
    state, forecast_s = judged(wanted["uncompacted_bytes"], arrival, wanted["capacity"],
                               compaction["compacted_bytes_per_second"], compaction["waiting_seconds"])
    assert compaction["state"] == state
    assert compaction["forecast_seconds"] == forecast_s or abs(compaction["forecast_seconds"] / forecast_s - 1) < 1e-9
    # For people, the same.
    run = pipeline.command("status")
    line, = [line for line in run.process.output.read_text().splitlines() if line.startswith(f"{name}.events ")]
    assert line.split()[1] == str(found["data_files"]) and run.process.popen.returncode == firn.SUCCESS


def test_lag_of_ingest_without_a_worker_and_without_brokers(lake, topics, pipelines, name):
    topics.create(name, 2)
    pipeline = pipelines(lake, [events_table(name)])
    failed = pipeline.command("status", "--json")
    assert failed.process.popen.returncode == firn.FAILURE and failed.result()["error"]["code"] == "not_found"
    commits(pipeline, topics, name, [100], 2)
    topics.send(name, small_events(100, 77).values, 2)
    document = status(pipeline)
    assert document["kafka"]["reachable"] and document["ingest"]["lag_records"] == 77
    ends = topics.ends(name)
    assert {one["partition"]: one["end"] for one in document["ingest"]["partitions"]} == ends
    assert sum(one["position"] for one in document["ingest"]["partitions"]) == 100
    names = {one["table"] for one in document["tables"]}
    assert names == {f"{name}.events", pipeline.home, pipeline.rejects}
    # Nobody there: it says so and shows the rest.
    pipeline.change({"kafka": {"bootstrap.servers": f"127.0.0.1:{free_port()}"}})
    document = status(pipeline)
    assert not document["kafka"]["reachable"] and document["kafka"]["error"]["message"]
    assert document["ingest"]["lag_records"] is None
    assert of_table(document, f"{name}.events")["rows"] == 100
    missing = status(pipeline, "--table", f"{name}.nothing", expect=firn.FAILURE)
    assert of_table(missing, f"{name}.nothing")["error"]["code"] == "not_found"


def test_a_running_pipeline_exports_the_same_figures(lake, topics, pipelines, name):
    topics.create(name, 1)
    pipeline = pipelines(lake, [events_table(name)],
                         changes={"lag": {"interval": "1s", "partitions_max": 2},
                                  "compaction": {**COMPACTION, "enabled": False}})
    commits(pipeline, topics, name, [60, 50, 40])
    run = pipeline.start()
    run.wait_for(lambda page: page["ready"], 60, "it is ready")
    key = f'{{pipeline="{name}",table="{name}.events"}}'
    metrics = wait_until(lambda: run.metrics().get(f"firn_compaction_lag_files{key}") and run.metrics(), 30,
                         "figures of the table, whose partitions have grown cold")
    asked_at = time.time()
    found = of_table(status(pipeline, "--table", f"{name}.events"), f"{name}.events")
    assert found["compaction"]["uncompacted_files"] == 9
    for metric, value in {
            "firn_table_data_files": found["data_files"], "firn_table_data_bytes": found["data_bytes"],
            "firn_table_manifests": found["scan"]["manifests"], "firn_table_snapshots": found["snapshots"],
            "firn_table_manifest_bytes": found["scan"]["manifest_bytes"],
            "firn_table_metadata_bytes": found["scan"]["metadata_bytes"],
            "firn_compaction_lag_files": found["compaction"]["uncompacted_files"],
            "firn_compaction_lag_bytes": found["compaction"]["uncompacted_bytes"],
            "firn_compaction_lag_left_alone_bytes": found["compaction"]["left_alone_bytes"],
            "firn_table_write_amplification_ratio": found["compaction"]["write_amplification"]}.items():
        assert metrics[metric + key] == value, metric
    # Ages grow between the two.
    for metric, value in {"firn_compaction_lag_seconds": found["compaction"]["oldest_seconds"],
                          "firn_compaction_waiting_seconds": found["compaction"]["waiting_seconds"]}.items():
        read_at = metrics["firn_table_lag_timestamp_seconds" + key]
        assert 0 < metrics[metric + key] <= value <= metrics[metric + key] + (time.time() - read_at), metric
    oldest_s = found["compaction"]["oldest_seconds"]
    first_ms = min(one.timestamp_ms for one in load(lake, f"{name}.events").metadata.snapshots
                   if int(one.summary.additional_properties.get("added-data-files", 0)) > 0)
    assert asked_at - first_ms / 1000 <= oldest_s + 0.001 <= time.time() - first_ms / 1000 + 0.002
    # Three partitions, and only two of them named.
    named = [one for one in metrics if one.startswith("firn_partition_compaction_lag_files{") and f"{name}.events" in one]
    assert len(named) == 2 and all(metrics[one] == 3 for one in named)
    # A screen that comes again, stopped by a signal.
    watch = pipeline.begin("status", "--watch", "--interval", "500ms", "--json")
    wait_until(lambda: watch.process.output.read_text().count("\n") >= 2, 30, "two documents")
    assert watch.stop() == firn.SUCCESS
    assert run.stop() == 0
