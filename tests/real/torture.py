#!/usr/bin/env python3
"""usage: ./firn-dev torture [OPTION...]

Real Kafka, the Iceberg REST fixture, Nessie and an S3 server; fault proxies before catalogs and store; workers that
are killed, suspended, stopped and cut off; producers that also abort transactions. On each catalog a pipeline of its
own reads the same topic with --workers workers. At the end everything is healed, the pipelines catch up, and DuckDB
counts each table's ids: lost, doubled, wrong, strange (aborted, or in another table). docs/reliability.md says what is
attacked.

Exit code 0: every record is where it belongs, once. 1: it is not, or a worker died by itself or did not stop, or a
pipeline stood still or did not catch up at the first attempt. 2: the torture itself went wrong. Progress goes to
standard error, the report as one JSON document to standard output or --report.

examples:
  ./firn-dev torture --minutes 2                              # a try
  ./firn-dev torture --minutes 60 --seed 7 --report out.json  # an hour, kills every 10-60 s
  ./firn-dev torture --gap 2 8 --catalogs nessie              # wilder, on Nessie only
  FIRN_BIN=/opt/firn/bin/firn ./firn-dev torture              # another binary
"""

import argparse
import json
import logging
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

STOP_CODES = (0, 1, 3)  # done, not in time, a table is detached
RATE_MAX, RECORDS_MAX = 20_000, 50_000_000
STANDS_STILL_MINUTES = 2  # in less, one long attack may take the whole second half
HOLD_ON_S = 900  # how long the pipelines may take to catch up at the end
MARKS_EVERY_S, TOLD_EVERY_S = 5, 30


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(usage=argparse.SUPPRESS, description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10, metavar="N", help="how long the attacks last (10)")
    parser.add_argument("--seed", type=int, default=None, metavar="S", help="of all that is drawn (a new one)")
    parser.add_argument("--workers", type=int, default=3, metavar="N", help="of each pipeline (3)")
    parser.add_argument("--partitions", type=int, default=12, metavar="N", help="of the topic (12)")
    parser.add_argument("--tables", type=int, default=40, metavar="N", help="of each pipeline (40)")
    parser.add_argument("--gap", type=float, nargs=2, default=[10, 60], metavar=("MIN", "MAX"),
                        help="seconds between two attacks (10 60)")
    parser.add_argument("--rate", type=float, default=300, metavar="N", help="records a second (300)")
    parser.add_argument("--catalogs", nargs="+", default=["fixture", "nessie"], choices=["fixture", "nessie"],
                        help="a pipeline on each (fixture nessie)")
    parser.add_argument("--interval", default="3s", metavar="D", help="commit.interval (3s)")
    parser.add_argument("--detach-after", default="30s", metavar="D",
                        help="commit.detach_after (30s; Firn's default is 2m)")
    parser.add_argument("--report", type=pathlib.Path, metavar="FILE", help="write the report there")
    parser.add_argument("--work", type=pathlib.Path, metavar="FOLDER",
                        help="keep logs and data there; else they are kept only when something was wrong")
    plan = parser.parse_args()
    if plan.seed is None:
        plan.seed = random.SystemRandom().randrange(2**31)
    limits = ((plan.minutes, 0.1, 24 * 60, "--minutes"), (plan.workers, 1, 20, "--workers"),
              (plan.partitions, 1, 500, "--partitions"), (plan.tables, 1, 200, "--tables"),
              (plan.rate, 1, RATE_MAX, "--rate"), (plan.gap[0], 0.1, plan.gap[1], "--gap"),
              (plan.rate * plan.minutes * 60, 1, RECORDS_MAX, "records in all"))
    for value, low, high, name in limits:
        if not low <= value <= high:
            parser.error(f"{name}: {value:g} is not between {low:g} and {high:g}")
    plan.topic = plan.namespace = "torture"
    plan.foreign_gap = (plan.gap[0] / 2, plan.gap[1] / 2)
    return plan


class Rig:
    """The servers, pipelines, proxies, producers and attacks of one torture."""

    def __init__(self, plan, work: pathlib.Path):
        import firn
        import servers
        from produce import Topics, seeded
        from torture_feed import ForeignHands, Ledger, PlainFeed, TransactionFeed
        self.plan, self.work = plan, work
        self.deps = pathlib.Path(os.environ["FIRN_REAL_DEPS"])
        self.firn, self.servers, self.draw = firn, servers, seeded(plan.seed, "rig")
        self.started: list = []
        self.proxies: list = []
        self.kafka = self._up(servers.KafkaBroker(self.deps, work / "kafka"))
        self.s3 = self._up(servers.ObjectServer(self.deps / "venv/bin/weed", work / "s3"))
        self.topics = Topics(self.kafka.bootstrap)
        self.topics.create(plan.topic, plan.partitions)
        self.sides = [self._side(name) for name in dict.fromkeys(plan.catalogs)]
        self.ledger = Ledger()
        self.feeds = [PlainFeed(plan, self.ledger, self.topics, plan.rate * 0.6),
                      *(TransactionFeed(plan, self.ledger, self.topics, plan.rate * 0.2, n) for n in range(2)),
                      *(ForeignHands(plan, self.ledger, side.name, side.lake) for side in self.sides)]

    def _up(self, server):
        self.started.append(server)
        return server.start()

    def _side(self, name: str):
        from torture_attack import Side
        servers, firn = self.servers, self.firn
        if name == "nessie":
            server = self._up(servers.Nessie(self.deps, self.work / name, self.s3.endpoint))
        else:
            server = self._up(servers.RestFixture(self.deps, self.work / name, firn.bucket_uri(name),
                                                  self.s3.endpoint))
        lake = firn.Lake("rest", "s3", server.uri, server.warehouse, s3_endpoint=self.s3.endpoint)
        side = Side(name, lake, [], server)
        side.slots = [self._slot(side, number) for number in range(self.plan.workers)]
        return side

    def _slot(self, side, number: int):
        from fault_proxy import FaultProxy
        from torture_attack import Slot
        path = side.lake.uri.split("/", 3)[3:]
        catalog = FaultProxy(side.lake.uri.removeprefix("http://").split("/")[0])
        store = FaultProxy(self.s3.endpoint, "s3")
        self.proxies += [catalog, store]
        config = {"catalog": {"uri": "/".join([catalog.url, *path])}, "store": {"s3": {"endpoint": store.url}}}
        pipeline = self._pipeline(side, f"{side.name}-{number}", config)
        return Slot(f"{side.name}/{number}", pipeline, catalog, store, self.draw)

    def _pipeline(self, side, folder: str, changes: dict):
        from torture_feed import COLUMNS, table_name
        plan = self.plan
        first = table_name(0)
        config = {
            "pipeline": f"torture-{side.name}",
            "kafka": {"bootstrap.servers": self.kafka.bootstrap, "session.timeout.ms": 6000,
                      "heartbeat.interval.ms": 1000, "max.poll.interval.ms": 30000,
                      "topic.metadata.refresh.interval.ms": 10000},
            "source": {"topics": [plan.topic]},
            **side.lake.config(),
            "tables": [{"name": f"{plan.namespace}.{first}", "columns": COLUMNS,
                        "match": [{"field": "t", "equals": first}]},
                       {"name": f"{plan.namespace}.{{field:t}}", "columns": COLUMNS,
                        "match": [{"field": "t", "regex": "t[0-9]+"}]}],
            "commit": {"interval": plan.interval, "detach_after": plan.detach_after},
            "positions": {"checkpoint": "5s"},
            "memory": {"limit": "128MiB"},
        }
        made = self.firn.Pipeline(self.work / folder, self.firn.merged(config, changes))
        made.group = f"firn-torture-{side.name}"
        return made

    def attack(self):
        from torture_attack import Attacks, say
        plan = self.plan
        self.attacks = Attacks(plan, self.sides, self.kafka, self.s3, self.topics)
        for thread in (*self.feeds, self.attacks):
            thread.start()
        until = time.monotonic() + plan.minutes * 60
        told = marked = 0.0
        self.under_attack: list = []  # (part of the time that is over, read by each side's home)
        while time.monotonic() < until:
            for feed in self.feeds:
                if feed.error:
                    raise feed.error
            for side in self.sides:
                for slot in side.slots:
                    slot.look_after()
            if time.monotonic() - marked > MARKS_EVERY_S:
                marks, marked = self.marks(), time.monotonic()
                over = 1 - (until - marked) / (plan.minutes * 60)
                self.under_attack += [(over, marks)] if marks else []
                if marked - told > TOLD_EVERY_S:
                    told = marked
                    say(f"{max(0, until - told):.0f} s left, {sum(self.ledger.counts.values())} records sent, attacks "
                        f"{sum(self.attacks.counts.values())}, read by the home: {marks}")
            time.sleep(0.5)

    def marks(self) -> dict:
        """Side → sum of the group's offsets, a copy of the home's mark; nothing while the broker is suspended."""
        try:
            return {side.name: sum(self.topics.committed(side.slots[0].pipeline.group, self.plan.topic).values())
                    for side in self.sides}
        except Exception:
            return {}

    def settle(self):
        """Everything is healed and stands still; what is under way comes to its end."""
        from torture_attack import say
        say("the attacks end; everything is healed")
        self.attacks.finish()
        for proxy in self.proxies:
            proxy.clear()
        for feed in self.feeds:
            feed.end.set()
        for feed in self.feeds:
            feed.join(180)
            if feed.error:
                raise feed.error
        for side in self.sides:
            for slot in side.slots:
                if slot.run and not slot.stop(120):
                    self.attacks.refused_stops.append(slot.name)

    def catch_up(self, side) -> dict:
        """With a single worker that reaches its servers directly."""
        from torture_attack import say
        pipeline = self._pipeline(side, f"{side.name}-last", {})
        started = time.monotonic()
        for attempt in range(1, 6):
            say(f"{side.name}: catching up, attempt {attempt}")
            run = pipeline.begin("run", "--until-caught-up", "--json")
            try:
                code = run.process.wait(HOLD_ON_S)
            except TimeoutError:
                run.kill()
                code = None
            if code == 0:
                break
        ends = self.topics.ends(self.plan.topic)
        committed = self.topics.committed(pipeline.group, self.plan.topic)
        return {"code": code, "attempts": attempt, "seconds": round(time.monotonic() - started, 1),
                "detached": run.result().get("detached", []) if code is not None else None,
                "group_offsets_at_the_end": {number: committed.get(number, 0) for number in ends} == ends,
                "log": "" if code == 0 else run.process.tail(8)}

    def count(self, side) -> dict:
        from torture_attack import say
        from torture_count import Count
        say(f"{side.name}: DuckDB counts")
        count = Count(side.lake, side.name, self.plan, self.ledger,
                      f"{self.plan.namespace}.torture_{side.name}__rejects").all()
        return {"rows": count.rows, "rejects": count.rejected, **count.found, "examples": count.examples}

    def end(self):
        for side in getattr(self, "sides", []):
            for slot in side.slots:
                slot.pipeline.end()
        for proxy in self.proxies:
            proxy.close()
        for server in reversed(self.started):
            server.stop()

    def progress(self, side: str) -> list:
        """What its home had read at the ends of the two halves of the attacks."""
        return [max((marks[side] for over, marks in self.under_attack if (over <= 0.5) == first), default=0)
                for first in (True, False)]

    def report(self) -> dict:
        plan, ledger = self.plan, self.ledger
        pipelines = {}
        for side in self.sides:
            settled = self.catch_up(side)
            faults = sum((proxy.counts for slot in side.slots for proxy in (slot.catalog, slot.store)),
                         start=type(ledger.counts)())
            pipelines[side.name] = {
                **self.count(side), "settled": settled, "read_under_attack": self.progress(side.name),
                "worker_starts": sum(slot.starts for slot in side.slots),
                "ends_by_itself": [end for slot in side.slots for end in slot.own_ends],
                "failed_stops": [end for slot in side.slots for end in slot.failed_stops],
                "faults": dict(sorted(faults.items())),
                "foreign_commits": next(dict(feed.commits) for feed in self.feeds
                                        if feed.name == f"foreign-{side.name}"),
            }
        failures = failures_of(pipelines, self.attacks.refused_stops, plan.minutes)
        options = {key: value for key, value in vars(plan).items() if key not in ("report", "work", "foreign_gap")}
        return {
            "verdict": "failed" if failures else "passed", "failures": failures, "seed": plan.seed, "options": options,
            "firn": subprocess.run([self.firn.binary(), "--version"], capture_output=True, text=True,
                                   check=True).stdout.strip(),
            "cores": os.cpu_count(), "records": dict(ledger.counts), "attacks": dict(self.attacks.counts),
            "attacks_missed": dict(self.attacks.missed), "attack_errors": self.attacks.errors,
            "stops_refused": self.attacks.refused_stops, "pipelines": pipelines,
        }


def failures_of(pipelines: dict, refused_stops: list, minutes: float) -> list:
    """What of the report makes it a failed one, as sentences."""
    out = [f"{name} did not end when it was asked to" for name in refused_stops]
    for name, one in pipelines.items():
        out += [f"{name}: {one[kind]} {kind}" for kind in ("lost", "doubled", "wrong", "strange") if one[kind]]
        # A worker waits for whatever is away: there is no reason for it to end by itself.
        out += [f"{end['worker']} ended by itself with {end['code']}" for end in one["ends_by_itself"]]
        # A stop in the midst of an outage may say that its last commit failed; it may not die of it.
        out += [f"{end['worker']} was asked to stop and ended with {end['code']}" for end in one["failed_stops"]
                if end["code"] not in STOP_CODES]
        settled = one["settled"]
        if settled["code"] != 0 or settled["attempts"] > 1:
            out.append(f"{name}: caught up with {settled['code']} at attempt {settled['attempts']}")
        if not settled["group_offsets_at_the_end"]:
            out.append(f"{name}: the group's offsets are not the ends of the log")
        first, second = one["read_under_attack"]
        if second <= first and minutes >= STANDS_STILL_MINUTES:
            out.append(f"{name}: the home's mark stood still in the second half of the attacks, at {first}")
    return out


def main() -> int:
    plan = parse()
    from torture_attack import say
    logging.disable(logging.WARNING)  # PyIceberg tells of each conflict of the foreign hands
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(2))
    folder = plan.work or pathlib.Path(tempfile.mkdtemp(prefix="firn-torture-"))
    folder.mkdir(parents=True, exist_ok=True)
    say(f"seed {plan.seed}, {plan.minutes:g} minutes, {len(plan.catalogs)} x {plan.workers} workers, logs in {folder}")
    rig, code = None, 2
    try:
        rig = Rig(plan, folder)
        rig.attack()
        rig.settle()
        report = rig.report()
        code = 2 if report["attack_errors"] else 0 if report["verdict"] == "passed" else 1
        text = json.dumps(report, indent=2)
        if plan.report:
            plan.report.write_text(text + "\n")
        else:
            print(text)
        say(f"{report['verdict']}: " + ", ".join(
            f"{name}: {one['rows']} rows, {one['lost']} lost, {one['doubled']} doubled, {one['wrong']} wrong, "
            f"{one['strange']} strange" for name, one in report["pipelines"].items()))
        for failure in report["failures"]:
            say(f"failed: {failure}")
        return code
    finally:
        if rig:
            rig.end()
        if code == 0 and not plan.work:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            say(f"logs and data: {folder}")


if __name__ == "__main__":
    sys.exit(main())
