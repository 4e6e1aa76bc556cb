"""Rows of Python values as Arrow tables, for tables that PyIceberg writes."""

import uuid

import pyarrow as pa
from pyiceberg import types as t
from pyiceberg.io.pyarrow import schema_to_pyarrow


def _plain(value, kind):
    """Arrow takes a UUID as bytes and a map as pairs."""
    if value is None:
        return None
    if isinstance(kind, t.StructType):
        return {field.name: _plain(value[field.name], field.field_type) for field in kind.fields}
    if isinstance(kind, t.ListType):
        return [_plain(item, kind.element_type) for item in value]
    if isinstance(kind, t.MapType):
        pairs = value.items() if isinstance(value, dict) else value
        return [(_plain(key, kind.key_type), _plain(item, kind.value_type)) for key, item in pairs]
    return value.bytes if isinstance(value, uuid.UUID) else value


def arrow_table(rows: list, schema) -> pa.Table:
    arrow_schema = schema_to_pyarrow(schema, include_field_ids=False)
    columns = []
    for field, arrow_field in zip(schema.fields, arrow_schema):
        plain = [_plain(row.get(field.name), field.field_type) for row in rows]
        kind = arrow_field.type
        if isinstance(kind, pa.BaseExtensionType):
            columns.append(pa.ExtensionArray.from_storage(kind, pa.array(plain, kind.storage_type)))
        else:
            columns.append(pa.array(plain, kind))
    return pa.Table.from_arrays(columns, schema=arrow_schema)


def append(table, rows: list):
    table.append(arrow_table(rows, table.schema()))
