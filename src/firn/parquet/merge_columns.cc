#include "firn/parquet/merge_columns.h"

#include <fmt/format.h>
#include <parquet/schema.h>
#include <parquet/types.h>

#include <algorithm>
#include <map>

namespace firn::parquet {
namespace {

namespace pq = ::parquet;
using schema::TypeKind;

constexpr int32_t kInt32 = pq::Type::INT32;
constexpr int32_t kInt64 = pq::Type::INT64;
constexpr int32_t kFloat = pq::Type::FLOAT;
constexpr int32_t kDouble = pq::Type::DOUBLE;
constexpr int32_t kByteArray = pq::Type::BYTE_ARRAY;
constexpr int32_t kFixed = pq::Type::FIXED_LEN_BYTE_ARRAY;

std::unexpected<Refusal> Refuse(std::string_view reason, std::string detail) {
  return std::unexpected<Refusal>(Refusal{reason, std::move(detail)});
}

int32_t ValueBytes(const pq::ColumnDescriptor& column) {
  switch (column.physical_type()) {
    case pq::Type::BOOLEAN: return 1;
    case pq::Type::INT32:
    case pq::Type::FLOAT: return 4;
    case pq::Type::INT64:
    case pq::Type::DOUBLE: return 8;
    case pq::Type::FIXED_LEN_BYTE_ARRAY: return column.type_length();
    default: return 0;
  }
}

std::vector<PathStep> PathOf(const pq::schema::Node& leaf) {
  std::vector<PathStep> path;
  for (const pq::schema::Node* node = &leaf; node->parent() != nullptr; node = node->parent()) {
    PathStep step{static_cast<Repetition>(node->repetition()), std::nullopt};
    if (node->field_id() >= 0) step.field_id = node->field_id();
    path.push_back(step);
  }
  std::reverse(path.begin(), path.end());
  return path;
}

bool IsOneOf(Annotation annotation, std::initializer_list<Annotation> allowed) {
  return std::find(allowed.begin(), allowed.end(), annotation) != allowed.end();
}

std::optional<Conversion> DecimalConversion(const FileNode& file, const OutputLeaf& leaf) {
  if (file.annotation != Annotation::kDecimal || file.scale != leaf.type->scale()) return std::nullopt;
  if (file.precision > leaf.type->precision()) return std::nullopt;
  const bool same = file.physical_type == leaf.physical_type &&
                    (file.physical_type != kFixed || file.type_length == leaf.value_bytes);
  if (same) return Conversion::kNone;
  const bool readable = file.physical_type == kInt32 || file.physical_type == kInt64 ||
                        (file.physical_type == kFixed && file.type_length >= 1 && file.type_length <= 16);
  return readable ? std::optional(Conversion::kDecimal) : std::nullopt;
}

// What has to happen to values of the file's leaf to be values of the table's; nothing: it cannot be done.
std::optional<Conversion> ConversionOf(const FileNode& file, const OutputLeaf& leaf) {
  const TypeKind kind = leaf.type->kind();
  const bool plain = file.annotation == Annotation::kNone;
  const bool integer = plain || file.annotation == Annotation::kSignedInteger;
  auto same = [&](bool right) { return right ? std::optional(Conversion::kNone) : std::nullopt; };
  const bool same_physical = file.physical_type == leaf.physical_type;
  switch (kind) {
    case TypeKind::kBoolean: return same(same_physical);
    case TypeKind::kInt: return same(same_physical && integer);
    case TypeKind::kLong:
      if (file.physical_type == kInt32 && integer) return Conversion::kInt32ToInt64;
      return same(same_physical && integer);
    case TypeKind::kFloat: return same(same_physical);
    case TypeKind::kDouble:
      if (file.physical_type == kFloat) return Conversion::kFloatToDouble;
      return same(file.physical_type == kDouble);
    case TypeKind::kDecimal: return DecimalConversion(file, leaf);
    case TypeKind::kDate: return same(same_physical && (plain || file.annotation == Annotation::kDate));
    case TypeKind::kTime: return same(same_physical && file.annotation == Annotation::kTimeMicros);
    case TypeKind::kTimestamp:
    case TypeKind::kTimestamptz: return same(same_physical && file.annotation == Annotation::kTimestampMicros);
    case TypeKind::kTimestampNs:
    case TypeKind::kTimestamptzNs: return same(same_physical && file.annotation == Annotation::kTimestampNanos);
    case TypeKind::kString:
    case TypeKind::kBinary:
      return same(file.physical_type == kByteArray && IsOneOf(file.annotation, {Annotation::kNone, Annotation::kText}));
    case TypeKind::kUuid:
    case TypeKind::kFixed:
      return same(same_physical && file.type_length == leaf.value_bytes &&
                  IsOneOf(file.annotation, {Annotation::kNone, Annotation::kUuid}));
    default: return std::nullopt;
  }
}

// Nodes from below the root down to `node`.
std::vector<const FileNode*> PathTo(const InputFooter& footer, int32_t node) {
  std::vector<const FileNode*> path;
  for (int32_t at = node; footer.nodes[static_cast<size_t>(at)].parent >= 0;) {
    path.push_back(&footer.nodes[static_cast<size_t>(at)]);
    at = footer.nodes[static_cast<size_t>(at)].parent;
  }
  std::reverse(path.begin(), path.end());
  return path;
}

// The output's definition level for each of the file's, along one path. A level says how many of the nodes that may be
// absent are there; nodes that only the output lets be absent are there whenever what is above them is.
std::expected<std::vector<uint8_t>, Refusal> MapLevels(const std::vector<const FileNode*>& file,
                                                       std::span<const PathStep> output) {
  if (file.size() != output.size()) return Refuse("nesting", "a column is nested otherwise than the table's");
  for (size_t i = 0; i < file.size(); ++i) {
    const bool repeated = file[i]->repetition == Repetition::kRepeated;
    if (repeated != (output[i].repetition == Repetition::kRepeated)) {
      return Refuse("nesting", "a column is nested otherwise than the table's");
    }
    if (file[i]->repetition == Repetition::kOptional && output[i].repetition == Repetition::kRequired) {
      return Refuse("optional_to_required",
                    fmt::format("an optional column is required by the table: {}", file[i]->name));
    }
    if (file[i]->field_id.has_value() && output[i].field_id.has_value() && file[i]->field_id != output[i].field_id) {
      return Refuse("nesting", "a column lies below other fields than the table's");
    }
  }
  const int levels = file.empty() ? 0 : file.back()->definition_level;
  std::vector<uint8_t> map;
  for (int level = 0; level <= levels; ++level) {
    int there = 0;
    int mapped = 0;
    for (size_t i = 0; i < file.size(); ++i) {
      if (file[i]->repetition != Repetition::kRequired && there++ == level) break;
      if (output[i].repetition != Repetition::kRequired) ++mapped;
    }
    map.push_back(static_cast<uint8_t>(mapped));
  }
  return map;
}

bool IsIdentity(const std::vector<uint8_t>& map) {
  for (size_t i = 0; i < map.size(); ++i) {
    if (map[i] != i) return false;
  }
  return true;
}

class Planner {
 public:
  explicit Planner(const InputFooter& footer) : footer_(footer) {
    for (size_t i = 0; i < footer.nodes.size(); ++i) {
      const FileNode& node = footer.nodes[i];
      if (!node.field_id.has_value()) continue;
      if (!by_id_.emplace(*node.field_id, static_cast<int32_t>(i)).second) repeated_id_ = *node.field_id;
    }
    for (size_t i = 0; i < footer.leaves.size(); ++i) leaf_of_[footer.leaves[i]] = static_cast<int32_t>(i);
  }

  std::expected<std::vector<ColumnPlan>, Refusal> Plan(const std::vector<OutputLeaf>& leaves) const {
    if (repeated_id_.has_value()) {
      return Refuse("repeated_field_id", fmt::format("two fields of the file have one id: {}", *repeated_id_));
    }
    for (int32_t leaf : footer_.leaves) {
      if (!footer_.nodes[static_cast<size_t>(leaf)].field_id.has_value()) {
        return Refuse("no_field_ids", "a column of the file has no field id");
      }
    }
    std::vector<ColumnPlan> plans;
    for (const OutputLeaf& leaf : leaves) {
      auto found = by_id_.find(leaf.field_id);
      auto plan = found == by_id_.end() ? PlanMissing(leaf) : PlanPresent(leaf, found->second);
      if (!plan.has_value()) return std::unexpected<Refusal>(std::move(plan.error()));
      plans.push_back(*std::move(plan));
    }
    return plans;
  }

 private:
  std::expected<ColumnPlan, Refusal> PlanPresent(const OutputLeaf& leaf, int32_t node_index) const {
    const FileNode& node = footer_.nodes[static_cast<size_t>(node_index)];
    if (!node.is_leaf) return Refuse("column_type", fmt::format("a group where the table has a column: {}", node.name));
    const std::optional<Conversion> conversion = ConversionOf(node, leaf);
    if (!conversion.has_value()) {
      return Refuse("column_type", fmt::format("a column of a type that does not become the table's {}: {}",
                                               leaf.type->ToString(), node.name));
    }
    ColumnPlan plan;
    plan.leaf = leaf_of_.at(node_index);
    plan.conversion = *conversion;
    auto map = MapLevels(PathTo(footer_, node_index), leaf.path);
    if (!map.has_value()) return std::unexpected<Refusal>(std::move(map.error()));
    plan.definition_map = *std::move(map);
    plan.changes_levels = !IsIdentity(plan.definition_map) || node.definition_level != leaf.definition_level;
    return plan;
  }

  std::expected<ColumnPlan, Refusal> PlanMissing(const OutputLeaf& leaf) const {
    ColumnPlan plan;
    plan.is_missing = true;
    size_t depth = leaf.path.size() - 1;  // of path steps that the file has
    int32_t parent = 0;
    for (; depth > 0; --depth) {
      const PathStep& step = leaf.path[depth - 1];
      auto found = step.field_id.has_value() ? by_id_.find(*step.field_id) : by_id_.end();
      if (found == by_id_.end()) continue;
      parent = found->second;
      break;
    }
    if (leaf.path[depth].repetition != Repetition::kOptional) {
      return Refuse("required_column_missing",
                    fmt::format("the file has not the required column with field id {}", leaf.field_id));
    }
    if (depth == 0) {
      plan.definition_map = {0};
      return plan;
    }
    const FileNode& above = footer_.nodes[static_cast<size_t>(parent)];
    if (above.is_leaf)
      return Refuse("column_type", fmt::format("a column where the table has a group: {}", above.name));
    auto map = MapLevels(PathTo(footer_, parent), std::span(leaf.path).first(depth));
    if (!map.has_value()) return std::unexpected<Refusal>(std::move(map.error()));
    plan.definition_map = *std::move(map);
    plan.parent_repetition = above.repetition_level;
    plan.leaf = LeafBelow(parent);
    if (plan.leaf < 0) return Refuse("nesting", "a group of the file has no column");
    const auto below = static_cast<size_t>(footer_.leaves[static_cast<size_t>(plan.leaf)]);
    plan.definition_map.resize(static_cast<size_t>(footer_.nodes[below].definition_level) + 1,
                               plan.definition_map.back());
    return plan;
  }

  int32_t LeafBelow(int32_t group) const {
    for (size_t i = 0; i < footer_.leaves.size(); ++i) {
      for (int32_t at = footer_.leaves[i]; at > 0; at = footer_.nodes[static_cast<size_t>(at)].parent) {
        if (at == group) return static_cast<int32_t>(i);
      }
    }
    return -1;
  }

  const InputFooter& footer_;
  std::map<int32_t, int32_t> by_id_;    // field id -> node
  std::map<int32_t, int32_t> leaf_of_;  // node -> leaf
  std::optional<int32_t> repeated_id_;
};

}  // namespace

std::vector<OutputLeaf> OutputLeaves(const schema::Schema& schema,
                                     const std::shared_ptr<pq::schema::GroupNode>& parquet_schema) {
  pq::SchemaDescriptor descriptor;
  descriptor.Init(parquet_schema);
  const std::vector<schema::LeafColumn> columns = schema::LeafColumns(schema);
  std::vector<OutputLeaf> leaves;
  for (size_t i = 0; i < columns.size(); ++i) {
    const pq::ColumnDescriptor& column = *descriptor.Column(static_cast<int>(i));
    OutputLeaf leaf;
    leaf.field_id = columns[i].field->id.value();
    leaf.type = columns[i].field->type;
    leaf.physical_type = column.physical_type();
    leaf.value_bytes = ValueBytes(column);
    leaf.definition_level = column.max_definition_level();
    leaf.repetition_level = column.max_repetition_level();
    leaf.order = BoundOrderOf(*leaf.type);
    leaf.path = PathOf(*column.schema_node());
    leaf.names = column.path()->ToDotVector();
    leaves.push_back(std::move(leaf));
  }
  return leaves;
}

std::expected<std::vector<ColumnPlan>, Refusal> PlanColumns(const InputFooter& footer,
                                                            const std::vector<OutputLeaf>& leaves) {
  return Planner(footer).Plan(leaves);
}

}  // namespace firn::parquet
