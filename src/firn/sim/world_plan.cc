#include "firn/sim/world_plan.h"

#include <fmt/format.h>

#include <algorithm>

#include "firn/sim/fault_kinds.h"

namespace firn::sim {
namespace {

schema::Schema RowSchema() {
  auto field = [](int32_t id, const char* name, schema::TypeKind kind) {
    schema::Field made;
    made.id = FieldId{id};
    made.name = name;
    made.type = schema::Type::Primitive(kind);
    return made;
  };
  schema::Schema schema;
  schema.fields = {field(1, "id", schema::TypeKind::kLong), field(2, "p", schema::TypeKind::kInt),
                   field(3, "o", schema::TypeKind::kLong), field(4, "kind", schema::TypeKind::kString)};
  return schema;
}

ingest::RouteMatch MatchFor(std::string field_regex) {
  ingest::RouteMatch match;
  match.field_path = {"table"};
  match.field_regex = std::move(field_regex);
  return match;
}

ingest::TableRule RuleFor(std::string name, std::string field_regex, bool partitioned) {
  ingest::TableRule rule;
  rule.name = std::move(name);
  rule.match = {MatchFor(std::move(field_regex))};
  rule.schema = RowSchema();
  if (partitioned) rule.partition = {"kind"};
  return rule;
}

}  // namespace

std::string FixedTable(int32_t number) {
  return fmt::format("lake.t{}", number);
}

std::string TemplateTable(const std::string& kind) {
  return fmt::format("lake.x_{}", kind);
}

std::vector<std::string> Kinds() {
  return {"k0", "k1", "k2"};
}

namespace {

ingest::HistoryPolicy DrawPolicy(env::Random& random) {
  switch (Below(random, 4)) {
    case 0: return ingest::HistoryPolicy::kRewind;
    case 1: return ingest::HistoryPolicy::kContinue;
    default: return ingest::HistoryPolicy::kHold;
  }
}

void DrawMore(WorldPlan& plan, env::Random& random) {
  ingest::PipelineOptions& pipeline = plan.pipeline;
  pipeline.history_policy = DrawPolicy(random);
  if (Below(random, 4) == 0) pipeline.tables[0].history_policy = DrawPolicy(random);
  if (Below(random, 8) == 0) pipeline.start.kind = ingest::StartPolicy::Kind::kLatest;
  plan.reroutes = Below(random, 4) == 0 && plan.fixed_tables >= 2 && !plan.quiet_table &&
                  pipeline.reject_policy == ingest::RejectPolicy::kTable;
  if (plan.reroutes) pipeline.tables[0].match.push_back(MatchFor(kMovingRegex));
}

}  // namespace

WorldPlan DrawPlan(env::Random& random, env::Random& more) {
  WorldPlan plan;
  plan.workers = 1 + static_cast<int32_t>(Below(random, 3));
  plan.partitions = 1 + static_cast<int32_t>(Below(random, 5));
  plan.fixed_tables = 1 + static_cast<int32_t>(Below(random, 3));
  plan.template_rule = Below(random, 3) == 0;
  plan.quiet_table = plan.fixed_tables > 1 && Below(random, 3) == 0;
  plan.without_history = Below(random, 5) == 0;
  plan.record_gap_ms = 40 + Below(random, 400);
  plan.broken_per_mille = Below(random, 2) == 0 ? 0 : static_cast<int32_t>(Below(random, 150));
  plan.transactional_per_mille = Below(random, 2) == 0 ? 0 : static_cast<int32_t>(Below(random, 500));
  plan.chaos_gap_ms = 1500 + Below(random, 8000);
  plan.session_timeout_ms = 6000 + Below(random, 20'000);

  ingest::PipelineOptions& pipeline = plan.pipeline;
  pipeline.pipeline = "p";
  pipeline.group_id = "g";
  pipeline.home_table = "lake.p__home";
  pipeline.rejects_table = "lake.p__rejects";
  pipeline.reject_policy = Below(random, 6) == 0 ? ingest::RejectPolicy::kDrop : ingest::RejectPolicy::kTable;
  for (int32_t i = 0; i < plan.fixed_tables; ++i) {
    pipeline.tables.push_back(RuleFor(FixedTable(i), "lake[.]t" + std::to_string(i), Below(random, 3) == 0));
  }
  if (plan.template_rule) pipeline.tables.push_back(RuleFor("lake.x_{field:kind}", "lake[.]x_.*", false));
  pipeline.commit_interval_ms = 1000 + Below(random, 9000);
  pipeline.checkpoint_interval_ms = pipeline.commit_interval_ms * (1 + Below(random, 5));
  pipeline.commit_rows_max = Below(random, 3) == 0 ? 20 + Below(random, 200) : 10'000'000;
  pipeline.commit_max_age_ms = 5 * pipeline.commit_interval_ms + Below(random, 600'000);
  pipeline.shutdown_deadline_ms = 5000 + Below(random, 30'000);
  pipeline.detach_after_ms = 5000 + Below(random, 60'000);
  pipeline.max_poll_interval_ms = 15'000 + Below(random, 60'000);
  pipeline.memory_limit_bytes = 16 << 20;
  pipeline.upload_threads = 1;
  // In half of the worlds a few dozen rows are packed, and then spilled or committed early.
  if (Below(random, 2) == 0) pipeline.memory_limit_bytes = int64_t{8 << 10} << Below(random, 5);
  plan.spill = Below(random, 2) == 0;
  DrawMore(plan, more);
  return plan;
}

CompactionPlan DrawCompactionPlan(env::Random& random, const WorldPlan& plan) {
  CompactionPlan drawn;
  switch (Below(random, 4)) {
    case 0: drawn.processes = 1; break;
    case 1: drawn.processes = 2; break;
    case 2: drawn.in_workers = true; break;
    default:
      drawn.in_workers = true;
      drawn.processes = 1;
      break;
  }
  compaction::LoopOptions& loop = drawn.loop;
  loop.interval_ms = 500 + Below(random, 10'000);
  loop.cold_after_ms = 1000 + Below(random, 60'000);
  loop.files_min = static_cast<size_t>(2 + Below(random, 5));
  loop.cpu_share = {.low = 0.05, .high = 0.5};
  loop.output_age_ms_max = plan.pipeline.commit_max_age_ms;
  return drawn;
}

std::string CompactionPlan::ToString() const {
  return fmt::format(", compaction {}{}{}, of {} files, every {} ms, cold after {} ms",
                     in_workers ? "in the workers" : "", in_workers && processes > 0 ? " and " : "",
                     processes > 0 ? fmt::format("in {} processes", processes) : "", loop.files_min, loop.interval_ms,
                     loop.cold_after_ms);
}

ingest::PipelineOptions ScalePipeline(int32_t tables, int64_t commit_interval_ms) {
  ingest::PipelineOptions pipeline;
  pipeline.pipeline = "p";
  pipeline.group_id = "g";
  pipeline.home_table = "lake.p__home";
  pipeline.rejects_table = "lake.p__rejects";
  for (int32_t i = 0; i < tables; ++i) pipeline.tables.push_back(RuleFor(FixedTable(i), "", false));
  for (int32_t i = 0; i < tables; ++i) pipeline.tables[static_cast<size_t>(i)].match[0].field_equals = FixedTable(i);
  pipeline.commit_interval_ms = commit_interval_ms;
  pipeline.checkpoint_interval_ms = std::max<int64_t>(60'000, commit_interval_ms);
  pipeline.memory_limit_bytes = 64 << 20;
  pipeline.upload_threads = 1;
  return pipeline;
}

std::string WorldPlan::ToString() const {
  return fmt::format(
      "{} workers, {} partitions, {} tables{}{}{}{}, start {}, history {}, a record every {} ms, {} ‰ broken, {} ‰ "
      "transactional, rejects {}, commit every {} ms, checkpoint {} ms, max_age {} ms, detach_after {} ms, "
      "session {} ms, max.poll {} ms, memory {} KiB{}, trouble about every {} ms",
      workers, partitions, fixed_tables, template_rule ? " and a template" : "", quiet_table ? ", the last quiet" : "",
      reroutes ? ", records that are rerouted" : "",
      without_history ? ", catalog without history" : "",
      pipeline.start.kind == ingest::StartPolicy::Kind::kLatest ? "latest" : "earliest",
      ingest::HistoryPolicyName(pipeline.history_policy), record_gap_ms, broken_per_mille, transactional_per_mille,
      pipeline.reject_policy == ingest::RejectPolicy::kDrop ? "dropped" : "kept", pipeline.commit_interval_ms,
      pipeline.checkpoint_interval_ms, pipeline.commit_max_age_ms, pipeline.detach_after_ms, session_timeout_ms,
      pipeline.max_poll_interval_ms, pipeline.memory_limit_bytes >> 10, spill ? " and spill" : "", chaos_gap_ms);
}

}  // namespace firn::sim
