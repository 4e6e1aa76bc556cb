"""What the torture sends, and its own record of it: producers, plain and in transactions, and the hands of others.

Everything about a record follows from its id, so that the count at the end needs no more than ids: its table, its note.
"""

import array
import collections
import threading
import time

from confluent_kafka import KafkaException, Producer
from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.expressions import EqualTo

from produce import seeded
from readers import catalog_of

NOTE_FACTOR, NOTE_MODULUS = 48271, 2**31 - 1
QUIET_EVERY = 2003  # one record in so many goes to the quiet table
BUSY_TABLES = 3
MALFORMED_EVERY = 97
COLUMNS = [{"name": "id", "type": "long", "required": True}, {"name": "t", "type": "string"},
           {"name": "note", "type": "string"}]


def note_of(number: int) -> str:
    return f"v{abs(number) * NOTE_FACTOR % NOTE_MODULUS}"


NOTE_SQL = f"'v' || CAST((abs(id) * {NOTE_FACTOR}) % {NOTE_MODULUS} AS VARCHAR)"


def table_number(number: int, tables: int) -> int:
    """Half of all to three busy tables, one in some thousands to the quiet one, the rest evenly."""
    if tables > BUSY_TABLES and number % QUIET_EVERY == 1:
        return tables - 1
    spread = number * NOTE_FACTOR % NOTE_MODULUS
    if spread % 2 == 0:
        return spread // 2 % min(BUSY_TABLES, tables)
    return spread // 2 % max(1, tables - 1)


def table_name(number: int) -> str:
    return f"t{number:02d}"


def is_malformed(number: int) -> bool:
    return number % MALFORMED_EVERY == 5


def value_of(number: int, tables: int) -> bytes:
    table = table_name(table_number(number, tables))
    cut = "" if is_malformed(number) else "}"
    return f'{{"id":{number},"t":"{table}","note":"{note_of(number)}"{cut}'.encode()


class Ledger:
    """Which ids must be in the tables, which may be, and how many were sent in vain. Ids of producers are positive,
    those of other hands negative and kept by lake and table."""

    def __init__(self):
        self.lock = threading.Lock()
        self.next_id = 1
        self.sent = array.array("q")  # acknowledged, not aborted
        self.unsure = array.array("q")  # their transaction ended nobody knows how
        self.counts: collections.Counter = collections.Counter()
        self.foreign: dict = collections.defaultdict(dict)  # (lake, table) → id → stands | gone | unsure

    def take_ids(self, count: int) -> range:
        with self.lock:
            first = self.next_id
            self.next_id += count
        return range(first, first + count)

    def done(self, ids, kind: str):
        with self.lock:
            self.counts[kind] += len(ids)
            if kind == "unsure":
                self.unsure.extend(ids)
            elif kind in ("plain", "committed"):
                self.sent.extend(ids)


class Feeder(threading.Thread):
    """Ends by `end`; whatever goes wrong in it is in `error`."""

    def __init__(self, plan, ledger: Ledger, name: str):
        super().__init__(daemon=True, name=name)
        self.plan, self.ledger = plan, ledger
        self.draw = seeded(plan.seed, name)
        self.end = threading.Event()
        self.error: BaseException | None = None

    def run(self):
        try:
            self.feed()
        except BaseException as error:  # the main thread raises it
            self.error = error

    def feed(self):
        raise NotImplementedError


class PlainFeed(Feeder):
    def __init__(self, plan, ledger: Ledger, topics, per_second: float):
        super().__init__(plan, ledger, "plain")
        self.topics, self.per_second = topics, per_second

    def feed(self):
        with self.topics.producer(**{"topic.metadata.refresh.interval.ms": 5000}) as producer:
            owed, last = 0.0, time.monotonic()
            while not self.end.wait(0.1):
                now = time.monotonic()
                owed, last = min(owed + (now - last) * self.per_second, 10 * self.per_second), now
                ids = self.ledger.take_ids(int(owed))
                owed -= len(ids)
                for number in ids:
                    producer.send(self.plan.topic, value_of(number, self.plan.tables),
                                  self.draw.randrange(self.plan.partitions))
                # Counted at once; the last flush makes it true, or the torture ends with an error.
                self.ledger.done(ids, "plain")


class TransactionFeed(Feeder):
    """Transactions over many partitions; some are aborted, some abandoned and fenced off by the next producer."""

    def __init__(self, plan, ledger: Ledger, topics, per_second: float, number: int):
        super().__init__(plan, ledger, f"transactions-{number}")
        self.topics, self.per_second = topics, per_second

    def _make(self) -> Producer:
        producer = Producer({"bootstrap.servers": self.topics.bootstrap, "transactional.id": self.name, "log_level": 0,
                             "transaction.timeout.ms": 60_000, "linger.ms": 5, "compression.type": "lz4",
                             "topic.metadata.refresh.interval.ms": 5000})
        repeat(lambda: producer.init_transactions(60))
        return producer

    def feed(self):
        producer = self._make()
        while not self.end.wait(0.01):
            count = self.draw.randint(1, 200)
            fate = self.draw.choices(["committed", "aborted", "abandoned"], [6, 3, 1])[0]
            ids = self.ledger.take_ids(count)
            producer.begin_transaction()
            for number in ids:
                producer.produce(self.plan.topic, value_of(number, self.plan.tables),
                                 partition=self.draw.randrange(self.plan.partitions))
            producer.flush(60)
            if fate == "abandoned":
                producer = self._make()  # the same id: the broker aborts what the old one had open
            else:
                end = producer.commit_transaction if fate == "committed" else producer.abort_transaction
                if not repeat(lambda: end(60)):
                    fate = "unsure"
                    producer = self._make()
            self.ledger.done(ids, fate)
            self.end.wait(count / self.per_second)


def repeat(call, tries: int = 20) -> bool:
    for _ in range(tries):
        try:
            call()
            return True
        except KafkaException as error:
            if not error.args[0].retriable():
                return False
            time.sleep(1)
    return False


class ForeignHands(Feeder):
    """Somebody else appends rows to the tables by PyIceberg, and deletes some of them again."""

    def __init__(self, plan, ledger: Ledger, lake_name: str, lake):
        super().__init__(plan, ledger, f"foreign-{lake_name}")
        self.lake_name, self.lake = lake_name, lake
        self.commits: collections.Counter = collections.Counter()
        self.next_id = -1

    def feed(self):
        while not self.end.wait(self.draw.uniform(*self.plan.foreign_gap)):
            table = table_name(self.draw.randrange(self.plan.tables))
            rows = self.ledger.foreign[(self.lake_name, table)]
            stands = [number for number, state in rows.items() if state == "stands"]
            if stands and self.draw.random() < 0.4:
                self._commit(table, rows, self.draw.choice(stands), "delete")
            else:
                self._commit(table, rows, self.next_id, "append")
                self.next_id -= 1

    def _commit(self, table: str, rows: dict, number: int, how: str):
        import pyarrow as pa
        before = rows.get(number)
        rows[number] = "unsure"
        try:
            loaded = catalog_of(self.lake).load_table(f"{self.plan.namespace}.{table}")
        except NoSuchTableError:
            rows.pop(number)
            return
        except Exception:  # suspended or overloaded: nothing was changed
            if before is None:
                rows.pop(number)
            else:
                rows[number] = before
            return
        try:
            if how == "delete":
                loaded.delete(EqualTo("id", number))
                rows[number] = "gone"
            else:
                loaded.append(pa.Table.from_pylist([{"id": number, "t": table, "note": note_of(number)}],
                                                   schema=loaded.schema().as_arrow()))
                rows[number] = "stands"
            self.commits[how] += 1
        except Exception as error:
            # Conflicts, time-outs: who knows; the count takes both for right.
            self.commits[f"{how} failed: {type(error).__name__}"] += 1
