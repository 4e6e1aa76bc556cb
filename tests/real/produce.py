"""Topics and records: what is sent to Kafka, and the rows that must come of it."""

import base64
import dataclasses
import hashlib
import random
import uuid

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic

from processes import wait_until
from values import json_text


class Topics:
    """Topics of one broker, made, changed, filled and asked."""

    def __init__(self, bootstrap: str):
        self.bootstrap = bootstrap
        self.admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})

    def create(self, name: str, partitions: int = 3, config: dict | None = None) -> str:
        """Waits for an older topic of that name to be gone, too."""
        def made():
            future = self.admin.create_topics([NewTopic(name, partitions, 1, config=config or {})])[name]
            try:
                future.result(30)
                return True
            except KafkaException as error:
                if error.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS:
                    return False
                raise
        wait_until(made, 60, f"topic {name} can be made", 0.2)
        wait_until(lambda: self._partitions(name) == partitions, 30, f"topic {name} is known", 0.05)
        return name

    def _partitions(self, name: str) -> int:
        metadata = self.admin.list_topics(timeout=10).topics
        return len(metadata[name].partitions) if name in metadata and not metadata[name].error else 0

    def add_partitions(self, name: str, total: int):
        self.admin.create_partitions([NewPartitions(name, total)])[name].result(30)
        wait_until(lambda: self._partitions(name) == total, 30, f"topic {name} has {total} partitions", 0.05)

    def delete(self, name: str):
        self.admin.delete_topics([name])[name].result(30)
        wait_until(lambda: self._partitions(name) == 0, 30, f"topic {name} is gone", 0.1)

    def identity(self, topic: str) -> tuple[str, str]:
        """Cluster id and topic id, the latter as Firn writes it: Kafka's own text of it is base64."""
        cluster = self.admin.describe_cluster(request_timeout=10).result(30).cluster_id
        described = self.admin.describe_topics(TopicCollection([topic]), request_timeout=10)[topic].result(30)
        return cluster, str(uuid.UUID(bytes=base64.urlsafe_b64decode(f"{described.topic_id}==")))

    def producer(self, **settings) -> "TopicProducer":
        return TopicProducer(self.bootstrap, settings)

    def send(self, topic: str, values: list, partitions: int = 3, start: int = 0, key=None, headers=None):
        """Values (bytes, or None for a tombstone) over the partitions in turn."""
        with self.producer() as producer:
            for number, value in enumerate(values, start):
                producer.send(topic, value, number % partitions, key=key, headers=headers)

    def ends(self, topic: str, isolation: str = "read_committed") -> dict:
        """Partition → end offset."""
        consumer = Consumer({"bootstrap.servers": self.bootstrap, "group.id": "ends", "isolation.level": isolation})
        try:
            found = consumer.list_topics(topic, timeout=10).topics[topic].partitions
            return {number: consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=10)[1]
                    for number in found}
        finally:
            consumer.close()

    def committed(self, group: str, topic: str) -> dict:
        """Partition → offset that the group has committed; only partitions that have one."""
        consumer = Consumer({"bootstrap.servers": self.bootstrap, "group.id": group})
        try:
            found = consumer.list_topics(topic, timeout=10).topics[topic].partitions
            asked = [TopicPartition(topic, number) for number in found]
            return {one.partition: one.offset for one in consumer.committed(asked, timeout=10) if one.offset >= 0}
        finally:
            consumer.close()


class TopicProducer:
    """A context: on a clean exit everything has been acknowledged."""

    def __init__(self, bootstrap: str, settings: dict):
        self.inner = Producer({"bootstrap.servers": bootstrap, "linger.ms": 5, "log_level": 0,
                               "enable.idempotence": True,  # or a retry doubles records, and Firn is blamed
                               "compression.type": "lz4", "message.max.bytes": 8_000_000,
                               "queue.buffering.max.messages": 1_000_000, **settings})
        self.failed = []

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if kind is None:
            self.flush()

    def send(self, topic: str, value: bytes | None, partition: int, key: bytes | None = None, headers=None,
             timestamp_ms: int = 0):
        while True:
            try:
                self.inner.produce(topic, value, key, partition, headers=headers, timestamp=timestamp_ms,
                                   on_delivery=self._delivered)
                break
            except BufferError:
                self.inner.poll(0.1)
        self.inner.poll(0)

    def _delivered(self, error, _message):
        if error:
            self.failed.append(error)

    def flush(self):
        left = self.inner.flush(60)
        assert left == 0 and not self.failed, f"{left} records were not acknowledged, errors: {self.failed[:3]}"


@dataclasses.dataclass
class Batch:
    """Rows as they must be read, with the values that make them."""

    rows: list
    values: list  # bytes

    def __add__(self, other: "Batch") -> "Batch":
        return Batch(self.rows + other.rows, self.values + other.values)


def encode_rows(rows: list, struct) -> list:
    return [json_text(row, struct).encode("utf-8") for row in rows]


def small_note(number: int, pad: int = 0) -> str:
    """`pad` makes it longer, by text that hardly packs."""
    return f"note {number}" + (f" {hashlib.shake_128(b'%d' % number).hexdigest(pad // 2)}" if pad else "")


def small_events(first: int, count: int, pad: int = 0) -> Batch:
    """{"id": n, "kind": "k1", "note": text}: for tests that count rows; ids are never repeated."""
    rows = [{"id": number, "kind": f"k{number % 3}", "note": small_note(number, pad)}
            for number in range(first, first + count)]
    return Batch(rows, [f'{{"id":{row["id"]},"kind":"{row["kind"]}","note":"{row["note"]}"}}'.encode()
                        for row in rows])


SMALL_COLUMNS = [{"name": "id", "type": "long", "required": True}, {"name": "kind", "type": "string"},
                 {"name": "note", "type": "string"}]


def seeded(*words) -> random.Random:
    """The same numbers for the same words in every run."""
    return random.Random("/".join(map(str, words)))
