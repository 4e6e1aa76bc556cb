// PipelineOptions: everything that one pipeline was told, as values. The configuration module fills it from YAML; tests
// fill it by hand. docs/configuration.md says what each member means to a user; defaults stand here and only here.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "firn/decode/json/json_decoder.h"
#include "firn/iceberg/catalog/catalog.h"
#include "firn/schema/type.h"

namespace firn::ingest {

// Where a topic is read from when the pipeline meets it for the first time. Never used again for it.
struct StartPolicy {
  enum class Kind : uint8_t { kEarliest, kLatest, kTimestamp } kind = Kind::kEarliest;
  int64_t timestamp_ms = 0;
};

enum class RejectPolicy : uint8_t { kTable, kDrop, kStop };

// What happens to a table whose history was changed by somebody else (docs/formats/positions.md, section 5.7).
enum class HistoryPolicy : uint8_t {
  kHold,      // a person decides
  kRewind,    // back to the newest surviving snapshot of this pipeline; later records are read again
  kContinue,  // on from the positions as they stand
};
constexpr std::string_view HistoryPolicyName(HistoryPolicy policy) {
  if (policy == HistoryPolicy::kRewind) return "rewind";
  return policy == HistoryPolicy::kContinue ? "continue" : "hold";
}

// A condition on a record. All members that are set must hold. Regular expressions are RE2's and must match whole.
struct RouteMatch {
  std::string topic;  // exact topic name
  std::string topic_regex;
  std::vector<std::string> field_path;  // a JSON path in the value, with field_equals or field_regex
  std::string header_name;              // with header_equals or header_regex
  std::optional<std::string> field_equals;
  std::string field_regex;
  std::optional<std::string> header_equals;
  std::string header_regex;
};

// How a column of a table is filled when that is not "the JSON path that equals its name"; keyed by dotted column name
// in the configuration, by field id once the table is known (docs/formats/positions.md, "Sources").
using ColumnSourcesByName = std::map<std::string, decode::json::ColumnSource>;

// A shorter age is taken for a slip of the pen.
inline constexpr int64_t kRetentionAgeMsMin = 3'600'000;

// Rows whose partition ended longer ago leave their table; only maintenance looks at it.
struct DataRetention {
  std::string field;  // a partition field by year, month, day or hour, or a date or time as it is
  int64_t age_ms = 0;
  bool operator==(const DataRetention&) const = default;
};

// One rule: records that match go to the table; the first matching rule wins. The name may hold {topic}, {field:a.b}
// and {header:x}; what they yield is made a valid name (lower case, [a-z0-9_]).
struct TableRule {
  std::string name;               // "namespace.table", may be a template
  std::vector<RouteMatch> match;  // any of them; empty: every record
  // How to make the table when it is missing. Without columns a missing table is an error.
  schema::Schema schema;                // field ids are placeholders, unique
  std::vector<std::string> partition;   // "day(time)", "bucket(16, src.ip)"
  std::vector<std::string> sort_order;  // "time", "time desc"
  iceberg::Properties properties;
  std::string location;  // empty: the catalog chooses
  ColumnSourcesByName sources;
  decode::json::JsonDecoderOptions decode;      // `sources` in it is filled from the above when the table is known
  std::optional<HistoryPolicy> history_policy;  // instead of the pipeline's
  std::optional<DataRetention> retention;

  bool is_template() const { return name.find('{') != std::string::npos; }
};

// commit.max_age is at most this part of the age of orphans: a batch that old is forgotten by its writer.
inline constexpr int64_t kCommitAgesInOrphanAge = 10;

inline constexpr int32_t kTablesMaxDefault = 2000;       // tables one pipeline may feed
inline constexpr int32_t kSourcePartitionsMax = 20'000;  // source partitions in one map (DESIGN 4)

struct PipelineOptions {
  std::string pipeline;  // [a-z0-9_-]{1,64}
  std::string worker;    // for summaries and logs; default host name and pid
  std::string group_id;  // for summaries

  StartPolicy start;
  bool topic_identity_by_name = false;

  std::vector<TableRule> tables;
  int32_t tables_max = kTablesMaxDefault;
  RejectPolicy reject_policy = RejectPolicy::kTable;
  std::string rejects_table;        // "namespace.table"
  std::string home_table;           // "namespace.table"
  bool allow_shared_topic = false;  // another pipeline may feed the same table from the same topic
  HistoryPolicy history_policy = HistoryPolicy::kHold;

  int64_t commit_interval_ms = 60'000;
  int64_t commit_rows_max = 10'000'000;
  int64_t commit_bytes_max = 0;  // of waiting rows, packed; 0: as much as there is room for
  int64_t commit_max_age_ms = 6 * 3'600'000;
  // Commits leave expired snapshots for so much longer to maintenance, which deletes their files too.
  int64_t expiry_grace_ms = 0;
  int64_t checkpoint_interval_ms = 60'000;
  int64_t shutdown_deadline_ms = 30'000;
  int64_t detach_after_ms = 120'000;  // a table that fails this long is detached, the rest goes on
  int64_t max_poll_interval_ms = 300'000;
  int64_t clock_skew_max_ms = 30'000;
  int64_t give_up_after_ms = 60'000;  // until caught up: without a server that is needed, or without an assignment
  int64_t memory_limit_bytes = 512 << 20;
  int64_t client_queue_bytes = 0;  // what the Kafka client may fetch ahead, for the budget's sum
  std::string spill_dir;           // empty: nothing is spilled
  int64_t spill_bytes_max = int64_t{10} << 30;
  int32_t upload_threads = 2;
};

}  // namespace firn::ingest
