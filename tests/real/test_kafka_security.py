"""Client properties reach the broker: TLS, and SASL with a password that is printed nowhere."""

import pytest

import firn
from produce import SMALL_COLUMNS, small_events
from readers import assert_once
from servers import KafkaBroker

WRONG = "wrong-secret-word"


def secure(kafka, **changes) -> dict:
    return {"kafka": {"bootstrap.servers": kafka.secure_bootstrap, "security.protocol": "SASL_SSL",
                      "ssl.ca.location": str(kafka.certificate), "sasl.mechanism": "PLAIN",
                      "sasl.username": KafkaBroker.USER, "sasl.password": KafkaBroker.PASSWORD, **changes},
            "limits": {"give_up_after": "5s"}}


def test_tls_and_password(lake, topics, kafka, pipelines, name):
    topics.create(name, 2)
    topics.send(name, small_events(0, 1000).values, 2)
    pipeline = pipelines(lake, [{"name": f"{name}.events", "columns": SMALL_COLUMNS}], changes=secure(kafka))
    run = pipeline.command("check", "--json", timeout_s=60)
    assert run.process.popen.returncode == firn.SUCCESS, run.process.tail()
    pipeline.catch_up()
    assert_once(lake, f"{name}.events", 0, 1000)
    assert KafkaBroker.PASSWORD not in pipeline.output()


@pytest.mark.parametrize("wrong", ["password", "certificate"])
def test_who_is_not_let_in_is_told_why(lake, topics, kafka, pipelines, name, wrong):
    topics.create(name, 1)
    changes = {"password": {"sasl.password": WRONG}, "certificate": {"ssl.ca.location": None}}[wrong]
    pipeline = pipelines(lake, [{"name": f"{name}.events", "columns": SMALL_COLUMNS}], changes=secure(kafka, **changes))
    run = pipeline.command("check", "--json", timeout_s=90)
    assert run.process.popen.returncode == firn.FAILURE, run.process.tail()
    errors = [one for one in run.result()["checks"] if one["verdict"] == "error"]
    word = {"password": "uthentication", "certificate": "ertificate"}[wrong]
    assert any(word in one["message"] and kafka.secure_bootstrap in one["message"] for one in errors), errors
    run = pipeline.begin("run", "--until-caught-up", "--json")
    assert run.process.wait(90) == firn.FAILURE
    assert word in run.log
    assert WRONG not in pipeline.output()
