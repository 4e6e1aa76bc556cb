#include "firn/parquet/random_rows_for_test.h"

#include <cmath>
#include <limits>
#include <utility>
#include <vector>

namespace firn::parquet {
namespace {

using schema::Type;
using schema::TypeKind;
using schema::Value;

constexpr int kDepthMax = 3;

bool IsNan(const Value& value) {
  const auto* narrow = std::get_if<float>(&value);
  const auto* wide = std::get_if<double>(&value);
  return (narrow != nullptr && std::isnan(*narrow)) || (wide != nullptr && std::isnan(*wide));
}

template <typename Float>
Float RandomFloat(int64_t draw) {
  switch (draw % 13) {
    case 0: return std::numeric_limits<Float>::quiet_NaN();
    case 1: return Float{0};
    case 2: return -Float{0};
    case 3: return std::numeric_limits<Float>::infinity();
    default: return static_cast<Float>(draw % 1000) / 7 - 40;
  }
}

}  // namespace

RandomRows::RandomRows(uint64_t seed) : random_(seed) {
  int64_t columns = 1 + Below(6);
  for (int64_t i = 0; i < columns; ++i) schema_.fields.push_back(RandomField("c" + std::to_string(i), 0));
  Prepare();
}

RandomRows::RandomRows(uint64_t seed, schema::Schema schema) : random_(seed), schema_(std::move(schema)) { Prepare(); }

void RandomRows::Prepare() {
  builder_ = std::make_unique<columnar::RowBuilder>(schema_);
  constexpr int32_t kVarieties[] = {1, 3, 40, 5'000, 1 << 30};
  for (const auto& leaf : schema::LeafColumns(schema_)) {
    truth_[leaf.field->id.value()] = {};
    varieties_[leaf.field->id.value()] = kVarieties[Below(5)];
  }
}

schema::TypePtr RandomRows::RandomPrimitive() {
  constexpr TypeKind kKinds[] = {TypeKind::kBoolean, TypeKind::kInt,       TypeKind::kLong,        TypeKind::kFloat,
                                 TypeKind::kDouble,  TypeKind::kDate,      TypeKind::kTime,        TypeKind::kTimestamp,
                                 TypeKind::kString,  TypeKind::kUuid,      TypeKind::kTimestamptz, TypeKind::kBinary};
  int64_t pick = Below(15);
  if (pick < 12) return Type::Primitive(kKinds[pick]);
  if (pick == 12) return Type::Fixed(static_cast<int32_t>(1 + Below(20)));
  auto precision = static_cast<int32_t>(1 + Below(38));
  return Type::Decimal(precision, static_cast<int32_t>(Below(precision + 1)));
}

schema::TypePtr RandomRows::RandomType(int depth) {
  int64_t pick = depth == kDepthMax ? 0 : Below(8);
  if (pick < 5) return RandomPrimitive();
  if (pick == 5) {
    std::vector<schema::Field> fields;
    int64_t count = 1 + Below(3);
    for (int64_t i = 0; i < count; ++i) fields.push_back(RandomField("f" + std::to_string(i), depth + 1));
    return Type::Struct(std::move(fields));
  }
  if (pick == 6) return Type::List(RandomField("element", depth + 1));
  schema::Field key{FieldId{++last_id_}, "key", Type::Primitive(TypeKind::kString), true};
  return Type::Map(std::move(key), RandomField("value", depth + 1));
}

schema::Field RandomRows::RandomField(std::string name, int depth) {
  FieldId id{++last_id_};
  return {id, std::move(name), RandomType(depth), Chance(0.3)};
}

schema::Value RandomRows::RandomValue(const Type& type, int32_t variety) {
  int64_t draw = Below(variety);
  switch (type.kind()) {
    case TypeKind::kBoolean: return draw % 2 == 1;
    case TypeKind::kInt: return static_cast<int32_t>(draw * 37 - 500);
    case TypeKind::kDate: return static_cast<int32_t>(draw % 2'900'000 - 500);  // up to the year 9909
    case TypeKind::kTime: return draw * 1'000'003 % 86'400'000'000;
    case TypeKind::kFloat: return RandomFloat<float>(draw);
    case TypeKind::kDouble: return RandomFloat<double>(draw);
    case TypeKind::kDecimal: {
      __int128 limit = 1;
      for (int32_t i = 0; i < type.precision(); ++i) limit *= 10;
      __int128 unscaled = static_cast<__int128>(draw) * 1'000'000'007 * 1'000'000'007 % limit;  // below 2^91
      return schema::Decimal128{draw % 3 == 0 ? -unscaled : unscaled};
    }
    case TypeKind::kUuid:
    case TypeKind::kFixed: {
      std::string bytes(type.kind() == TypeKind::kUuid ? 16 : static_cast<size_t>(type.length()), '\0');
      auto state = static_cast<uint64_t>(draw);
      for (auto& byte : bytes) byte = static_cast<char>(state = state * 6364136223846793005U + 1442695040888963407U);
      return bytes;
    }
    case TypeKind::kString: {
      std::string text;
      for (int64_t i = draw % 30; i > 0; --i) text += i % 4 == 0 ? "\u00e9" : i % 7 == 0 ? "\U0001F40B" : "k";
      return text + std::to_string(draw);
    }
    case TypeKind::kBinary: return std::string(static_cast<size_t>(draw % 20), static_cast<char>(draw));
    default: return draw * 1'000'003 - 7'000'000;
  }
}

std::shared_ptr<arrow::RecordBatch> RandomRows::MakeBatch(int64_t rows) {
  for (int64_t row = 0; row < rows; ++row) {
    for (size_t i = 0; i < schema_.fields.size(); ++i) Append(schema_.fields[i], builder_->column(i));
    builder_->CloseRow();
  }
  return builder_->Finish();
}

void RandomRows::Append(const schema::Field& field, columnar::ColumnBuilder& builder) {
  if (!field.required && Chance(0.2)) {
    CountNull(field);
    builder.AppendNull();
    return;
  }
  if (field.type->is_primitive()) return AppendPrimitive(field, builder);
  if (field.type->kind() != TypeKind::kStruct) return AppendRepeated(field, builder);
  const auto& fields = field.type->fields();
  for (size_t i = 0; i < fields.size(); ++i) Append(fields[i], builder.child(i));
  builder.AppendStruct();
}

void RandomRows::AppendRepeated(const schema::Field& field, columnar::ColumnBuilder& builder) {
  int64_t count = Below(4);
  if (count == 0) CountNull(field);
  const auto& fields = field.type->fields();
  for (int64_t i = 0; i < count; ++i) {
    for (size_t child = 0; child < fields.size(); ++child) Append(fields[child], builder.child(child));
  }
  builder.AppendList();
}

void RandomRows::AppendPrimitive(const schema::Field& field, columnar::ColumnBuilder& builder) {
  Value value = RandomValue(*field.type, varieties_[field.id.value()]);
  CountValue(field, value);
  switch (builder.storage()) {
    case columnar::Storage::kBool: return builder.AppendBool(std::get<bool>(value));
    case columnar::Storage::kInt32: return builder.AppendInt32(std::get<int32_t>(value));
    case columnar::Storage::kInt64: return builder.AppendInt64(std::get<int64_t>(value));
    case columnar::Storage::kFloat: return builder.AppendFloat(std::get<float>(value));
    case columnar::Storage::kDouble: return builder.AppendDouble(std::get<double>(value));
    case columnar::Storage::kDecimal128: return builder.AppendDecimal(std::get<schema::Decimal128>(value).unscaled);
    default: builder.AppendBytes(std::get<std::string>(value));
  }
}

void RandomRows::CountNull(const schema::Field& field) {
  if (field.type->is_primitive()) {
    auto& truth = truth_[field.id.value()];
    ++truth.values;
    ++truth.nulls;
    return;
  }
  for (const auto& child : field.type->fields()) CountNull(child);
}

void RandomRows::CountValue(const schema::Field& field, const Value& value) {
  auto& truth = truth_[field.id.value()];
  ++truth.values;
  if (IsNan(value)) {
    ++truth.nans;
    return;
  }
  if (IsNull(truth.smallest) || CompareValues(value, truth.smallest) < 0) truth.smallest = value;
  if (IsNull(truth.largest) || CompareValues(value, truth.largest) > 0) truth.largest = value;
}

}  // namespace firn::parquet
