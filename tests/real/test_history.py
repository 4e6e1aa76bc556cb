"""Spark changes a table's history behind Firn's back: what is a change is held until a person (or the policy) says how
to go on, what is none raises no alarm, and no row is there twice in either case.

Each table gets three batches of 300 records, of which it takes a third; then comes the change, and a fourth batch.
"""

import datetime

import pytest

import firn
from produce import SMALL_COLUMNS, small_events
from readers import assert_rows, catalog_of, load

pytestmark = [pytest.mark.spark, pytest.mark.slow]

FOREIGN = 900_000_000


def thirds(*batches: int) -> list:
    """Ids of the attacked table's rows in these batches."""
    return [number for batch in batches for number in range(batch * 300, batch * 300 + 300, 3)]


class Scene:
    def __init__(self, lake, spark, topics, pipelines, name: str, changes: dict | None = None):
        self.lake, self.topics, self.name = lake, topics, name
        self.spark = spark.of(lake)
        self.catalog = spark.catalog_name(lake)
        self.table = f"{name}.events"
        self.source = spark.table(self.table)
        self.sent = 0
        topics.create(name, 2)
        self.pipeline = pipelines(lake, [
            {"name": self.table, "columns": SMALL_COLUMNS, "match": [{"field": "kind", "equals": "k0"}]},
            {"name": f"{name}.others", "columns": SMALL_COLUMNS}],
            # A batch is one snapshot, however slow the machine is: it is committed when it is read to its end.
            changes={"commit": {"interval": "60s"}, **(changes or {})})
        self.snapshots: list = []
        self.properties: list = []
        for _ in range(3):
            self.send()
            self.pipeline.catch_up()
            self.note()

    def note(self):
        """The table as it stands, to come back to."""
        loaded = load(self.lake, self.table)
        self.snapshots.append(loaded.current_snapshot().snapshot_id)
        self.properties.append(loaded.properties[f"firn.positions.{self.pipeline.config['pipeline']}"])

    def send(self):
        self.topics.send(self.name, small_events(self.sent, 300).values, 2)
        self.sent += 300

    def call(self, procedure: str):
        return self.spark.sql(f"CALL {self.catalog}.system.{procedure}")

    def roll_back(self, number: int):
        self.call(f"rollback_to_snapshot('{self.table}', {self.snapshots[number]})")

    def append(self):
        self.spark.sql(f"INSERT INTO {self.source} VALUES ({FOREIGN}, 'k0', 'of Spark')")

    def expire(self):
        now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M:%S.%f")
        self.call(f"expire_snapshots(table => '{self.table}', older_than => TIMESTAMP '{now}', retain_last => 1)")

    def set_property(self, value: str):
        self.spark.sql(f"ALTER TABLE {self.source} SET TBLPROPERTIES "
                       f"('firn.positions.{self.pipeline.config['pipeline']}' = '{value}')")

    def assert_stands(self, numbers: list):
        """The attacked table's rows: those of small_events() with these ids, and perhaps Spark's; and all others'."""
        own = [number for number in numbers if number != FOREIGN]
        assert_rows(self.lake, self.table, own, [(FOREIGN, "k0", "of Spark")] if FOREIGN in numbers else [])
        assert_rows(self.lake, f"{self.name}.others", [number for number in range(self.sent) if number % 3])


def rollback(scene: Scene):
    scene.roll_back(1)


def rollback_append_expiry(scene: Scene):
    scene.roll_back(1)
    scene.append()
    scene.expire()


def create_or_replace(scene: Scene):
    scene.spark.sql(f"CREATE OR REPLACE TABLE {scene.source} USING iceberg AS SELECT * FROM {scene.source} WHERE false")


def cherry_pick(scene: Scene):
    scene.roll_back(0)
    scene.call(f"cherrypick_snapshot('{scene.table}', {scene.snapshots[2]})")


def property_unset(scene: Scene):
    scene.spark.sql(f"ALTER TABLE {scene.source} UNSET TBLPROPERTIES "
                    f"('firn.positions.{scene.pipeline.config['pipeline']}')")


def property_of_old(scene: Scene):
    scene.set_property(scene.properties[1])


# change → rows that stand after it, the word that a person says, rows after that
CHANGES = {
    rollback: (thirds(0, 1), "--rewind", thirds(0, 1, 2, 3)),
    rollback_append_expiry: (thirds(0, 1) + [FOREIGN], "--continue", thirds(0, 1, 3) + [FOREIGN]),
    create_or_replace: ([], "--continue", thirds(3)),
    cherry_pick: (thirds(0, 2), "--continue", thirds(0, 2, 3)),
    property_unset: (thirds(0, 1, 2), "--rewind", thirds(0, 1, 2, 3)),
    property_of_old: (thirds(0, 1, 2), "--rewind", thirds(0, 1, 2, 3)),
}


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_changed_history_waits_for_a_word(spark_lakes, spark, topics, pipelines, name, change):
    scene = Scene(spark_lakes["rest-local"], spark, topics, pipelines, name)
    stands, word, finally_there = CHANGES[change]
    change(scene)
    scene.assert_stands(stands)  # the change is what it is meant to be
    scene.send()
    result = scene.pipeline.catch_up(expect=firn.DETACHED)
    assert {one["table"] for one in result["detached"]} == {scene.table}
    scene.assert_stands(stands)
    run = scene.pipeline.command("positions", "resume", "--table", scene.table, word, "--yes", "--json")
    assert run.process.popen.returncode == firn.SUCCESS, run.process.tail()
    scene.pipeline.catch_up()
    scene.assert_stands(finally_there)
    assert scene.pipeline.catch_up()["rows_committed"] == 0


# --- what is no change ---------------------------------------------------------------------------------------------


def nothing_but_cherry_picked_forward(scene: Scene):
    """Rolled back, and brought forward again to the same snapshot."""
    scene.roll_back(-2)
    scene.call(f"cherrypick_snapshot('{scene.table}', {scene.snapshots[-1]})")


def maintenance(scene: Scene):
    """Rewritten, its manifests too, everything of before expired, orphans removed: no snapshot of Firn's is left."""
    scene.call(f"rewrite_data_files(table => '{scene.table}', options => map('rewrite-all', 'true'))")
    scene.call(f"rewrite_manifests('{scene.table}')")
    scene.expire()
    scene.call(f"remove_orphan_files(table => '{scene.table}')")
    assert len(load(scene.lake, scene.table).metadata.snapshots) == 1


def registered_again(scene: Scene):
    """Dropped, and registered from the same metadata: as when a catalog moves house."""
    location = load(scene.lake, scene.table).metadata_location
    catalog_of(scene.lake).drop_table(scene.table)
    scene.call(f"register_table('{scene.table}', '{location}')")


@pytest.mark.parametrize("change", [nothing_but_cherry_picked_forward, maintenance, registered_again],
                         ids=lambda change: change.__name__)
def test_what_is_no_change_raises_no_alarm(spark_lakes, spark, topics, pipelines, name, change):
    """Under each policy, one after the other: nothing is held, read again or given up."""
    scene = Scene(spark_lakes["rest-local"], spark, topics, pipelines, name)
    for policy in ("hold", "rewind", "continue"):
        scene.pipeline.change({"history": {"policy": policy}})
        change(scene)
        batches = range(scene.sent // 300)
        scene.assert_stands(thirds(*batches))
        scene.send()
        result = scene.pipeline.catch_up()
        assert not result["detached"] and result["rows_committed"] == 300
        scene.assert_stands(thirds(*batches, len(batches)))
        scene.note()


# --- by policy -----------------------------------------------------------------------------------------------------

POLICIES = {  # (change, policy) → rows at the end; None: it holds all the same
    (rollback, "rewind"): thirds(0, 1, 2, 3),
    (rollback, "continue"): thirds(0, 1, 3),
    (rollback_append_expiry, "rewind"): None,
    (rollback_append_expiry, "continue"): thirds(0, 1, 3) + [FOREIGN],
    (create_or_replace, "rewind"): None,
    (create_or_replace, "continue"): thirds(3),
    (cherry_pick, "rewind"): None,
    (cherry_pick, "continue"): thirds(0, 2, 3),
    (property_unset, "rewind"): thirds(0, 1, 2, 3),
    (property_unset, "continue"): thirds(0, 1, 2, 3),
    (property_of_old, "rewind"): thirds(0, 1, 2, 3),
    (property_of_old, "continue"): thirds(0, 1, 2, 3),
}


@pytest.mark.parametrize("change,policy", POLICIES, ids=lambda one: one if isinstance(one, str) else one.__name__)
def test_a_changed_history_by_policy(spark_lakes, spark, topics, pipelines, name, change, policy):
    scene = Scene(spark_lakes["rest-local"], spark, topics, pipelines, name)
    scene.pipeline.change({"history": {"policy": policy}})
    change(scene)
    stands = CHANGES[change][0]
    scene.assert_stands(stands)
    expected = POLICIES[(change, policy)]
    for _ in range(2):
        scene.send()
        scene.pipeline.catch_up(expect=firn.SUCCESS if expected is not None else firn.DETACHED)
    scene.assert_stands(stands if expected is None else expected + thirds(4))
