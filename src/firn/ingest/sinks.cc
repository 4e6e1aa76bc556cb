#include "firn/ingest/sinks.h"

#include <arrow/record_batch.h>
#include <fmt/format.h>

#include <algorithm>

#include "firn/base/log.h"
#include "firn/ingest/batch_commit.h"
#include "firn/ingest/column_sources.h"
#include "firn/ingest/worker_metrics.h"
#include "firn/schema/partition.h"

namespace firn::ingest {
namespace {

Result<ColumnSourcesById> RememberedSources(const iceberg::TableMetadata& metadata, const std::string& pipeline) {
  std::optional<std::string> text = metadata.Property(SourcesProperty(pipeline));
  if (!text.has_value()) return ColumnSourcesById();
  return ParseSources(*text);
}

// A line a partition would fill the log where there are thousands.
constexpr int kPartitionsLoggedMax = 50;

void LogAndCountResume(const ResumePlan& plan, const std::string& table, HistoryPolicy policy,
                       WorkerMetrics& metrics) {
  int64_t read_again = 0;
  int64_t given_up = 0;
  int logged = 0;
  for (const ResumeStep& step : plan.steps) {
    const int64_t again = std::max<int64_t>(0, step.read_until - step.to);
    const int64_t lost = step.given_up_from < 0 ? 0 : std::max<int64_t>(0, step.to - step.given_up_from);
    read_again += again;
    given_up += lost;
    if ((again == 0 && lost == 0 && step.given_up_from >= 0) || ++logged > kPartitionsLoggedMax) continue;
    LogWarning(again > 0 ? "records are read again" : "rows that are gone are not read again",
               {{"table", table},
                {"partition", fmt::format("{}/{}", step.topic, step.partition.partition)},
                {"from_offset", again > 0 ? step.to : step.given_up_from},
                {"to_offset", again > 0 ? step.read_until : step.to}});
  }
  if (logged > kPartitionsLoggedMax) {
    LogWarning("further partitions are not listed", {{"table", table}, {"partitions", logged - kPartitionsLoggedMax}});
  }
  metrics.CountHistoryChange(table, policy, read_again, given_up);
}

// Truncating rounds down, and near the lower end of a decimal's range the result needs a digit more than the type has:
// no partition holds such a row. The least that each decimal column can hold because of that.
std::map<FieldId, __int128> LeastDecimals(const schema::Schema& schema, const schema::PartitionSpec& spec) {
  std::map<FieldId, __int128> least;
  for (const schema::PartitionField& field : spec.fields) {
    if (field.transform.kind != schema::TransformKind::kTruncate) continue;
    const schema::Field* source = schema.FindById(field.source_id);
    if (source == nullptr || source->type->kind() != schema::TypeKind::kDecimal) continue;
    __int128 power = 1;
    for (int32_t digit = 0; digit < source->type->precision(); ++digit) power *= 10;
    const __int128 width = field.transform.parameter;
    const __int128 multiple = -((power - 1) / width * width);
    auto [known, is_new] = least.emplace(field.source_id, multiple);
    if (!is_new) known->second = std::max(known->second, multiple);
  }
  return least;
}

}  // namespace

void Sink::MeasureSlab() {
  const int64_t count = rows == nullptr ? 0 : rows->row_count();
  if (count == measured_rows) return;
  measured_rows = count;
  slab_hold.Set(count == 0 ? 0 : rows->bytes());
}

void Sink::CutSlab() {
  if (rows == nullptr || rows->row_count() == 0) return;
  if (waiting == nullptr) waiting = std::make_unique<TableRows>(plan_table, schema_id, memory, spill, row_limits);
  waiting->Add(rows->Finish());
  MeasureSlab();
}

std::unique_ptr<TableRows> Sink::Freeze() {
  if (buffered_rows() == 0) return nullptr;
  if (waiting == nullptr) waiting = std::make_unique<TableRows>(plan_table, schema_id, memory, spill, row_limits);
  waiting->AddTail(rows->row_count() == 0 ? nullptr : rows->Finish());
  MeasureSlab();
  return std::move(waiting);
}

void Sink::Close(std::string reason, bool hold_it) {
  open = false;
  hold = hold_it;
  closed_reason = std::move(reason);
  Discard();
}

void Sink::Discard() {
  waiting.reset();
  if (rows != nullptr && rows->row_count() > 0) rows->Finish();
  MeasureSlab();
}

columnar::RowBuilder& Sink::ScratchRows() {
  constexpr int64_t kScratchRowsMax = 1024;
  constexpr int64_t kScratchBytesMax = 1 << 20;
  if (scratch == nullptr) scratch = std::make_unique<columnar::RowBuilder>(plan_table->metadata.CurrentSchema());
  if (scratch->row_count() >= kScratchRowsMax || scratch->bytes() >= kScratchBytesMax) scratch->Finish();
  return *scratch;
}

Result<iceberg::CreateTableRequest> CreateRequestOf(const TableRule& rule) {
  iceberg::CreateTableRequest request;
  request.location = rule.location;
  request.schema = rule.schema;
  request.properties = rule.properties;
  FIRN_ASSIGN(request.spec, schema::ParsePartitionSpec(rule.partition, rule.schema));
  FIRN_ASSIGN(request.sort_order, schema::ParseSortOrder(rule.sort_order, rule.schema));
  return request;
}

HistoryPolicy HistoryPolicyOf(const PipelineOptions& options, const TableRule* rule) {
  return rule == nullptr ? options.history_policy : rule->history_policy.value_or(options.history_policy);
}

Sinks::Sinks(const PipelineOptions& options, Home& home, MapCommitter& committer, WorkerMetrics& metrics,
             MemoryBudget& memory, Spill& spill)
    : options_(options),
      home_(home),
      committer_(committer),
      metrics_(metrics),
      memory_(memory),
      spill_(spill),
      row_limits_{.row_group_bytes_max = memory.row_group_bytes_max(options.upload_threads),
                  .run_block_bytes = memory.run_block_bytes()} {}

Result<Sink*> Sinks::FindOrMake(const std::string& table, const TableRule* rule) {
  if (Sink* found = Find(table)) return found;
  if (static_cast<int64_t>(sinks_.size()) >= options_.tables_max) {
    return Fail(
        ErrorCode::kResourceExhausted,
        fmt::format("the pipeline feeds {} tables already; raise limits.tables_max if that is meant; table '{}'",
                    sinks_.size(), table));
  }
  FIRN_ASSIGN(iceberg::TableIdentifier identifier, iceberg::TableIdentifier::Parse(table));
  auto sink = std::make_unique<Sink>(std::move(identifier), memory_, spill_, row_limits_);
  sink->rule = rule;
  Sink* made = sink.get();
  by_name_[table] = made;
  // The rejects table stays last: it is committed last in each batch.
  auto at = sinks_.end();
  if (!made->is_rejects() && !sinks_.empty() && sinks_.back()->is_rejects()) --at;
  sinks_.insert(at, std::move(sink));
  return made;
}

Result<Sink*> Sinks::Rejects() {
  return FindOrMake(options_.rejects_table, nullptr);
}

Sink* Sinks::Find(const std::string& table) {
  auto found = by_name_.find(table);
  return found == by_name_.end() ? nullptr : found->second;
}

Result<AttachRequest> Sinks::RequestFor(const Sink& sink) const {
  AttachRequest request;
  request.allow_shared_topic = options_.allow_shared_topic;
  if (sink.is_rejects()) {
    request.create = RejectsTableRequest();
    request.may_create = true;
    request.allow_shared_topic = true;  // several pipelines may share a rejects table: rows carry their position
  } else {
    FIRN_ASSIGN(request.create, CreateRequestOf(*sink.rule));
    request.may_create = !sink.rule->schema.fields.empty();
    request.remedy_when_missing =
        fmt::format("create it, or give 'columns' under the entry of tables that names it: '{}'", sink.rule->name);
  }
  request.create.properties.emplace(kCreatedByProperty, kFirnVersion);
  request.create.properties.emplace("write.metadata.delete-after-commit.enabled", "true");
  return request;
}

Status Sinks::Open(Sink& sink, std::stop_token stop) {
  FIRN_ASSIGN(AttachRequest request, RequestFor(sink));
  FIRN_ASSIGN(AttachResult attached, AttachTable(home_, committer_, sink.state, request, stop));
  if (!attached.attached) {
    FIRN_ASSIGN(bool resumed, FollowPolicy(sink, attached.hold_reason, stop));
    if (resumed) {
      FIRN_ASSIGN(attached, AttachTable(home_, committer_, sink.state, request, stop));
    }
  }
  if (!attached.attached) {
    if (!sink.hold) metrics_.CountHistoryChange(sink.state.name(), HistoryPolicy::kHold, 0, 0);
    sink.Close(attached.hold_reason, true);
    return {};
  }
  // Rows keep the plan that they were decoded by.
  if (sink.buffered_rows() == 0) FIRN_TRY(RefreshPlan(sink));
  sink.open = true;
  sink.hold = false;
  sink.refused = false;
  sink.closed_reason.clear();
  return {};
}

Result<bool> Sinks::FollowPolicy(Sink& sink, std::string& reason, std::stop_token stop) {
  const HistoryPolicy policy = HistoryPolicyOf(options_, sink.rule);
  const PositionsMap home_map = home_.map();
  const bool listed = home_map.home.has_value() && home_map.home->Find(sink.state.name()) != nullptr;
  if (policy == HistoryPolicy::kHold || !listed || sink.state.loaded() == nullptr) return false;
  const ResumeMode mode = policy == HistoryPolicy::kRewind ? ResumeMode::kRewind : ResumeMode::kContinue;
  Result<ResumePlan> plan = PlanResume(*sink.state.loaded(), home_map, options_, mode, committer_.store());
  if (!plan.has_value()) {
    if (IsTransient(plan.error().code())) return std::unexpected(plan.error());
    reason += fmt::format("; 'history.policy: {}' cannot be followed: {}", HistoryPolicyName(policy),
                          plan.error().message());
    return false;
  }
  const std::string why = fmt::format("history changed, {}: {}", HistoryPolicyName(policy), reason);
  FIRN_TRY(CarryOutResume(*plan, home_, committer_, sink.state, why, false, stop));
  LogWarning("the table's history was changed by somebody else; it goes on by its policy",
             {{"table", sink.state.name()},
              {"policy", HistoryPolicyName(policy)},
              {"reason", reason},
              {"what", plan->note}});
  LogAndCountResume(*plan, sink.state.name(), policy, metrics_);
  return true;
}

Status Sinks::RefreshPlan(Sink& sink) {
  std::shared_ptr<const iceberg::LoadedTable> now = sink.state.loaded();
  if (now == nullptr || now == sink.plan_table) return {};
  const iceberg::TableMetadata& metadata = now->metadata;
  if (sink.plan_table != nullptr && sink.schema_id == metadata.current_schema_id &&
      sink.spec_id == metadata.default_spec_id &&
      sink.plan_table->metadata.table_uuid == metadata.table_uuid) {
    sink.plan_table = std::move(now);  // newer sort order, properties; the same columns and partitions
    return {};
  }
  if (sink.plan_table != nullptr) {
    LogInfo("table schema or partitioning changed, the decoding plan is compiled again",
            {{"table", sink.state.name()},
             {"schema_id", metadata.current_schema_id},
             {"spec_id", metadata.default_spec_id}});
  }
  return CompilePlan(sink, std::move(now));
}

Status Sinks::CompilePlan(Sink& sink, std::shared_ptr<const iceberg::LoadedTable> table) {
  const schema::Schema& schema = table->metadata.CurrentSchema();
  const std::string context = fmt::format("table '{}'", sink.state.name());
  if (sink.is_rejects()) {
    FIRN_ASSIGN(sink.rejects, WithContext(RejectsAppender::Create(schema), context));
  } else {
    FIRN_ASSIGN(ColumnSourcesById remembered,
                WithContext(RememberedSources(table->metadata, options_.pipeline), context));
    decode::json::JsonDecoderOptions decode = sink.rule->decode;
    ColumnSourcesById resolved = ResolveSources(schema, sink.rule->sources, remembered);
    decode.sources = DecoderSources(schema, resolved, decode);
    decode.unscaled_min = LeastDecimals(schema, table->metadata.DefaultSpec());
    std::string sources_text = SerializeSources(resolved);
    sink.unremembered_sources.clear();
    if (table->metadata.Property(SourcesProperty(options_.pipeline)) != sources_text) {
      sink.unremembered_sources[SourcesProperty(options_.pipeline)] = std::move(sources_text);
    }
    FIRN_ASSIGN(sink.decoder, WithContext(decode::json::JsonDecoder::Create(schema, std::move(decode)), context));
  }
  sink.rows = std::make_unique<columnar::RowBuilder>(schema);
  sink.scratch.reset();
  sink.schema_id = schema.schema_id;
  sink.spec_id = table->metadata.default_spec_id;
  sink.plan_table = std::move(table);
  return {};
}

int64_t Sinks::buffered_bytes() const {
  int64_t bytes = 0;
  for (const auto& sink : sinks_) bytes += sink->buffered_bytes();
  return bytes;
}

int64_t Sinks::buffered_rows() const {
  int64_t rows = 0;
  for (const auto& sink : sinks_) rows += sink->buffered_rows();
  return rows;
}

void Sinks::PackFullSlabs() {
  const int64_t bytes_max = memory_.slab_bytes_max();
  int64_t bytes = 0;
  for (auto& sink : sinks_) {
    sink->MeasureSlab();
    if (sink->measured_rows >= kSlabRowsMax) sink->CutSlab();
    bytes += sink->slab_hold.bytes();
  }
  while (bytes > bytes_max) {
    auto largest = std::ranges::max_element(sinks_, {}, [](const auto& sink) { return sink->slab_hold.bytes(); });
    bytes -= (*largest)->slab_hold.bytes();
    (*largest)->CutSlab();
  }
}

bool Sinks::full() const {
  if (memory_.rows_full(spill_.usable())) return true;
  return std::ranges::any_of(
      sinks_, [](const auto& sink) { return sink->waiting != nullptr && sink->waiting->full(); });
}

void Sinks::DiscardAll() {
  for (auto& sink : sinks_) sink->Discard();
  spill_.EndBatch();
}

}  // namespace firn::ingest
