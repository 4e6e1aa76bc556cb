"""Each record once: in its table, in the rejects, or counted as dropped."""

import firn
from readers import catalog_of, load
from pyiceberg.exceptions import NoSuchTableError


def reject_rows(lake: firn.Lake, pipeline: firn.Pipeline) -> list:
    try:
        return load(lake, pipeline.rejects).scan().to_arrow().to_pylist()
    except NoSuchTableError:
        return []


def places(rejects: list) -> list:
    return sorted((one["topic"], one["partition"], one["offset"]) for one in rejects)


def row_count(lake: firn.Lake, table: str) -> int:
    return load(lake, table).scan().count()


def dropped(lake: firn.Lake, pipeline: firn.Pipeline) -> int:
    """By the summaries of the home's snapshots."""
    return sum(int(snapshot.summary.additional_properties.get("firn.dropped-records", 0))
               for snapshot in load(lake, pipeline.home).metadata.snapshots)


def assert_accounted(lake: firn.Lake, pipeline: firn.Pipeline, tables: list, records: int):
    """rows + rejects + dropped = records, and no record is rejected twice."""
    rejects = reject_rows(lake, pipeline)
    where = places(rejects)
    assert len(where) == len(set(where)), "a record is in the rejects twice"
    rows = sum(row_count(lake, table) for table in tables)
    counted = dropped(lake, pipeline)
    assert rows + len(rejects) + counted == records, (
        f"{rows} rows + {len(rejects)} rejects + {counted} dropped is not {records} records")


def assert_rejected(lake: firn.Lake, pipeline: firn.Pipeline, values: list, code: str = "malformed_json"):
    """The rejects are exactly these records, each once, with all their bytes and this code."""
    found = sorted((one["value"], one["code"]) for one in reject_rows(lake, pipeline))
    wanted = sorted((value, code) for value in values)
    assert found == wanted, (f"{len(found)} rejects of {len(wanted)}; the first that differ: "
                             f"{[pair for pair in zip(found, wanted) if pair[0] != pair[1]][:2]}")


def metadata_location(lake: firn.Lake, table: str) -> str:
    """Empty when there is no such table."""
    try:
        return catalog_of(lake).load_table(table).metadata_location
    except NoSuchTableError:
        return ""
