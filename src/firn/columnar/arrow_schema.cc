#include <arrow/type.h>
#include <arrow/util/key_value_metadata.h>

#include <string>

#include "firn/columnar/column_builder.h"

namespace firn::columnar {
namespace {

// Parquet writers and readers of Arrow carry field ids under this key.
constexpr char kFieldIdKey[] = "PARQUET:field_id";

std::shared_ptr<arrow::DataType> ToArrowType(const schema::Type& type) {
  switch (type.kind()) {
    case schema::TypeKind::kBoolean: return arrow::boolean();
    case schema::TypeKind::kInt: return arrow::int32();
    case schema::TypeKind::kLong: return arrow::int64();
    case schema::TypeKind::kFloat: return arrow::float32();
    case schema::TypeKind::kDouble: return arrow::float64();
    case schema::TypeKind::kDecimal: return arrow::decimal128(type.precision(), type.scale());
    case schema::TypeKind::kDate: return arrow::date32();
    case schema::TypeKind::kTime: return arrow::time64(arrow::TimeUnit::MICRO);
    case schema::TypeKind::kTimestamp: return arrow::timestamp(arrow::TimeUnit::MICRO);
    case schema::TypeKind::kTimestamptz: return arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");
    case schema::TypeKind::kTimestampNs: return arrow::timestamp(arrow::TimeUnit::NANO);
    case schema::TypeKind::kTimestamptzNs: return arrow::timestamp(arrow::TimeUnit::NANO, "UTC");
    case schema::TypeKind::kString: return arrow::utf8();
    case schema::TypeKind::kUuid: return arrow::fixed_size_binary(16);
    case schema::TypeKind::kFixed: return arrow::fixed_size_binary(type.length());
    case schema::TypeKind::kBinary:
    case schema::TypeKind::kUnknown:
    case schema::TypeKind::kVariant:
    case schema::TypeKind::kGeometry:
    case schema::TypeKind::kGeography: return arrow::binary();
    case schema::TypeKind::kStruct: {
      arrow::FieldVector fields;
      for (const schema::Field& field : type.fields()) fields.push_back(ToArrowField(field));
      return arrow::struct_(std::move(fields));
    }
    case schema::TypeKind::kList: return arrow::list(ToArrowField(type.element()));
    case schema::TypeKind::kMap:
      return std::make_shared<arrow::MapType>(ToArrowField(type.key()), ToArrowField(type.value()));
  }
  return arrow::binary();
}

}  // namespace

std::shared_ptr<arrow::Field> ToArrowField(const schema::Field& field) {
  return arrow::field(field.name, ToArrowType(*field.type), !field.required,
                      arrow::key_value_metadata({kFieldIdKey}, {std::to_string(field.id.value())}));
}

std::shared_ptr<arrow::Schema> ToArrowSchema(const schema::Schema& schema) {
  arrow::FieldVector fields;
  for (const schema::Field& field : schema.fields) fields.push_back(ToArrowField(field));
  return arrow::schema(std::move(fields));
}

}  // namespace firn::columnar
