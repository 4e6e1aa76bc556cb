// WorldPlan: the shape of one simulated world, drawn from its seed.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "firn/compaction/loop.h"
#include "firn/env/clock.h"
#include "firn/ingest/pipeline_options.h"

namespace firn::sim {

struct WorldPlan {
  int32_t workers = 1;
  int32_t partitions = 1;
  int32_t fixed_tables = 1;
  bool template_rule = false;    // a rule whose tables are met on the way
  bool reroutes = false;         // new rules send kMovingTable's records to the other one of the first two tables
  bool quiet_table = false;      // the last fixed table gets one record in hundreds
  bool without_history = false;  // a catalog like Nessie
  int64_t record_gap_ms = 50;    // between two records of a producer
  int32_t broken_per_mille = 0;
  int32_t transactional_per_mille = 0;
  int64_t chaos_gap_ms = 4000;
  int64_t session_timeout_ms = 10'000;
  bool spill = false;  // workers have a spill folder
  ingest::PipelineOptions pipeline;

  std::string ToString() const;
};

// Who puts small files together in a world.
struct CompactionPlan {
  int32_t processes = 0;  // of their own, each for all of the work
  bool in_workers = false;
  compaction::LoopOptions loop;

  std::string ToString() const;
};

inline constexpr const char* kTopic = "events";
// What the value says of a record that goes where the rules of the day send it.
inline constexpr const char* kMovingTable = "lake.moving";
inline constexpr const char* kMovingRegex = "lake[.]moving";

// `more`: a sequence of its own for what came later, so that the rest of a seed's plan stays as it was.
WorldPlan DrawPlan(env::Random& random, env::Random& more);
CompactionPlan DrawCompactionPlan(env::Random& random, const WorldPlan& plan);
// A pipeline of so many fixed tables with the defaults of production, for runs without trouble.
ingest::PipelineOptions ScalePipeline(int32_t tables, int64_t commit_interval_ms);
std::string FixedTable(int32_t number);                  // "lake.t0"
std::string TemplateTable(const std::string& kind);      // "lake.x_<kind>"
std::vector<std::string> Kinds();                        // all that producers write

}  // namespace firn::sim
