"""Kafka to each kind of catalog and store, read by others: same values, true metadata, true pruning."""

import pytest

import metadata_checks
import ocsf
from conftest import LAKES
from predicates import Predicate, around
from produce import seeded
from readers import assert_same, load
from values import checksums_of_rows

EVENTS = 4000
PREDICATES = 20  # of each reader, drawn from all
# The columns that the table is partitioned by, and others that have bounds.
ASKED = ("time", "src_endpoint.ip", "severity", "event_time", "activity_id", "type_uid", "status_detail", "risk_score",
         "is_alert", "traffic.bytes_in")
NOT_QUICK = {"rest-local", "sqlite-s3"}


@pytest.mark.parametrize("lake_name", [pytest.param(one, marks=pytest.mark.slow) if one in NOT_QUICK else one
                                       for one in LAKES])
def test_events_become_rows_for_every_reader(lakes, topics, pipelines, readers, name, lake_name):
    lake = lakes.get(lake_name)
    table = f"{name}.network_activity"
    topics.create(name, 3)
    batch = ocsf.events(EVENTS, name)
    pipeline = pipelines(lake, [{"name": table, "columns": ocsf.COLUMNS, "partition": ocsf.PARTITION,
                                 "sort_order": ["time"]}])
    half = EVENTS // 2
    topics.send(name, batch.values[:half])
    first = pipeline.catch_up()
    topics.send(name, batch.values[half:])
    second = pipeline.catch_up()

    assert first["rows_committed"] + second["rows_committed"] == EVENTS
    assert first["caught_up"] and second["caught_up"]
    assert first["rejects_committed"] + second["rejects_committed"] == 0
    loaded = load(lake, table)
    metadata_checks.check_all(loaded, batch.rows)
    fields = [field for field in loaded.schema().fields]
    assert [field.name for field in fields] == [field.name for field in ocsf.SCHEMA.fields]
    for reader in readers(lake):
        assert_same(reader, table, ocsf.SCHEMA.fields, batch.rows)
        check_predicates(reader, table, batch.rows, seeded(name, reader.name))
    assert_that_partitions_are_pruned(loaded, batch.rows)


def check_predicates(reader, table, rows, draw):
    asked = []
    for column in ASKED:
        kind = ocsf.SCHEMA.find_type(column)
        asked += [(predicate, kind) for predicate in around(rows, column, kind, 2) if reader.takes(predicate)]
    # The partition's own columns are always asked; of the rest, a sample.
    must = [one for one in asked if one[0].column in ("time", "severity") and one[0].operator in ("=", "null")]
    for predicate, kind in must + draw.sample(asked, PREDICATES):
        kept = checksums_of_rows([row for row in rows if predicate.holds(row, kind)], ocsf.SCHEMA.fields[:8])
        names = [field.name for field in ocsf.SCHEMA.fields[:8]]
        found = reader.read(table, names, predicate, kind)
        found = checksums_of_rows([dict(zip(found, line)) for line in zip(*found.values())], ocsf.SCHEMA.fields[:8])
        assert found == kept, f"{reader.name}: WHERE {predicate}: {found.difference(kept)}"


def assert_that_partitions_are_pruned(table, rows):
    """A day that has few rows needs few files: the partition values and bounds are of use, not only right."""
    whole = len(list(table.scan().plan_files()))
    first = min(row["time"] for row in rows)
    # Bounds of `time` let all files go but those of the first instant's day that begin there.
    predicate = Predicate("time", "<=", first)
    kept = len(list(table.scan(row_filter=predicate.expression()).plan_files()))
    assert 0 < kept < whole / 2
