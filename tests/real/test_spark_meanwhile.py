"""Spark deletes from, merges into and compacts the table all the while a worker fills it: the rows are right then.

Producer and worker run without a pause. Spark works through what has arrived: each round takes a stretch of ids that is
there in full, so that what must come of it is known, whatever else is committed meanwhile. A proxy before the worker's
catalog holds one commit of the worker in each round until Spark has committed: the two collide for certain.
"""

import pytest
from pyiceberg.expressions import And, GreaterThanOrEqual, LessThan

import firn
from fault_proxy import added_records, commit_to
from invariants import assert_accounted
from processes import wait_until
from produce import SMALL_COLUMNS
from readers import assert_rows, load, small_rows
from test_stop_and_start import QUICK_SESSION, Feed

pytestmark = [pytest.mark.spark, pytest.mark.slow]

ROUNDS = 3  # each of the three kinds of work collides with the worker once
STRETCH = 900
# Spark gets its commits in between: it tries again and again, but what it does takes a second on a slow machine.
INTERVAL = "4s"
INSERTED_BELOW_ZERO = 20  # rows that each merge adds of its own


class Hands:
    """Spark's, and what must stand in the table because of them. Ids of its own rows are negative."""

    def __init__(self, spark, lake: firn.Lake, table: str):
        self.spark, self.lake, self.name = spark.of(lake), lake, table
        self.table = spark.table(table)
        self.catalog = spark.catalog_name(lake)
        self.deleted: set = set()
        self.rows: dict = {}  # id → kind, note: merged ones and its own
        self.first, self.end = 0, 0  # ids that it has worked on: below `end`

    def set_up(self):
        # It tries again when the worker was faster; its checks are about the ids that it touches, not about all.
        self.alter("'commit.retry.num-retries' = '30', 'commit.retry.min-wait-ms' = '50', "
                   "'commit.retry.max-wait-ms' = '2000', 'write.delete.mode' = 'copy-on-write'")

    def alter(self, properties: str):
        self.spark.sql(f"ALTER TABLE {self.table} SET TBLPROPERTIES ({properties})")

    def stretch(self, run: firn.Run):
        """The next ids, once all of them are in the table."""
        self.first, self.end = self.end, self.end + STRETCH
        here = And(GreaterThanOrEqual("id", self.first), LessThan("id", self.end))

        def there() -> bool:
            assert run.process.running(), run.process.tail()
            return load(self.lake, self.name).scan(row_filter=here, selected_fields=("id",)).count() == STRETCH
        wait_until(there, 120, f"ids below {self.end} are in the table", 0.3)

    def delete(self):
        """Rewrites the files: of the newest stretch, and again of the one before, which a merge has changed."""
        low = max(0, self.first - STRETCH)
        self.spark.sql(f"DELETE FROM {self.table} WHERE id >= {low} AND id < {self.end} AND id % 7 = {self.end % 5}")
        gone = {number for number in range(low, self.end) if number % 7 == self.end % 5}
        self.deleted |= gone
        for number in gone:
            self.rows.pop(number, None)

    def merge(self, word: str, mode: str):
        """Changes a fifth, deletes a few, adds rows of its own."""
        self.alter(f"'write.merge.mode' = '{mode}'")
        own = range(-self.end // STRETCH * 1000 - INSERTED_BELOW_ZERO, -self.end // STRETCH * 1000)
        self.spark.sql(
            f"MERGE INTO {self.table} AS t USING (SELECT id FROM range({self.first}, {self.end}) WHERE id % 5 = 0 "
            f"OR id % 11 = 1 UNION ALL SELECT id FROM range({own.start}, {own.stop})) AS s "
            f"ON t.id = s.id AND t.id < {self.end} "
            "WHEN MATCHED AND t.id % 11 = 1 THEN DELETE "
            f"WHEN MATCHED THEN UPDATE SET t.note = concat('{word} ', CAST(t.id AS string)) "
            f"WHEN NOT MATCHED AND s.id < 0 THEN INSERT (id, kind, note) VALUES (s.id, 'k0', '{word}')")
        for number in range(self.first, self.end):
            if number in self.deleted or not (number % 5 == 0 or number % 11 == 1):
                continue
            if number % 11 == 1:
                self.deleted.add(number)
                self.rows.pop(number, None)
            else:
                self.rows[number] = (f"k{number % 3}", f"{word} {number}")
        self.rows |= {number: ("k0", word) for number in own}

    def compact(self):
        # All of them: a merge may have left one file, and with the worker's commit held none comes to it.
        done = self.spark.sql(f"CALL {self.catalog}.system.rewrite_data_files(table => '{self.name}', "
                              "options => map('rewrite-all', 'true'))").first()
        assert done["rewritten_data_files_count"] > 0

    def expected(self, sent: int) -> list:
        plain = [number for number in range(sent) if number not in self.deleted and number not in self.rows]
        return small_rows(plain) + [(number, *row) for number, row in self.rows.items()]


def test_rows_are_right_though_spark_deletes_merges_and_compacts(spark_lakes, spark, topics, pipelines, proxies, name):
    lake = spark_lakes["rest-local"]
    table = f"{name}.events"
    proxy = proxies(lake.uri)
    topics.create(name, 3)
    pipeline = pipelines(lake, [{"name": table, "columns": SMALL_COLUMNS}], changes={
        **QUICK_SESSION, "catalog": {"uri": proxy.url, "timeout": "20s"}, "commit": {"interval": INTERVAL},
        "compaction": {"enabled": False}})  # or Spark finds nothing to put together
    feed = Feed(topics, name, 3, 300)
    feed.start()
    run = pipeline.start()
    run.wait_for(lambda status: status["rows_committed"] > 0, 120, "the first rows are committed")
    hands = Hands(spark, lake, table)
    hands.set_up()

    def rows_of_the_worker(request) -> bool:
        return commit_to(table)(request) and added_records(request) > 0

    for number in range(ROUNDS):
        hands.stretch(run)
        work = [hands.delete, lambda: hands.merge(f"merged {number}", ("copy-on-write", "merge-on-read")[number % 2]),
                hands.compact]
        for step, one in enumerate(work):
            if step != number % len(work):
                one()
                continue
            with proxy.hold_before(rows_of_the_worker) as gate:
                gate.wait()
                one()  # the held commit was made for the table as it was before
        if number == ROUNDS // 2:
            # What was deleted does not come back with a worker that reads again what it had not finished.
            run.kill()
            run = pipeline.start()
    assert not run.status().get("detached")
    sent = feed.finish()
    # Told when the batch is done that was held.
    wait_until(lambda: run.metrics()[f'firn_commit_conflicts_total{{pipeline="{name}"}}'] > 0, 60, "a commit met Spark's")
    assert run.stop() == 0
    pipeline.change({"catalog": {"uri": lake.uri}})
    assert not pipeline.catch_up()["detached"]
    assert sent >= ROUNDS * STRETCH
    assert len(hands.deleted) > ROUNDS * STRETCH // 10 and len(hands.rows) > ROUNDS * STRETCH // 10
    assert_rows(lake, table, rows=hands.expected(sent))
    assert_interleaved(lake, table)
    assert_accounted(lake, pipeline, [], 0)


def assert_interleaved(lake: firn.Lake, table: str):
    """Spark's commits stand between the worker's, each kind of them, as the table itself tells."""
    ours, turns, foreign = None, 0, set()
    for snapshot in load(lake, table).metadata.snapshots:
        of_firn = "firn.pipeline" in snapshot.summary.additional_properties
        turns += ours is not None and ours != of_firn
        ours = of_firn
        if not of_firn:
            foreign.add(snapshot.summary.operation.value)
    assert turns >= 2 * ROUNDS, f"only {turns} turns between Firn and Spark"
    assert foreign >= {"overwrite", "replace"}, foreign
