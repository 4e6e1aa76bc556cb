// Positions by hand: what `firn positions show|set|move|resume|rebuild` do (positions.md). Workers may run meanwhile:
// every change is a compare-and-swap that they notice.
//
// Each change is planned first; `dry_run` returns the plan and changes nothing.
#pragma once

#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "firn/base/error.h"
#include "firn/ingest/map_commit.h"
#include "firn/ingest/pipeline_options.h"
#include "firn/ingest/positions.h"
#include "firn/ingest/resume.h"

namespace firn::ingest {

struct TablePositions {
  std::string table;
  bool listed = false;              // in the home
  std::optional<PositionsMap> map;  // T
  std::string problem;              // cannot be loaded, history changed, ...; empty: none
};

struct PipelinePositions {
  std::string home_table;
  std::optional<PositionsMap> home;  // nullopt: there is none
  std::vector<TablePositions> tables;
};

struct SetRequest {
  std::string topic;                 // name as the home knows it
  std::optional<int32_t> partition;  // all when absent
  int64_t offset = 0;
  bool tables_too = false;  // also T of every listed table, not only H
  std::string table;        // T of this listed table alone, and not H; it catches up from there
  // For partitions that the home does not know yet (a cluster move).
  std::string cluster_id;
  std::string topic_id;
};

// A topic id as somebody gives it, in the form that positions keep: a UUID, Kafka's base64 of it (22 characters, as its
// own tools print them), or "name:<topic>". kInvalidInput: anything else, which would name no topic.
Result<std::string> ParseTopicId(std::string_view text);

struct AdminChange {
  std::string table;
  std::string partition;  // "topic/3"
  int64_t from = -1;      // -1: none
  int64_t to = -1;
  std::string note;
};

struct MoveRequest;

class PositionsAdmin {
 public:
  PositionsAdmin(const PipelineOptions& options, iceberg::Catalog& catalog, env::ObjectStore& store, env::Clock& clock,
                 env::Random& random);

  Result<PipelinePositions> Show();
  // kNotFound: the home does not know the topic and the request gives no ids, or the pipeline does not feed the table.
  // kConflict: somebody moved meanwhile what the plan was made from, or the table needs a Resume first.
  Result<std::vector<AdminChange>> Set(const SetRequest& request, bool dry_run, std::stop_token stop);
  // Gives a held table positions again and lets the next assignment catch up. kNotFound: rewind without a snapshot
  // left. kConflict as above.
  Result<std::vector<AdminChange>> Resume(const std::string& table, ResumeMode mode, bool dry_run,
                                          std::stop_token stop);
  // Positions of a topic's copy on another cluster (positions_move.h, with its errors); the old ones stay. Workers must
  // be stopped: a record that one commits meanwhile is read again.
  Result<std::vector<AdminChange>> Move(const MoveRequest& request, bool dry_run, std::stop_token stop);
  // A lost home: H[p] = the smallest T[p] of all tables with this pipeline's positions, found in the namespaces of the
  // configured tables. kAlreadyExists: the home is there and readable.
  Result<std::vector<AdminChange>> Rebuild(bool dry_run, std::stop_token stop);

 private:
  Result<std::vector<AdminChange>> SetTable(const std::string& name, const Marks& wanted,
                                            const PipelinePositions& shown, bool dry_run, std::stop_token stop);
  Result<std::vector<AdminChange>> SetListing(const std::string& name, const Marks& wanted,
                                              const PipelinePositions& shown, bool dry_run, std::stop_token stop);
  Result<std::vector<TablePositions>> FindFedTables(const std::optional<PositionsMap>& home);

  const PipelineOptions& options_;
  iceberg::Catalog& catalog_;
  env::ObjectStore& store_;
  env::Clock& clock_;
  env::Random& random_;
  MapCommitter committer_;
  const std::string rules_hash_;
};

}  // namespace firn::ingest
