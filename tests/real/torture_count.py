"""The count at the end: each table's rows against the record of what was sent, by DuckDB."""

import pyarrow as pa

from readers import DuckReader, exists
from torture_feed import NOTE_SQL, is_malformed, table_name, table_number

SHOWN_IDS = 10
# Not NOT IN: one row without an id would make that true of no row at all.
MISSING = "NOT EXISTS (FROM stands WHERE stands.id = sent.id)"


def unknown(known: str) -> str:
    """Of a row that stands: nobody has sent its id, or it has none. `known` is a table called sent, and its filter."""
    return f"NOT EXISTS (FROM {known} AND sent.id = stands.id)"


def expected_rows(ledger, tables: int) -> pa.Table:
    """id, the table it belongs to (-1: the rejects), and whether it must be there or only may be."""
    out = {"id": [], "t": [], "must": []}
    for ids, must in ((ledger.sent, True), (ledger.unsure, False)):
        for number in ids:
            out["id"].append(number)
            out["t"].append(-1 if is_malformed(number) else table_number(number, tables))
            out["must"].append(must)
    return pa.table(out, schema=pa.schema({"id": pa.int64(), "t": pa.int32(), "must": pa.bool_()}))


class Count:
    """Of one lake. `found` has a number for each thing that may be wrong, `examples` the first ids of it."""

    def __init__(self, lake, lake_name: str, plan, ledger, rejects: str):
        self.lake, self.lake_name, self.plan, self.ledger, self.rejects = lake, lake_name, plan, ledger, rejects
        self.duck = DuckReader(lake)
        self.duck.connection.register("sent_rows", expected_rows(ledger, plan.tables))
        self.duck.connection.execute("CREATE TABLE sent AS FROM sent_rows")
        self.found = {"lost": 0, "doubled": 0, "wrong": 0, "strange": 0}
        self.examples: list = []
        self.rows = 0
        self.rejected = 0

    def all(self) -> "Count":
        for number in range(self.plan.tables):
            self._table(number)
        self._rejects()
        return self

    def _note(self, kind: str, table: str, sql: str):
        ids = [row[0] for row in self.duck.connection.execute(sql).fetchall()]
        if ids:
            self.found[kind] += len(ids)
            self.examples.append({"table": table, "kind": kind, "count": len(ids), "ids": ids[:SHOWN_IDS]})

    def _table(self, number: int):
        table = table_name(number)
        full = f"{self.plan.namespace}.{table}"
        run = self.duck.connection.execute
        if exists(self.lake, full):
            run(f"CREATE OR REPLACE TABLE stands AS SELECT id, t, note FROM {self.duck.source(full)}")
        else:
            run("CREATE OR REPLACE TABLE stands (id BIGINT, t VARCHAR, note VARCHAR)")
        self.rows += self.duck.one("SELECT count(*) FROM stands")[0]
        foreign = self.ledger.foreign.get((self.lake_name, table), {})
        rows = {"id": list(foreign), "state": list(foreign.values())}
        self.duck.connection.register("foreign_rows", pa.table(rows, schema=pa.schema(
            {"id": pa.int64(), "state": pa.string()})))
        self._note("lost", table, f"SELECT id FROM sent WHERE t = {number} AND must AND {MISSING} ORDER BY id")
        self._note("lost", table, f"SELECT id FROM foreign_rows AS sent WHERE state = 'stands' AND {MISSING}")
        self._note("doubled", table, "SELECT id FROM stands GROUP BY id HAVING count(*) > 1 ORDER BY id")
        self._note("wrong", table, f"SELECT id FROM stands WHERE note IS DISTINCT FROM {NOTE_SQL} "
                                   f"OR t IS DISTINCT FROM '{table}' ORDER BY id")
        self._note("strange", table, "SELECT id FROM stands WHERE (id IS NULL OR id >= 0) AND "
                                     f"{unknown(f'sent WHERE sent.t = {number}')} ORDER BY id")
        others = "foreign_rows AS sent WHERE sent.state <> 'gone'"
        self._note("strange", table, f"SELECT id FROM stands WHERE id < 0 AND {unknown(others)}")
        self.duck.connection.unregister("foreign_rows")

    def _rejects(self):
        """Exactly the malformed records, each once, by their bytes and by their place."""
        run = self.duck.connection.execute
        if exists(self.lake, self.rejects):
            run("CREATE OR REPLACE TABLE stands AS SELECT TRY_CAST(regexp_extract(decode(value), '\"id\":([0-9]+)', 1) "
                "AS BIGINT) AS id, code, partition, \"offset\" AS place, decode(value) AS text "
                f"FROM {self.duck.source(self.rejects)}")
        else:
            run("CREATE OR REPLACE TABLE stands (id BIGINT, code VARCHAR, partition INT, place BIGINT, text VARCHAR)")
        self.rejected = self.duck.one("SELECT count(*) FROM stands")[0]
        table = "rejects"
        self._note("lost", table, f"SELECT id FROM sent WHERE t = -1 AND must AND {MISSING}")
        self._note("doubled", table, "SELECT id FROM stands GROUP BY id HAVING count(*) > 1")
        self._note("doubled", table, "SELECT min(id) FROM stands GROUP BY partition, place HAVING count(*) > 1")
        self._note("wrong", table, "SELECT id FROM stands WHERE code IS DISTINCT FROM 'malformed_json' OR "
                                   "regexp_full_match(text, '\\{\"id\":' || id || ',\"t\":\"t[0-9]+\",\"note\":\"' || "
                                   f"{NOTE_SQL} || '\"') IS DISTINCT FROM true")
        self._note("strange", table, f"SELECT id FROM stands WHERE {unknown('sent WHERE sent.t = -1')}")


def is_right(count: Count) -> bool:
    return not any(count.found.values())
