#include "firn/parquet/leaf_shape.h"

#include <fmt/format.h>
#include <parquet/schema.h>

#include <cstring>
#include <utility>

namespace firn::parquet {
namespace {

using format::PhysicalType;
using schema::TypeKind;
using Kind = LeafStep::Kind;

constexpr int kLevelMax = 255;

class Walker {
 public:
  explicit Walker(std::vector<LeafShape>& leaves) : leaves_(leaves) {}

  void Visit(const schema::Field& field, int root) {
    root_ = root;
    Visit(field);
  }

 private:
  void Visit(const schema::Field& field) {
    const schema::Type& type = *field.type;
    bool optional = !field.required;
    if (type.is_primitive()) {
      Push({Kind::kLeaf, optional});
      LeafShape leaf;
      leaf.type = field.type;
      leaf.field_id = field.id.value();
      leaf.root = root_;
      leaf.steps = steps_;
      leaves_.push_back(std::move(leaf));
      return steps_.pop_back();
    }
    if (type.kind() == TypeKind::kStruct) return VisitStruct(type.fields(), optional);
    Push({Kind::kList, optional});
    // A map is a list of key-value structs in Arrow, and those are never null.
    if (type.kind() == TypeKind::kMap) {
      VisitStruct(type.fields(), false);
    } else {
      Visit(type.element());
    }
    steps_.pop_back();
  }

  void VisitStruct(const std::vector<schema::Field>& fields, bool optional) {
    for (size_t i = 0; i < fields.size(); ++i) {
      Push({Kind::kStruct, optional, static_cast<int>(i)});
      Visit(fields[i]);
      steps_.pop_back();
    }
  }

  void Push(LeafStep step) { steps_.push_back(step); }

  std::vector<LeafShape>& leaves_;
  std::vector<LeafStep> steps_;
  int root_ = 0;
};

int32_t WidthOf(PhysicalType physical, int32_t type_length) {
  switch (physical) {
    case PhysicalType::kBoolean: return 1;
    case PhysicalType::kInt32:
    case PhysicalType::kFloat: return 4;
    case PhysicalType::kInt64:
    case PhysicalType::kDouble: return 8;
    case PhysicalType::kByteArray: return 0;
    case PhysicalType::kFixedLenByteArray: return type_length;
  }
  return 0;
}

ValueOrder OrderOf(PhysicalType physical, const schema::Type& type) {
  switch (physical) {
    case PhysicalType::kBoolean: return ValueOrder::kBoolean;
    case PhysicalType::kInt32: return ValueOrder::kInt32;
    case PhysicalType::kInt64: return ValueOrder::kInt64;
    case PhysicalType::kFloat: return ValueOrder::kFloat;
    case PhysicalType::kDouble: return ValueOrder::kDouble;
    default: break;
  }
  return type.kind() == TypeKind::kDecimal ? ValueOrder::kSignedBigEndian : ValueOrder::kUnsignedBytes;
}

template <typename T>
int CompareAs(std::string_view a, std::string_view b) {
  T left, right;
  std::memcpy(&left, a.data(), sizeof(T));
  std::memcpy(&right, b.data(), sizeof(T));
  return left < right ? -1 : left > right ? 1 : 0;
}

int Sign(int comparison) { return comparison < 0 ? -1 : comparison > 0 ? 1 : 0; }

}  // namespace

Result<std::vector<LeafShape>> LeafShapes(const schema::Schema& schema,
                                          const std::shared_ptr<::parquet::schema::GroupNode>& parquet_schema) {
  std::vector<LeafShape> leaves;
  Walker walker(leaves);
  for (size_t i = 0; i < schema.fields.size(); ++i) walker.Visit(schema.fields[i], static_cast<int>(i));
  ::parquet::SchemaDescriptor descriptor;
  descriptor.Init(parquet_schema);
  if (descriptor.num_columns() != static_cast<int>(leaves.size())) {
    return Fail(ErrorCode::kInternal, "the Parquet schema has other leaves than the Iceberg schema");
  }
  for (size_t i = 0; i < leaves.size(); ++i) {
    LeafShape& leaf = leaves[i];
    const auto& column = *descriptor.Column(static_cast<int>(i));
    leaf.path = column.path()->ToDotVector();
    if (column.max_definition_level() > kLevelMax || column.max_repetition_level() > kLevelMax) {
      return Fail(ErrorCode::kUnsupported, fmt::format("a column is nested too deeply for the Parquet writer: {}",
                                                       column.path()->ToDotString()));
    }
    leaf.max_definition_level = static_cast<uint8_t>(column.max_definition_level());
    leaf.max_repetition_level = static_cast<uint8_t>(column.max_repetition_level());
    leaf.physical = static_cast<PhysicalType>(column.physical_type());
    leaf.width = WidthOf(leaf.physical, column.type_length());
    leaf.order = OrderOf(leaf.physical, *leaf.type);
  }
  return leaves;
}

int ComparePlain(ValueOrder order, std::string_view a, std::string_view b) {
  switch (order) {
    case ValueOrder::kBoolean: return CompareAs<uint8_t>(a, b);
    case ValueOrder::kInt32: return CompareAs<int32_t>(a, b);
    case ValueOrder::kInt64: return CompareAs<int64_t>(a, b);
    case ValueOrder::kFloat: return CompareAs<float>(a, b);
    case ValueOrder::kDouble: return CompareAs<double>(a, b);
    case ValueOrder::kUnsignedBytes: return Sign(a.compare(b));
    case ValueOrder::kSignedBigEndian: break;
  }
  // Both have the column's width; only the first byte carries the sign.
  if (int first = CompareAs<int8_t>(a, b); first != 0) return first;
  return Sign(a.compare(b));
}

}  // namespace firn::parquet
