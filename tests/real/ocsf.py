"""OCSF Network Activity events (class 4001), nested as sensors send them, and the rows that come of them."""

import datetime
import json
import random

from pyiceberg import types as t
from pyiceberg.schema import Schema

from produce import Batch
from values import json_text, timestamp_of

PRODUCT = t.StructType(t.NestedField(101, "name", t.StringType()), t.NestedField(102, "vendor_name", t.StringType()),
                       t.NestedField(103, "version", t.StringType()))
METADATA = t.StructType(t.NestedField(111, "uid", t.StringType()), t.NestedField(112, "version", t.StringType()),
                        t.NestedField(113, "product", PRODUCT), t.NestedField(114, "logged_time", t.TimestamptzType()))
SOURCE = t.StructType(t.NestedField(121, "ip", t.StringType()), t.NestedField(122, "port", t.IntegerType()),
                      t.NestedField(123, "hostname", t.StringType()))
DESTINATION = t.StructType(t.NestedField(131, "ip", t.StringType()), t.NestedField(132, "port", t.IntegerType()))
CONNECTION = t.StructType(t.NestedField(141, "protocol_name", t.StringType()),
                          t.NestedField(142, "protocol_num", t.IntegerType()),
                          t.NestedField(143, "uid", t.StringType()))
TRAFFIC = t.StructType(t.NestedField(151, "bytes_in", t.LongType()), t.NestedField(152, "bytes_out", t.LongType()),
                       t.NestedField(153, "packets_in", t.LongType()))
OBSERVABLE = t.StructType(t.NestedField(161, "name", t.StringType()), t.NestedField(162, "type_id", t.IntegerType()),
                          t.NestedField(163, "value", t.StringType()))
OBSERVABLES = t.ListType(160, OBSERVABLE, element_required=False)
ENRICHMENTS = t.MapType(170, t.StringType(), 171, t.DoubleType(), value_required=False)

SCHEMA = Schema(
    t.NestedField(1, "time", t.TimestamptzType(), required=True),
    t.NestedField(2, "event_time", t.TimestamptzType()),
    t.NestedField(3, "class_uid", t.IntegerType(), required=True),
    t.NestedField(4, "activity_id", t.IntegerType()),
    t.NestedField(5, "activity_name", t.StringType()),
    t.NestedField(6, "type_uid", t.LongType()),
    t.NestedField(7, "severity_id", t.IntegerType()),
    t.NestedField(8, "severity", t.StringType()),
    t.NestedField(9, "status_detail", t.StringType()),
    t.NestedField(10, "is_alert", t.BooleanType()),
    t.NestedField(11, "risk_score", t.DoubleType()),
    t.NestedField(12, "metadata", METADATA),
    t.NestedField(13, "src_endpoint", SOURCE),
    t.NestedField(14, "dst_endpoint", DESTINATION),
    t.NestedField(15, "connection_info", CONNECTION),
    t.NestedField(16, "traffic", TRAFFIC),
    t.NestedField(17, "observables", OBSERVABLES),
    t.NestedField(18, "enrichments", ENRICHMENTS),
)

# As the configuration writes them; a test holds them against SCHEMA.
COLUMNS = [
    {"name": "time", "type": "timestamptz", "required": True},
    {"name": "event_time", "type": "timestamptz"},
    {"name": "class_uid", "type": "int", "required": True},
    {"name": "activity_id", "type": "int"},
    {"name": "activity_name", "type": "string"},
    {"name": "type_uid", "type": "long"},
    {"name": "severity_id", "type": "int"},
    {"name": "severity", "type": "string"},
    {"name": "status_detail", "type": "string"},
    {"name": "is_alert", "type": "boolean"},
    {"name": "risk_score", "type": "double"},
    {"name": "metadata", "type": "struct<uid: string, version: string, product: struct<name: string, "
                                 "vendor_name: string, version: string>, logged_time: timestamptz>"},
    {"name": "src_endpoint", "type": "struct<ip: string, port: int, hostname: string>"},
    {"name": "dst_endpoint", "type": "struct<ip: string, port: int>"},
    {"name": "connection_info", "type": "struct<protocol_name: string, protocol_num: int, uid: string>"},
    {"name": "traffic", "type": "struct<bytes_in: long, bytes_out: long, packets_in: long>"},
    {"name": "observables", "type": "list", "element": {"type": "struct", "fields": [
        {"name": "name", "type": "string"}, {"name": "type_id", "type": "int"}, {"name": "value", "type": "string"}]}},
    {"name": "enrichments", "type": "map<string, double>"},
]

PARTITION = ["day(time)", "bucket(2, src_endpoint.ip)", "severity"]

ACTIVITIES = {1: "Open", 2: "Close", 3: "Reset", 4: "Fail", 5: "Refuse", 6: "Traffic"}
SEVERITIES = {1: "Informational", 2: "Low", 3: "Medium", 4: "High"}
PROTOCOLS = (("tcp", 6), ("udp", 17), ("icmp", 1))
START_MICROS = 1_763_769_600_000_000  # 2025-11-22T00:00:00Z
SPAN_MICROS = 2 * 86_400_000_000


def event(random_source: random.Random, number: int, count: int) -> dict:
    r = random_source
    activity = r.randint(1, 6)
    severity = 1 if r.random() < 0.8 else 3
    micros = START_MICROS + number * SPAN_MICROS // count
    millis = micros // 1000 * 1000
    source_ip = f"10.{r.randint(0, 31)}.{r.randint(0, 255)}.{r.randint(1, 254)}"
    destination_ip = f"{r.choice((34, 52, 104, 151))}.{r.randint(0, 255)}.{r.randint(0, 255)}.{r.randint(1, 254)}"
    bytes_in = int(r.paretovariate(1.2) * 300)
    protocol = PROTOCOLS[min(r.randint(0, 9) // 5, 2)]
    return {
        "time": timestamp_of(millis, True),
        "event_time": timestamp_of(micros, True),
        "class_uid": 4001,
        "activity_id": activity,
        "activity_name": ACTIVITIES[activity],
        "type_uid": 400100 + activity,
        "severity_id": severity,
        "severity": SEVERITIES[severity] if r.random() < 0.98 else None,
        "status_detail": None if r.random() < 0.7 else r.choice(("denied by policy", "Zeitüberschreitung", "", "超时")),
        "is_alert": None if r.random() < 0.1 else r.random() < 0.05,
        "risk_score": None if r.random() < 0.2 else round(r.uniform(0, 100), 3),
        "metadata": {"uid": f"{r.getrandbits(128):032x}", "version": "1.8.0",
                     "product": {"name": "FlowSensor", "vendor_name": "Example", "version": f"7.{r.randint(0, 3)}"},
                     "logged_time": timestamp_of(millis, True) + datetime.timedelta(milliseconds=r.randint(1, 900))},
        "src_endpoint": {"ip": source_ip, "port": r.randint(1024, 65535),
                         "hostname": f"ws-{r.randint(1, 2000):05d}.corp.example.com"},
        "dst_endpoint": None if r.random() < 0.02 else {"ip": destination_ip, "port": r.choice((443, 443, 80, 53, 22))},
        "connection_info": {"protocol_name": protocol[0], "protocol_num": protocol[1],
                            "uid": f"C{r.getrandbits(64):016x}"},
        "traffic": {"bytes_in": bytes_in, "bytes_out": int(r.paretovariate(1.2) * 200),
                    "packets_in": bytes_in // 700 + 1},
        "observables": [{"name": "src_endpoint.ip", "type_id": 2, "value": source_ip},
                        {"name": "dst_endpoint.ip", "type_id": 2, "value": destination_ip}][:r.randint(0, 2)],
        "enrichments": None if r.random() < 0.5 else {f"feed{n}": round(r.random(), 4) for n in range(r.randint(0, 3))},
    }


def value_of(row: dict) -> bytes:
    """The row's JSON as a sensor sends it: numbers for `time`, text for `event_time`, and fields without a column."""
    text = json_text(row, SCHEMA.as_struct())
    event_time = row["event_time"].strftime("%Y-%m-%dT%H:%M:%S.%f") + "+00:00"
    extra = {"class_name": "Network Activity", "category_uid": 4, "event_time": event_time,
             "status": {"code": row["activity_id"]}}
    # The second "event_time" wins (decode.duplicate_keys: last): the same instant, in another form.
    return (text[:-1] + "," + json.dumps(extra)[1:]).encode("utf-8")


def events(count: int, seed: str) -> Batch:
    random_source = random.Random(seed)
    rows = [event(random_source, number, count) for number in range(count)]
    return Batch(rows, [value_of(row) for row in rows])
