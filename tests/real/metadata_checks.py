"""What `files`, `partitions` and `snapshots` of a table say, held against its data files and its rows."""

import collections

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyiceberg import types as t
from pyiceberg.conversions import from_bytes

from values import internal, nested


def check_all(table, rows: list):
    """`table`: PyIceberg's; `rows`: all rows that it must have, and that were only ever appended."""
    files = live_files(table)
    check_files(table, files)
    check_partitions(table, rows)
    check_snapshots(table, files, len(rows))
    assert sum(file.record_count for file in files) == len(rows)


def live_files(table) -> list:
    return [task.file for task in table.scan().plan_files()]


def check_files(table, files: list):
    """Sizes, counts and metrics in the manifests are what the files hold."""
    paths = [file.file_path for file in files]
    assert len(paths) == len(set(paths)), "a data file is listed twice"
    for file in files:
        source = table.io.new_input(file.file_path)
        assert len(source) == file.file_size_in_bytes, file.file_path
        with source.open() as stream:
            parquet = pq.ParquetFile(stream)
            assert parquet.metadata.num_rows == file.record_count, file.file_path
            _check_metrics(table, file, parquet.read())
            offsets = [parquet.metadata.row_group(n).column(0) for n in range(parquet.metadata.num_row_groups)]
            starts = [min(c.data_page_offset, c.dictionary_page_offset or c.data_page_offset) for c in offsets]
            assert file.split_offsets is None or list(file.split_offsets) == starts, file.file_path


def _check_metrics(table, file, data: pa.Table):
    """Top-level primitive columns: counts exact, bounds never inside of what the file holds."""
    by_id = {int(field.metadata[b"PARQUET:field_id"]): field.name for field in data.schema}
    for field in table.schema().fields:
        if field.field_id not in by_id or not isinstance(field.field_type, t.PrimitiveType):
            continue
        column = data.column(by_id[field.field_id])
        where = f"{file.file_path}: {field.name}"
        if field.field_id in (file.value_counts or {}):
            assert file.value_counts[field.field_id] == len(column), where
            assert file.null_value_counts[field.field_id] == column.null_count, where
        values = [internal(value, field.field_type) for value in column.to_pylist() if value is not None]
        if isinstance(field.field_type, (t.FloatType, t.DoubleType)):
            if field.field_id in (file.nan_value_counts or {}):
                assert file.nan_value_counts[field.field_id] == sum(value != value for value in values), where
            values = [value for value in values if value == value]
        _check_bounds(file, field, [_comparable(value, field.field_type) for value in values], where)


def _check_bounds(file, field, values: list, where: str):
    lower = (file.lower_bounds or {}).get(field.field_id)
    upper = (file.upper_bounds or {}).get(field.field_id)
    if not values:
        return
    if lower is not None:
        bound = _comparable(from_bytes(field.field_type, lower), field.field_type)
        assert bound <= min(values), f"{where}: lower bound {bound!r} above {min(values)!r}"
    if upper is not None:
        bound = _comparable(from_bytes(field.field_type, upper), field.field_type)
        assert bound >= max(values), f"{where}: upper bound {bound!r} below {max(values)!r}"


def _comparable(value, kind):
    if isinstance(kind, t.UUIDType):
        return value if isinstance(value, bytes) else value.bytes
    return value


def partition_of(table, row: dict) -> tuple:
    """By PyIceberg's transforms, from the row's values; for the table's current spec."""
    schema = table.schema()
    out = []
    for field in table.spec().fields:
        source = schema.find_field(field.source_id)
        value = internal(nested(row, schema.find_column_name(field.source_id)), source.field_type)
        out.append(field.transform.transform(source.field_type)(value))
    return tuple(out)


def check_partitions(table, rows: list):
    """As many rows in each partition as the rows' own values give."""
    if not table.spec().fields:
        return
    expected = collections.Counter(_key(partition_of(table, row)) for row in rows)
    found = collections.Counter()
    kinds = [field.field_type for field in table.spec().partition_type(table.schema()).fields]
    for file in live_files(table):
        found[_key(tuple(_inner(value, kind) for value, kind in zip(file.partition, kinds)))] += file.record_count
    assert found == expected, _counter_difference(found, expected)
    if any(isinstance(kind, t.UUIDType) for kind in kinds):
        return  # PyIceberg's listing cannot show such a partition
    listed = table.inspect.partitions()
    assert pc.sum(listed.column("record_count")).as_py() == len(rows)
    # PyIceberg lists each NaN as a partition of its own.
    assert listed.num_rows == len(expected) or any("nan" in key for key in expected)


def _inner(value, kind):
    if value is None or isinstance(value, (int, float, bool, str, bytes)):
        return value
    return internal(value, kind)


def _key(values: tuple) -> tuple:
    # All NaN are one partition, and -0.0 is not 0.0 where both may stand.
    return tuple(repr(value) if not isinstance(value, (bytes, bytearray)) else bytes(value).hex() for value in values)


def _counter_difference(found, expected) -> str:
    wrong = {key: (found[key], expected[key]) for key in found.keys() | expected.keys() if found[key] != expected[key]}
    return f"{len(wrong)} partitions differ (read, expected): {dict(list(wrong.items())[:5])}"


def check_snapshots(table, files: list, row_count: int):
    """Totals of the current snapshot, and the sum of what each listed append says it added."""
    current = table.current_snapshot()
    assert current is not None, "the table has no snapshot"
    summary = current.summary
    assert int(summary["total-records"]) == row_count
    assert int(summary["total-data-files"]) == len(files)
    assert int(summary["total-files-size"]) == sum(file.file_size_in_bytes for file in files)
    assert int(summary["total-delete-files"]) == 0
    snapshots = sorted(table.metadata.snapshots, key=lambda snapshot: snapshot.sequence_number)
    assert [snapshot.sequence_number for snapshot in snapshots] == sorted(
        {snapshot.sequence_number for snapshot in snapshots}), "a sequence number stands twice"
    for before, after in zip(snapshots, snapshots[1:]):
        assert after.parent_snapshot_id == before.snapshot_id
        assert after.timestamp_ms >= before.timestamp_ms
    assert table.inspect.snapshots().num_rows == len(snapshots)
    if snapshots[0].parent_snapshot_id is None:
        assert sum(int(one.summary.additional_properties.get("added-records", 0)) for one in snapshots) == row_count
    manifests = table.inspect.manifests()
    counted = sum(manifests.column("added_data_files_count").to_pylist()) + sum(
        manifests.column("existing_data_files_count").to_pylist())
    assert counted == len(files), "the manifest list counts other files than the manifests hold"
