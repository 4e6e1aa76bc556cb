"""Rows of every type with nulls and extremes, and the transforms that each type may be partitioned by."""

import datetime
import decimal
import itertools
import random
import struct
import uuid

from pyiceberg import types as t
from pyiceberg.transforms import (BucketTransform, DayTransform, HourTransform, IdentityTransform, MonthTransform,
                                  TruncateTransform, VoidTransform, YearTransform)

from values import timestamp_of

D = decimal.Decimal
MIN_MICROS = -62_135_596_800_000_000  # 0001-01-01
MAX_MICROS = 253_402_300_799_999_999  # 9999-12-31T23:59:59.999999


def float32(value: float) -> float:
    return struct.unpack("<f", struct.pack("<f", value))[0]


INTS = [0, 1, -1, 7, -9, 10, -10, 2**31 - 1, -(2**31)]
LONGS = [0, 1, -1, 10, -11, 2**53 + 1, 2**63 - 1, -(2**63)]
FLOATS = [0.0, -0.0, 1.5, -2.25, float32(0.1), float32(3.4028234663852886e38), float32(1.1754943508222875e-38),
          float("nan"), float("inf"), float("-inf")]
DOUBLES = [0.0, -0.0, 0.1, -1e308, 1.7976931348623157e308, 5e-324, float("nan"), float("inf"), float("-inf")]
STRINGS = ["", "a", "abc", "abd", "ab", "Zürich", "超时超时超", "😀😀😀😀", "a" * 15 + "é", "\U0010ffff" * 20,
           "long " * 3000, "a\u0000b", "quote ' \" \\ \n\t", "~"]
BYTES = [b"", b"\x00", b"\xff", b"\xff" * 20, b"\x00\xff\x10", bytes(range(256)), b"ab"]
DATES = [datetime.date(1970, 1, 1), datetime.date(1969, 12, 31), datetime.date(1, 1, 1), datetime.date(9999, 12, 31),
         datetime.date(2024, 2, 29), datetime.date(1900, 3, 1)]
TIMES = [datetime.time(0, 0), datetime.time(23, 59, 59, 999999), datetime.time(12, 34, 56, 789), datetime.time(0, 0, 1)]
INSTANTS = [0, -1, 1, 1_706_704_496_789_123, -3_600_000_001, 1_763_769_600_000_000, MIN_MICROS, MAX_MICROS]
UUIDS = [uuid.UUID(int=0), uuid.UUID(int=2**128 - 1), uuid.UUID("f79c3e09-677c-4bbd-a479-3f349cb785e7"),
         uuid.UUID(int=2**127), uuid.UUID(int=1)]


def decimals(precision: int, scale: int) -> list:
    one = D(1).scaleb(-scale)
    largest = D(10**precision - 1).scaleb(-scale, decimal.Context(prec=60))
    return [one * 0, one, one.copy_negate(), largest, largest.copy_negate(),
            D(12345 % 10**precision).scaleb(-scale), D(-99).scaleb(-scale)]


PRIMITIVES = {
    "boolean": (t.BooleanType(), [True, False]),
    "int": (t.IntegerType(), INTS),
    "long": (t.LongType(), LONGS),
    "float": (t.FloatType(), FLOATS),
    "double": (t.DoubleType(), DOUBLES),
    "decimal_9": (t.DecimalType(9, 2), decimals(9, 2)),
    "decimal_18": (t.DecimalType(18, 6), decimals(18, 6)),
    "decimal_38": (t.DecimalType(38, 10), decimals(38, 10)),
    "string": (t.StringType(), STRINGS),
    "binary": (t.BinaryType(), BYTES),
    "fixed": (t.FixedType(5), [b"\x00" * 5, b"\xff" * 5, b"abcde", b"\x80\x00\x00\x00\x01"]),
    "uuid": (t.UUIDType(), UUIDS),
    "date": (t.DateType(), DATES),
    "time": (t.TimeType(), TIMES),
    "timestamp": (t.TimestampType(), [timestamp_of(micros, False) for micros in INSTANTS]),
    "timestamptz": (t.TimestamptzType(), [timestamp_of(micros, True) for micros in INSTANTS]),
}

# As the configuration writes the type.
CONFIG_TYPE = {"decimal_9": "decimal(9, 2)", "decimal_18": "decimal(18, 6)", "decimal_38": "decimal(38, 10)",
               "fixed": "fixed(5)"}

BUCKETED = {"int", "long", "decimal_9", "decimal_18", "decimal_38", "string", "binary", "fixed", "uuid", "date", "time",
            "timestamp", "timestamptz"}
TRUNCATED = {"int": 10, "long": 100, "decimal_9": 50, "decimal_18": 1000, "decimal_38": 7, "string": 3, "binary": 2}
DATED = {"date": ("year", "month", "day"), "timestamp": ("year", "month", "day", "hour"),
         "timestamptz": ("year", "month", "day", "hour")}
BY_NAME = {"year": YearTransform(), "month": MonthTransform(), "day": DayTransform(), "hour": HourTransform()}


def transforms_of(name: str) -> dict:
    """Configuration text with {} for the column → PyIceberg's transform."""
    # A fixed value itself is refused as a partition: readers disagree on its place in a manifest.
    out = {} if name == "fixed" else {"{}": IdentityTransform(), "void({})": VoidTransform()}
    if name in BUCKETED:
        out["bucket(5, {})"] = BucketTransform(5)
    if name in TRUNCATED:
        out[f"truncate({TRUNCATED[name]}, {{}})"] = TruncateTransform(TRUNCATED[name])
    for word in DATED.get(name, ()):
        out[f"{word}({{}})"] = BY_NAME[word]
    return out


NESTED = {
    "pair": t.StructType(t.NestedField(101, "a", t.IntegerType()),
                         t.NestedField(102, "b", t.StructType(t.NestedField(103, "c", t.StringType()),
                                                              t.NestedField(104, "d", t.DecimalType(12, 3))))),
    "numbers": t.ListType(110, t.LongType(), element_required=False),
    "matrix": t.ListType(111, t.ListType(112, t.DoubleType(), element_required=False), element_required=False),
    "by_name": t.MapType(120, t.StringType(), 121, t.IntegerType(), value_required=False),
    "deep": t.ListType(130, t.StructType(
        t.NestedField(131, "at", t.TimestamptzType()),
        t.NestedField(132, "tags", t.MapType(133, t.StringType(), 134, t.ListType(
            135, t.StringType(), element_required=False), value_required=False))), element_required=False),
    "by_day": t.MapType(140, t.DateType(), 141, t.StructType(
        t.NestedField(142, "n", t.LongType()), t.NestedField(143, "ok", t.BooleanType())), value_required=False),
}

NESTED_CONFIG = {
    "pair": "struct<a: int, b: struct<c: string, d: decimal(12, 3)>>",
    "numbers": "list<long>",
    "matrix": "list<list<double>>",
    "by_name": "map<string, int>",
    "deep": "list<struct<at: timestamptz, tags: map<string, list<string>>>>",
    "by_day": "map<date, struct<n: long, ok: boolean>>",
}

NESTED_VALUES = {
    "pair": [{"a": 1, "b": {"c": "x", "d": D("0.125")}}, {"a": None, "b": None}, {"a": 2, "b": {"c": None, "d": None}}],
    "numbers": [[], [None], [1, None, -(2**63)], list(range(100))],
    "matrix": [[], [[]], [None], [[1.5, None], [], None, [-0.0]]],
    "by_name": [{}, {"": 0}, {"a.b": None, "ü": 1}, {f"k{n}": n for n in range(20)}],
    "deep": [[], [None], [{"at": None, "tags": None}],
             [{"at": timestamp_of(1, True), "tags": {"x": [], "y": None, "z": [None, "", "w"]}},
              {"at": timestamp_of(-1, True), "tags": {}}]],
    "by_day": [{}, {datetime.date(1969, 12, 31): None}, {datetime.date(2024, 2, 29): {"n": 5, "ok": False},
                                                         datetime.date(1, 1, 1): {"n": None, "ok": None}}],
}


def column_values(name: str) -> tuple:
    """Type and values of a column of any kind."""
    if name in PRIMITIVES:
        return PRIMITIVES[name]
    return NESTED[name], NESTED_VALUES[name]


def fits(value, name: str, transform: str) -> bool:
    """False for what truncate would take below the type's smallest value: there the spec says nothing."""
    if not transform.startswith("truncate") or name not in TRUNCATED:
        return True
    kind = PRIMITIVES[name][0]
    if isinstance(kind, t.DecimalType):
        return value > D(TRUNCATED[name] - 10**kind.precision).scaleb(-kind.scale, decimal.Context(prec=60))
    smallest = {"int": -(2**31), "long": -(2**63)}.get(name)
    return smallest is None or value >= smallest + TRUNCATED[name]


def rows_of(names: list, count: int, draw: random.Random, null_share: float = 0.2, keep=lambda value: True) -> list:
    """Rows with "id" and the named columns; each value stands at least once when `count` allows it."""
    cycles = {}
    for name in names:
        values = [value for value in column_values(name)[1] if keep(value)]
        draw.shuffle(values)
        cycles[name] = itertools.cycle(values)
    return [{"id": number, **{name: None if draw.random() < null_share else next(cycles[name]) for name in names}}
            for number in range(count)]
