#include "firn/config/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "firn/config/columns.h"
#include "firn/config/effective.h"
#include "firn/config/table_rules.h"
#include "firn/schema/type.h"

namespace firn::config {
namespace {

using decode::json::EpochUnit;
using ::testing::ElementsAre;
using ::testing::UnorderedElementsAre;

constexpr std::string_view kHead =
    "pipeline: netflow\n"
    "kafka: {bootstrap.servers: 'k:9092', sasl.password: '${PASSWORD:-hunter2}'}\n"
    "source: {topics: [a]}\n"
    "catalog: {type: rest, uri: 'https://c/', credential: 'id:sesame'}\n";
constexpr std::string_view kTable = "tables: [{name: security.net}]\n";

ParseContext Context() {
  ParseContext context;
  context.environment = [](const std::string&) { return std::nullopt; };
  return context;
}

Config Parse(const std::string& yaml) {
  ProblemList problems;
  Result<Config> config = ParseConfig(yaml, Context(), problems);
  EXPECT_TRUE(config.has_value()) << config.error().message();
  return config.has_value() ? *config : Config{};
}

std::vector<std::string> ProblemKeys(const std::string& yaml) {
  ProblemList problems;
  Result<Config> config = ParseConfig(yaml, Context(), problems);
  EXPECT_FALSE(config.has_value());
  if (!config.has_value()) {
    EXPECT_EQ(config.error().code(), ErrorCode::kInvalidInput);
  }
  std::vector<std::string> keys;
  for (const Problem& problem : problems.problems()) keys.push_back(problem.key);
  return keys;
}

std::string With(std::string_view more) {
  return std::string(kHead) + std::string(kTable) + std::string(more);
}
std::string WithTables(std::string_view tables) {
  return std::string(kHead) + "tables:\n" + std::string(tables);
}

TEST(Config, TheShortestFileHasDefaults) {
  Config config = Parse(With(""));
  EXPECT_EQ(config.pipeline.pipeline, "netflow");
  EXPECT_EQ(config.kafka.group_id, "firn-netflow");
  EXPECT_EQ(config.kafka.properties.at("group.id"), "firn-netflow");
  EXPECT_EQ(config.pipeline.group_id, "firn-netflow");
  EXPECT_EQ(config.kafka.properties.at("sasl.password"), "hunter2");
  EXPECT_EQ(config.pipeline.rejects_table, "security.netflow__rejects");
  EXPECT_EQ(config.pipeline.home_table, "security.netflow__home");
  EXPECT_EQ(config.pipeline.commit_interval_ms, 60'000);
  EXPECT_TRUE(config.http.enabled);
}

TEST(Config, EveryBlockArrives) {
  Config config = Parse(
      "pipeline: net-flow\n"
      "kafka: {bootstrap.servers: 'k:9092', group.id: g, max.poll.interval.ms: 120000}\n"
      "source: {topics_regex: '^net\\..*', start: 2026-11-22T00:00:00Z, topic_identity: name}\n"
      "catalog: {type: sqlite, uri: 'sqlite:///c.db', name: lake, warehouse: 'file:///w/', timeout: 5s}\n"
      "store: {s3: {endpoint: 'http://s', region: r, path_style: false, access_key_id: k, secret_access_key: s}}\n"
      "tables: [{name: a.b, history_policy: hold}]\n"
      "rejects: {policy: drop}\n"
      "history: {policy: rewind}\n"
      "home: a.marks\n"
      "commit: {interval: 5s, rows_max: 7, bytes_max: 256MiB, max_age: 1h, shutdown_deadline: 9s, detach_after: 3m,\n"
      "  upload_threads: 4}\n"
      "positions: {checkpoint: 10s}\n"
      "memory: {limit: 1GiB}\n"
      "spill: {dir: /var/spill, limit: 3GiB}\n"
      "http: {listen: '[::1]:0'}\n"
      "log: {format: json, level: warning}\n"
      "limits: {tables_max: 5, clock_skew_max: 2m, give_up_after: 5s}\n"
      "allow_shared_topic: true\n");
  const ingest::PipelineOptions& pipeline = config.pipeline;
  EXPECT_EQ(config.kafka.group_id, "g");
  EXPECT_EQ(pipeline.max_poll_interval_ms, 120'000);
  EXPECT_EQ(config.kafka.topics_regex, "^net\\..*");
  EXPECT_EQ(pipeline.start.kind, ingest::StartPolicy::Kind::kTimestamp);
  EXPECT_EQ(pipeline.start.timestamp_ms, 1'795'305'600'000);
  EXPECT_TRUE(pipeline.topic_identity_by_name);
  EXPECT_EQ(config.catalog.type, CatalogType::kSqlite);
  EXPECT_EQ(config.catalog.uri, "c.db");
  EXPECT_EQ(config.catalog.warehouse, "file:///w");
  EXPECT_EQ(config.catalog.timeout_ms, 5000);
  EXPECT_FALSE(config.store.s3.path_style);
  EXPECT_EQ(config.store.s3.secret_access_key.Reveal(), "s");
  EXPECT_EQ(pipeline.reject_policy, ingest::RejectPolicy::kDrop);
  EXPECT_EQ(pipeline.history_policy, ingest::HistoryPolicy::kRewind);
  EXPECT_EQ(pipeline.tables[0].history_policy, ingest::HistoryPolicy::kHold);
  EXPECT_NE(EffectiveYaml(config).find("    history_policy: hold\n"), std::string::npos);
  EXPECT_EQ(pipeline.home_table, "a.marks");
  EXPECT_EQ(pipeline.commit_interval_ms, 5000);
  EXPECT_EQ(pipeline.commit_rows_max, 7);
  EXPECT_EQ(pipeline.commit_bytes_max, 256 << 20);
  EXPECT_EQ(pipeline.commit_max_age_ms, 3'600'000);
  EXPECT_EQ(pipeline.shutdown_deadline_ms, 9000);
  EXPECT_EQ(pipeline.detach_after_ms, 180'000);
  EXPECT_EQ(pipeline.upload_threads, 4);
  EXPECT_EQ(pipeline.checkpoint_interval_ms, 10'000);
  EXPECT_EQ(pipeline.memory_limit_bytes, 1 << 30);
  EXPECT_EQ(pipeline.spill_dir, "/var/spill");
  EXPECT_EQ(pipeline.spill_bytes_max, int64_t{3} << 30);
  EXPECT_EQ(config.http.host, "::1");
  EXPECT_EQ(config.http.port, 0);
  EXPECT_EQ(config.log.format, LogFormat::kJson);
  EXPECT_EQ(config.log.level, LogLevel::kWarning);
  EXPECT_EQ(pipeline.tables_max, 5);
  EXPECT_EQ(pipeline.clock_skew_max_ms, 120'000);
  EXPECT_EQ(pipeline.give_up_after_ms, 5'000);
  EXPECT_TRUE(pipeline.allow_shared_topic);
}

TEST(Config, ColumnsBecomeASchemaWithSources) {
  Config config = Parse(
      WithTables("  - name: security.net\n"
                 "    columns:\n"
                 "      - {name: time, type: timestamptz, required: true, from: event.t, epoch_unit: s, doc: When}\n"
                 "      - {name: src, type: 'struct<ip: string, port: int not null>'}\n"
                 "      - {name: raw, type: binary, from: [a.b, c], binary: hex}\n"
                 "      - name: observables\n"
                 "        type: list\n"
                 "        element: {type: struct, fields: [{name: name, type: string}, {name: at, type: timestamp, "
                 "epoch_unit: us}]}\n"
                 "      - {name: tags, type: map, key: string, value: {type: 'decimal(9,2)', required: true}}\n"
                 "    partition: ['day(time)', 'bucket(16, src.ip)']\n"
                 "    sort_order: 'time desc'\n"
                 "    properties: {write.parquet.compression-codec: zstd}\n"));
  const ingest::TableRule& rule = config.pipeline.tables.at(0);
  const schema::Schema& schema = rule.schema;
  ASSERT_EQ(schema.fields.size(), 5U);
  EXPECT_TRUE(schema.fields[0].required);
  EXPECT_EQ(schema.fields[0].doc, "When");
  EXPECT_EQ(schema.fields[0].type->kind(), schema::TypeKind::kTimestamptz);
  EXPECT_TRUE(schema.FindByName("src.port")->required);
  EXPECT_EQ(schema.FindByName("observables.element.name")->type->kind(), schema::TypeKind::kString);
  EXPECT_TRUE(schema.FindByName("tags.value")->required);
  EXPECT_TRUE(schema.FindByName("tags.key")->required);
  EXPECT_EQ(schema.FindByName("tags.value")->type->precision(), 9);
  std::set<FieldId> ids;
  for (const schema::LeafColumn& leaf : schema::LeafColumns(schema)) EXPECT_TRUE(ids.insert(leaf.field->id).second);
  EXPECT_THAT(rule.sources.at("time").path, ElementsAre("event", "t"));
  EXPECT_EQ(rule.sources.at("time").epoch_unit, EpochUnit::kSeconds);
  EXPECT_THAT(rule.sources.at("raw").path, ElementsAre("a.b", "c"));
  EXPECT_EQ(rule.sources.at("raw").binary_text, decode::json::BinaryText::kHex);
  EXPECT_EQ(rule.sources.at("observables.element.at").epoch_unit, EpochUnit::kMicros);
  EXPECT_EQ(rule.sources.size(), 3U);
  EXPECT_THAT(rule.partition, ElementsAre("day(time)", "bucket(16, src.ip)"));
  EXPECT_THAT(rule.sort_order, ElementsAre("time desc"));
  EXPECT_EQ(rule.properties.at("write.parquet.compression-codec"), "zstd");
}

TEST(Config, ATablesDecodeBlockStandsOnThePipelines) {
  Config config =
      Parse(std::string(kHead) +
            "decode: {epoch_unit: s, depth_max: 9, kafka_column: true, unknown_fields: keep, unknown_column: u}\n"
            "tables:\n"
            "  - {name: a.b, match: [{topic: x}], columns: [{name: c, type: int}],\n"
            "     decode: {epoch_unit: us, raw_column: r}}\n"
            "  - {name: a.c, decode: {kafka_column: false, unknown_fields: reject}}\n");
  const ingest::TableRule& first = config.pipeline.tables.at(0);
  EXPECT_EQ(first.decode.epoch_unit, EpochUnit::kMicros);
  EXPECT_EQ(first.decode.depth_max, 9);
  EXPECT_EQ(first.decode.kafka_column, "_kafka");
  EXPECT_EQ(config.pipeline.tables.at(1).decode.kafka_column, "");
  EXPECT_EQ(config.pipeline.tables.at(1).decode.epoch_unit, EpochUnit::kSeconds);
  // A table that Firn makes gets the columns that the decode options name.
  std::vector<std::string> names;
  std::set<FieldId> ids;
  for (const schema::Field& field : first.schema.fields) names.push_back(field.name);
  EXPECT_THAT(names, ElementsAre("c", "u", "_kafka", "r"));
  for (const schema::LeafColumn& leaf : schema::LeafColumns(first.schema)) {
    EXPECT_TRUE(ids.insert(leaf.field->id).second) << leaf.name;
  }
}

TEST(Config, MatchesArrive) {
  Config config =
      Parse(WithTables("  - {name: 'a.t', match: [{topic: t, field: [a.b, c], equals: v}, {header: h, regex: 'r.*'}]}\n"
                       "  - {name: 'a.{topic}_{header:k}'}\n"));
  const std::vector<ingest::RouteMatch>& match = config.pipeline.tables.at(0).match;
  EXPECT_EQ(match.at(0).topic, "t");
  EXPECT_THAT(match.at(0).field_path, ElementsAre("a.b", "c"));
  EXPECT_EQ(match.at(0).field_equals, "v");
  EXPECT_EQ(match.at(0).header_equals, std::nullopt);
  EXPECT_EQ(match.at(1).header_name, "h");
  EXPECT_EQ(match.at(1).header_regex, "r.*");
  EXPECT_EQ(match.at(1).field_regex, "");
  EXPECT_TRUE(config.pipeline.tables.at(1).is_template());
}

TEST(Config, ASchemaFileStandsForColumns) {
  std::filesystem::path folder =
      std::filesystem::path(::testing::TempDir()) / fmt::format("firn_schema_file_{}", getpid());
  std::filesystem::create_directories(folder);
  std::ofstream(folder / "s.json") << R"({"type": "struct", "schema-id": 0, "fields":
      [{"id": 7, "name": "at", "required": true, "type": "timestamptz"}]})";
  std::ofstream(folder / "bad.json") << R"({"type": )";
  ParseContext context = Context();
  context.folder = folder.string();
  ProblemList problems;
  Result<Config> config =
      ParseConfig(WithTables("  - {name: a.b, schema_file: s.json, partition: day(at)}\n"), context, problems);
  ASSERT_TRUE(config.has_value()) << config.error().message();
  EXPECT_EQ(config->pipeline.tables.at(0).schema.FindByName("at")->id, FieldId{7});
  for (const char* name : {"bad.json", "none.json", "."}) {
    ProblemList found;
    EXPECT_FALSE(
        ParseConfig(WithTables(fmt::format("  - {{name: a.b, schema_file: {}}}\n", name)), context, found).has_value());
    EXPECT_EQ(found.problems().at(0).key, "tables[0].schema_file") << name;
  }
}

TEST(Config, TheShareOfCompactionHasItsLimits) {
  const Config config =
      Parse(With("compaction: {enabled: false, cpu_share: 10%, cpu_share_max: 50%, interval: 5s,\n"
                 "             files_min: 4, cold_after: 2h}\n"));
  EXPECT_FALSE(config.compaction.enabled);
  EXPECT_EQ(config.compaction.cpu_share_percent, 10);
  EXPECT_EQ(config.compaction.cpu_share_max_percent, 50);
  EXPECT_EQ(config.compaction.interval_ms, 5000);
  EXPECT_EQ(config.compaction.files_min, 4);
  EXPECT_EQ(config.compaction.cold_after_ms, 7'200'000);
  EXPECT_EQ(Parse(With("compaction: {cpu_share: 90%}\n")).compaction.cpu_share_max_percent, 90);
  EXPECT_THAT(ProblemKeys(With("compaction: {cpu_share: 50%, cpu_share_max: 40%}\n")),
              ElementsAre("compaction.cpu_share_max"));
  EXPECT_THAT(ProblemKeys(With("compaction: {cpu_share: 0.25}\n")), ElementsAre("compaction.cpu_share"));
}

TEST(Config, WhatDeletesIsOnOnlyWhereItIsAskedFor) {
  Config config = Parse(With(""));
  EXPECT_EQ(config.maintenance.orphans_interval_ms, 0);
  EXPECT_EQ(config.pipeline.tables[0].retention, std::nullopt);
  config =
      Parse(With("maintenance:\n  expire: {interval: 5m}\n  manifests: {interval: 0s}\n  retain: {interval: 2h}\n"
                 "  orphans: {interval: 1d, older_than: 7d}\n"));
  EXPECT_EQ(config.maintenance.expire_interval_ms, 300'000);
  EXPECT_EQ(config.pipeline.expiry_grace_ms, 3 * 300'000);
  EXPECT_EQ(config.maintenance.manifests_interval_ms, 0);
  EXPECT_EQ(config.maintenance.retain_interval_ms, 7'200'000);
  EXPECT_EQ(config.maintenance.orphans_interval_ms, 86'400'000);
  EXPECT_EQ(config.maintenance.orphans_older_than_ms, 7 * 86'400'000);
  // A batch that is still to be committed must not be taken for an orphan.
  EXPECT_THAT(ProblemKeys(With("maintenance: {orphans: {interval: 1d, older_than: 59h}}\n")),
              ElementsAre("maintenance.orphans.older_than"));
  EXPECT_EQ(Parse(With("maintenance: {orphans: {older_than: 59h}}\n")).maintenance.orphans_interval_ms, 0);
  EXPECT_THAT(ProblemKeys(With("maintenance: {orphans: {interval: 1d}}\ncommit: {max_age: 8h}\n")),
              ElementsAre("maintenance.orphans.interval"));
}

TEST(Config, RetentionIsAFieldAndAnAge) {
  const Config config = Parse(WithTables("  - {name: a.b, retain: event_day=90d}\n"));
  EXPECT_EQ(config.pipeline.tables[0].retention, (ingest::DataRetention{"event_day", 90 * 86'400'000LL}));
  EXPECT_NE(EffectiveYaml(config).find("    retain: \"event_day=90d\"\n"), std::string::npos) << EffectiveYaml(config);
  for (const char* wrong : {"event_day", "=90d", "event_day=long", "event_day=59m"}) {
    EXPECT_THAT(ProblemKeys(WithTables(fmt::format("  - {{name: a.b, retain: '{}'}}\n", wrong))),
                ElementsAre("tables[0].retain"))
        << wrong;
  }
}

TEST(Config, AllProblemsAreReportedTogetherWithTheirPlaces) {
  ProblemList problems;
  Result<Config> config = ParseConfig(
      With("comit: {interval: 5s}\ncommit: {intervall: 5s, rows_max: many}\nlog: [x]\n"), Context(), problems);
  ASSERT_FALSE(config.has_value());
  ASSERT_EQ(problems.total(), 4U);
  std::map<std::string, Problem> by_key;
  for (const Problem& problem : problems.problems()) by_key[problem.key] = problem;
  EXPECT_EQ(by_key.at("comit").line, 6);
  EXPECT_EQ(by_key.at("comit").column, 1);
  EXPECT_NE(by_key.at("comit").message.find("'commit'"), std::string::npos);
  EXPECT_EQ(by_key.at("commit.intervall").line, 7);
  EXPECT_NE(by_key.at("commit.intervall").message.find("'interval'"), std::string::npos);
  EXPECT_EQ(by_key.at("commit.rows_max").column, 35);
  EXPECT_TRUE(by_key.contains("log"));
}

TEST(Config, AtMostTwentyProblemsAreKeptAndAllAreCounted) {
  std::string more = "commit:\n";
  for (int i = 0; i < 30; ++i) more += fmt::format("  wrong_key_{}: 1\n", i);
  ProblemList problems;
  EXPECT_FALSE(ParseConfig(With(more), Context(), problems).has_value());
  EXPECT_EQ(problems.problems().size(), kProblemsShownMax);
  EXPECT_EQ(problems.total(), 30U);
}

TEST(Config, RequiredKeysAreNamed) {
  EXPECT_THAT(ProblemKeys("{}"), UnorderedElementsAre("pipeline", "kafka", "source", "catalog", "tables"));
  EXPECT_THAT(ProblemKeys(""), UnorderedElementsAre("pipeline", "kafka", "source", "catalog", "tables"));
  EXPECT_THAT(ProblemKeys("just text"), ::testing::Contains(""));
  EXPECT_THAT(
      ProblemKeys("pipeline: p\nkafka: {}\nsource: {}\ncatalog: {}\ntables: []\n"),
      UnorderedElementsAre("kafka.bootstrap.servers", "source.topics", "catalog.type", "catalog.uri", "tables"));
}

struct Wrong {
  std::string_view more;
  std::string_view key;
};

TEST(Config, WrongValuesAreRefusedAtTheirKey) {
  for (const Wrong& wrong : std::vector<Wrong>{
           {"commit: {interval: 60}", "commit.interval"},
           {"commit: {interval: 1ms}", "commit.interval"},
           {"commit: {interval: [5s]}", "commit.interval"},
           {"commit: {interval: }", "commit.interval"},
           {"commit: {interval: 2h}", "commit.interval"},  // 5 × 2h > 6h
           {"commit: {max_age: 1m}", "commit.max_age"},
           {"commit: {rows_max: 0}", "commit.rows_max"},
           {"commit: {rows_max: 99999999999999999999}", "commit.rows_max"},
           {"commit: {upload_threads: 65}", "commit.upload_threads"},
           {"memory: {limit: 1KiB}", "memory.limit"},
           {"memory: {limit: 512}", "memory.limit"},
           {"http: {listen: 9187}", "http.listen"},
           {"http: {listen: 'host:99999'}", "http.listen"},
           {"http: {listen: ':1'}", "http.listen"},
           {"log: {level: loud}", "log.level"},
           {"rejects: {policy: keep}", "rejects.policy"},
           {"rejects: {table: noname}", "rejects.table"},
           {"home: 'a.{topic}'", "home"},
           {"home: security.netflow__rejects", "home"},
           {"home: security.net", "home"},
           {"decode: {unknown_fields: keep}", "decode.unknown_fields"},
           {"decode: {depth_max: 0}", "decode.depth_max"},
           {"store: {s3: {access_key_id: k}}", "store.s3.access_key_id"},
           {"store: {s3: {path_style: yes}}", "store.s3.path_style"},
           {"allow_shared_topic: maybe", "allow_shared_topic"},
           {"positions: 5", "positions"},
       }) {
    EXPECT_THAT(ProblemKeys(With(std::string(wrong.more) + "\n")), ElementsAre(wrong.key)) << wrong.more;
  }
}

TEST(Config, WrongTablesAreRefusedAtTheirKey) {
  for (const Wrong& wrong : std::vector<Wrong>{
           {"{name: nodot}", "tables[0].name"},
           {"{name: a..b}", "tables[0].name"},
           {"{name: 'a.b c'}", "tables[0].name"},
           {"{name: 'a.{offset}'}", "tables[0].name"},
           {"{name: 'a.{topic'}", "tables[0].name"},
           {"{name: 'a.{field:}'}", "tables[0].name"},
           {"{columns: [{name: c, type: int}]}", "tables[0].name"},
           {"{name: a.b, columns: []}", "tables[0].columns"},
           {"{name: a.b, columns: [{name: c, type: integr}]}", "tables[0].columns[0].type"},
           {"{name: a.b, columns: [{name: c}]}", "tables[0].columns[0].type"},
           {"{name: a.b, columns: [{type: int}]}", "tables[0].columns[0].name"},
           {"{name: a.b, columns: [{name: c, type: int}, {name: c, type: int}]}", "tables[0].columns[1].name"},
           {"{name: a.b, columns: [{name: c, type: struct}]}", "tables[0].columns[0].type"},
           {"{name: a.b, columns: [{name: c, type: struct, fields: []}]}", "tables[0].columns[0].fields"},
           {"{name: a.b, columns: [{name: c, type: int, fields: [{name: d, type: int}]}]}",
            "tables[0].columns[0].fields"},
           {"{name: a.b, columns: [{name: c, type: list}]}", "tables[0].columns[0].type"},
           {"{name: a.b, columns: [{name: c, type: list, element: {type: int, from: x}}]}",
            "tables[0].columns[0].element.from"},
           {"{name: a.b, columns: [{name: c, type: list, element: {name: x, type: int}}]}",
            "tables[0].columns[0].element.name"},
           {"{name: a.b, columns: [{name: c, type: list, element: {typ: int, type: int}}]}",
            "tables[0].columns[0].element.typ"},
           {"{name: a.b, columns: [{name: c, type: int, from: 'a..b'}]}", "tables[0].columns[0].from"},
           {"{name: a.b, columns: [{name: c, type: int, epoch_unit: min}]}", "tables[0].columns[0].epoch_unit"},
           {"{name: a.b, columns: [{name: c, type: int}], partition: [day(c)]}", "tables[0].partition[0]"},
           {"{name: a.b, columns: [{name: c, type: date}], partition: [day(c), day(d)]}", "tables[0].partition[1]"},
           {"{name: a.b, columns: [{name: c, type: int}], sort_order: [d]}", "tables[0].sort_order[0]"},
           {"{name: a.b, columns: [{name: c, type: int}], schema_file: x}", "tables[0].schema_file"},
           {"{name: a.b, partition: [c]}", "tables[0].partition"},
           {"{name: 'a.{topic}', columns: [{name: c, type: int}], location: 's3://b/x'}", "tables[0].location"},
           {"{name: a.b, match: [{topic: t, field: x}]}", "tables[0].match[0].field"},
           {"{name: a.b, match: [{equals: x}]}", "tables[0].match[0].equals"},
           {"{name: a.b, match: [{}]}", "tables[0].match[0]"},
           {"{name: a.b, match: [{topic_regex: '('}]}", "tables[0].match[0].topic_regex"},
           {"{name: a.b, match: [{header: h, field: f, equals: x}]}", "tables[0].match[0].header"},
           {"{name: a.b, match: {topic: t}}", "tables[0].match"},
           {"{name: a.b, decode: {epochunit: s}}", "tables[0].decode.epochunit"},
       }) {
    std::vector<std::string> keys = ProblemKeys(WithTables("  - " + std::string(wrong.more) + "\n"));
    ASSERT_EQ(keys.size(), 1U) << wrong.more;
    EXPECT_EQ(keys[0], wrong.key) << wrong.more;
  }
  EXPECT_THAT(ProblemKeys(WithTables("  - {name: a.b}\n  - {name: a.c}\n")), ElementsAre("tables[1]"));
  EXPECT_THAT(ProblemKeys(WithTables("  - {name: a.b, match: [{topic: x}]}\n  - {name: a.b}\n")),
              ElementsAre("tables[1].name"));
  EXPECT_THAT(ProblemKeys(WithTables("  - {name: '{topic}.x'}\n")), UnorderedElementsAre("rejects.table", "home"));
  EXPECT_THAT(ProblemKeys(WithTables("  - x\n")), ::testing::Contains("tables[0]"));
}

TEST(Config, WrongConnectionsAreRefusedAtTheirKey) {
  auto with = [](std::string_view pipeline, std::string_view kafka, std::string_view source, std::string_view catalog) {
    return fmt::format("pipeline: {}\nkafka: {{{}}}\nsource: {{{}}}\ncatalog: {{{}}}\n{}", pipeline, kafka, source,
                       catalog, kTable);
  };
  std::string_view id = "p", kafka = "bootstrap.servers: k", source = "topics: t",
                   catalog = "type: rest, uri: 'http://c'";
  EXPECT_THAT(ProblemKeys(with("Upper", kafka, source, catalog)), ElementsAre("pipeline"));
  EXPECT_THAT(ProblemKeys(with(std::string(65, 'a'), kafka, source, catalog)), ElementsAre("pipeline"));
  EXPECT_THAT(ProblemKeys(with(id, "bootstrap.servers: ''", source, catalog)), ElementsAre("kafka.bootstrap.servers"));
  EXPECT_THAT(ProblemKeys(with(id, "bootstrap.servers: k, enable.auto.commit: true", source, catalog)),
              ElementsAre("kafka.enable.auto.commit"));
  EXPECT_THAT(ProblemKeys(with(id, "bootstrap.servers: k, a: {b: c}", source, catalog)), ElementsAre("kafka.a"));
  EXPECT_THAT(ProblemKeys(with(id, kafka, "topics: t, topics_regex: '^t'", catalog)),
              ElementsAre("source.topics_regex"));
  EXPECT_THAT(ProblemKeys(with(id, kafka, "topics_regex: 't'", catalog)), ElementsAre("source.topics_regex"));
  EXPECT_THAT(ProblemKeys(with(id, kafka, "topics: [a, '^t']", catalog)), ElementsAre("source.topics[1]"));
  EXPECT_THAT(ProblemKeys(with(id, kafka, "topics: []", catalog)), ElementsAre("source.topics"));
  EXPECT_THAT(ProblemKeys(with(id, kafka, "topics: t, start: yesterday", catalog)), ElementsAre("source.start"));
  EXPECT_THAT(ProblemKeys(with(id, kafka, source, "type: hive, uri: x")), ElementsAre("catalog.type", "catalog.uri"));
  EXPECT_THAT(ProblemKeys(with(id, kafka, source, "type: rest, uri: c.db")), ElementsAre("catalog.uri"));
  EXPECT_THAT(ProblemKeys(with(id, kafka, source, "type: sqlite, uri: c.db")), ElementsAre("catalog.warehouse"));
  EXPECT_THAT(ProblemKeys(with(id, kafka, source, "type: sqlite, uri: c, warehouse: 'file:///w', token: t")),
              ElementsAre("catalog.token"));
  EXPECT_THAT(ProblemKeys(with(id, kafka, source, "type: rest, uri: 'http://c', token: t, credential: 'a:b'")),
              ElementsAre("catalog.token"));
}

TEST(Config, SecretsAreNeverPrinted) {
  std::string yaml =
      "pipeline: p\n"
      "kafka: {bootstrap.servers: k, sasl.password: SESAME, ssl.key.pem: SESAME, sasl.username: u}\n"
      "source: {topics: t}\n"
      "catalog: {type: rest, uri: 'http://u:SESAME@c/', credential: 'id:SESAME', headers: {X-Anything: SESAME}}\n"
      "store: {s3: {access_key_id: k, secret_access_key: SESAME, session_token: SESAME}}\n"
      "tables: [{name: a.b, columns: [{name: c, type: int}], properties: {x.password: SESAME}}]\n";
  std::string text = EffectiveYaml(Parse(yaml));
  EXPECT_EQ(text.find("SESAME"), std::string::npos) << text;
  EXPECT_NE(text.find("sasl.password: \"***\""), std::string::npos) << text;

  // Nor in messages about wrong values, whether the key says so or the value came out of the environment.
  ParseContext context = Context();
  context.environment = [](const std::string&) { return "SESAME"; };
  ProblemList problems;
  Result<Config> config = ParseConfig(
      "pipeline: ${V}\nkafka: {bootstrap.servers: k, sasl.password: [SESAME], max.poll.interval.ms: '${V}'}\n"
      "source: {topics: t, start: '${V}'}\n"
      "catalog: {type: rest, uri: '${V}', token: {a: SESAME}}\n"
      "tables: [{name: '${V}'}]\ncommit: {interval: '${V}'}\nlog: {level: '${V}'}\n",
      context, problems);
  ASSERT_FALSE(config.has_value());
  EXPECT_GE(problems.total(), 8U);
  EXPECT_EQ(config.error().message().find("SESAME"), std::string::npos) << config.error().message();
}

TEST(Config, NamesOfSecretsAreKnown) {
  for (const char* name : {"sasl.password", "ssl.key.pem", "ssl.key.password", "ssl.keystore.password", "Authorization",
                           "sasl.oauthbearer.client.secret", "x-api-key", "client-token"}) {
    EXPECT_TRUE(IsSecretName(name)) << name;
  }
  for (const char* name : {"bootstrap.servers", "sasl.username", "group.id", "security.protocol",
                           "sasl.oauthbearer.token.endpoint.url", "ssl.ca.location", "ssl.key.location"}) {
    EXPECT_FALSE(IsSecretName(name)) << name;
  }
  EXPECT_EQ(MaskUserInfo("http://h/a@b"), "http://h/a@b");
  EXPECT_EQ(MaskUserInfo("http://u:p@q@h:1/x"), "http://***@h:1/x");
}

TEST(Config, TheEffectiveFormLoadsAgainToTheSame) {
  std::string yaml = With("decode: {epoch_unit: auto}\nrejects: {policy: stop}\nhttp: {listen: 'off'}\n");
  yaml.replace(yaml.find(kTable), kTable.size(),
               "tables:\n  - name: 'x.t_{topic}'\n    match: [{field: [a.b, 'q\"$x'], regex: '^a.*$$'}]\n"
               "    columns:\n"
               "      - {name: t, type: timestamptz, required: true, from: x.y, epoch_unit: s, doc: 'a: \"b\" # c'}\n"
               "      - {name: l, type: 'list<struct<a: map<string, decimal(9,2) not null>, b: fixed(16)>>'}\n"
               "    partition: [day(t)]\n    sort_order: [t desc nulls last]\n    properties: {p.q: 'x y'}\n");
  std::string first = EffectiveYaml(Parse(yaml));
  std::string second = EffectiveYaml(Parse(first));
  EXPECT_EQ(first, second);
  EXPECT_NE(first.find("policy: stop"), std::string::npos);
}

TEST(Config, AnyTextSurvivesQuoting) {
  for (std::string text :
       {"",   "a",  "a b", "true", "- x", "${A}", "$", "a\"b\\c", "line\nbreak\ttab", "ü€", "# no", "x: y", "{a}", "*",
        "&a", "!t", "%",   "@",    "`",   "null", "~", "1e5"}) {
    ProblemList problems;
    YamlNode node = ParseYamlTree("k: " + QuoteYaml(text), [](const std::string&) { return std::nullopt; }, problems);
    ASSERT_TRUE(problems.empty()) << text;
    EXPECT_EQ(node.Find("k")->value.kind, YamlNode::Kind::kScalar) << text;
    EXPECT_EQ(node.Find("k")->value.text, text);
  }
}

TEST(Config, PatternsThatCannotBeReadAreNamed) {
  for (const char* pattern : {"(", "[a", "(a)\\1", "(?=a)", "((a{1000}){1000}){1000}"}) {
    ProblemList problems;
    std::string yaml = WithTables(fmt::format("  - {{name: a.b, match: [{{field: f, regex: '{}'}}]}}\n", pattern));
    EXPECT_FALSE(ParseConfig(yaml, Context(), problems).has_value()) << pattern;
    ASSERT_EQ(problems.problems().size(), 1U) << pattern;
    EXPECT_EQ(problems.problems()[0].key, "tables[0].match[0].regex");
    EXPECT_NE(problems.problems()[0].message.find(pattern), std::string::npos) << problems.problems()[0].message;
  }
  // A pattern that came from a variable is not shown, not even in pieces.
  ParseContext context = Context();
  context.environment = [](const std::string&) { return std::string("(SESAME"); };
  ProblemList problems;
  auto config = ParseConfig(WithTables("  - {name: a.b, match: [{topic_regex: '${P}'}]}\n"), context, problems);
  ASSERT_FALSE(config.has_value());
  EXPECT_EQ(config.error().message().find("SESAME"), std::string::npos) << config.error().message();
}

// What there is no room for goes to spill files, or the commit comes earlier.
TEST(Config, ABatchMayBeLargerThanMemory) {
  EXPECT_EQ(Parse(With("commit: {bytes_max: 1GiB}\nmemory: {limit: 64MiB}\n")).pipeline.commit_bytes_max, 1 << 30);
  EXPECT_EQ(Parse(With("commit: {bytes_max: auto}\nmemory: {limit: 64MiB}\n")).pipeline.commit_bytes_max, 0);
}

TEST(Config, FilesThatCannotBeReadAreErrors) {
  EXPECT_EQ(LoadConfig("/nonexistent/firn.yaml").error().code(), ErrorCode::kNotFound);
  EXPECT_EQ(LoadConfig(::testing::TempDir()).error().code(), ErrorCode::kInvalidInput);
}

}  // namespace
}  // namespace firn::config
