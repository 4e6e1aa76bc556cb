"""The measuring instruments themselves, on tables that PyIceberg made: equal tables agree, and a difference is seen."""

import copy

import pytest
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.transforms import BucketTransform, DayTransform, IdentityTransform
from pyiceberg.types import LongType, NestedField, StringType

import metadata_checks
import ocsf
from arrow_rows import append
from predicates import Predicate, around
from produce import small_events
from readers import assert_once, assert_same, catalog_of
from values import checksums_of_rows

SPEC = PartitionSpec(PartitionField(1, 1000, DayTransform(), "time_day"),
                     PartitionField(121, 1001, BucketTransform(2), "ip_bucket"),
                     PartitionField(8, 1002, IdentityTransform(), "severity"))

@pytest.mark.parametrize("lake_name", ["sqlite-local", "sqlite-s3"])
def test_readers_agree_on_a_foreign_table_and_see_a_difference(lakes, readers, name, lake_name):
    lake = lakes.get(lake_name)
    catalog = catalog_of(lake)
    catalog.create_namespace_if_not_exists(name)
    table = catalog.create_table(f"{name}.events", ocsf.SCHEMA, partition_spec=SPEC)
    rows = ocsf.events(300, "measuring").rows
    append(table, rows[:200])
    append(table, rows[200:])
    table = catalog.load_table(f"{name}.events")

    metadata_checks.check_all(table, rows)
    fields = ocsf.SCHEMA.fields
    expected = checksums_of_rows(rows, fields)
    for reader in readers(lake):
        assert_same(reader, f"{name}.events", fields, rows)
        for predicate in around(rows, "severity", ocsf.SCHEMA.find_type("severity")):
            kept = [row for row in rows if predicate.holds(row, ocsf.SCHEMA.find_type("severity"))]
            read = reader.read(f"{name}.events", ["time"], predicate, ocsf.SCHEMA.find_type("severity"))
            assert len(read["time"]) == len(kept), predicate

    wrong = copy.deepcopy(rows)
    wrong[7]["src_endpoint"]["port"] += 1
    assert checksums_of_rows(wrong, fields) != expected
    swapped = copy.deepcopy(rows)
    swapped[3]["metadata"], swapped[4]["metadata"] = swapped[4]["metadata"], swapped[3]["metadata"]
    difference = checksums_of_rows(swapped, fields)
    assert difference["metadata"] == expected["metadata"] and difference["(rows)"] != expected["(rows)"]
    with pytest.raises(AssertionError):
        metadata_checks.check_all(table, rows[:-1])
    with pytest.raises(AssertionError):
        metadata_checks.check_partitions(table, [*rows[:-1], {**rows[-1], "severity": "Fatal"}])

def test_a_doubled_a_missing_and_a_wrong_row_are_seen(lakes, name):
    lake = lakes.get("sqlite-local")
    catalog = catalog_of(lake)
    catalog.create_namespace_if_not_exists(name)
    table = catalog.create_table(f"{name}.numbers", Schema(
        NestedField(1, "id", LongType()), NestedField(2, "kind", StringType()), NestedField(3, "note", StringType())))
    rows = small_events(0, 5).rows
    append(table, rows[:3])
    assert_once(lake, f"{name}.numbers", 0, 3)
    with pytest.raises(AssertionError, match="1 are missing or wrong, 0 doubled"):
        assert_once(lake, f"{name}.numbers", 0, 4)
    append(table, [rows[2]])
    with pytest.raises(AssertionError, match="0 are missing or wrong, 1 doubled"):
        assert_once(lake, f"{name}.numbers", 0, 3)
    append(table, [{**rows[3], "note": "another"}, {**rows[4], "kind": None}])
    with pytest.raises(AssertionError, match="2 are missing or wrong, 3 doubled"):
        assert_once(lake, f"{name}.numbers", 0, 5)

def test_predicates_are_evaluated_as_sql_does():
    row = {"a": None, "b": {"c": 3}}
    kind = LongType()
    assert not Predicate("a", "!=", 1).holds(row, kind)
    assert Predicate("a", "null").holds(row, kind)
    assert Predicate("b.c", ">=", 3).holds(row, kind)
    assert not Predicate("b.c", "<", 3).holds(row, kind)

def test_checksums_see_a_float_bit_and_a_zone():
    schema = Schema(NestedField(1, "x", ocsf.t.DoubleType()))
    sums = [checksums_of_rows([{"x": x}], schema.fields)["x"] for x in (0.0, -0.0, 5e-324, float("nan"), None)]
    assert len(set(sums)) == len(sums)

def test_the_configuration_columns_are_the_schema(lakes):
    del lakes
    assert [column["name"] for column in ocsf.COLUMNS] == [field.name for field in ocsf.SCHEMA.fields]
