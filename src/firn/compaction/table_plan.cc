#include "firn/compaction/table_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

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
  FIRN_ASSIGN(plan.layout,
              parquet::FileLayoutOptionsFromProperties(metadata.properties, schema, metadata.DefaultSortOrder()));
  plan.layout.row_group_bytes_max = std::min(plan.layout.row_group_bytes_max, options.memory_bytes);
  plan.schema_json = schema::ToJson(schema).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  PickOptions pick;
  FIRN_ASSIGN(pick.target_bytes, TargetBytes(metadata));
  pick.where = options.where;
  pick.pace = options.pace;
  pick.owns = options.owns;
  pick.refused = options.refused;
  pick.file_bytes_max = options.memory_bytes;
  SetOrder(metadata, pick);
  FIRN_ASSIGN(plan.files, ReadTableFiles(metadata, store, pick.sort_field_id));
  plan.picked = Pick(plan.files, pick);
  return plan;
}

}  // namespace firn::compaction
