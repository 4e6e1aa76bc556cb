#include "firn/compaction/row_deletes.h"

#include <arrow/api.h>
#include <fmt/format.h>

#include <algorithm>
#include <functional>

#include "firn/compaction/row_reader.h"
#include "firn/iceberg/commit/position_deletes.h"

namespace firn::compaction {
namespace {

using iceberg::FileContent;
using schema::TypeKind;

constexpr int32_t kDeletePositionFieldId = 2147483545;  // spec, "Reserved Field IDs"

void AppendBytes(const void* data, size_t size, std::string& key) {
  key.append(static_cast<const char*>(data), size);
}

// Appends the value as bytes of its own, so that two rows are equal where all bytes of their keys are.
Status AppendKey(const arrow::Array& column, int64_t row, std::string& key) {
  key.push_back(column.IsNull(row) ? '\0' : '\1');
  if (column.IsNull(row)) return {};
  switch (column.type_id()) {
    case arrow::Type::BOOL:
      key.push_back(static_cast<const arrow::BooleanArray&>(column).Value(row) ? '\1' : '\0');
      return {};
    case arrow::Type::STRING:
    case arrow::Type::BINARY: {
      const std::string_view value = static_cast<const arrow::BinaryArray&>(column).GetView(row);
      const auto size = static_cast<uint32_t>(value.size());
      AppendBytes(&size, sizeof(size), key);
      key.append(value);
      return {};
    }
    case arrow::Type::INT32:
    case arrow::Type::INT64:
    case arrow::Type::DATE32:
    case arrow::Type::TIME64:
    case arrow::Type::TIMESTAMP:
    case arrow::Type::DECIMAL128:
    case arrow::Type::FIXED_SIZE_BINARY: {
      const auto& type = static_cast<const arrow::FixedWidthType&>(*column.type());
      const auto width = static_cast<int64_t>(type.bit_width() / 8);
      const arrow::ArrayData& data = *column.data();
      AppendBytes(data.buffers[1]->data() + (data.offset + row) * width, static_cast<size_t>(width), key);
      return {};
    }
    default:
      return Fail(ErrorCode::kUnsupported,
                  fmt::format("an equality delete by a column of type {}", column.type()->ToString()));
  }
}

schema::Schema PositionDeleteSchema() {
  schema::Schema schema;
  schema.fields = {
      {FieldId{iceberg::kDeleteFilePathFieldId}, "file_path", schema::Type::Primitive(TypeKind::kString)},
      {FieldId{kDeletePositionFieldId}, "pos", schema::Type::Primitive(TypeKind::kLong)}};
  return schema;
}

// Top-level columns of the table, primitive, no floating-point numbers (spec).
Result<std::vector<int>> EqualityColumns(const schema::Schema& schema, const iceberg::DataFile& file) {
  std::vector<int> columns;
  for (const int32_t id : file.equality_ids) {
    auto found = std::find_if(schema.fields.begin(), schema.fields.end(),
                              [id](const schema::Field& field) { return field.id.value() == id; });
    const bool known = found != schema.fields.end() && found->type->is_primitive();
    const bool exact = known && found->type->kind() != TypeKind::kFloat && found->type->kind() != TypeKind::kDouble;
    if (!exact) {
      return Fail(ErrorCode::kUnsupported,
                  fmt::format("an equality delete by a column that is dropped, nested or of floating-point numbers "
                              "(field id {})",
                              id));
    }
    columns.push_back(static_cast<int>(found - schema.fields.begin()));
  }
  if (columns.empty()) return Fail(ErrorCode::kCorruption, "an equality delete file without columns");
  return columns;
}

}  // namespace

Status EqualityDeletes::Add(const arrow::RecordBatch& batch) {
  for (int64_t row = 0; row < batch.num_rows(); ++row) {
    std::string key;
    for (const auto& column : batch.columns()) FIRN_TRY(AppendKey(*column, row, key));
    keys_.insert(std::move(key));
  }
  return {};
}

Status EqualityDeletes::Mark(const arrow::RecordBatch& batch, std::vector<bool>& deleted) const {
  if (keys_.empty()) return {};
  std::vector<std::shared_ptr<arrow::Array>> columns;
  for (const int column : columns_) columns.push_back(batch.column(column));
  std::string key;
  for (int64_t row = 0; row < batch.num_rows(); ++row) {
    key.clear();
    for (const auto& column : columns) FIRN_TRY(AppendKey(*column, row, key));
    if (keys_.contains(key)) deleted[static_cast<size_t>(row)] = true;
  }
  return {};
}

Status DeleteReader::Read(size_t deletes, const schema::Schema& schema,
                          const std::function<Status(const arrow::RecordBatch&)>& take) const {
  const iceberg::DataFile& file = plan_.files.deletes[deletes].entry.data_file;
  FIRN_ASSIGN(std::string bytes, store_.Read(file.file_path));
  FIRN_ASSIGN(auto reader, RowReader::Open(schema, std::make_shared<const std::string>(std::move(bytes))));
  int64_t rows = 0;
  for (;;) {
    FIRN_ASSIGN(const std::shared_ptr<arrow::RecordBatch> batch, reader->Next());
    if (batch == nullptr) break;
    rows += batch->num_rows();
    FIRN_TRY(take(*batch));
  }
  if (rows == file.record_count) return {};
  return Fail(ErrorCode::kCorruption,
              fmt::format("it has {} rows, its manifest entry says {}", rows, file.record_count));
}

Result<const DeleteReader::Positions*> DeleteReader::PositionsOf(size_t deletes) {
  if (auto known = positions_.find(deletes); known != positions_.end()) return &known->second;
  Positions positions;
  FIRN_TRY(Read(deletes, PositionDeleteSchema(), [&](const arrow::RecordBatch& batch) -> Status {
    if (batch.column(0)->null_count() + batch.column(1)->null_count() > 0) {
      return Fail(ErrorCode::kCorruption, "a position delete without a path or a position");
    }
    const auto& paths = static_cast<const arrow::StringArray&>(*batch.column(0));
    const auto& rows = static_cast<const arrow::Int64Array&>(*batch.column(1));
    std::vector<int64_t>* of_path = nullptr;
    for (int64_t i = 0; i < batch.num_rows(); ++i) {
      // Rows of one path stand together.
      if (i == 0 || paths.GetView(i) != paths.GetView(i - 1)) of_path = &positions[std::string(paths.GetView(i))];
      of_path->push_back(rows.Value(i));
    }
    return {};
  }));
  return &positions_.emplace(deletes, std::move(positions)).first->second;
}

Result<std::shared_ptr<const EqualityDeletes>> DeleteReader::EqualityOf(size_t deletes) {
  if (auto known = equality_.find(deletes); known != equality_.end()) return known->second;
  const schema::Schema& table = plan_.loaded.metadata.CurrentSchema();
  FIRN_ASSIGN(std::vector<int> columns, EqualityColumns(table, plan_.files.deletes[deletes].entry.data_file));
  schema::Schema schema;
  for (const int column : columns) {
    schema.fields.push_back(table.fields[static_cast<size_t>(column)]);
    schema.fields.back().required = false;  // delete files of others may state it so
  }
  auto equality = std::make_shared<EqualityDeletes>(std::move(columns));
  FIRN_TRY(Read(deletes, schema, [&](const arrow::RecordBatch& batch) { return equality->Add(batch); }));
  equality_.emplace(deletes, equality);
  return std::shared_ptr<const EqualityDeletes>(std::move(equality));
}

Result<FileDeletes> DeleteReader::For(size_t data, std::span<const size_t> deletes) {
  const LiveFile& file = plan_.files.data[data];
  const std::string& path = file.entry.data_file.file_path;
  FileDeletes applicable;
  for (const size_t index : deletes) {
    const LiveFile& one = plan_.files.deletes[index];
    const std::string context = fmt::format("delete file '{}'", one.entry.data_file.file_path);
    if (one.entry.data_file.content == FileContent::kEqualityDeletes) {
      FIRN_ASSIGN(auto equality, WithContext(EqualityOf(index), context));
      applicable.equality.push_back(std::move(equality));
      continue;
    }
    FIRN_ASSIGN(const Positions* positions, WithContext(PositionsOf(index), context));
    // A file that is newer than the delete is not the one that was meant, whatever its name.
    const bool is_newer = file.entry.sequence_number.value_or(0) > one.entry.sequence_number.value_or(0);
    auto found = positions->find(path);
    if (is_newer || found == positions->end()) continue;
    applicable.positions.insert(applicable.positions.end(), found->second.begin(), found->second.end());
  }
  std::vector<int64_t>& positions = applicable.positions;
  std::sort(positions.begin(), positions.end());
  positions.erase(std::unique(positions.begin(), positions.end()), positions.end());
  return applicable;
}

std::vector<std::string> DeleteReader::NamedBy(size_t deletes) const {
  std::vector<std::string> names;
  auto found = positions_.find(deletes);
  if (found == positions_.end()) return names;
  for (const auto& [path, positions] : found->second) names.push_back(path);
  return names;
}

}  // namespace firn::compaction
