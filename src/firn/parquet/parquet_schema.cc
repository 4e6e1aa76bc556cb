#include "firn/parquet/parquet_schema.h"

#include <arrow/array.h>
#include <arrow/record_batch.h>
#include <arrow/type.h>
#include <fmt/format.h>
#include <parquet/schema.h>

#include <string>
#include <utility>
#include <vector>

namespace firn::parquet {
namespace {

namespace pq = ::parquet;
using pq::LogicalType;
using pq::Repetition;
using pq::schema::GroupNode;
using pq::schema::NodePtr;
using pq::schema::PrimitiveNode;
using schema::TypeKind;

constexpr int32_t kInt32DecimalPrecisionMax = 9;
constexpr int32_t kInt64DecimalPrecisionMax = 18;

struct Primitive {
  std::shared_ptr<const LogicalType> logical;
  pq::Type::type physical;
  int32_t length = -1;
};

Primitive DecimalPrimitive(int32_t precision, int32_t scale) {
  auto logical = LogicalType::Decimal(precision, scale);
  if (precision <= kInt32DecimalPrecisionMax) return {logical, pq::Type::INT32};
  if (precision <= kInt64DecimalPrecisionMax) return {logical, pq::Type::INT64};
  return {logical, pq::Type::FIXED_LEN_BYTE_ARRAY, arrow::DecimalType::DecimalSize(precision)};
}

Primitive TimestampPrimitive(bool adjusted_to_utc, LogicalType::TimeUnit::unit unit) {
  return {LogicalType::Timestamp(adjusted_to_utc, unit), pq::Type::INT64};
}

Result<Primitive> ToPrimitive(const schema::Type& type) {
  constexpr auto kMicros = LogicalType::TimeUnit::MICROS;
  constexpr auto kNanos = LogicalType::TimeUnit::NANOS;
  auto none = LogicalType::None();
  switch (type.kind()) {
    case TypeKind::kBoolean: return Primitive{none, pq::Type::BOOLEAN};
    case TypeKind::kInt: return Primitive{none, pq::Type::INT32};
    case TypeKind::kLong: return Primitive{none, pq::Type::INT64};
    case TypeKind::kFloat: return Primitive{none, pq::Type::FLOAT};
    case TypeKind::kDouble: return Primitive{none, pq::Type::DOUBLE};
    case TypeKind::kDecimal: return DecimalPrimitive(type.precision(), type.scale());
    case TypeKind::kDate: return Primitive{LogicalType::Date(), pq::Type::INT32};
    case TypeKind::kTime: return Primitive{LogicalType::Time(false, kMicros), pq::Type::INT64};
    case TypeKind::kTimestamp: return TimestampPrimitive(false, kMicros);
    case TypeKind::kTimestamptz: return TimestampPrimitive(true, kMicros);
    case TypeKind::kTimestampNs: return TimestampPrimitive(false, kNanos);
    case TypeKind::kTimestamptzNs: return TimestampPrimitive(true, kNanos);
    case TypeKind::kString: return Primitive{LogicalType::String(), pq::Type::BYTE_ARRAY};
    case TypeKind::kUuid: return Primitive{LogicalType::UUID(), pq::Type::FIXED_LEN_BYTE_ARRAY, 16};
    case TypeKind::kFixed: return Primitive{none, pq::Type::FIXED_LEN_BYTE_ARRAY, type.length()};
    case TypeKind::kBinary: return Primitive{none, pq::Type::BYTE_ARRAY};
    default: break;
  }
  return Fail(ErrorCode::kUnsupported, fmt::format("Parquet files of this type are not written: {}", type.ToString()));
}

Result<NodePtr> ToNode(const schema::Field& field, std::string_view name, Repetition::type repetition);

Repetition::type RepetitionOf(const schema::Field& field) {
  return field.required ? Repetition::REQUIRED : Repetition::OPTIONAL;
}

Result<pq::schema::NodeVector> ToNodes(const std::vector<schema::Field>& fields) {
  if (fields.empty()) {
    return Fail(ErrorCode::kUnsupported, "Parquet cannot store a struct without fields; drop it or give it a field");
  }
  pq::schema::NodeVector nodes;
  for (const auto& field : fields) {
    FIRN_ASSIGN(auto node, ToNode(field, field.name, RepetitionOf(field)));
    nodes.push_back(std::move(node));
  }
  return nodes;
}

Result<NodePtr> ToNestedNode(const schema::Field& field, std::string_view name, Repetition::type repetition) {
  const schema::Type& type = *field.type;
  std::string label(name);
  if (type.kind() == TypeKind::kStruct) {
    FIRN_ASSIGN(auto children, ToNodes(type.fields()));
    return GroupNode::Make(label, repetition, children, nullptr, field.id.value());
  }
  if (type.kind() == TypeKind::kList) {
    FIRN_ASSIGN(auto element, ToNode(type.element(), "element", RepetitionOf(type.element())));
    auto list = GroupNode::Make("list", Repetition::REPEATED, {element});
    return GroupNode::Make(label, repetition, {list}, LogicalType::List(), field.id.value());
  }
  FIRN_ASSIGN(auto key, ToNode(type.key(), "key", Repetition::REQUIRED));
  FIRN_ASSIGN(auto value, ToNode(type.value(), "value", RepetitionOf(type.value())));
  auto key_value = GroupNode::Make("key_value", Repetition::REPEATED, {key, value});
  return GroupNode::Make(label, repetition, {key_value}, LogicalType::Map(), field.id.value());
}

Result<NodePtr> ToNode(const schema::Field& field, std::string_view name, Repetition::type repetition) {
  auto node = [&]() -> Result<NodePtr> {
    if (field.type->is_nested()) return ToNestedNode(field, name, repetition);
    FIRN_ASSIGN(auto primitive, ToPrimitive(*field.type));
    return PrimitiveNode::Make(std::string(name), repetition, primitive.logical, primitive.physical, primitive.length,
                               field.id.value());
  }();
  return WithContext(std::move(node), name);
}

// Same buffers and children all the way down; names, nullability and metadata do not matter.
bool SameLayout(const arrow::DataType& a, const arrow::DataType& b) {
  if (a.id() != b.id() || a.num_fields() != b.num_fields()) return false;
  if (a.num_fields() == 0) return a.Equals(b);
  for (int i = 0; i < a.num_fields(); ++i) {
    if (!SameLayout(*a.field(i)->type(), *b.field(i)->type())) return false;
  }
  return true;
}

}  // namespace

Result<std::shared_ptr<GroupNode>> ToParquetSchema(const schema::Schema& schema) {
  try {
    FIRN_ASSIGN(auto nodes, ToNodes(schema.fields));
    return std::static_pointer_cast<GroupNode>(GroupNode::Make("table", Repetition::REQUIRED, nodes));
  } catch (const std::exception& e) {
    return Fail(ErrorCode::kUnsupported, fmt::format("the schema has no Parquet form: {}", e.what()));
  }
}

Status CheckLayout(const arrow::RecordBatch& batch, const arrow::Schema& write_schema) {
  if (batch.num_columns() != write_schema.num_fields()) {
    return Fail(ErrorCode::kInvalidInput, fmt::format("a batch has not the columns of the schema: {} instead of {}",
                                                      batch.num_columns(), write_schema.num_fields()));
  }
  for (int i = 0; i < batch.num_columns(); ++i) {
    const auto& wanted = *write_schema.field(i);
    const auto& type = *batch.column_data(i)->type;
    if (SameLayout(type, *wanted.type())) continue;
    return Fail(ErrorCode::kInvalidInput, fmt::format("column {} of a batch has the wrong Arrow type, expected {}: {}",
                                                      wanted.name(), wanted.type()->ToString(), type.ToString()));
  }
  return {};
}

}  // namespace firn::parquet
