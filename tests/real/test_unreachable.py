"""Brokers, catalogs and stores that are not there, go away, answer no, or are full: nothing is lost."""

import itertools
import os
import pathlib
import re
import shutil
import subprocess
import time

import pytest

import firn
from fault_proxy import Rule, commit_to
from invariants import assert_accounted
from processes import free_port
from produce import SMALL_COLUMNS, small_events
from readers import assert_once, assert_rows, catalog_of, exists
from servers import BUCKET, TABLE_BUCKET

SHORT = {"kafka": {"session.timeout.ms": 6000, "max.poll.interval.ms": 8000, "socket.timeout.ms": 3000},
         "catalog": {"timeout": "3s"}, "limits": {"give_up_after": "8s"}}


def events_table(name: str, **more) -> dict:
    return {"name": f"{name}.events", "columns": SMALL_COLUMNS, **more}


def check_errors(pipeline: firn.Pipeline) -> list:
    run = pipeline.command("check", "--json", timeout_s=60)
    assert run.process.popen.returncode == firn.FAILURE, run.process.tail()
    return [one for one in run.result()["checks"] if one["verdict"] == "error"]


# --- at the start --------------------------------------------------------------------------------------------------


def nobody() -> str:
    return f"127.0.0.1:{free_port()}"


@pytest.mark.parametrize("part", ["kafka", "catalog", "store"])
def test_check_and_run_say_who_is_unreachable_at_the_start(lakes, topics, pipelines, name, part):
    topics.create(name, 1)
    topics.send(name, small_events(0, 10).values, 1)
    lake = lakes.get("sqlite-s3" if part == "store" else "sqlite-local")
    address = nobody()
    changes = {"kafka": {"kafka": {"bootstrap.servers": address}},
               "catalog": {"catalog": {"type": "rest", "uri": f"http://{address}", "warehouse": None, "name": None}},
               "store": {"store": {"s3": {"endpoint": f"http://{address}"}}}}[part]
    pipeline = pipelines(lake, [events_table(name)], changes=SHORT).change(changes)
    errors = check_errors(pipeline)
    assert any(address in one["message"] for one in errors), errors
    run = pipeline.begin("run", "--until-caught-up", "--json")
    try:
        code = run.process.wait(60)
    except TimeoutError:
        # It may also keep trying, as a service should; then it must say what it waits for.
        status, body = run.page("/readyz")
        assert status == 503 and address in run.log, body
        return
    assert code == firn.FAILURE
    assert address in run.log


# --- in mid-run ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", ["kafka", "rest-catalog", "s3-store"])
@pytest.mark.parametrize("how", ["suspended", pytest.param("killed", marks=pytest.mark.slow)])
def test_a_server_goes_away_and_comes_back(lakes, topics, kafka, pipelines, request, name, part, how):
    """For longer than max.poll.interval.ms: the group's session must live, and every row be there once."""
    lake = lakes.get({"kafka": "sqlite-local", "rest-catalog": "rest-local", "s3-store": "sqlite-s3"}[part])
    server = {"kafka": lambda: kafka, "rest-catalog": lambda: request.getfixturevalue("rest_local"),
              "s3-store": lambda: request.getfixturevalue("s3")}[part]()
    topics.create(name, 2)
    topics.send(name, small_events(0, 1000).values, 2)
    pipeline = pipelines(lake, [events_table(name)], changes=SHORT)
    run = pipeline.start()
    run.wait_for(lambda status: status["rows_committed"] == 1000, 90, "the first rows are committed")
    if part != "kafka":
        topics.send(name, small_events(1000, 1000).values, 2, start=1000)
    if how == "suspended":
        server.process.suspend()
    else:
        server.process.kill()
    try:
        if part != "kafka":
            topics.send(name, small_events(2000, 1000).values, 2, start=2000)
        time.sleep(12)
        assert run.process.running(), run.process.tail()
    finally:
        if how == "suspended":
            server.process.resume()
        else:
            server.start()
    if part == "kafka":
        topics.send(name, small_events(1000, 2000).values, 2, start=1000)
    run.wait_for(lambda status: status["rows_committed"] >= 3000 and status["ready"], 120, "the rest is committed")
    assert run.stop() == 0
    pipeline.catch_up()
    assert_once(lake, f"{name}.events", 0, 3000)
    assert_accounted(lake, pipeline, [f"{name}.events"], 3000)
    assert "maximum poll interval" not in pipeline.output().lower(), "the consumer was thrown out of its group"


def test_a_table_that_is_dropped_is_detached_and_the_others_go_on(lake, topics, pipelines, name):
    topics.create(name, 1)
    tables = [{"name": f"{name}.a", "columns": SMALL_COLUMNS, "match": [{"field": "kind", "equals": "k0"}]},
              {"name": f"{name}.b", "columns": SMALL_COLUMNS}]
    pipeline = pipelines(lake, tables, changes={"commit": {"detach_after": "2s"}})
    run = pipeline.start()
    topics.send(name, small_events(0, 300).values, 1)
    run.wait_for(lambda status: status["rows_committed"] == 300, 60, "the first rows are committed")
    catalog_of(lake).drop_table(f"{name}.a")
    topics.send(name, small_events(300, 300).values, 1)
    run.wait_for(lambda status: status["rows_committed"] >= 500, 60, "the other table's rows are committed")
    status = run.wait_for(lambda status: status["detached"], 60, "the dropped table is detached")
    assert {one["table"] for one in status["detached"]} == {f"{name}.a"}
    assert run.page("/readyz")[0] == 503 or b"table_detached" in run.page("/readyz")[1]
    assert run.metrics()[f'firn_detached_entries{{pipeline="{name}"}}'] == 1
    run.stop()
    assert not exists(lake, f"{name}.a"), "a dropped table must not be made again by itself"
    assert_rows(lake, f"{name}.b", [number for number in range(600) if number % 3])
    assert pipeline.catch_up(expect=firn.DETACHED)["detached"]


# --- answers of no -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", ["key", "secret", "bucket"])
def test_a_store_that_refuses(lakes, topics, pipelines, name, wrong):
    lake = lakes.get("sqlite-s3")
    topics.create(name, 1)
    topics.send(name, small_events(0, 10).values, 1)
    changes = {"key": {"store": {"s3": {"access_key_id": "nobody"}}},
               "secret": {"store": {"s3": {"secret_access_key": "wrong-secret-word"}}},
               "bucket": {"catalog": {"warehouse": f"s3://no-such-bucket-{BUCKET}/x"}}}[wrong]
    pipeline = pipelines(lake, [events_table(name)], changes=SHORT).change(changes)
    errors = check_errors(pipeline)
    assert errors
    if wrong != "bucket":  # this server makes a bucket when somebody who may writes to it
        run = pipeline.begin("run", "--until-caught-up", "--json")
        assert run.process.wait(90) == firn.FAILURE
        assert "wrong-secret-word" not in pipeline.output()
    # With the right word it goes on as if nothing had been.
    pipeline.change(lake.config()).catch_up()
    assert_once(lake, f"{name}.events", 0, 10)


def oauth_lake(s3, credential: str) -> firn.Lake:
    return firn.Lake("rest", "s3", s3.catalog_uri, f"s3://{TABLE_BUCKET}", s3_endpoint=s3.endpoint,
                     credential=credential)


def test_a_catalog_with_oauth2(s3, topics, pipelines, readers, name):
    """SeaweedFS's catalog: a token is fetched with the credential, and asked for again when it is refused."""
    lake = oauth_lake(s3, s3.credential)
    topics.create(name, 1)
    topics.send(name, small_events(0, 500).values, 1)
    pipeline = pipelines(lake, [events_table(name)])
    pipeline.catch_up()
    topics.send(name, small_events(500, 500).values, 1)
    pipeline.catch_up()
    assert_once(lake, f"{name}.events", 0, 1000)
    assert s3.credential.split(":")[1] not in pipeline.output()


@pytest.mark.parametrize("status", [401, 419])
def test_a_token_that_runs_out_again_and_again(s3, topics, pipelines, proxies, name, status):
    """Every two seconds a request is refused, as when a token's time is over: a new one is fetched, and the same
    request goes again. (Not more often: this server's tokens of one second are all the same, and one that was refused
    is not sent again.) Nobody is thrown out, nothing is lost."""
    lake = oauth_lake(s3, s3.credential)
    proxy = proxies(s3.catalog_uri)
    last = time.monotonic()

    def is_due(request) -> bool:
        nonlocal last
        due = not request.path.endswith("/oauth/tokens") and time.monotonic() - last > 2
        if due:
            last = time.monotonic()
        return due

    rule = proxy.add(Rule(is_due, "answer", status=status))
    topics.create(name, 2)
    pipeline = pipelines(lake, [events_table(name)], changes={
        "catalog": {"uri": proxy.url}, "commit": {"interval": "500ms"}})
    run = pipeline.start()
    sent = 0
    while rule.hits < 4:
        topics.send(name, small_events(sent, 300).values, 2)
        sent += 300
        run.wait_for(lambda status, done=sent: status["rows_committed"] >= done, 90, "rows are committed")
    assert run.stop() == 0
    assert_once(lake, f"{name}.events", 0, sent)


def test_a_catalog_that_refuses_the_credential(s3, topics, pipelines, name):
    topics.create(name, 1)
    for changes in ({"catalog": {"credential": "nobody:wrong-secret-word"}},
                    {"catalog": {"credential": None, "token": "wrong-secret-token"}},
                    {"catalog": {"credential": None}}):
        pipeline = pipelines(oauth_lake(s3, s3.credential), [events_table(name)], changes=changes)
        errors = check_errors(pipeline)
        assert any(one["code"] == "unauthorized" for one in errors), errors
        run = pipeline.begin("run", "--until-caught-up", "--json")
        assert run.process.wait(60) == firn.FAILURE
        assert "wrong-secret" not in pipeline.output()


def test_a_warehouse_that_may_not_be_written(lake, topics, pipelines, name, work):
    """The files belong to somebody else; root gives up the capability that would let it through."""
    prefix = []
    if os.geteuid() == 0:
        if not shutil.which("setpriv"):
            pytest.skip("setpriv is missing, and root may write everywhere")
        prefix = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search", "--inh-caps", "-all", "--"]
    topics.create(name, 1)
    topics.send(name, small_events(0, 100).values, 1)
    pipelines(lake, [events_table(name)]).catch_up()
    topics.send(name, small_events(100, 100).values, 1)
    data = work / name / "warehouse" / name / "events"
    folders = [data, *(path for path in data.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    # The warehouse's root is closed too, or a missing folder could be made elsewhere.
    pipeline = pipelines(lake, [events_table(name)], prefix=prefix, changes={"commit": {"detach_after": "2s"}})
    try:
        run = pipeline.begin("run", "--until-caught-up", "--json")
        assert run.process.wait(90) in (firn.FAILURE, firn.DETACHED)
        assert str(data) in run.log and "ermission" in run.log
    finally:
        for folder in folders:
            folder.chmod(0o755)
    assert_once(lake, f"{name}.events", 0, 100)
    final = pipelines(lake, [events_table(name)])
    final.catch_up(expect=firn.SUCCESS)
    assert_once(lake, f"{name}.events", 0, 200)


def test_a_full_disk(lakes, topics, pipelines, name, work):
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    folder = work / name / "small"
    folder.mkdir(parents=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", folder], check=False,
                             capture_output=True, text=True)
    if mounted.returncode != 0:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.strip()}")
    try:
        lake = lakes.get("sqlite-local")
        lake.warehouse = f"file://{folder}"
        topics.create(name, 1)
        topics.send(name, small_events(0, 100).values, 1)
        changes = {"commit": {"detach_after": "2s"}, "limits": {"give_up_after": "5s"}}
        pipeline = pipelines(lake, [events_table(name)], changes=changes)
        pipeline.catch_up()
        ballast = folder / "ballast"
        with open(ballast, "wb", buffering=0) as file:  # a buffer would be written once more on closing
            try:
                while True:
                    file.write(b"\0" * 4096)
            except OSError:
                pass
        topics.send(name, small_events(100, 20_000).values, 1)
        run = pipeline.begin("run", "--until-caught-up", "--json")
        assert run.process.wait(90) in (firn.FAILURE, firn.DETACHED)
        assert "No space left" in run.log or "resource_exhausted" in run.log
        ballast.unlink()
        assert_once(lake, f"{name}.events", 0, 100)
        subprocess.run(["mount", "-o", "remount,size=200m", folder], check=True)
        pipeline.catch_up()
        assert_once(lake, f"{name}.events", 0, 20_100)
        left = [path for path in pathlib.Path(folder).rglob("*") if re.search(r"\.(tmp|part)", path.name)]
        assert not left, left
    finally:
        subprocess.run(["umount", "-l", folder], check=False)


# --- answers that get lost -----------------------------------------------------------------------------------------


def test_lost_answers_of_commits_double_nothing(lakes, topics, pipelines, proxies, name):
    """Every third commit is applied, and its answer lost: in turn the connection just ends, or a gateway says 502."""
    lake = lakes.get("rest-local")
    proxy = proxies(lake.uri)
    rules = [proxy.add(Rule(every(6, 2), "drop_answer")), proxy.add(Rule(every(6, 5), "answer_after", status=502))]
    topics.create(name, 2)
    pipeline = pipelines(lake, [events_table(name)], changes={
        "catalog": {"uri": proxy.url}, "commit": {"interval": "500ms"}})
    run = pipeline.start()
    for start in range(0, 3000, 300):
        topics.send(name, small_events(start, 300).values + [b"bad"], 2)
        run.wait_for(lambda status, done=start + 300: status["rows_committed"] >= done, 90, "rows are committed")
    assert run.stop() == 0
    assert sum(rule.hits for rule in rules) >= 3
    pipeline.change({"catalog": {"uri": lake.uri}}).catch_up()
    assert_once(lake, f"{name}.events", 0, 3000)
    assert_accounted(lake, pipeline, [f"{name}.events"], 3010)


def every(count: int, which: int):
    """Matches one of `count` commits."""
    numbers = itertools.count()
    commits = commit_to()
    return lambda request: commits(request) and next(numbers) % count == which
