#include "firn/parquet/required_values.h"

#include <arrow/array.h>
#include <arrow/record_batch.h>
#include <fmt/format.h>

#include <algorithm>
#include <vector>

namespace firn::parquet {
namespace {

using schema::TypeKind;

// The rows of an array that exist: [begin, end), thinned out by `live` (one byte a row of the array) where it is set.
struct Rows {
  int64_t begin = 0;
  int64_t end = 0;
  const std::vector<uint8_t>* live = nullptr;

  bool Has(int64_t row) const { return live == nullptr || (*live)[static_cast<size_t>(row)] != 0; }
};

class Walker {
 public:
  Status Visit(const schema::Field& field, const arrow::Array& array, const Rows& rows) {
    if (field.required) FIRN_TRY(CheckNoNull(field, array, rows));
    switch (field.type->kind()) {
      case TypeKind::kStruct: return VisitStruct(field, static_cast<const arrow::StructArray&>(array), rows);
      case TypeKind::kList:
      case TypeKind::kMap: return VisitList(field, static_cast<const arrow::ListArray&>(array), rows);
      default: return {};
    }
  }

 private:
  static Status CheckNoNull(const schema::Field& field, const arrow::Array& array, const Rows& rows) {
    if (array.null_count() == 0) return {};
    for (int64_t row = rows.begin; row < rows.end; ++row) {
      if (array.IsNull(row) && rows.Has(row)) {
        return Fail(ErrorCode::kInvalidInput,
                    fmt::format("a required column has a null in row {} of a batch: {} (id {})", row, field.name,
                                field.id));
      }
    }
    return {};
  }

  Status VisitStruct(const schema::Field& field, const arrow::StructArray& array, const Rows& rows) {
    std::vector<uint8_t> live;
    Rows inner = rows;
    if (array.null_count() > 0) {
      live.assign(static_cast<size_t>(array.length()), 0);
      for (int64_t row = rows.begin; row < rows.end; ++row) {
        live[static_cast<size_t>(row)] = rows.Has(row) && array.IsValid(row);
      }
      inner.live = &live;
    }
    const auto& fields = field.type->fields();
    for (size_t i = 0; i < fields.size(); ++i) {
      FIRN_TRY(Visit(fields[i], *array.field(static_cast<int>(i)), inner));
    }
    return {};
  }

  // A map is a list of key-value structs in Arrow.
  Status VisitList(const schema::Field& field, const arrow::ListArray& array, const Rows& rows) {
    if (rows.begin == rows.end) return {};
    const arrow::Array& elements = *array.values();
    Rows inner{array.value_offset(rows.begin), array.value_offset(rows.end)};
    std::vector<uint8_t> live;
    if (rows.live != nullptr || array.null_count() > 0) {
      live.assign(static_cast<size_t>(elements.length()), 0);
      for (int64_t row = rows.begin; row < rows.end; ++row) {
        if (!rows.Has(row) || array.IsNull(row)) continue;
        std::fill(live.begin() + array.value_offset(row), live.begin() + array.value_offset(row + 1), uint8_t{1});
      }
      inner.live = &live;
    }
    if (field.type->kind() == TypeKind::kList) return Visit(field.type->element(), elements, inner);
    const auto& entries = static_cast<const arrow::StructArray&>(elements);
    FIRN_TRY(Visit(field.type->key(), *entries.field(0), inner));
    return Visit(field.type->value(), *entries.field(1), inner);
  }
};

bool AsksForSomething(const schema::Field& field) {
  return field.required || std::ranges::any_of(field.type->fields(), AsksForSomething);
}

}  // namespace

std::vector<size_t> RequiredColumns(const schema::Schema& schema) {
  std::vector<size_t> columns;
  for (size_t i = 0; i < schema.fields.size(); ++i) {
    if (AsksForSomething(schema.fields[i])) columns.push_back(i);
  }
  return columns;
}

Status CheckRequired(const schema::Schema& schema, std::span<const size_t> columns, const columnar::RowSlice& rows) {
  Walker walker;
  for (size_t column : columns) {
    const bool whole = schema.fields[column].type->is_primitive();
    if (whole && rows.batch->column_data()[column]->GetNullCount() == 0) continue;
    // What the walk notes down is of the array's size.
    const auto array = rows.batch->column(static_cast<int>(column))->Slice(rows.begin, rows.end - rows.begin);
    FIRN_TRY(walker.Visit(schema.fields[column], *array, Rows{0, array->length()}));
  }
  return {};
}

}  // namespace firn::parquet
