#include "firn/compaction/table_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "firn/compaction/sort_picker.h"
#include "firn/compaction/table_files.h"
#include "firn/iceberg/commit/append.h"
#include "firn/schema/schema_json.h"

namespace firn::compaction {
namespace {

// Each "name=value" must name a field of some spec: a slip of the pen would find no file and look like success.
Status CheckWhere(const iceberg::TableMetadata& metadata, const std::vector<std::string>& where) {
  std::set<std::string> names;
  for (const schema::PartitionSpec& spec : metadata.partition_specs) {
    for (const schema::PartitionField& field : spec.fields) names.insert(field.name);
  }
  for (const std::string& wanted : where) {
    const size_t equals = wanted.find('=');
    if (equals != std::string::npos && names.contains(wanted.substr(0, equals))) continue;
    return Fail(ErrorCode::kInvalidInput,
                fmt::format("a condition is PARTITION_FIELD=VALUE, and the table's partition fields are ({}): '{}'",
                            fmt::join(names, ", "), wanted));
  }
  return {};
}

SortPick SortPickOf(const SortPlan& sort, const schema::Schema& schema, const parquet::FileLayoutOptions& layout) {
  SortPick pick{.order_id = sort.id, .first = sort.order.fields.front(), .source_type = nullptr, .bound_length = {}};
  pick.source_type = schema.FindById(pick.first.source_id)->type;
  auto of_column = layout.metrics.find(pick.first.source_id.value());
  const auto& metrics = of_column == layout.metrics.end() ? layout.default_metrics : of_column->second;
  if (metrics.mode == parquet::MetricsMode::kTruncate) pick.bound_length = metrics.truncate_length;
  return pick;
}

}  // namespace

Result<int64_t> TargetBytes(const iceberg::TableMetadata& metadata) {
  const std::optional<std::string> text = metadata.Property("write.target-file-size-bytes");
  if (!text.has_value()) return PickOptions{}.target_bytes;
  int64_t value = 0;
  auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), value);
  if (error == std::errc() && end == text->data() + text->size() && value > 0) return value;
  return Fail(ErrorCode::kInvalidInput,
              fmt::format("table property write.target-file-size-bytes is not a positive number: '{}'", *text));
}

void SetOrder(const iceberg::TableMetadata& metadata, PickOptions& pick) {
  const schema::SortOrder& order = metadata.DefaultSortOrder();
  if (order.fields.empty()) return;
  const schema::SortField& first = order.fields[0];
  const schema::Field* field = metadata.CurrentSchema().FindById(first.source_id);
  const bool as_it_is = first.transform.kind == schema::TransformKind::kIdentity &&
                        first.direction == schema::SortDirection::kAscending;
  if (!as_it_is || field == nullptr || !field->type->is_primitive()) return;
  pick.sort_field_id = first.source_id.value();
  pick.sort_type = field->type;
}

Result<SortPlan> PlanSort(const iceberg::TableMetadata& metadata, const SortRequest& request) {
  const schema::Schema& schema = metadata.CurrentSchema();
  SortPlan sort;
  if (request.by.empty()) {
    sort.order = metadata.DefaultSortOrder();
    sort.id = sort.order.order_id;
    if (sort.order.fields.empty()) {
      return Fail(ErrorCode::kInvalidInput,
                  "the table has no sort order; say --sort-by, or give it one (in Spark: ALTER TABLE … WRITE ORDERED "
                  "BY …)");
    }
  } else {
    FIRN_ASSIGN(sort.order, WithContext(schema::ParseSortOrder(request.by, schema), "--sort-by"));
    for (const schema::SortOrder& known : metadata.sort_orders) {
      if (known.fields != sort.order.fields) continue;
      sort.id = known.order_id;
      sort.order.order_id = known.order_id;
    }
  }
  FIRN_TRY(schema::CheckWritable(sort.order, schema));
  return sort;
}

void TablePlan::KeepFirst(size_t groups_max, size_t files_max, int64_t bytes_max) {
  size_t keep = 0;
  int64_t bytes = 0;
  for (size_t count = 0; keep < std::min(groups_max, picked.groups.size()); ++keep) {
    count += picked.groups[keep].files.size();
    bytes += picked.groups[keep].bytes;
    if (keep > 0 && (count > files_max || bytes > bytes_max)) break;
  }
  picked.groups.resize(keep);
  TableFiles kept;
  std::map<size_t, size_t> kept_deletes;  // groups may share them
  for (PickedGroup& group : picked.groups) {
    for (size_t& index : group.deletes) {
      const auto [at, is_new] = kept_deletes.emplace(index, kept.deletes.size());
      if (is_new) kept.deletes.push_back(std::move(files.deletes[index]));
      index = at->second;
    }
    for (size_t& file : group.files) {
      kept.data.push_back(std::move(files.data[file]));
      file = kept.data.size() - 1;
    }
  }
  files = std::move(kept);
}

Result<TablePlan> PlanTable(iceberg::LoadedTable loaded, env::ObjectStore& store, const PlanOptions& options) {
  TablePlan plan;
  plan.loaded = std::move(loaded);
  const iceberg::TableMetadata& metadata = plan.loaded.metadata;
  FIRN_TRY(iceberg::CheckWritable(metadata));
  FIRN_TRY(CheckWhere(metadata, options.where));
  const schema::Schema& schema = metadata.CurrentSchema();
  if (options.sort.has_value()) {
    FIRN_ASSIGN(plan.sort, PlanSort(metadata, *options.sort));
  }
  const schema::SortOrder& order = plan.sort.has_value() ? plan.sort->order : metadata.DefaultSortOrder();
  FIRN_ASSIGN(plan.layout, parquet::FileLayoutOptionsFromProperties(metadata.properties, schema, order));
  plan.layout.row_group_bytes_max = std::min(plan.layout.row_group_bytes_max, options.memory_bytes);
  plan.schema_json = schema::ToJson(schema).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  PickOptions pick;
  FIRN_ASSIGN(plan.target_bytes, TargetBytes(metadata));
  pick.target_bytes = plan.target_bytes;
  pick.where = options.where;
  pick.pace = options.pace;
  pick.owns = options.owns;
  pick.refused = options.refused;
  pick.file_bytes_max = options.memory_bytes;
  SetOrder(metadata, pick);
  const std::optional<int32_t> by =
      plan.sort.has_value() ? std::optional(plan.sort->order.fields.front().source_id.value()) : pick.sort_field_id;
  FIRN_ASSIGN(plan.files, ReadTableFiles(metadata, store, by));
  plan.picked = plan.sort.has_value() ? PickForSort(plan.files, pick, SortPickOf(*plan.sort, schema, plan.layout))
                                      : Pick(plan.files, pick);
  return plan;
}

}  // namespace firn::compaction
