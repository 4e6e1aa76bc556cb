"""The attacks of the torture: on workers, on what lies between them and their servers, and on the servers.

One seeded random decides what comes when and against whom; each attack then runs in a thread of its own, so that
attacks overlap. A worker or server that is under attack already is left alone by the next one, which is then counted as
missed.
"""

import collections
import signal
import sys
import threading
import time

from confluent_kafka import Consumer

from fault_proxy import FaultProxy, Rule, any_request, commit_to, upload_of
from produce import seeded

COMMIT_WAIT_S = 60  # how long an attack waits for the commit that it wants to hit
STOP_S = 90
PARTITION_KNOWN_S = 20  # four times what producers take to hear of a new partition
# Chance of a fault for a request, by weather.
WEATHER = {"calm": 0.0, "drizzle": 0.003, "rain": 0.02, "storm": 0.08}


def say(text: str):
    print(f"[torture {time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)


class Sky:
    """The weather over one way: single requests and answers are lost, refused, cut or late, each with a chance."""

    CATALOG = (("drop_answer", 0, commit_to()), ("drop_request", 0, commit_to()), ("answer_after", 502, commit_to()),
               ("answer_after", 504, commit_to()), ("answer", 409, commit_to()), ("answer", 503, any_request),
               ("answer", 500, any_request), ("answer", 429, any_request), ("cut_answer", 0, any_request),
               ("drop_answer", 0, any_request), ("delay", 0, any_request), ("delay_answer", 0, any_request))
    STORE = (("drop_answer", 0, any_request), ("drop_request", 0, any_request), ("answer", 503, any_request),
             ("answer", 500, any_request), ("cut_answer", 0, any_request), ("cut_request", 0, upload_of("")),
             ("delay", 0, any_request), ("delay_answer", 0, any_request))

    def __init__(self, proxy: FaultProxy, draw):
        faults = self.CATALOG if proxy.speaks == "rest" else self.STORE
        self.rules = [proxy.add(Rule(match, fault, status=status, seconds=draw.uniform(0.1, 3), chance=0,
                                     draw=seeded(draw.random()))) for fault, status, match in faults]
        self.set("drizzle")

    def set(self, weather: str):
        for rule in self.rules:
            rule.chance = WEATHER[weather]


class Slot:
    """One worker's place: it is started again whenever it is not there and nobody attacks it."""

    def __init__(self, name: str, pipeline, catalog: FaultProxy, store: FaultProxy, draw):
        self.name, self.pipeline, self.catalog, self.store = name, pipeline, catalog, store
        self.skies = [Sky(catalog, draw), Sky(store, draw)]
        self.busy = threading.Lock()
        self.run = None
        self.starts = 0
        self.own_ends: list = []  # ends that nobody asked for
        self.failed_stops: list = []  # ends that somebody asked for, with another code than 0

    def start(self):
        self.starts += 1
        self.run = self.pipeline.start()

    def kill(self):
        """What was dead before the kill has died by itself."""
        self.run.kill()
        if self.run.process.popen.returncode != -signal.SIGKILL:
            self._ended_by_itself()

    def stop(self, timeout_s: float) -> bool:
        """False when it had to be killed."""
        if not self.run.process.running():
            self._ended_by_itself()
            return True
        try:
            code = self.run.stop(timeout_s)
        except TimeoutError:
            self.run.kill()
            return False
        if code != 0:
            self.failed_stops.append(self._end())
        return True

    def look_after(self):
        """A supervisor: what has ended by itself is started again."""
        if not self.busy.acquire(blocking=False):
            return
        try:
            if self.run is None or not self.run.process.running():
                if self.run is not None:
                    self._ended_by_itself()
                self.start()
        finally:
            self.busy.release()

    def _end(self) -> dict:
        return {"worker": self.name, "code": self.run.process.popen.returncode, "log": self.run.process.tail(4)}

    def _ended_by_itself(self):
        end = self._end()
        self.own_ends.append(end)
        say(f"{self.name} ended by itself with {end['code']}: {end['log'][-300:]}")


class Side:
    """One pipeline on one catalog, with its workers."""

    def __init__(self, name: str, lake, slots: list, server):
        self.name, self.lake, self.slots, self.server = name, lake, slots, server
        self.catalog_busy, self.store_busy = threading.Lock(), threading.Lock()


class Attacks(threading.Thread):
    """Draws an attack every `gap` seconds until `end`."""

    WEIGHTS = {"kill": 5, "kill_in_commit": 5, "kill_and_deliver_late": 3, "suspend": 4, "suspend_in_commit": 4,
               "stop": 3, "visit": 2, "cut_off_a_worker": 3, "catalog_away": 2, "store_away": 2, "suspend_catalog": 1,
               "suspend_store": 1, "suspend_broker": 1, "weather": 4, "more_partitions": 1}

    def __init__(self, plan, sides: list, kafka, s3, topics):
        super().__init__(daemon=True, name="attacks")
        self.plan, self.sides, self.kafka, self.s3, self.topics = plan, sides, kafka, s3, topics
        self.partitions_max = plan.partitions + 4
        self.draw = seeded(plan.seed, "attacks")
        self.counts: collections.Counter = collections.Counter()
        self.missed: collections.Counter = collections.Counter()
        self.refused_stops: list = []
        self.errors: list = []
        self.end = threading.Event()
        self._running: list[threading.Thread] = []
        self._kafka_busy, self._growing = threading.Lock(), threading.Lock()

    def run(self):
        while not self.end.wait(self.draw.uniform(*self.plan.gap)):
            kind = self.draw.choices(list(self.WEIGHTS), list(self.WEIGHTS.values()))[0]
            side = self.draw.choice(self.sides)
            slot = self.draw.choice(side.slots)
            drawn = self.draw.random(), self.draw.random()
            one = threading.Thread(target=self._one, args=(kind, side, slot, drawn), daemon=True)
            self._running = [thread for thread in self._running if thread.is_alive()] + [one]
            one.start()

    def finish(self):
        """No new attacks; those that run come to their end."""
        self.end.set()
        self.join(self.plan.gap[1] + 10)
        for thread in self._running:
            thread.join(300)

    def _one(self, kind: str, side: Side, slot: Slot, drawn: tuple):
        try:
            done = getattr(self, f"do_{kind}")(side, slot, *drawn)
            (self.counts if done else self.missed)[kind] += 1
        except Exception as error:  # told at the end; the torture itself is broken then
            self.errors.append(f"{kind} on {slot.name}: {error!r}")

    def _on_worker(self, slot: Slot, attack) -> bool:
        if not slot.busy.acquire(blocking=False):
            return False
        try:
            if slot.run is None or not slot.run.process.running():
                return False
            return attack()
        finally:
            slot.busy.release()

    def _pause(self, seconds: float):
        """Ends early when the torture does."""
        self.end.wait(seconds)

    # --- workers

    def do_kill(self, _side, slot, a, _b) -> bool:
        def attack():
            say(f"{slot.name}: killed")
            slot.kill()
            self._pause(a * 8)
            slot.start()
            return True
        return self._on_worker(slot, attack)

    def _wait_for(self, gate) -> bool:
        deadline = time.monotonic() + COMMIT_WAIT_S
        while not gate.reached and time.monotonic() < deadline and not self.end.is_set():
            time.sleep(0.02)
        return gate.reached

    def do_kill_in_commit(self, _side, slot, a, b) -> bool:
        """Before the catalog has seen the commit, or after it has applied it; or while a file is on its way."""
        def attack():
            proxy, match = (slot.store, upload_of()) if b < 0.25 else (slot.catalog, commit_to())
            hold = proxy.hold_before if a < 0.4 else proxy.hold_after
            with hold(match) as gate:
                if not self._wait_for(gate):
                    return False
                say(f"{slot.name}: killed {'before' if a < 0.4 else 'after'} {gate.request.method} {gate.request.path}")
                slot.kill()
                gate.drop()
            self._pause(b * 5)
            slot.start()
            return True
        return self._on_worker(slot, attack)

    def do_kill_and_deliver_late(self, _side, slot, a, b) -> bool:
        """The dead worker's commit is on its way for a while, and arrives when others have gone on."""
        def attack():
            with slot.catalog.hold_before(commit_to()) as gate:
                if not self._wait_for(gate):
                    return False
                say(f"{slot.name}: killed, its commit {gate.request.path} arrives {3 + a * 25:.0f} s later")
                slot.kill()
                self._pause(b * 3)
                slot.start()
                self._pause(3 + a * 25)
                gate.open()
            return True
        return self._on_worker(slot, attack)

    def do_suspend(self, _side, slot, a, _b) -> bool:
        def attack():
            say(f"{slot.name}: suspended for {1 + a * 24:.0f} s")
            slot.run.process.suspend()
            self._pause(1 + a * 24)
            slot.run.process.resume()
            return True
        return self._on_worker(slot, attack)

    def do_suspend_in_commit(self, _side, slot, a, b) -> bool:
        """The request waits while the worker sleeps; it arrives before the worker wakes up, or after."""
        def attack():
            hold = slot.catalog.hold_before if b < 0.7 else slot.catalog.hold_after
            with hold(commit_to()) as gate:
                if not self._wait_for(gate):
                    return False
                say(f"{slot.name}: suspended for {2 + a * 24:.0f} s in its commit {gate.request.path}")
                slot.run.process.suspend()
                self._pause(2 + a * 24)
                if b < 0.35:
                    gate.open()
                    time.sleep(0.2)
                slot.run.process.resume()
            return True
        return self._on_worker(slot, attack)

    def do_stop(self, _side, slot, a, _b) -> bool:
        def attack():
            say(f"{slot.name}: asked to stop")
            if not slot.stop(STOP_S):
                self.refused_stops.append(slot.name)
            self._pause(a * 5)
            slot.start()
            return True
        return self._on_worker(slot, attack)

    def do_visit(self, side, _slot, a, _b) -> bool:
        """A member of the group that comes and goes: two rebalances."""
        say(f"{side.name}: a visitor joins the group")
        consumer = Consumer({"bootstrap.servers": self.kafka.bootstrap, "log_level": 0,
                             "group.id": side.slots[0].pipeline.group, "enable.auto.commit": False,
                             "partition.assignment.strategy": "cooperative-sticky", "session.timeout.ms": 6000})
        consumer.subscribe([self.plan.topic])
        until = time.monotonic() + 2 + a * 10
        while time.monotonic() < until and not self.end.is_set():
            consumer.poll(0.2)
        consumer.close()
        return True

    # --- ways and servers

    def do_cut_off_a_worker(self, _side, slot, a, b) -> bool:
        """Alive in its group, but catalog, store or both are away for it alone."""
        def attack():
            ways = [way for way, chosen in ((slot.catalog, b < 0.6), (slot.store, b > 0.3)) if chosen]
            self._away(ways, f"{slot.name} alone", a)
            return True
        return self._on_worker(slot, attack)

    def do_catalog_away(self, side, _slot, a, b) -> bool:
        return self._all_away(side, side.catalog_busy, [slot.catalog for slot in side.slots], f"{side.name} catalog",
                              a, b)

    def do_store_away(self, side, _slot, a, b) -> bool:
        return self._all_away(side, side.store_busy, [slot.store for slot in side.slots], f"{side.name} store", a, b)

    def _all_away(self, side, busy, ways: list, what: str, a: float, b: float) -> bool:
        del side
        if not busy.acquire(blocking=False):
            return False
        try:
            self._away(ways, what, a, silently=b < 0.4)
            return True
        finally:
            busy.release()

    def _away(self, ways: list, what: str, a: float, silently: bool = False):
        say(f"{what}: {'silent' if silently else 'refuses'} for {2 + a * 38:.0f} s")
        for way in ways:
            way.silence() if silently else way.refuse()
        self._pause(2 + a * 38)
        for way in ways:
            way.heal()

    def _suspended(self, busy, process, what: str, a: float) -> bool:
        if not busy.acquire(blocking=False):
            return False
        try:
            say(f"{what}: suspended for {1 + a * 14:.0f} s")
            process.suspend()
            self._pause(1 + a * 14)
            process.resume()
            return True
        finally:
            busy.release()

    def do_suspend_catalog(self, side, _slot, a, _b) -> bool:
        return self._suspended(side.catalog_busy, side.server.process, f"{side.name} server", a)

    def do_suspend_store(self, side, _slot, a, _b) -> bool:
        return self._suspended(self.sides[0].store_busy, self.s3.process, "the store's server", a)

    def do_suspend_broker(self, _side, _slot, a, _b) -> bool:
        return self._suspended(self._kafka_busy, self.kafka.process, "the broker", a)

    def do_weather(self, side, slot, a, b) -> bool:
        """Over one worker or all of a pipeline, for a while."""
        weather = ("calm", "rain", "storm")[int(a * 3)]
        slots = [slot] if b < 0.5 else side.slots
        say(f"{', '.join(one.name for one in slots)}: {weather} for {20 + b * 60:.0f} s")
        for state in (weather, "drizzle"):
            for one in slots:
                for sky in one.skies:
                    sky.set(state)
            if state == weather:
                self._pause(20 + b * 60)
        return True

    def do_more_partitions(self, _side, _slot, _a, _b) -> bool:
        """The topic grows by one; producers use the new partition when they have heard of it."""
        if not self._growing.acquire(blocking=False):
            return False
        try:
            if self.plan.partitions >= self.partitions_max:
                return False
            say(f"the topic gets partition {self.plan.partitions}")
            self.topics.add_partitions(self.plan.topic, self.plan.partitions + 1)
            time.sleep(PARTITION_KNOWN_S)
            self.plan.partitions += 1
            return True
        finally:
            self._growing.release()
