"""Predicates that are asked of every reader and of the produced rows: pruning must lose nothing."""

import dataclasses
import datetime
import decimal
import uuid

from pyiceberg import expressions as e
from pyiceberg import types as t

from values import internal, nested

OPERATORS = {"=": lambda a, b: a == b, "!=": lambda a, b: a != b, "<": lambda a, b: a < b, "<=": lambda a, b: a <= b,
             ">": lambda a, b: a > b, ">=": lambda a, b: a >= b}
EXPRESSIONS = {"=": e.EqualTo, "!=": e.NotEqualTo, "<": e.LessThan, "<=": e.LessThanOrEqual, ">": e.GreaterThan,
               ">=": e.GreaterThanOrEqual}


@dataclasses.dataclass(frozen=True)
class Predicate:
    column: str  # "a.b" for a struct's field
    operator: str  # of OPERATORS, "null" or "not null"
    value: object = None

    def __str__(self):
        return f"{self.column} {self.operator} {self.value!r}"

    def holds(self, row: dict, kind) -> bool:
        value = nested(row, self.column)
        if self.operator in ("null", "not null"):
            return (value is None) == (self.operator == "null")
        return value is not None and OPERATORS[self.operator](internal(value, kind), internal(self.value, kind))

    def sql(self, kind) -> str:
        column = ".".join(f'"{name}"' for name in self.column.split("."))
        if self.operator in ("null", "not null"):
            return f"{column} is {self.operator}"
        return f"{column} {self.operator} {sql_literal(self.value, kind)}"

    def expression(self):
        if self.operator == "null":
            return e.IsNull(self.column)
        if self.operator == "not null":
            return e.NotNull(self.column)
        value = self.value
        if isinstance(value, datetime.datetime):
            value = value.isoformat()
        elif isinstance(value, (datetime.date, datetime.time)):
            value = value.isoformat()
        return EXPRESSIONS[self.operator](self.column, value)


def sql_literal(value, kind) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            return f"'{value!r}'::{'FLOAT' if isinstance(kind, t.FloatType) else 'DOUBLE'}"
        case decimal.Decimal():
            return f"'{value:f}'::DECIMAL({kind.precision},{kind.scale})"
        case bytes():
            return "'" + "".join(f"\\x{byte:02X}" for byte in value) + "'::BLOB"
        case uuid.UUID():
            return f"'{value}'::UUID"
        case datetime.datetime():
            return f"'{value.isoformat()}'::{'TIMESTAMPTZ' if value.tzinfo else 'TIMESTAMP'}"
        case datetime.date():
            return f"'{value.isoformat()}'::DATE"
        case datetime.time():
            return f"'{value.isoformat()}'::TIME"
        case str():
            return "'" + value.replace("'", "''") + "'"
    raise TypeError(f"no SQL literal for {value!r}")


def around(rows: list, column: str, kind, count: int = 3) -> list:
    """Predicates at the edges and inside of what the column holds."""
    values = sorted({nested(row, column) for row in rows if comparable(nested(row, column))},
                    key=lambda value: internal(value, kind))
    out = [Predicate(column, "null"), Predicate(column, "not null")]
    if not values:
        return out
    picks = {values[0], values[-1], *values[:: max(1, len(values) // count)]}
    for value in sorted(picks, key=lambda value: internal(value, kind)):
        out += [Predicate(column, operator, value) for operator in ("=", "<", ">=")]
    out += [Predicate(column, "!=", values[0]), Predicate(column, ">", values[-1]), Predicate(column, "<=", values[0])]
    return out


def comparable(value) -> bool:
    """Not null, and no NaN: engines differ on its order."""
    return value is not None and value == value and not (isinstance(value, str) and "\0" in value)
