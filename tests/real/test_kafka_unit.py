"""The unit program of module kafka against the real broker: truncation, retention, recreation, transactions."""

import os
import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


def program() -> pathlib.Path:
    """What FIRN_KAFKA_TEST names, else the newest that a build with tests has left."""
    if named := os.environ.get("FIRN_KAFKA_TEST"):
        return pathlib.Path(named)
    found = sorted((ROOT / "build").glob("*/bin/firn_kafka_test"), key=lambda path: path.stat().st_mtime)
    if not found:
        pytest.skip("no build with tests is here: ./firn-dev build")
    return found[-1]


def test_the_kafka_source_with_a_real_broker(kafka, topics, work, name):
    del topics  # the broker has answered
    report = work / f"{name}.xml"
    done = subprocess.run([program(), "--gtest_filter=KafkaBrokerTest.*", f"--gtest_output=xml:{report}"],
                          env={**os.environ, "FIRN_TEST_KAFKA_BOOTSTRAP": kafka.bootstrap}, capture_output=True,
                          text=True, timeout=600, check=False)
    assert done.returncode == 0, f"{done.stdout[-4000:]}\n{done.stderr[-2000:]}"
    passed, skipped = done.stdout.count("[       OK ]"), done.stdout.count("[  SKIPPED ]")
    assert passed >= 5 and not skipped, done.stdout[-4000:]
