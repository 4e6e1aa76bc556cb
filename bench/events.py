"""Events that are hard on a decoder, into a topic: those of `firn generate` with their keys shuffled, with nulls and
text that is not plain, or three kinds of them by turns. The same seed gives the same events."""

import json
import random
import time

ACTIVITIES = {1: "Open", 2: "Close", 3: "Reset", 4: "Fail", 5: "Refuse", 6: "Traffic"}
PROTOCOLS = (("tcp", 6), ("udp", 17), ("icmp", 1))
SEVERITIES = {1: "Informational", 2: "Low", 3: "Medium", 4: "High"}
PORTS = (443, 443, 443, 80, 53, 22, 8080, 3389)
START_MS, SPAN_MS = 1_763_769_600_000, 172_800_000  # two days from 2025-11-22
ODD_TEXTS = ('C:\\Windows\\System32\\"x".exe', "línea uno\nlínea dos\ttab", "Zeitüberschreitung", "超时 и тайм-аут",
             "emoji 🔥 beyond the first plane", "", "\u0001\u001f control", "a/b\\/c")
NULLED = 0.25
SHAPES = ("shuffled", "hostile", "three")


def plain(draw: random.Random, time_ms: int) -> dict:
    activity = draw.randint(1, 6)
    severity = 1 if draw.random() < 0.9 else draw.randint(2, 4)
    protocol = PROTOCOLS[draw.randint(0, 9) // 5]
    source = f"10.{draw.randint(0, 31)}.{draw.randint(0, 255)}.{draw.randint(1, 254)}"
    target = f"{draw.choice((52, 34, 151, 104, 172))}.{draw.randint(0, 255)}.{draw.randint(0, 255)}.{draw.randint(1, 254)}"
    bytes_in, bytes_out = int(draw.paretovariate(1.2) * 300), int(draw.paretovariate(1.2) * 200)
    instant = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time_ms // 1000)) + f".{time_ms % 1000:03d}+00:00"
    return {
        "time": time_ms, "event_time": instant, "class_uid": 4001, "class_name": "Network Activity",
        "category_uid": 4, "category_name": "Network Activity", "activity_id": activity,
        "activity_name": ACTIVITIES[activity], "type_uid": 400100 + activity,
        "type_name": "Network Activity: " + ACTIVITIES[activity], "severity_id": severity,
        "severity": SEVERITIES[severity], "status_id": 1 if activity != 4 else 2,
        "metadata": {"uid": f"{draw.getrandbits(128):032x}", "version": "1.3.0",
                     "product": {"name": "FlowSensor", "vendor_name": "Example", "version": "7.2.1"},
                     "logged_time": time_ms + draw.randint(1, 900)},
        "src_endpoint": {"ip": source, "port": draw.randint(1024, 65535),
                         "hostname": f"ws-{draw.randint(1, 8000):05d}.corp.example.com"},
        "dst_endpoint": {"ip": target, "port": draw.choice(PORTS)},
        "connection_info": {"protocol_name": protocol[0], "protocol_num": protocol[1],
                            "direction_id": draw.randint(1, 2), "uid": f"C{draw.getrandbits(64):016x}"},
        "traffic": {"bytes_in": bytes_in, "bytes_out": bytes_out, "packets_in": bytes_in // 700 + 1,
                    "packets_out": bytes_out // 700 + 1},
        "observables": [{"name": "src_endpoint.ip", "type_id": 2, "value": source},
                        {"name": "dst_endpoint.ip", "type_id": 2, "value": target}],
    }


def shuffled(draw: random.Random, value):
    """The same with the keys of each object in an order of its own."""
    if isinstance(value, list):
        return [shuffled(draw, item) for item in value]
    if not isinstance(value, dict):
        return value
    keys = list(value)
    draw.shuffle(keys)
    return {key: shuffled(draw, value[key]) for key in keys}


def nulled(draw: random.Random, value):
    """A quarter of the leaves null, whole structs at times, and texts of free form with escapes and other scripts."""
    out = {}
    for key, item in value.items():
        if key != "time" and draw.random() < (NULLED if not isinstance(item, dict) else NULLED / 5):
            out[key] = None
        elif isinstance(item, dict):
            out[key] = nulled(draw, item)
        elif key in ("severity", "type_name", "hostname", "vendor_name"):
            out[key] = draw.choice(ODD_TEXTS)
        else:
            out[key] = item
    return out


def of_a_kind(draw: random.Random, number: int, event: dict) -> dict:
    """Three kinds by turns: all fields; a sign-in without the flow's fields but with two that have no column; a query
    of names, in another order."""
    if number % 3 == 0:
        return event
    if number % 3 == 1:
        kept = {key: event[key] for key in event if key not in ("traffic", "connection_info", "dst_endpoint")}
        return kept | {"class_uid": 3002, "class_name": "Authentication",
                       "user": {"name": f"user{draw.randint(1, 5000)}", "uid": f"{draw.getrandbits(64):016x}"},
                       "auth_protocol": "Kerberos"}
    order = ("metadata", "class_uid", "time", "severity_id", "src_endpoint", "dst_endpoint", "event_time",
             "activity_id", "activity_name", "observables", "status_id", "type_uid", "connection_info")
    return {key: event[key] for key in order} | {"class_uid": 4003}


def values(shape: str, count: int, seed: int = 42):
    draw = random.Random(f"{shape}{seed}")
    for number in range(count):
        event = plain(draw, START_MS + number * SPAN_MS // count)
        ascii_only = True
        if shape == "shuffled":
            event = shuffled(draw, event)
        elif shape == "hostile":
            event, ascii_only = nulled(draw, event), number % 2 == 0
        elif shape == "three":
            event = of_a_kind(draw, number, event)
        yield json.dumps(event, ensure_ascii=ascii_only, separators=(",", ":")).encode()


def fill(bootstrap: str, topic: str, shape: str, count: int, partitions: int, compression: str):
    from confluent_kafka import Producer
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 50, "batch.size": 1_000_000,
                         "compression.type": compression, "enable.idempotence": True,
                         "queue.buffering.max.messages": 500_000})
    failed = []
    for number, value in enumerate(values(shape, count)):
        while True:
            try:
                producer.produce(topic, value, partition=number % partitions,
                                 on_delivery=lambda error, _: error and failed.append(error))
                break
            except BufferError:
                producer.poll(0.1)
        if number % 1000 == 0:
            producer.poll(0)
    if producer.flush(120) or failed:
        raise SystemExit(f"the topic {topic} could not be filled: {failed[:1]}")
