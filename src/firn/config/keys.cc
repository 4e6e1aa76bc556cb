#include "firn/config/keys.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "firn/config/units.h"

namespace firn::config {
namespace {

constexpr int64_t kSecond = 1000;
constexpr int64_t kMinute = 60 * kSecond;
constexpr int64_t kHour = 60 * kMinute;
constexpr int64_t kDay = 24 * kHour;
constexpr int64_t kKiB = 1 << 10;
constexpr int64_t kMiB = 1 << 20;
constexpr int64_t kTiB = int64_t{1} << 40;

using enum KeyType;

// In the order of the reference. Defaults are held against PipelineOptions by a test.
constexpr Key kKeys[] = {
    {.path = "pipeline",
     .type = kText,
     .required = true,
     .doc = "Stable id of the pipeline, [a-z0-9_-], at most 64 characters. Positions in the tables are kept under it: "
            "another id reads the topics again."},
    {.path = "allow_shared_topic",
     .type = kBoolean,
     .default_text = "false",
     .doc = "Take it as meant when another pipeline feeds the same table from the same topic."},

    {.path = "kafka",
     .type = kBlock,
     .required = true,
     .doc = "Properties of the Kafka client, by the names that librdkafka gives them."},
    {.path = "kafka.bootstrap.servers",
     .type = kText,
     .required = true,
     .doc = "Brokers to begin with: host:port, separated by commas."},
    {.path = "kafka.group.id", .type = kText, .default_text = "firn-<pipeline>", .doc = "Consumer group."},
    {.path = "kafka.*",
     .type = kText,
     .doc = "Any other librdkafka property, for example security.protocol, sasl.username or ssl.ca.location. Refused: "
            "those that would let the client decide on positions (enable.auto.commit, enable.auto.offset.store, "
            "auto.offset.reset)."},

    {.path = "source", .type = kBlock, .required = true, .doc = "What is read."},
    {.path = "source.topics", .type = kTextList, .doc = "Names of topics. Either this or topics_regex."},
    {.path = "source.topics_regex",
     .type = kText,
     .doc = "Every topic whose whole name matches this pattern (docs/kafka.md), new ones too; begins with '^'. Either "
            "this or "
            "topics."},
    {.path = "source.start",
     .type = kText,
     .default_text = "earliest",
     .doc = "Where a topic is begun when the pipeline meets it for the first time: earliest, latest, or a point in "
            "time such as 2026-11-22T00:00:00Z. Without effect once positions exist."},
    {.path = "source.topic_identity",
     .type = kChoice,
     .default_text = "id",
     .choices = "id|name",
     .doc = "id: a topic that was deleted and made again is another topic. name: for brokers without topic ids."},

    {.path = "catalog", .type = kBlock, .required = true, .doc = "The Iceberg catalog."},
    {.path = "catalog.type",
     .type = kChoice,
     .choices = "rest|sqlite",
     .required = true,
     .doc = "rest: a REST catalog. sqlite: a file with the layout of PyIceberg's and Java's SQL catalogs."},
    {.path = "catalog.uri", .type = kText, .required = true, .doc = "rest: the base URL. sqlite: path of the file."},
    {.path = "catalog.name",
     .type = kText,
     .default_text = "firn",
     .doc = "sqlite: the catalog's name in the file; other engines must use the same."},
    {.path = "catalog.warehouse",
     .type = kText,
     .doc = "rest: the warehouse's name or location, as the server wants it. sqlite: the location under which tables "
            "are made, file:///path or s3://bucket/path; required there."},
    {.path = "catalog.credential",
     .type = kText,
     .secret = true,
     .doc = "rest: OAuth 2 client credentials, id:secret. Best given as ${NAME}."},
    {.path = "catalog.token", .type = kText, .secret = true, .doc = "rest: a bearer token instead of credential."},
    {.path = "catalog.scope", .type = kText, .default_text = "catalog", .doc = "rest: scope of the token request."},
    {.path = "catalog.oauth2_server_uri",
     .type = kText,
     .doc = "rest: where tokens are requested; without it the catalog's own v1/oauth/tokens."},
    {.path = "catalog.headers", .type = kTextMap, .secret = true, .doc = "rest: further HTTP headers of each request."},
    {.path = "catalog.access_delegation",
     .type = kChoice,
     .default_text = "vended-credentials",
     .choices = "vended-credentials|none",
     .doc = "rest: value of X-Iceberg-Access-Delegation; none sends no such header. Firn does not sign remotely."},
    {.path = "catalog.prefix", .type = kText, .doc = "rest: path prefix, when the server does not tell it."},
    {.path = "catalog.timeout",
     .type = kDuration,
     .default_text = "30s",
     .min = 100,
     .max = 10 * kMinute,
     .doc = "rest: longest wait for an answer. sqlite: longest wait for another writer's lock."},

    {.path = "store", .type = kBlock, .doc = "Access to the object store, where the catalog does not give it."},
    {.path = "store.s3", .type = kBlock, .doc = "S3 and what speaks its protocol."},
    {.path = "store.s3.endpoint", .type = kText, .doc = "URL of a server that is not AWS, for example a MinIO."},
    {.path = "store.s3.region", .type = kText, .doc = "Region; without it what the environment says."},
    {.path = "store.s3.path_style",
     .type = kBoolean,
     .default_text = "true",
     .doc = "With an endpoint: the bucket stands in the path; false: in the host name. AWS itself takes the latter."},
    {.path = "store.s3.access_key_id",
     .type = kText,
     .doc = "Access key; without it the usual chain: environment, profile, instance role."},
    {.path = "store.s3.secret_access_key", .type = kText, .secret = true, .doc = "Its secret."},
    {.path = "store.s3.session_token", .type = kText, .secret = true, .doc = "Session token of temporary credentials."},
    {.path = "store.s3.ca_file", .type = kText, .doc = "Certificates to trust, PEM, instead of the system's."},

    {.path = "decode",
     .type = kBlock,
     .doc = "How JSON becomes columns. The same block may stand in a table and then holds for it alone, key by key."},
    {.path = "decode.unknown_fields",
     .type = kChoice,
     .default_text = "count",
     .choices = "count|keep|reject",
     .doc = "Fields without a column: count them, keep them in unknown_column, or reject the record."},
    {.path = "decode.unknown_column",
     .type = kText,
     .doc = "keep: the text column that takes them as one JSON object."},
    {.path = "decode.duplicate_keys",
     .type = kChoice,
     .default_text = "last",
     .choices = "last|first|reject",
     .doc = "The same key twice in one object."},
    {.path = "decode.epoch_unit",
     .type = kChoice,
     .default_text = "ms",
     .choices = "s|ms|us|ns|auto",
     .doc = "What a number in a timestamp column counts; auto guesses by its size."},
    {.path = "decode.binary",
     .type = kChoice,
     .default_text = "base64",
     .choices = "base64|hex",
     .doc = "How text in a binary or fixed column is encoded."},
    {.path = "decode.depth_max",
     .type = kInteger,
     .default_text = "64",
     .min = 1,
     .max = 1000,
     .doc = "Deepest nesting of a record; deeper ones are rejected."},
    {.path = "decode.record_bytes_max",
     .type = kSize,
     .default_text = "16MiB",
     .min = kKiB,
     .max = 1024 * kMiB,
     .doc = "Longest record; longer ones are rejected."},
    {.path = "decode.kafka_column",
     .type = kText,
     .doc = "true or a name: a struct column (true: _kafka) with topic, partition, offset, timestamp, key, headers."},
    {.path = "decode.raw_column", .type = kText, .doc = "A text or binary column that takes the record's own bytes."},

    {.path = "tables",
     .type = kBlockList,
     .required = true,
     .doc = "The tables, in order: the first whose match holds takes the record."},
    {.path = "tables[].name",
     .type = kText,
     .required = true,
     .doc = "namespace.table, or a template: security.{topic}, lake.{field:event.type}, lake.{header:kind}."},
    {.path = "tables[].match",
     .type = kBlockList,
     .doc = "Conditions, one of which must hold; without them every record belongs here."},
    {.path = "tables[].match[].topic", .type = kText, .doc = "The record's topic."},
    {.path = "tables[].match[].topic_regex", .type = kText, .doc = "A pattern that the whole topic name matches."},
    {.path = "tables[].match[].field",
     .type = kPath,
     .doc = "A field of the record, a.b, or a list of keys when one holds a dot; with equals or regex."},
    {.path = "tables[].match[].header", .type = kText, .doc = "A header of the record; with equals or regex."},
    {.path = "tables[].match[].equals", .type = kText, .doc = "The text that the field or header must be."},
    {.path = "tables[].match[].regex",
     .type = kText,
     .doc = "The pattern (RE2 syntax) that the whole field or header must match."},
    {.path = "tables[].columns",
     .type = kBlockList,
     .doc = "Columns of a table that is to be made. An existing table keeps its own; without columns and schema_file "
            "the table must exist."},
    {.path = "tables[].columns[].name", .type = kText, .required = true, .doc = "Name of the column or struct field."},
    {.path = "tables[].columns[].type",
     .type = kText,
     .required = true,
     .doc = "Iceberg's name: boolean, int, long, float, double, decimal(P,S), date, time, timestamp, timestamptz, "
            "string, uuid, fixed(L), binary; struct<a: int, b: string>, list<int>, map<string, int>; or struct, list, "
            "map with the keys below."},
    {.path = "tables[].columns[].required",
     .type = kBoolean,
     .default_text = "false",
     .doc = "A record without a value is rejected. In element and value: null is rejected."},
    {.path = "tables[].columns[].doc", .type = kText, .doc = "The column's comment in the table."},
    {.path = "tables[].columns[].from",
     .type = kPath,
     .doc = "Field of the record that fills it; without it the one with the column's name."},
    {.path = "tables[].columns[].epoch_unit",
     .type = kChoice,
     .choices = "s|ms|us|ns|auto",
     .doc = "This column's own decode.epoch_unit."},
    {.path = "tables[].columns[].binary",
     .type = kChoice,
     .choices = "base64|hex",
     .doc = "This column's own decode.binary."},
    {.path = "tables[].columns[].fields", .type = kBlockList, .doc = "struct: its fields, each like a column."},
    {.path = "tables[].columns[].element",
     .type = kType,
     .doc = "list: a type, or a block like a column without name."},
    {.path = "tables[].columns[].key", .type = kType, .doc = "map: type of the keys, as element."},
    {.path = "tables[].columns[].value", .type = kType, .doc = "map: type of the values, as element."},
    {.path = "tables[].schema_file",
     .type = kText,
     .doc = "Instead of columns: a file with an Iceberg schema in JSON; relative to this file."},
    {.path = "tables[].partition",
     .type = kTextList,
     .doc = "Partition fields of a table that is to be made: day(time), bucket(16, src_endpoint.ip), region."},
    {.path = "tables[].sort_order", .type = kTextList, .doc = "Sort fields likewise: time, time desc nulls last."},
    {.path = "tables[].properties", .type = kTextMap, .doc = "Table properties likewise."},
    {.path = "tables[].location", .type = kText, .doc = "Location likewise; without it the catalog chooses."},
    {.path = "tables[].decode", .type = kBlock, .doc = "This table's own decode keys."},
    {.path = "tables[].history_policy",
     .type = kChoice,
     .choices = "hold|rewind|continue",
     .doc = "This table's own history.policy."},
    {.path = "tables[].retain",
     .type = kText,
     .doc = "FIELD=AGE, as event_day=90d: rows of partitions that ended longer ago leave the table, every "
            "maintenance.retain.interval (docs/maintenance.md). FIELD is a partition field by year, month, day or "
            "hour, or a date or time as it is. Without it nothing is ever taken out."},

    {.path = "rejects", .type = kBlock, .doc = "Records that cannot become rows."},
    {.path = "rejects.policy",
     .type = kChoice,
     .default_text = "table",
     .choices = "table|drop|stop",
     .doc = "table: keep them, with bytes and reason. drop: count them only. stop: fail at the first."},
    {.path = "rejects.table",
     .type = kText,
     .default_text = "<namespace of the first table>.<pipeline>__rejects",
     .doc = "Where they are kept; '-' in the pipeline's id becomes '_'."},
    {.path = "home",
     .type = kText,
     .default_text = "<namespace of the first table>.<pipeline>__home",
     .doc = "The table without rows that holds the pipeline's low-water mark."},

    {.path = "history",
     .type = kBlock,
     .doc = "A table whose history was changed by somebody else: rolled back, "
            "replaced, restored, dropped and made again."},
    {.path = "history.policy",
     .type = kChoice,
     .default_text = "hold",
     .choices = "hold|rewind|continue",
     .doc = "hold: the table is detached until 'firn positions resume' says how it goes on. rewind: back to the newest "
            "surviving snapshot of this pipeline, later records are read again; hold where none is left. continue: on "
            "from the positions as they stand; rows that are gone stay gone. The home table is always for a person."},

    {.path = "commit", .type = kBlock, .doc = "When buffered rows become a snapshot."},
    {.path = "commit.interval",
     .type = kDuration,
     .default_text = "1m",
     .min = 500,
     .max = kDay,
     .doc = "Time between commits; a commit that takes longer delays the next. With several workers it becomes as long "
            "as the number of workers times the time of a commit times three, at most a fifth of max_age."},
    {.path = "commit.rows_max",
     .type = kInteger,
     .default_text = "10000000",
     .min = 1,
     .doc = "A commit comes earlier at this many rows of all tables together, rejects counted."},
    {.path = "commit.bytes_max",
     .type = kSize,
     .default_text = "auto",
     .min = kMiB,
     .max = kTiB,
     .auto_allowed = true,
     .doc = "A commit comes earlier at this many bytes of waiting rows, all tables together: decoded until they are "
            "packed, then packed, in memory or spilled. auto: only when memory and spill files take no more."},
    {.path = "commit.max_age",
     .type = kDuration,
     .default_text = "6h",
     .min = kSecond,
     .max = 30 * kDay,
     .doc = "Files older than this are never committed; at least 5 × interval, and at most a tenth of the age at which "
            "anyone removes orphan files from the table."},
    {.path = "commit.shutdown_deadline",
     .type = kDuration,
     .default_text = "30s",
     .min = 0,
     .max = kHour,
     .doc = "Time for the last commit after a stop request; what is not in by then is read again at the next start."},
    {.path = "commit.detach_after",
     .type = kDuration,
     .default_text = "2m",
     .min = kSecond,
     .max = kDay,
     .doc = "A table that fails this long is detached, so that the others go on."},
    {.path = "commit.upload_threads",
     .type = kInteger,
     .default_text = "2",
     .min = 1,
     .max = 64,
     .doc = "Files written at the same time."},

    {.path = "compaction",
     .type = kBlock,
     .doc = "How firn run puts small files of its tables together (docs/compaction.md)."},
    {.path = "compaction.enabled",
     .type = kBoolean,
     .default_text = "true",
     .doc = "false: firn run leaves it alone, because firn compact --watch or another engine does it."},
    {.path = "compaction.cpu_share",
     .type = kPercent,
     .default_text = "25%",
     .min = 1,
     .max = 100,
     .doc = "Share of one core that it may take, held by pauses."},
    {.path = "compaction.cpu_share_max",
     .type = kPercent,
     .default_text = "75%",
     .min = 1,
     .max = 100,
     .doc = "The share rises up to this while what is to be done would take longer than ten minutes otherwise."},
    {.path = "compaction.interval",
     .type = kDuration,
     .default_text = "1m",
     .min = kSecond,
     .max = kDay,
     .doc = "Time between two looks at a table; those that do not change are looked at more rarely."},
    {.path = "compaction.files_min",
     .type = kInteger,
     .default_text = "8",
     .min = 2,
     .max = 1000,
     .doc = "Files of like size that a partition which still grows must have before they become one. More of them: "
            "more files in the table, fewer bytes written anew."},
    {.path = "compaction.cold_after",
     .type = kDuration,
     .default_text = "30m",
     .min = kSecond,
     .max = 365 * kDay,
     .doc = "A partition without new files for so long does not grow any more: two small files are enough."},

    {.path = "maintenance",
     .type = kBlock,
     .doc = "What the loop of compaction does beside it, within its share of the machine, in firn run and in firn "
            "compact --watch (docs/maintenance.md). An interval of 0s: never."},
    {.path = "maintenance.expire", .type = kBlock, .doc = "Snapshots, by the table's history.expire.* properties."},
    {.path = "maintenance.expire.interval",
     .type = kDuration,
     .default_text = "1h",
     .max = 30 * kDay,
     .doc = "How often snapshots beyond the table's retention are taken off, and the files deleted that only they "
            "reached."},
    {.path = "maintenance.manifests", .type = kBlock, .doc = "Manifests, by partition."},
    {.path = "maintenance.manifests.interval",
     .type = kDuration,
     .default_text = "6h",
     .max = 30 * kDay,
     .doc = "How often manifests are written anew where queries by partition would open fewer of them."},
    {.path = "maintenance.retain", .type = kBlock, .doc = "Data of tables with tables[].retain."},
    {.path = "maintenance.retain.interval",
     .type = kDuration,
     .default_text = "1h",
     .max = 30 * kDay,
     .doc = "How often partitions beyond tables[].retain leave their tables."},
    {.path = "maintenance.orphans", .type = kBlock, .doc = "Files that nothing of a table refers to."},
    {.path = "maintenance.orphans.interval",
     .type = kDuration,
     .default_text = "0s",
     .max = 30 * kDay,
     .doc = "How often they are looked for below each table's location, and deleted. Look at what firn maintain "
            "--orphans finds first."},
    {.path = "maintenance.orphans.older_than",
     .type = kDuration,
     .default_text = "3d",
     .min = kMinute,
     .max = 365 * kDay,
     .doc = "Only files older than this; at least 10 × commit.max_age, and longer than any other writer's job."},

    {.path = "positions", .type = kBlock, .doc = "The pipeline's low-water mark."},
    {.path = "positions.checkpoint",
     .type = kDuration,
     .default_text = "1m",
     .min = 500,
     .max = kHour,
     .doc = "How often it is moved forward, and with it the consumer group's offsets. With several workers it becomes "
            "longer as commit.interval does."},

    {.path = "memory", .type = kBlock, .doc = "Memory."},
    {.path = "memory.limit",
     .type = kSize,
     .default_text = "512MiB",
     .min = 64 * kMiB,
     .max = kTiB,
     .doc = "What the process may use for records, rows and pages (docs/memory.md); when there is no more room, rows "
            "are spilled or committed early, and partitions are paused."},

    {.path = "spill", .type = kBlock, .doc = "Rows that wait for their commit when memory is full."},
    {.path = "spill.dir",
     .type = kText,
     .doc = "A folder on a local disk for them, made when it is missing; without it nothing is spilled and the commit "
            "comes earlier. Its files have no names and are gone when the process ends."},
    {.path = "spill.limit",
     .type = kSize,
     .default_text = "10GiB",
     .min = kMiB,
     .max = kTiB,
     .doc = "Most bytes in these files."},

    {.path = "http", .type = kBlock, .doc = "The status server: /metrics, /healthz, /readyz, /status."},
    {.path = "http.listen",
     .type = kText,
     .default_text = "127.0.0.1:9187",
     .doc = "host:port, or off. Port 0 takes a free one and logs it."},
    {.path = "lag", .type = kBlock, .doc = "Figures of compaction lag among the metrics."},
    {.path = "lag.interval",
     .type = kDuration,
     .default_text = "1m",
     .max = kDay,
     .doc = "How often each table's metadata and new manifests are read for them; 0s: never."},
    {.path = "lag.window",
     .type = kDuration,
     .default_text = "1h",
     .min = kMinute,
     .max = 30 * kDay,
     .doc = "Rates are over this time, as far as the tables' snapshots reach."},
    {.path = "lag.partitions_max",
     .type = kInteger,
     .default_text = "5",
     .max = 100,
     .doc = "Partitions of each table that have metrics of their own: those with the most files to compact."},
    {.path = "log", .type = kBlock, .doc = "The log on standard error."},
    {.path = "log.format", .type = kChoice, .default_text = "text", .choices = "text|json", .doc = "Form of a line."},
    {.path = "log.level",
     .type = kChoice,
     .default_text = "info",
     .choices = "debug|info|warning|error",
     .doc = "Least severe level that is written."},

    {.path = "limits", .type = kBlock, .doc = "Guards."},
    {.path = "limits.tables_max",
     .type = kInteger,
     .default_text = "2000",
     .min = 1,
     .max = 100'000,
     .doc = "Tables that templates may yield; records for further ones are rejected."},
    {.path = "limits.clock_skew_max",
     .type = kDuration,
     .default_text = "30s",
     .min = kSecond,
     .max = kHour,
     .doc = "Largest difference between this machine's clock and the catalog's or store's."},
    {.path = "limits.give_up_after",
     .type = kDuration,
     .default_text = "1m",
     .min = kSecond,
     .max = kHour,
     .doc =
         "With --until-caught-up: a server that is needed and is away for longer, or an assignment that does not come, "
         "ends the run with an error. Without it a run waits for ever."},
};

std::string_view ParentPath(std::string_view path) {
  if (path.starts_with("kafka.")) return "kafka";
  size_t dot = path.rfind('.');
  return dot == std::string_view::npos ? std::string_view() : path.substr(0, dot);
}

void ReplaceAll(std::string& text, std::string_view from, std::string_view to) {
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from)) text.replace(at, from.size(), to);
}

std::string EscapeForTable(std::string_view text) {
  std::string out;
  for (char c : text) {
    if (c == '|') out += '\\';
    out += c;
  }
  return out;
}

}  // namespace

std::span<const Key> AllKeys() {
  return kKeys;
}

const Key* FindKey(std::string_view path) {
  for (const Key& key : kKeys) {
    if (key.path == path) return &key;
  }
  return nullptr;
}

std::string CanonicalPath(std::string path) {
  if (path.starts_with("tables[].decode.")) path.erase(0, std::string_view("tables[].").size());
  for (std::string_view nested : {"columns[].fields[]", "columns[].element", "columns[].key", "columns[].value"}) {
    // Only where something follows: "tables[].columns[].element" by itself is the key of that name.
    ReplaceAll(path, std::string(nested) + ".", "columns[].");
  }
  return path;
}

std::vector<std::string_view> ChildNames(std::string_view block_path) {
  if (block_path == "tables[].decode") block_path = "decode";
  std::vector<std::string_view> names;
  for (const Key& key : kKeys) {
    std::string_view parent = ParentPath(key.path);
    if (parent == block_path) names.push_back(key.path.substr(parent.empty() ? 0 : parent.size() + 1));
  }
  return names;
}

std::string_view KeyTypeName(KeyType type) {
  switch (type) {
    case kText: return "text";
    case kInteger: return "whole number";
    case kBoolean: return "true or false";
    case kDuration: return "duration";
    case kSize: return "size";
    case kPercent: return "percentage";
    case kChoice: return "choice";
    case kPath: return "path";
    case kTextList: return "list of texts";
    case kTextMap: return "texts by name";
    case kBlock: return "block";
    case kBlockList: return "list of blocks";
    case kType: return "column type";
  }
  return "";
}

std::string KeyLimits(const Key& key) {
  if (key.type == kChoice) {
    std::string text(key.choices);
    ReplaceAll(text, "|", ", ");
    if (size_t comma = text.rfind(", "); comma != std::string::npos) text.replace(comma, 2, " or ");
    return text;
  }
  auto show = [&](int64_t value) {
    if (key.type == kDuration) return FormatDurationMs(value);
    if (key.type == kSize) return FormatSizeBytes(value);
    if (key.type == kPercent) return FormatPercent(value);
    return fmt::format("{}", value);
  };
  if (key.type != kInteger && key.type != kDuration && key.type != kSize && key.type != kPercent) return "";
  std::string text = key.max == std::numeric_limits<int64_t>::max()
                         ? fmt::format("at least {}", show(key.min))
                         : fmt::format("{} to {}", show(key.min), show(key.max));
  return key.auto_allowed ? text + ", or auto" : text;
}

std::string ReferenceMarkdown() {
  std::string out = "| key | type | default | meaning |\n|---|---|---|---|\n";
  for (const Key& key : kKeys) {
    std::string type(KeyTypeName(key.type));
    if (std::string limits = KeyLimits(key); !limits.empty()) type += ": " + limits;
    std::string value = key.required               ? "required"
                        : key.default_text.empty() ? ""
                                                   : fmt::format("`{}`", key.default_text);
    std::string doc = EscapeForTable(key.doc);
    if (key.secret) doc += " Never printed.";
    out += fmt::format("| `{}` | {} | {} | {} |\n", key.path, EscapeForTable(type), value, doc);
  }
  return out;
}

std::string ReferenceText() {
  std::string out;
  for (const Key& key : kKeys) {
    out += fmt::format("{}\n", key.path);
    std::string limits = KeyLimits(key);
    std::string facts = fmt::format("{}{}{}", KeyTypeName(key.type), limits.empty() ? "" : ": ", limits);
    if (key.required) facts += "; required";
    if (!key.default_text.empty()) facts += fmt::format("; default {}", key.default_text);
    if (key.secret) facts += "; secret";
    out += fmt::format("    {}\n    {}\n", facts, key.doc);
  }
  return out;
}

}  // namespace firn::config
