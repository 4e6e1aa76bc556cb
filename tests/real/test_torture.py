"""The torture as a measuring instrument: its count must find what is wrong in tables with known faults, made by
PyIceberg; and half a minute of it must come to its end with a report."""

import argparse
import json
import pathlib
import subprocess
import sys

import pyarrow as pa
import pytest
from pyiceberg import types as t
from pyiceberg.schema import Schema

from readers import catalog_of
from torture import failures_of
from torture_count import Count, is_right
from torture_feed import Ledger, is_malformed, note_of, table_name, table_number, value_of

TABLES = 5


def fill(lake, namespace: str, ids, rejected):
    """As a pipeline would: each id in its table, malformed ones in the rejects."""
    catalog = catalog_of(lake)
    catalog.create_namespace_if_not_exists(namespace)
    by_table = {table_name(number): [] for number in range(TABLES)}
    for number in ids:
        name = table_name(table_number(number, TABLES))
        by_table[name].append({"id": number, "t": name, "note": note_of(number)})
    schema = Schema(t.NestedField(1, "id", t.LongType()), t.NestedField(2, "t", t.StringType()),
                    t.NestedField(3, "note", t.StringType()))
    for name, rows in by_table.items():
        table = catalog.create_table_if_not_exists(f"{namespace}.{name}", schema)
        table.append(pa.Table.from_pylist(rows, schema=schema.as_arrow()))
    rejects = catalog.create_table_if_not_exists(f"{namespace}.rejects", Schema(
        t.NestedField(1, "code", t.StringType()), t.NestedField(2, "partition", t.IntegerType()),
        t.NestedField(3, "offset", t.LongType()), t.NestedField(4, "value", t.BinaryType())))
    rejects.append(pa.Table.from_pylist(
        [{"code": "malformed_json", "partition": 0, "offset": number, "value": value_of(number, TABLES)}
         for number in rejected], schema=rejects.schema().as_arrow()))
    return by_table


def test_it_finds_what_is_lost_doubled_wrong_and_strange(lake, name):
    ledger = Ledger()
    everything = ledger.take_ids(2000)
    sent, aborted, unsure = everything[:1800], everything[1800:1900], everything[1900:]
    ledger.done(sent, "committed")
    ledger.done(aborted, "aborted")
    ledger.done(unsure, "unsure")
    good = [number for number in sent if not is_malformed(number)]
    bad = [number for number in sent if is_malformed(number)]
    half_of_unsure = [number for number in unsure[:50] if not is_malformed(number)]
    plan = argparse.Namespace(tables=TABLES, namespace=name)
    by_table = fill(lake, name, good[2:] + half_of_unsure, bad[1:])
    fill(lake, name, good[-3:] + [number for number in aborted[:4] if not is_malformed(number)], bad[1:3])
    catalog = catalog_of(lake)
    table = catalog.load_table(f"{name}.t00")
    for row, note in ((by_table["t01"][5], "of another table"), (by_table["t00"][7], "wrong")):
        if note == "wrong":
            table.delete(f"id == {row['id']}")
            row = {**row, "note": "v0"}
        table.append(pa.Table.from_pylist([row], schema=table.schema().as_arrow()))
    table.append(pa.Table.from_pylist([{"id": -1, "t": "t00", "note": note_of(-1)}], schema=table.schema().as_arrow()))
    ledger.foreign[("here", "t00")] = {-1: "stands", -2: "stands", -3: "gone", -4: "unsure"}

    count = Count(lake, "here", plan, ledger, f"{name}.rejects").all()
    assert not is_right(count)
    in_vain = sum(not is_malformed(number) for number in aborted[:4])
    # Lost: two rows, one reject, one foreign row. Wrong: another table's row in t00, and a note. A reject that is there
    # twice is so by its id and by its place.
    assert count.found == {"lost": 4, "doubled": 3 + 2 * 2, "wrong": 2, "strange": in_vain + 1}
    assert {one["table"] for one in count.examples} >= {"t00", "rejects"}


def test_a_row_without_an_id_hides_nothing(lake, name):
    """Neither itself, nor what is lost of its table, nor what is there and was never sent; so in the rejects."""
    ledger = Ledger()
    sent = ledger.take_ids(1000)
    ledger.done(sent, "plain")
    good = [number for number in sent if not is_malformed(number)]
    bad = [number for number in sent if is_malformed(number)]
    by_table = {table_number(number, TABLES): number for number in good[:50]}
    fill(lake, name, [number for number in good if number != by_table[3]], bad[1:])
    catalog = catalog_of(lake)
    for table, rows in (("t03", [{"id": None, "t": "t03", "note": None},
                                 {"id": 5_000_000, "t": "t03", "note": note_of(5_000_000)}]),
                        ("t02", [{"id": 0, "t": "t02", "note": note_of(0)}]),
                        ("rejects", [{"code": None, "partition": 1, "offset": 1, "value": None}])):
        loaded = catalog.load_table(f"{name}.{table}")
        loaded.append(pa.Table.from_pylist(rows, schema=loaded.schema().as_arrow()))
    plan = argparse.Namespace(tables=TABLES, namespace=name)
    count = Count(lake, "here", plan, ledger, f"{name}.rejects").all()
    found = {(one["table"], one["kind"]): one["ids"] for one in count.examples}
    assert found[("t03", "lost")] == [by_table[3]] and found[("rejects", "lost")] == bad[:1]
    assert sorted(found[("t03", "strange")], key=str) == [5_000_000, None]
    assert found[("t02", "strange")] == [0]
    assert found[("rejects", "strange")] == [None] and found[("rejects", "wrong")] == [None]


def test_it_finds_nothing_where_all_is_right(lake, name):
    ledger = Ledger()
    ids = ledger.take_ids(3000)
    ledger.done(ids, "plain")
    fill(lake, name, [number for number in ids if not is_malformed(number)],
         [number for number in ids if is_malformed(number)])
    plan = argparse.Namespace(tables=TABLES, namespace=name)
    count = Count(lake, "here", plan, ledger, f"{name}.rejects").all()
    assert is_right(count), count.examples
    assert count.rows + count.rejected == 3000


def test_its_verdict_is_about_more_than_rows():
    """A worker that crashes, hangs or stands still fails the torture, though no row is lost by it."""
    good = {"lost": 0, "doubled": 0, "wrong": 0, "strange": 0, "ends_by_itself": [], "read_under_attack": [10, 20],
            "failed_stops": [{"worker": "a/0", "code": 1}],
            "settled": {"code": 0, "attempts": 1, "group_offsets_at_the_end": True}}
    assert failures_of({"a": good}, [], 60) == []
    assert failures_of({"a": good}, ["a/1"], 60)
    aborted = {"worker": "a/0", "code": -6}
    for bad in ({"lost": 1}, {"doubled": 1}, {"wrong": 1}, {"strange": 1}, {"ends_by_itself": [aborted]},
                {"failed_stops": [aborted]}, {"read_under_attack": [20, 20]}, {"read_under_attack": [0, 0]},
                *({"settled": {**good["settled"], **part}}
                  for part in ({"code": 3}, {"code": None}, {"attempts": 2}, {"group_offsets_at_the_end": False}))):
        assert len(failures_of({"a": {**good, **bad}}, [], 60)) == 1, bad


@pytest.mark.slow
def test_half_a_minute_of_it(work, name):
    report = work / name / "report.json"
    report.parent.mkdir()
    done = subprocess.run(
        [sys.executable, pathlib.Path(__file__).parent / "torture.py", "--minutes", "0.5", "--seed", "11", "--gap", "1",
         "4", "--workers", "2", "--partitions", "4", "--tables", "6", "--catalogs", "fixture", "--report", report,
         "--work", work / name / "torture"], capture_output=True, text=True, timeout=1200, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    found = json.loads(report.read_text())
    pipeline = found["pipelines"]["fixture"]
    assert found["verdict"] == "passed" and not found["failures"] and sum(found["attacks"].values()) > 3
    assert pipeline["rows"] > 1000 and pipeline["rejects"] > 10
    refused = subprocess.run([sys.executable, pathlib.Path(__file__).parent / "torture.py", "--minutes", "0"],
                             capture_output=True, text=True, timeout=60, check=False)
    assert refused.returncode == 2 and "--minutes" in refused.stderr
