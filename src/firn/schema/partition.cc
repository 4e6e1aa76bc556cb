#include "firn/schema/partition.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "firn/base/check.h"

namespace firn::schema {
namespace {

Result<TypePtr> FieldType(const PartitionField& field, const Schema& schema) {
  const Field* source = schema.FindById(field.source_id);
  if (source != nullptr) {
    return WithContext(field.transform.ResultType(*source->type), fmt::format("partition field '{}'", field.name));
  }
  switch (field.transform.kind) {
    case TransformKind::kBucket:
    case TransformKind::kYear:
    case TransformKind::kMonth:
    case TransformKind::kHour:
      return Type::Primitive(TypeKind::kInt);
    case TransformKind::kDay:
      return Type::Primitive(TypeKind::kDate);
    default:
      return Type::Primitive(TypeKind::kString);
  }
}

}  // namespace

bool PartitionSpec::is_unpartitioned() const {
  return std::all_of(fields.begin(), fields.end(),
                     [](const PartitionField& field) { return field.transform.kind == TransformKind::kVoid; });
}

Result<TypePtr> PartitionType(const PartitionSpec& spec, const Schema& schema) {
  std::vector<Field> fields;
  for (const PartitionField& field : spec.fields) {
    FIRN_ASSIGN(TypePtr type, FieldType(field, schema));
    fields.push_back(Field{field.field_id, field.name, std::move(type), false});
  }
  return Type::Struct(std::move(fields));
}

Status CheckWritable(const PartitionSpec& spec, const Schema& schema) {
  for (const PartitionField& field : spec.fields) {
    if (field.transform.kind == TransformKind::kVoid) continue;
    if (field.transform.kind == TransformKind::kUnknown) {
      return Fail(ErrorCode::kUnsupported,
                  fmt::format("Firn cannot write partitions of this transform; give the table a partition spec without "
                              "it: field '{}', transform '{}'", field.name, field.transform.ToString()));
    }
    const Field* source = schema.FindById(field.source_id);
    if (source == nullptr) {
      return Fail(ErrorCode::kUnsupported,
                  fmt::format("the source column of a partition field is gone; drop the field from the partition spec: "
                              "'{}' (source id {})", field.name, field.source_id));
    }
    if (auto type = field.transform.ResultType(*source->type); !type) {
      return Fail(ErrorCode::kUnsupported, fmt::format("partition field '{}': {}", field.name, type.error().message()));
    }
  }
  return {};
}

Status CheckWritable(const SortOrder& order, const Schema& schema) {
  auto refuse = [&](std::string_view reason, const SortField& field) {
    return Fail(ErrorCode::kUnsupported, fmt::format("rows cannot be sorted by order {}, {}: {} of source id {}",
                                                     order.order_id, reason, field.transform.ToString(),
                                                     field.source_id));
  };
  for (const SortField& field : order.fields) {
    if (field.transform.kind == TransformKind::kVoid) continue;
    if (field.transform.kind == TransformKind::kUnknown) return refuse("Firn does not know its transform", field);
    std::vector<const Field*> path = schema.PathTo(field.source_id);
    if (path.empty()) return refuse("a column of it is gone", field);
    const Type& source = *path.back()->type;
    if (!field.transform.ResultType(source) || source.kind() == TypeKind::kUnknown) {
      return refuse("a column of it has a type that has no such order", field);
    }
    path.pop_back();
    bool in_structs = std::all_of(path.begin(), path.end(), [](const Field* parent) {
      return parent->type->kind() == TypeKind::kStruct;
    });
    if (!in_structs) return refuse("a column of it is inside a list or map", field);
  }
  return {};
}

Value Promoted(const Value& value) {
  if (const auto* number = std::get_if<int32_t>(&value)) return int64_t{*number};
  if (const auto* number = std::get_if<float>(&value)) return double{*number};
  return value;
}

bool SamePartition(const PartitionTuple& a, const PartitionTuple& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const Value& x, const Value& y) {
    if (IsNull(x) || IsNull(y)) return IsNull(x) && IsNull(y);
    const Value left = Promoted(x);
    const Value right = Promoted(y);
    return left.index() == right.index() && CompareValues(left, right) == 0;
  });
}

std::string PartitionPath(const PartitionSpec& spec, const Schema& schema, const PartitionTuple& tuple) {
  if (spec.is_unpartitioned()) return {};
  FIRN_CHECK(tuple.size() == spec.fields.size(), "a partition tuple has one value a partition field");
  std::string path;
  for (size_t i = 0; i < tuple.size(); ++i) {
    const PartitionField& field = spec.fields[i];
    const Field* source = schema.FindById(field.source_id);
    TypePtr type = source != nullptr ? source->type : Type::Primitive(TypeKind::kString);
    if (i > 0) path += '/';
    path += UrlEncodeForm(field.name);
    path += '=';
    path += PartitionPathText(field.transform, *type, tuple[i]);
  }
  return path;
}

}  // namespace firn::schema
