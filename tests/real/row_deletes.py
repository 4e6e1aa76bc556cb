"""Row deletes of format v2 made by hand, since PyIceberg writes neither kind: a delete file, its manifest, a snapshot."""

import uuid

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg import types as t
from pyiceberg.manifest import (DataFile, DataFileContent, FileFormat, ManifestContent, ManifestEntry,
                                ManifestEntryStatus, ManifestWriterV2, write_manifest_list)
from pyiceberg.schema import Schema
from pyiceberg.table.snapshots import Operation, Snapshot, Summary
from pyiceberg.table.update import AddSnapshotUpdate, AssertRefSnapshotId, SetSnapshotRefUpdate
from pyiceberg.typedef import Record


class DeleteManifestWriter(ManifestWriterV2):
    def content(self) -> ManifestContent:
        return ManifestContent.DELETES

    @property
    def _meta(self) -> dict:
        return {**super()._meta, "content": "deletes"}

    def _with_partition(self, format_version) -> Schema:
        """PyIceberg (0.12) gives equality_ids as longs; the spec says ints, and Java reads nothing else."""
        entry = super()._with_partition(format_version)
        return Schema(*(_with_int_ids(field) for field in entry.fields), schema_id=entry.schema_id)


def _with_int_ids(field: t.NestedField) -> t.NestedField:
    kind = field.field_type
    if field.name == "equality_ids":
        kind = t.ListType(kind.element_id, t.IntegerType(), element_required=True)
    elif isinstance(kind, t.StructType):
        kind = t.StructType(*(_with_int_ids(inner) for inner in kind.fields))
    return field.model_copy(update={"field_type": kind})


def _field(name: str, kind, number: int) -> pa.Field:
    return pa.field(name, kind, False, {"PARQUET:field_id": str(number)})


def delete_positions(table, rows: list, bounds: bool = False):
    """`rows`: (path of a data file, position). `bounds`: the entry says which paths are in the file."""
    rows = sorted(rows)
    data = pa.table([pa.array([path for path, _ in rows]), pa.array([position for _, position in rows], pa.int64())],
                    pa.schema([_field("file_path", pa.string(), 2147483546), _field("pos", pa.int64(), 2147483545)]))
    extra = {}
    if bounds:
        extra = {"lower_bounds": {2147483546: rows[0][0].encode()}, "upper_bounds": {2147483546: rows[-1][0].encode()}}
    return _commit(table, DataFileContent.POSITION_DELETES, data, **extra)


def delete_equal(table, column: str, values: list):
    """Rows with one of these values in the column, of all files that are there by now."""
    field = table.schema().find_field(column)
    kind = table.schema().as_arrow().field(column).type
    data = pa.table([pa.array(values, kind)], pa.schema([_field(column, kind, field.field_id)]))
    return _commit(table, DataFileContent.EQUALITY_DELETES, data, equality_ids=[field.field_id])


def live_delete_files(table) -> list:
    manifests = [m for m in table.current_snapshot().manifests(table.io) if m.content == ManifestContent.DELETES]
    return [entry.data_file for manifest in manifests for entry in manifest.fetch_manifest_entry(table.io)]


def _commit(table, content: DataFileContent, data: pa.Table, **extra):
    table = table.refresh()
    assert not table.spec().fields, "for tables without partitions"
    path = f"{table.location()}/data/deletes-{uuid.uuid4()}.parquet"
    with table.io.new_output(path).create() as stream:
        pq.write_table(data, stream, store_schema=False)
    size = len(table.io.new_input(path))
    file = DataFile.from_args(content=content, file_path=path, file_format=FileFormat.PARQUET, partition=Record(),
                              record_count=len(data), file_size_in_bytes=size, spec_id=0, **extra)
    number, parent = table.metadata.new_snapshot_id(), table.current_snapshot()
    manifest_path = f"{table.location()}/metadata/{uuid.uuid4()}-m0.avro"
    with DeleteManifestWriter(table.spec(), table.schema(), table.io.new_output(manifest_path), number, "null") as writer:
        writer.add_entry(ManifestEntry.from_args(status=ManifestEntryStatus.ADDED, snapshot_id=number, data_file=file))
    manifests = [writer.to_manifest_file(), *parent.manifests(table.io)]
    sequence = table.metadata.last_sequence_number + 1
    list_path = f"{table.location()}/metadata/snap-{number}-1-{uuid.uuid4()}.avro"
    with write_manifest_list(2, table.io.new_output(list_path), number, parent.snapshot_id, sequence, "null") as listing:
        listing.add_manifests(manifests)
    snapshot = Snapshot(snapshot_id=number, parent_snapshot_id=parent.snapshot_id, sequence_number=sequence,
                        timestamp_ms=table.metadata.last_updated_ms + 1, manifest_list=list_path,
                        summary=Summary(Operation.DELETE), schema_id=table.metadata.current_schema_id)
    table.catalog.commit_table(
        table, (AssertRefSnapshotId(ref="main", snapshot_id=parent.snapshot_id),),
        (AddSnapshotUpdate(snapshot=snapshot),
         SetSnapshotRefUpdate(ref_name="main", type="branch", snapshot_id=number)))
    return table.refresh()
