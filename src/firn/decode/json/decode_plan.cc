#include "firn/decode/json/decode_plan.h"

#include <fmt/format.h>

#include <algorithm>

namespace firn::decode::json {
namespace {

using schema::TypeKind;

ScalarRule RuleOf(const schema::Field& field, const ColumnSource* source, const JsonDecoderOptions& options) {
  const schema::Type& type = *field.type;
  ScalarRule rule;
  rule.kind = type.kind();
  rule.precision = type.precision();
  rule.scale = type.scale();
  rule.length = type.length();
  rule.epoch_unit = source != nullptr ? source->epoch_unit.value_or(options.epoch_unit) : options.epoch_unit;
  rule.binary_text = source != nullptr ? source->binary_text.value_or(options.binary_text) : options.binary_text;
  if (auto least = options.unscaled_min.find(field.id); least != options.unscaled_min.end()) {
    rule.unscaled_min = least->second;
  }
  return rule;
}

Usual UsualOf(const ScalarRule& rule) {
  switch (rule.kind) {
    case TypeKind::kString: return Usual::kString;
    case TypeKind::kInt: return Usual::kInt;
    case TypeKind::kLong: return Usual::kLong;
    case TypeKind::kTimestamp:
    case TypeKind::kTimestamptz:
      return rule.epoch_unit == EpochUnit::kMillis ? Usual::kEpochMillis : Usual::kNothing;
    default: return Usual::kNothing;
  }
}

// What a value takes in columns, whatever it is.
int64_t FixedBytesOf(const schema::Type& type) {
  switch (type.kind()) {
    case TypeKind::kBoolean: return 1;
    case TypeKind::kLong:
    case TypeKind::kDouble:
    case TypeKind::kTime:
    case TypeKind::kTimestamp:
    case TypeKind::kTimestamptz:
    case TypeKind::kTimestampNs:
    case TypeKind::kTimestamptzNs: return 8;
    case TypeKind::kDecimal:
    case TypeKind::kUuid: return 16;
    case TypeKind::kFixed: return type.length();
    case TypeKind::kStruct: {
      int64_t bytes = 0;
      for (const schema::Field& field : type.fields()) bytes += FixedBytesOf(*field.type);
      return bytes;
    }
    default: return 4;  // numbers, and offsets of texts, lists and maps
  }
}

bool CanComeFromJson(TypeKind kind) {
  return kind != TypeKind::kUnknown && kind != TypeKind::kVariant && kind != TypeKind::kGeometry &&
         kind != TypeKind::kGeography;
}

class Compiler {
 public:
  Compiler(const schema::Schema& schema, const JsonDecoderOptions& options) : schema_(schema), options_(options) {}

  Status CheckSources(const std::vector<std::string>& taken_columns) const;
  Status AddRootColumn(uint32_t index, DecodePlan& plan);

 private:
  struct Way {  // to a column: from the root column down
    uint32_t column = 0;
    std::vector<uint32_t> below;
  };

  const ColumnSource* SourceOf(FieldId id) const {
    auto found = options_.sources.find(id);
    return found == options_.sources.end() ? nullptr : &found->second;
  }
  std::vector<std::string> PathOf(const schema::Field& field, const std::vector<std::string>& parent_path) const;
  bool HasPathBelow(const schema::Type& type) const;
  Result<std::unique_ptr<ValuePlan>> CompileValue(const schema::Field& field, const std::string& name,
                                                  const std::string& path) const;
  Status AddField(const schema::Field& field, const std::string& name, const std::vector<std::string>& path, Way way,
                  ObjectPlan& root, std::unique_ptr<AssembledStruct>& assembled);
  ObjectPlan& ObjectAt(ObjectPlan& root, const std::vector<std::string>& path, size_t length);
  Target& ObjectTarget(Member& member, const std::string& path);

  const schema::Schema& schema_;
  const JsonDecoderOptions& options_;
};

std::vector<std::string> Compiler::PathOf(const schema::Field& field,
                                          const std::vector<std::string>& parent_path) const {
  const ColumnSource* source = SourceOf(field.id);
  if (source != nullptr && !source->path.empty()) return source->path;
  std::vector<std::string> path = parent_path;
  path.push_back(field.name);
  return path;
}

// Whether a field inside the struct, at any depth through structs, is filled from a path of its own.
bool Compiler::HasPathBelow(const schema::Type& type) const {
  if (type.kind() != TypeKind::kStruct) return false;
  return std::ranges::any_of(type.fields(), [&](const schema::Field& field) {
    const ColumnSource* source = SourceOf(field.id);
    return (source != nullptr && !source->path.empty()) || HasPathBelow(*field.type);
  });
}

Status Compiler::CheckSources(const std::vector<std::string>& taken_columns) const {
  for (const auto& [id, source] : options_.sources) {
    std::vector<const schema::Field*> way = schema_.PathTo(id);
    if (way.empty()) {
      return Fail(ErrorCode::kInvalidInput,
                  fmt::format("a source is given for a column that is not in the table; remove it: field id {}", id));
    }
    std::string name = schema_.NameOf(id);
    if (std::ranges::find(taken_columns, way.front()->name) != taken_columns.end()) {
      return Fail(ErrorCode::kInvalidInput,
                  fmt::format("the decoder fills this column itself; remove its source: '{}'", name));
    }
    bool repeated = std::any_of(way.begin(), way.end() - 1, [](const schema::Field* field) {
      return field->type->kind() == TypeKind::kList || field->type->kind() == TypeKind::kMap;
    });
    if (repeated && !source.path.empty()) {
      return Fail(ErrorCode::kInvalidInput,
                  fmt::format("a path begins at the record's root and cannot lead into elements of a list or map; "
                              "leave the path of this column out: '{}'", name));
    }
  }
  return {};
}

Result<std::unique_ptr<ValuePlan>> Compiler::CompileValue(const schema::Field& field, const std::string& name,
                                                          const std::string& path) const {
  const schema::Type& type = *field.type;
  if (!CanComeFromJson(type.kind())) {
    return Fail(ErrorCode::kUnsupported, fmt::format("JSON cannot fill a column of type {}; leave it out of the "
                                                     "table or make it a string: '{}'", type.ToString(), name));
  }
  auto plan = std::make_unique<ValuePlan>();
  plan->required = field.required;
  plan->name = name;
  plan->type_name = type.is_nested() ? (type.kind() == TypeKind::kStruct ? "struct"
                                        : type.kind() == TypeKind::kList ? "list" : "map")
                                     : type.ToString();
  if (type.kind() == TypeKind::kStruct) {
    plan->shape = Shape::kStruct;
    plan->object = std::make_unique<ObjectPlan>();
    plan->object->path = path + ".";
    for (uint32_t i = 0; i < type.fields().size(); ++i) {
      const schema::Field& child = type.fields()[i];
      Target target;
      target.column = i;
      FIRN_ASSIGN(target.value, CompileValue(child, name + "." + child.name, path + "." + child.name));
      if (child.required) plan->object->required.push_back({i, target.value.get()});
      plan->object->Add(child.name).targets.push_back(std::move(target));
    }
    plan->object->known_count = plan->object->members.size();
  } else if (type.kind() == TypeKind::kList) {
    plan->shape = Shape::kList;
    plan->element_bytes = FixedBytesOf(*type.element().type);
    FIRN_ASSIGN(plan->element, CompileValue(type.element(), name + ".element", path + "[]"));
  } else if (type.kind() == TypeKind::kMap) {
    plan->shape = Shape::kMap;
    plan->element_bytes = FixedBytesOf(*type.key().type) + FixedBytesOf(*type.value().type);
    if (type.key().type->is_nested() || !CanComeFromJson(type.key().type->kind())) {
      return Fail(ErrorCode::kUnsupported,
                  fmt::format("JSON keys are texts and cannot become map keys of type {}: '{}'",
                              type.key().type->ToString(), name));
    }
    plan->key_rule = RuleOf(type.key(), SourceOf(type.key().id), options_);
    plan->key_rule.is_map_key = true;
    FIRN_ASSIGN(plan->element, CompileValue(type.value(), name + ".value", path + ".*"));
  } else {
    plan->rule = RuleOf(field, SourceOf(field.id), options_);
    plan->usual = UsualOf(plan->rule);
  }
  return plan;
}

// The target of `member` that leads on to further columns; made when there is none yet.
Target& Compiler::ObjectTarget(Member& member, const std::string& path) {
  for (Target& target : member.targets) {
    if (target.object != nullptr) return target;
  }
  Target& target = member.targets.emplace_back();
  target.object = std::make_unique<ObjectPlan>();
  target.object->path = path + ".";
  return target;
}

// The object that the first `length` keys of `path` lead to.
ObjectPlan& Compiler::ObjectAt(ObjectPlan& root, const std::vector<std::string>& path, size_t length) {
  ObjectPlan* object = &root;
  for (size_t i = 0; i < length; ++i) {
    Member* member = object->Find(path[i]);
    if (member == nullptr) member = &object->Add(path[i]);
    object->known_count = object->members.size();
    object = ObjectTarget(*member, object->path + path[i]).object.get();
  }
  return *object;
}

Status Compiler::AddField(const schema::Field& field, const std::string& name, const std::vector<std::string>& path,
                          Way way, ObjectPlan& root, std::unique_ptr<AssembledStruct>& assembled) {
  ObjectPlan& object = ObjectAt(root, path, path.size() - 1);
  Member* found = object.Find(path.back());
  Member& member = found != nullptr ? *found : object.Add(path.back());
  object.known_count = object.members.size();
  if (!HasPathBelow(*field.type)) {
    Target target;
    target.column = way.column;
    target.below = std::move(way.below);
    FIRN_ASSIGN(target.value, CompileValue(field, name, object.path + path.back()));
    member.targets.push_back(std::move(target));
    return {};
  }
  assembled = std::make_unique<AssembledStruct>();
  Target& own = ObjectTarget(member, object.path + path.back());
  if (own.assembled != nullptr) {
    return Fail(ErrorCode::kInvalidInput,
                fmt::format("two struct columns whose fields have paths of their own cannot share one JSON object; "
                            "give one of them another path: '{}'", name));
  }
  own.assembled = assembled.get();
  for (uint32_t i = 0; i < field.type->fields().size(); ++i) {
    const schema::Field& child = field.type->fields()[i];
    Way child_way = way;
    child_way.below.push_back(i);
    AssembledStruct::Part& part = assembled->parts.emplace_back();
    part.name = name + "." + child.name;
    part.required = child.required;
    FIRN_TRY(AddField(child, part.name, PathOf(child, path), std::move(child_way), root, part.assembled));
  }
  return {};
}

Status Compiler::AddRootColumn(uint32_t index, DecodePlan& plan) {
  const schema::Field& field = schema_.fields[index];
  CheckedColumn column;
  column.column = index;
  column.name = field.name;
  column.required = field.required;
  FIRN_TRY(AddField(field, field.name, PathOf(field, {}), {index, {}}, plan.root, column.assembled));
  if (column.required || column.assembled != nullptr) plan.checked.push_back(std::move(column));
  return {};
}

}  // namespace

Member* ObjectPlan::Find(std::string_view key) {
  if (slots.empty()) return nullptr;
  const uint64_t hash = HashKey(key);
  const size_t mask = slots.size() - 1;
  for (size_t slot = hash & mask; slots[slot].member != nullptr; slot = (slot + 1) & mask) {
    if (slots[slot].hash == hash && slots[slot].member->key == key) return slots[slot].member;
  }
  return nullptr;
}

Member* ObjectPlan::FindQuoted(std::string_view key, const char* end) {
  if (slots.empty()) return nullptr;
  const uint64_t hash = HashReadableKey(key);
  const size_t mask = slots.size() - 1;
  for (size_t slot = hash & mask; slots[slot].member != nullptr; slot = (slot + 1) & mask) {
    if (slots[slot].hash == hash && slots[slot].member->quoted.StandsAt(key.data() - 1, end)) {
      return slots[slot].member;
    }
  }
  return nullptr;
}

Member& ObjectPlan::Add(std::string_view key) {
  Member& member = members.emplace_back();
  member.key = key;
  member.quoted = QuotedKey(key);
  member.hash = HashKey(key);
  if (members.size() * 2 > slots.size()) {
    Rehash();
  } else {
    Place(member);
  }
  return member;
}

void ObjectPlan::Place(Member& member) {
  const size_t mask = slots.size() - 1;
  size_t slot = member.hash & mask;
  while (slots[slot].member != nullptr) slot = (slot + 1) & mask;
  slots[slot] = {member.hash, &member};
}

void ObjectPlan::Rehash() {
  size_t size = 16;
  while (size < members.size() * 4) size *= 2;
  slots.assign(size, {});
  for (Member& member : members) Place(member);
}

void ObjectPlan::ForgetUnknown() {
  if (members.size() == known_count) return;
  members.erase(members.begin() + static_cast<std::ptrdiff_t>(known_count), members.end());
  first = nullptr;
  for (Member& member : members) member.next = nullptr;
  Rehash();
}

// The object whose members a target looks at; nullptr: it looks at none, or takes them all.
ObjectPlan* ObjectOf(const Target& target) {
  if (target.object != nullptr) return target.object.get();
  return target.value->shape == Shape::kStruct ? target.value->object.get() : nullptr;
}

// Whether a column takes any object that stands there with all that is inside: as its JSON text, or key by key.
bool TakesAll(const Target& target) {
  const ValuePlan* value = target.value.get();
  if (value == nullptr) return false;
  if (value->shape == Shape::kMap) return value->element->shape == Shape::kScalar;
  return value->shape == Shape::kScalar && value->rule.kind == TypeKind::kString;
}

// Makes known to `object` what `other` takes, which looks at the same JSON object.
void ShareKnown(ObjectPlan& object, const ObjectPlan& other) {
  for (const Member& theirs : other.members) {
    if (theirs.is_taken) continue;
    Member* ours = object.Find(theirs.key);
    if (ours == nullptr) {
      object.Add(theirs.key).is_taken = true;
      object.known_count = object.members.size();
      continue;
    }
    for (const Target& their_target : theirs.targets) {
      ours->is_taken_whole = ours->is_taken_whole || TakesAll(their_target);
      const ObjectPlan* inside = ObjectOf(their_target);
      for (const Target& target : ours->targets) {
        ObjectPlan* own = ObjectOf(target);
        if (own != nullptr && inside != nullptr) ShareKnown(*own, *inside);
      }
    }
  }
}

// Where several columns are filled from one object, each of their targets walks it by itself. None of them may call
// unknown what another one takes.
void ShareKnown(ObjectPlan& way) {
  for (Member& member : way.members) {
    for (const Target& target : member.targets) {
      member.is_taken_whole = member.is_taken_whole || TakesAll(target);
      ObjectPlan* object = ObjectOf(target);
      for (const Target& other : member.targets) {
        const ObjectPlan* others = &other == &target ? nullptr : ObjectOf(other);
        if (object != nullptr && others != nullptr) ShareKnown(*object, *others);
      }
    }
    for (const Target& target : member.targets) {
      if (target.object != nullptr) ShareKnown(*target.object);
    }
  }
}

void MarkSingles(ObjectPlan& object);

void MarkSingles(ValuePlan& value) {
  if (value.object != nullptr) MarkSingles(*value.object);
  if (value.element != nullptr) MarkSingles(*value.element);
}

// Once the plan is whole: which members do nothing but fill one column.
void MarkSingles(ObjectPlan& object) {
  for (Member& member : object.members) {
    for (Target& target : member.targets) {
      if (target.object != nullptr) MarkSingles(*target.object);
      if (target.value != nullptr) MarkSingles(*target.value);
    }
    if (member.targets.size() != 1) continue;
    const Target& target = member.targets.front();
    if (target.value == nullptr || !target.below.empty()) continue;
    // What takes all that is inside must say so while it is walked; a scalar has nothing inside.
    if (member.is_taken_whole && target.value->shape != Shape::kScalar) continue;
    member.single = target.value.get();
    member.single_column = target.column;
  }
}

Result<DecodePlan> CompilePlan(const schema::Schema& schema, const JsonDecoderOptions& options,
                               const std::vector<std::string>& taken_columns) {
  Compiler compiler(schema, options);
  FIRN_TRY(compiler.CheckSources(taken_columns));
  DecodePlan plan;
  for (uint32_t i = 0; i < schema.fields.size(); ++i) {
    if (std::ranges::find(taken_columns, schema.fields[i].name) != taken_columns.end()) continue;
    FIRN_TRY(compiler.AddRootColumn(i, plan));
  }
  ShareKnown(plan.root);
  MarkSingles(plan.root);
  return plan;
}

}  // namespace firn::decode::json
