"""Wrong configurations: exit code 2, a message with place and remedy. Then what `check` says of right ones."""

import pathlib
import subprocess

import pytest
import yaml

import firn
from produce import SMALL_COLUMNS, small_events
from readers import exists

WRONG = yaml.safe_load((pathlib.Path(__file__).parent / "wrong_configurations.yaml").read_text())


def test_there_are_many():
    assert len(WRONG["cases"]) >= 30
    assert len({case["name"] for case in WRONG["cases"]}) == len(WRONG["cases"])


@pytest.mark.parametrize("case", WRONG["cases"], ids=lambda case: case["name"].replace(" ", "-"))
def test_a_wrong_configuration(firn_version, tmp_path, case):
    del firn_version
    config = tmp_path / "firn-1.yaml"
    config.write_text(case["text"] if "text" in case else yaml.safe_dump(firn.merged(WRONG["base"], case["change"])))
    for command in ("check", "run"):
        done = subprocess.run([firn.binary(), command, "-c", config], capture_output=True, text=True, timeout=30,
                              check=False, cwd=tmp_path)
        said = done.stderr + done.stdout
        assert done.returncode == case.get("exit", firn.USAGE), f"{command} gave {done.returncode}: {said}"
        missing = [word for word in case["says"] if word not in said]
        assert not missing, f"{command} does not say {missing}: {said}"


def test_all_problems_are_told_at_once(firn_version, tmp_path):
    del firn_version
    config = tmp_path / "firn.yaml"
    config.write_text(yaml.safe_dump(firn.merged(WRONG["base"], {
        "commit": {"intervall": "1s", "max_age": 7}, "memory": {"limit": "1MiB"}, "surprise": 1})))
    done = subprocess.run([firn.binary(), "check", "-c", config, "--json"], capture_output=True, text=True, timeout=30,
                          check=False)
    assert done.returncode == firn.USAGE
    document = yaml.safe_load(done.stdout)
    assert document["errors"] == 4
    assert all(problem["line"] > 0 for problem in document["problems"])


def findings(pipeline: firn.Pipeline, expect: int = firn.SUCCESS) -> list:
    run = pipeline.command("check", "--json")
    assert run.process.popen.returncode == expect, run.process.tail()
    return run.result()["checks"]


def test_check_says_what_would_be_made_and_makes_nothing(lake, topics, pipelines, name):
    topics.create(name, 2)
    topics.send(name, small_events(0, 10).values, 2)
    pipeline = pipelines(lake, [{"name": f"{name}.events", "columns": SMALL_COLUMNS}])
    found = {one["code"] for one in findings(pipeline)}
    assert {"brokers_reached", "topic_readable", "catalog_to_create", "table_to_create"} <= found
    assert not exists(lake, f"{name}.events")
    assert topics.committed(f"firn-{name}", name) == {}
    pipeline.catch_up()
    assert "table_exists" in {one["code"] for one in findings(pipeline)}


def test_check_warns_of_what_is_likely_not_meant(lake, topics, pipelines, name):
    topics.create(name, 1)
    pipelines(lake, [{"name": f"{name}.events", "columns": SMALL_COLUMNS}]).catch_up()
    second = pipelines(lake, [{"name": f"{name}.events", "columns": SMALL_COLUMNS},
                              ], pipeline=f"{name}_2", changes={"source": {"topics": [name, f"{name}.missing"]}})
    codes = {one["code"] for one in findings(second, expect=firn.FAILURE)}
    assert {"topic_shared", "topic_missing"} <= codes
