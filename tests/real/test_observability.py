"""What a running pipeline shows: pages, figures that hold against Kafka's own, and never a secret."""

import json
import time

import firn
from processes import wait_until
from produce import SMALL_COLUMNS, small_events
from readers import assert_once, load


def events_table(name: str) -> dict:
    return {"name": f"{name}.events", "columns": SMALL_COLUMNS}


def value_of(metrics: dict, name: str, **labels) -> float:
    """Sum over the series of this name that have these labels."""
    found = [value for key, value in metrics.items() if key.split("{")[0] == name
             and all(f'{label}="{word}"' in key for label, word in labels.items())]
    assert found, f"no series {name} {labels} among {sorted({key.split('{')[0] for key in metrics})}"
    return sum(found)


def test_pages_and_metrics_of_a_running_pipeline(lake, topics, pipelines, name):
    topics.create(name, 2)
    values = small_events(0, 2000).values + [b"bad"] * 7 + [b'{"id": 9000, "more": 1}']
    topics.send(name, values, 2)
    pipeline = pipelines(lake, [events_table(name)])
    run = pipeline.start()
    run.wait_for(lambda status: status["rows_committed"] == 2001 and status["rejects_committed"] == 7, 60, "committed")
    assert run.page("/healthz")[0] == 200
    wait_until(lambda: run.page("/readyz")[0] == 200, 20, "it is ready")
    metrics = wait_until(lambda: _caught_up(run), 20, "the lag is zero")
    pipeline_label = {"pipeline": name}
    assert value_of(metrics, "firn_records_total", **pipeline_label) == len(values)
    assert value_of(metrics, "firn_record_bytes_total", **pipeline_label) == sum(map(len, values))
    assert value_of(metrics, "firn_rejects_total", code="malformed_json", **pipeline_label) == 7
    assert value_of(metrics, "firn_unknown_fields_total", table=f"{name}.events", **pipeline_label) == 1
    assert value_of(metrics, "firn_rows_committed_total", **pipeline_label) == 2001
    assert value_of(metrics, "firn_assigned_partitions", **pipeline_label) == 2
    assert value_of(metrics, "firn_detached_entries", **pipeline_label) == 0
    assert value_of(metrics, "firn_commit_duration_seconds_count", **pipeline_label) >= 1
    files = value_of(metrics, "firn_data_files_total", **pipeline_label)
    sizes = value_of(metrics, "firn_data_file_bytes_total", **pipeline_label)
    listed = [task.file for table in (f"{name}.events", pipeline.rejects)
              for task in load(lake, table).scan().plan_files()]
    assert (files, sizes) == (len(listed), sum(file.file_size_in_bytes for file in listed))
    memory = value_of(metrics, "process_resident_memory_bytes")
    assert 10e6 < memory < 700e6
    assert abs(value_of(metrics, "process_start_time_seconds") - time.time()) < 120
    assert run.page("/nothing")[0] == 404
    assert run.stop() == 0


def _caught_up(run) -> dict:
    metrics = run.metrics()
    lag = [value for key, value in metrics.items() if key.startswith("firn_lag_records")]
    return metrics if lag == [0.0] else {}


def test_lag_is_what_kafka_says(lake, topics, pipelines, name):
    """Committed rows stand still (a long interval): the lag is the topic's end minus the last position."""
    topics.create(name, 3)
    topics.send(name, small_events(0, 300).values, 3)
    pipeline = pipelines(lake, [events_table(name)], changes={"commit": {"interval": "1h", "max_age": "6h"}})
    pipeline.catch_up()
    run = pipeline.start()
    run.wait_for(lambda status: status["ready"], 60, "it is ready")
    topics.send(name, small_events(300, 1234).values, 3)
    group = f"firn-{name}"
    ends, committed = topics.ends(name), topics.committed(group, name)
    expected = sum(ends[number] - committed[number] for number in ends)
    assert expected == 1234
    run.wait_for(lambda status: status["lag_records"] == expected, 30, f"the status page shows a lag of {expected}")
    assert value_of(run.metrics(), "firn_lag_records", pipeline=name) == expected
    assert value_of(run.metrics(), "firn_lag_seconds", pipeline=name) >= 0
    assert run.stop() == 0
    assert_once(lake, f"{name}.events", 0, 1534)


SECRETS = {"store": "store-secret-3141", "credential": "oauth-secret-2718", "header": "header-secret-1618",
           "password": "kafka-secret-1414", "session": "session-secret-1732"}


def test_secrets_are_printed_nowhere(lakes, topics, pipelines, name):
    """Given in the file and in the environment, right or wrong, at the most talkative level."""
    topics.create(name, 1)
    lake = lakes.get("rest-local")
    changes = {
        "log": {"level": "debug"},
        "kafka": {"sasl.username": "firn", "sasl.password": "${KAFKA_PASSWORD}", "debug": "security,broker"},
        "catalog": {"headers": {"X-Api-Key": SECRETS["header"]}, "token": SECRETS["credential"]},
        "store": {"s3": {"access_key_id": "someone", "secret_access_key": SECRETS["store"],
                         "session_token": SECRETS["session"]}},
    }
    pipeline = pipelines(lake, [events_table(name)], changes=changes, env={"KAFKA_PASSWORD": SECRETS["password"]})
    for words in (["check"], ["check", "--json"], ["config", "--effective"], ["positions", "show"]):
        pipeline.command(*words)
    run = pipeline.start()
    time.sleep(3)
    pages = b"".join(run.page(path)[1] for path in ("/metrics", "/status", "/readyz", "/healthz"))
    run.stop()
    # Wrong configurations are the likeliest place to show a value.
    for wrong in ({"kafka": {"sasl.mechanism": SECRETS["password"]}},
                  {"catalog": {"credential": SECRETS["credential"], "token": SECRETS["credential"]}},
                  {"catalog": {"uri": f"http://user:{SECRETS['header']}@127.0.0.1:1"}},
                  {"kafka": {"ssl.key.password": SECRETS["password"], "security.protocol": "SSL"}}):
        broken = pipelines(lake, [events_table(name)], changes=firn.merged(changes, wrong),
                           env={"KAFKA_PASSWORD": SECRETS["password"]})
        broken.command("check")
        text = broken.output()
        for secret in SECRETS.values():
            if wrong.get("kafka", {}).get("sasl.mechanism") == secret:
                continue  # a secret put where a public word belongs cannot be known as one
            assert secret not in text, f"{secret} is shown for {wrong}"
    text = pipeline.output() + pages.decode()
    for secret in SECRETS.values():
        assert secret not in text, secret


def test_logs_are_json_lines_when_asked(lake, topics, pipelines, name):
    topics.create(name, 1)
    topics.send(name, small_events(0, 10).values, 1)
    pipeline = pipelines(lake, [events_table(name)], changes={"log": {"format": "json", "level": "info"}})
    pipeline.catch_up()
    lines = [json.loads(line) for line in pipeline.runs[0].log.splitlines()]
    assert len(lines) > 3
    assert all({"time", "level", "message"} <= {*line} or {"ts", "level", "msg"} <= {*line} for line in lines)
