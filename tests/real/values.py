"""Values of Iceberg's types in Python: as JSON that a producer would send, as text that any reader's answer is turned
into, and as sums over such texts that do not depend on the order of rows.

A row is a dict by column name. Types are PyIceberg's. Floats of 32 bits are Python floats that 32 bits hold exactly.
"""

import base64
import datetime
import decimal
import hashlib
import json
import math
import uuid

from pyiceberg import types as t

EPOCH = datetime.datetime(1970, 1, 1)
EPOCH_UTC = EPOCH.replace(tzinfo=datetime.timezone.utc)
MICROSECOND = datetime.timedelta(microseconds=1)


def micros_of(value: datetime.datetime) -> int:
    return (value - (EPOCH_UTC if value.tzinfo else EPOCH)) // MICROSECOND


def timestamp_of(micros: int, zone: bool) -> datetime.datetime:
    return (EPOCH_UTC if zone else EPOCH) + micros * MICROSECOND


def time_micros(value: datetime.time) -> int:
    return ((value.hour * 60 + value.minute) * 60 + value.second) * 1_000_000 + value.microsecond


# --- as JSON -------------------------------------------------------------------------------------------------------


def json_text(value, kind) -> str:
    """What a producer sends for the value; exact, so that it comes back as the same value."""
    if value is None:
        return "null"
    if isinstance(kind, t.StructType):
        return "{" + ",".join(f"{json.dumps(field.name)}:{json_text(value[field.name], field.field_type)}"
                              for field in kind.fields if field.name in value) + "}"
    if isinstance(kind, t.ListType):
        return "[" + ",".join(json_text(item, kind.element_type) for item in value) + "]"
    if isinstance(kind, t.MapType):
        return "{" + ",".join(f"{json.dumps(_key_text(key, kind.key_type), ensure_ascii=False)}:"
                              f"{json_text(item, kind.value_type)}" for key, item in _pairs(value)) + "}"
    return _primitive_json(value, kind)


def _primitive_json(value, kind) -> str:
    match kind:
        case t.BooleanType():
            return "true" if value else "false"
        case t.FloatType() | t.DoubleType():
            if math.isnan(value):
                return '"NaN"'
            if math.isinf(value):
                return '"Infinity"' if value > 0 else '"-Infinity"'
            return repr(value)
        case t.DecimalType():
            return format(value, "f")
        case t.BinaryType() | t.FixedType():
            return json.dumps(base64.b64encode(value).decode())
        case t.TimestampType() | t.TimestamptzType():
            micros = micros_of(value)
            # Both forms that sources send; a number counts milliseconds, the default of decode.epoch_unit.
            return str(micros // 1000) if micros % 2000 == 0 else json.dumps(_iso(value))
        case t.DateType() | t.TimeType():
            return json.dumps(value.isoformat())
        case t.StringType():
            return json.dumps(value, ensure_ascii=len(value) % 2 == 0)
        case t.UUIDType():
            return json.dumps(str(value))
        case _:
            return str(value)


def _iso(value: datetime.datetime) -> str:
    # isoformat() writes years before 1000 with four digits, as ISO 8601 wants.
    return value.replace(tzinfo=None).isoformat() + ("Z" if value.tzinfo else "")


def _key_text(key, kind) -> str:
    text = json_text(key, kind)
    return json.loads(text) if text.startswith('"') else text


def _pairs(value):
    return value.items() if isinstance(value, dict) else value


# --- as one text for all readers -----------------------------------------------------------------------------------


def canonical(value, kind) -> str:
    if value is None:
        return "~"
    if isinstance(kind, t.StructType):
        return "(" + ",".join(canonical(value[field.name], field.field_type) for field in kind.fields) + ")"
    if isinstance(kind, t.ListType):
        return "[" + ",".join(canonical(item, kind.element_type) for item in value) + "]"
    if isinstance(kind, t.MapType):
        return "{" + ",".join(sorted(f"{canonical(key, kind.key_type)}={canonical(item, kind.value_type)}"
                                     for key, item in _pairs(value))) + "}"
    return _primitive_canonical(value, kind)


def _primitive_canonical(value, kind) -> str:
    match kind:
        case t.BooleanType():
            return "t" if value else "f"
        case t.IntegerType() | t.LongType():
            return str(int(value))
        case t.FloatType() | t.DoubleType():
            return "nan" if math.isnan(value) else float(value).hex()
        case t.DecimalType():
            return str(int(decimal.Decimal(value).scaleb(kind.scale, decimal.Context(prec=60))))
        case t.StringType():
            return "s" + repr(value)
        case t.UUIDType():
            if isinstance(value, (bytes, bytearray)):
                return bytes(value).hex()
            return (value if isinstance(value, uuid.UUID) else uuid.UUID(value)).hex
        case t.BinaryType() | t.FixedType():
            return "x" + bytes(value).hex()
        case t.DateType():
            return str((value - EPOCH.date()).days)
        case t.TimeType():
            return str(time_micros(value))
        case t.TimestampType() | t.TimestamptzType():
            return str(micros_of(value))
    raise TypeError(f"no canonical text for {kind}")


def _number(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


class Checksums(dict):
    """Column → sum of the hashes of its values; `rows` (a sum over whole rows) ties the columns together."""

    def difference(self, other: "Checksums") -> str:
        return ", ".join(sorted(f"{name}: {self.get(name)} != {other.get(name)}" for name in self.keys() | other.keys()
                                if self.get(name) != other.get(name)))


def checksums(columns: dict, fields) -> Checksums:
    """`columns`: name → list of values, all of one length; `fields`: PyIceberg's nested fields of these columns."""
    texts = {field.name: [canonical(value, field.field_type) for value in columns[field.name]] for field in fields}
    out = Checksums()
    for name, column in texts.items():
        out[name] = sum(map(_number, column)) % 2**64
    lines = zip(*texts.values()) if texts else []
    whole = [_number("|".join(line)) for line in lines]
    out["(count)"] = len(whole)
    out["(rows)"] = sum(whole) % 2**64
    return out


def checksums_of_rows(rows: list, fields) -> Checksums:
    return checksums({field.name: [row.get(field.name) for row in rows] for field in fields}, fields)


# --- as Iceberg's transforms take them -----------------------------------------------------------------------------


def internal(value, kind):
    """PyIceberg's inner form: days, microseconds, bytes, ..."""
    if value is None:
        return None
    match kind:
        case t.DateType():
            return (value - EPOCH.date()).days
        case t.TimeType():
            return time_micros(value)
        case t.TimestampType() | t.TimestamptzType():
            return micros_of(value)
        case t.UUIDType():
            return value.bytes
    return value


def nested(row: dict, path: str):
    """row["a"]["b"] for "a.b"; null when a parent is null."""
    value = row
    for name in path.split("."):
        if value is None:
            return None
        value = value[name]
    return value
