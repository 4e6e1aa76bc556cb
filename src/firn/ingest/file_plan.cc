#include "firn/ingest/file_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>
#include <utility>

#include "firn/base/log.h"
#include "firn/columnar/column_builder.h"
#include "firn/schema/schema_json.h"

namespace firn::ingest {
namespace {

constexpr int64_t kTargetFileBytesDefault = 512 << 20;

Result<int64_t> TargetFileBytes(const iceberg::TableMetadata& metadata) {
  std::optional<std::string> text = metadata.Property("write.target-file-size-bytes");
  if (!text.has_value()) return kTargetFileBytesDefault;
  int64_t value = 0;
  auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), value);
  if (error != std::errc() || end != text->data() + text->size() || value <= 0) {
    return Fail(ErrorCode::kInvalidInput,
                fmt::format("table property write.target-file-size-bytes is not a positive number: '{}'", *text));
  }
  return value;
}

schema::SortOrder UsableSortOrder(const iceberg::TableMetadata& metadata, const schema::Schema& schema) {
  const schema::SortOrder& order = metadata.DefaultSortOrder();
  return schema::CheckWritable(order, schema).has_value() ? order : schema::SortOrder{};
}

// Names and docs come from others, and need not be UTF-8.
std::string SchemaText(const schema::Schema& schema) {
  return schema::ToJson(schema).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace

Result<std::shared_ptr<const FilePlan>> MakeFilePlan(std::shared_ptr<const iceberg::LoadedTable> table,
                                                     int32_t schema_id, int64_t row_group_bytes_max) {
  const iceberg::TableMetadata& metadata = table->metadata;
  const schema::Schema* schema = metadata.FindSchema(schema_id);
  if (schema == nullptr) {
    return Fail(ErrorCode::kConflict,
                fmt::format("schema {} was removed from table '{}'", schema_id, table->identifier.ToString()));
  }
  schema::SortOrder sort_order = UsableSortOrder(metadata, *schema);
  FIRN_ASSIGN(parquet::FileLayoutOptions layout,
              parquet::FileLayoutOptionsFromProperties(metadata.properties, *schema, sort_order));
  layout.row_group_bytes_max = std::min(layout.row_group_bytes_max, row_group_bytes_max);
  FIRN_ASSIGN(int64_t target, TargetFileBytes(metadata));
  auto plan = std::make_shared<FilePlan>();
  plan->schema = schema;
  plan->spec = &metadata.DefaultSpec();
  plan->sort_order = std::move(sort_order);
  FIRN_ASSIGN(plan->form, parquet::MakeFileForm(*schema, layout, SchemaText(*schema)));
  plan->target_file_bytes = target;
  plan->arrow_schema = columnar::ToArrowSchema(*schema);
  plan->table = std::move(table);
  return plan;
}

Status CheckWriteProperties(const iceberg::TableMetadata& metadata) {
  const schema::Schema& schema = metadata.CurrentSchema();
  const schema::SortOrder sort_order = UsableSortOrder(metadata, schema);
  FIRN_ASSIGN(const parquet::FileLayoutOptions options,
              parquet::FileLayoutOptionsFromProperties(metadata.properties, schema, sort_order));
  FIRN_TRY(TargetFileBytes(metadata));
  FIRN_TRY(parquet::MakeFileForm(schema, options, ""));
  if (Status usable = schema::CheckWritable(metadata.DefaultSortOrder(), schema); !usable.has_value()) {
    LogWarning("rows are written without the table's sort order",
               {{"table", metadata.location}, {"error", usable.error()}});
  }
  return {};
}

}  // namespace firn::ingest
