#include "firn/columnar/partitioner.h"

#include <arrow/array.h>
#include <arrow/record_batch.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <string>

#include "firn/columnar/column_builder.h"

namespace firn::columnar {
namespace {

using schema::Field;
using schema::Schema;
using schema::Transform;
using schema::TransformKind;
using schema::Type;
using schema::TypeKind;
using schema::TypePtr;
using schema::Value;
using Batches = std::vector<std::shared_ptr<arrow::RecordBatch>>;

// Column 1 is the row's number; then one column a type, every second of them inside the struct "nested", which is null
// now and then.
struct TestTable {
  Schema schema;
  std::vector<const Field*> sources;        // by index of the value in a row
  std::vector<std::vector<Value>> rows;     // as a reader of the column sees them
  Batches batches;
};

const std::vector<TypePtr>& AllTypes() {
  static const std::vector<TypePtr> types = {
      Type::Primitive(TypeKind::kBoolean), Type::Primitive(TypeKind::kInt), Type::Primitive(TypeKind::kLong),
      Type::Primitive(TypeKind::kFloat), Type::Primitive(TypeKind::kDouble), Type::Decimal(9, 2), Type::Decimal(38, 4),
      Type::Primitive(TypeKind::kDate), Type::Primitive(TypeKind::kTime), Type::Primitive(TypeKind::kTimestamp),
      Type::Primitive(TypeKind::kTimestamptz), Type::Primitive(TypeKind::kTimestampNs),
      Type::Primitive(TypeKind::kTimestamptzNs), Type::Primitive(TypeKind::kString), Type::Primitive(TypeKind::kUuid),
      Type::Fixed(7), Type::Primitive(TypeKind::kBinary)};
  return types;
}

std::string RandomText(std::mt19937_64& random, bool utf8) {
  static const char* const kLetters[] = {"a", "b", "\u00e9", "\u65e5", "\U0001F40B"};
  std::string text;
  for (uint64_t i = random() % 6; i > 0; --i) {
    text += utf8 ? std::string(kLetters[random() % 5]) : std::string(1, static_cast<char>(random() % 3 * 127));
  }
  return text;
}

template <typename Float>
Float RandomFloat(std::mt19937_64& random) {
  constexpr Float kSpecial[] = {std::numeric_limits<Float>::quiet_NaN(), -std::numeric_limits<Float>::quiet_NaN(),
                                Float{0}, -Float{0}, std::numeric_limits<Float>::infinity(),
                                -std::numeric_limits<Float>::infinity()};
  return random() % 2 == 0 ? kSpecial[random() % 6] : static_cast<Float>(random() % 5) - 2;
}

// Few distinct values, the ends of the range and the neighbourhood of zero among them.
Value RandomValue(std::mt19937_64& random, const Type& type) {
  auto near = [&] { return static_cast<int64_t>(random() % 9) - 4; };
  switch (type.kind()) {
    case TypeKind::kBoolean: return random() % 2 == 0;
    case TypeKind::kInt: {
      constexpr int32_t kEnds[] = {INT32_MIN, INT32_MIN + 1, INT32_MAX};
      return random() % 5 == 0 ? kEnds[random() % 3] : static_cast<int32_t>(near() * 3);
    }
    case TypeKind::kDate: return static_cast<int32_t>(near() * 200 + near());
    case TypeKind::kFloat: return RandomFloat<float>(random);
    case TypeKind::kDouble: return RandomFloat<double>(random);
    case TypeKind::kDecimal: {
      __int128 unscaled = near() * 17;
      return schema::Decimal128{type.precision() > 18 ? unscaled * 1'000'000'000'000'000'007 : unscaled};
    }
    case TypeKind::kTime: return (near() + 4) * 3'600'000'000;
    case TypeKind::kLong:
    case TypeKind::kTimestamp:
    case TypeKind::kTimestamptz:
    case TypeKind::kTimestampNs:
    case TypeKind::kTimestamptzNs: {
      constexpr int64_t kEnds[] = {INT64_MIN, INT64_MIN + 1, INT64_MAX};
      constexpr int64_t kUnits[] = {1, 1000, 3'600'000'000, 86'400'000'000, 86'400'000'000'000, 31'556'952'000'000};
      return random() % 9 == 0 ? kEnds[random() % 3] : near() * kUnits[random() % 6] + near();
    }
    case TypeKind::kString: return RandomText(random, true);
    case TypeKind::kBinary: return RandomText(random, false);
    default: {
      std::string bytes(type.kind() == TypeKind::kUuid ? 16 : static_cast<size_t>(type.length()), '\x80');
      bytes[random() % 2] = static_cast<char>(random() % 3 * 100);
      return bytes;
    }
  }
}

void AppendValue(ColumnBuilder& builder, const Value& value) {
  if (IsNull(value)) return builder.AppendNull();
  switch (builder.storage()) {
    case Storage::kBool: return builder.AppendBool(std::get<bool>(value));
    case Storage::kInt32: return builder.AppendInt32(std::get<int32_t>(value));
    case Storage::kInt64: return builder.AppendInt64(std::get<int64_t>(value));
    case Storage::kFloat: return builder.AppendFloat(std::get<float>(value));
    case Storage::kDouble: return builder.AppendDouble(std::get<double>(value));
    case Storage::kDecimal128: return builder.AppendDecimal(std::get<schema::Decimal128>(value).unscaled);
    default: ASSERT_TRUE(builder.AppendBytes(std::get<std::string>(value)));
  }
}

TestTable MakeTable(uint64_t seed, int64_t rows, int batches) {
  TestTable table;
  std::mt19937_64 random(seed);
  std::vector<Field> nested;
  table.schema.fields.push_back({FieldId{1}, "row", Type::Primitive(TypeKind::kLong), true});
  int32_t id = 2;
  for (const auto& type : AllTypes()) {
    auto& home = id % 2 == 0 ? table.schema.fields : nested;
    home.push_back({FieldId{id}, "c" + std::to_string(id), type});
    ++id;
  }
  auto list = Type::List({FieldId{100}, "element", Type::Primitive(TypeKind::kString)});
  table.schema.fields.push_back({FieldId{99}, "nested", Type::Struct(nested)});
  table.schema.fields.push_back({FieldId{101}, "list", list});
  for (int32_t i = 2; i < id; ++i) table.sources.push_back(table.schema.FindById(FieldId{i}));

  RowBuilder builder(table.schema);
  size_t struct_column = table.schema.fields.size() - 2;
  for (int batch = 0; batch < batches; ++batch) {
    for (int64_t i = 0; i < rows / batches; ++i) {
      bool struct_is_null = random() % 6 == 0;
      std::vector<Value> row;
      builder.column(0).AppendInt64(static_cast<int64_t>(table.rows.size()));
      size_t top = 1, inner = 0;
      for (size_t source = 0; source < table.sources.size(); ++source) {
        bool is_inner = source % 2 == 1;
        Value value;
        bool is_null = random() % 7 == 0 || (is_inner && struct_is_null);
        if (!is_null) value = RandomValue(random, *table.sources[source]->type);
        if (!is_inner) AppendValue(builder.column(top++), value);
        if (is_inner && !struct_is_null) AppendValue(builder.column(struct_column).child(inner++), value);
        row.push_back(std::move(value));
      }
      struct_is_null ? builder.column(struct_column).AppendNull() : builder.column(struct_column).AppendStruct();
      builder.column(struct_column + 1).child(0).AppendBytes(std::to_string(i));
      EXPECT_TRUE(builder.column(struct_column + 1).AppendList());
      builder.CloseRow();
      table.rows.push_back(std::move(row));
    }
    table.batches.push_back(builder.Finish());
  }
  return table;
}

std::vector<int64_t> RowNumbers(const PartitionGroup& group) {
  std::vector<int64_t> numbers;
  for (const auto& batch : group.Batches()) {
    const auto& column = static_cast<const arrow::Int64Array&>(*batch->column(0));
    for (int64_t i = 0; i < column.length(); ++i) numbers.push_back(column.Value(i));
  }
  return numbers;
}

// Every row of every group is, in all its columns, the row that it says it is.
void ExpectRowsIntact(const TestTable& table, const std::vector<PartitionGroup>& groups) {
  auto all = *arrow::ConcatenateRecordBatches(table.batches);
  auto options = arrow::EqualOptions::Defaults().nans_equal(true);
  for (const auto& group : groups) {
    for (const auto& batch : group.Batches()) {
      ASSERT_TRUE(batch->ValidateFull().ok());
      const auto& numbers = static_cast<const arrow::Int64Array&>(*batch->column(0));
      for (int64_t i = 0; i < batch->num_rows(); ++i) {
        ASSERT_TRUE(batch->Slice(i, 1)->Equals(*all->Slice(numbers.Value(i), 1), false, options));
      }
    }
  }
}

bool SameValue(const Value& a, const Value& b) {
  if (IsNull(a) || IsNull(b)) return IsNull(a) && IsNull(b);
  return a.index() == b.index() && CompareValues(a, b) == 0;
}

bool SameTuple(const schema::PartitionTuple& a, const schema::PartitionTuple& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), SameValue);
}

std::vector<Transform> TransformsOf(const Type& type) {
  std::vector<Transform> allowed;
  for (auto kind : {TransformKind::kIdentity, TransformKind::kBucket, TransformKind::kTruncate, TransformKind::kYear,
                    TransformKind::kMonth, TransformKind::kDay, TransformKind::kHour, TransformKind::kVoid}) {
    for (int32_t parameter : {1, 3, 1000, INT32_MAX}) {
      Transform transform{kind, parameter, ""};
      bool has_parameter = kind == TransformKind::kBucket || kind == TransformKind::kTruncate;
      if (!has_parameter && parameter != 1) continue;
      // No negative decimal of nine digits would be left within its type.
      if (kind == TransformKind::kTruncate && parameter == INT32_MAX && type.kind() == TypeKind::kDecimal &&
          type.precision() <= 9) {
        continue;
      }
      if (transform.ResultType(type).has_value()) allowed.push_back(transform);
    }
  }
  return allowed;
}

TEST(Partitioner, AgreesWithApplyForEveryTypeAndTransform) {
  auto table = MakeTable(11, 900, 3);
  for (size_t source = 0; source < table.sources.size(); ++source) {
    const Type& type = *table.sources[source]->type;
    for (const auto& transform : TransformsOf(type)) {
      SCOPED_TRACE(type.ToString() + " " + transform.ToString());
      schema::PartitionSpec spec{1, {{table.sources[source]->id, FieldId{1000}, "p", transform}}};
      auto groups = GroupRows(table.batches, table.schema, spec, {});
      ASSERT_TRUE(groups.has_value()) << groups.error().ToString();
      size_t rows = 0;
      for (const auto& group : *groups) {
        int64_t previous = -1;
        ASSERT_EQ(group.partition.size(), 1U);
        for (int64_t row : RowNumbers(group)) {
          Value expected = transform.Apply(type, table.rows[row][source]);
          ASSERT_TRUE(SameValue(group.partition[0], expected)) << "row " << row;
          ASSERT_LT(previous, row);  // the order of arrival
          previous = row;
          ++rows;
        }
        EXPECT_EQ(group.row_count, static_cast<int64_t>(RowNumbers(group).size()));
      }
      EXPECT_EQ(rows, table.rows.size());
      for (size_t i = 1; i < groups->size(); ++i) {  // in order of their first row, so none twice
        ASSERT_LT(RowNumbers((*groups)[i - 1])[0], RowNumbers((*groups)[i])[0]);
        for (size_t j = 0; j < i; ++j) ASSERT_FALSE(SameTuple((*groups)[i].partition, (*groups)[j].partition));
      }
      if (HasFatalFailure()) return;
    }
  }
}

TEST(Partitioner, RandomSpecsAndSortOrders) {
  for (uint64_t seed = 0; seed < 60; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937_64 random(seed);
    auto table = MakeTable(seed, static_cast<int64_t>(20 + random() % 300), 1 + static_cast<int>(random() % 3));
    auto pick = [&](auto& source, auto& transform) {
      source = random() % table.sources.size();
      auto transforms = TransformsOf(*table.sources[source]->type);
      transform = transforms[random() % transforms.size()];
    };
    schema::PartitionSpec spec{1, {}};
    schema::SortOrder order{static_cast<int32_t>(random() % 4 == 0 ? 0 : 1), {}};
    std::vector<size_t> partition_sources(random() % 3), sort_sources(random() % 4);
    for (auto& source : partition_sources) {
      Transform transform;
      pick(source, transform);
      spec.fields.push_back({table.sources[source]->id, FieldId{1000}, "p", transform});
    }
    for (auto& source : sort_sources) {
      Transform transform;
      pick(source, transform);
      order.fields.push_back({table.sources[source]->id, transform,
                              static_cast<schema::SortDirection>(random() % 2),
                              static_cast<schema::NullOrder>(random() % 2)});
    }
    auto groups = GroupRows(table.batches, table.schema, spec, order);
    ASSERT_TRUE(groups.has_value()) << groups.error().ToString();
    ExpectRowsIntact(table, *groups);
    auto comes_before = [&](int64_t a, int64_t b) {
      for (size_t i = 0; i < sort_sources.size() && order.order_id != 0; ++i) {
        const auto& field = order.fields[i];
        const Type& type = *table.sources[sort_sources[i]]->type;
        Value left = field.transform.Apply(type, table.rows[a][sort_sources[i]]);
        Value right = field.transform.Apply(type, table.rows[b][sort_sources[i]]);
        if (SameValue(left, right)) continue;
        if (IsNull(left) || IsNull(right)) return IsNull(left) == (field.null_order == schema::NullOrder::kNullsFirst);
        return (CompareValues(left, right) < 0) == (field.direction == schema::SortDirection::kAscending);
      }
      return a < b;
    };
    size_t rows = 0;
    for (const auto& group : *groups) {
      auto numbers = RowNumbers(group);
      rows += numbers.size();
      ASSERT_TRUE(std::is_sorted(numbers.begin(), numbers.end(), comes_before));
      for (int64_t row : numbers) {
        for (size_t i = 0; i < spec.fields.size(); ++i) {
          const Type& type = *table.sources[partition_sources[i]]->type;
          ASSERT_TRUE(SameValue(group.partition[i],
                                spec.fields[i].transform.Apply(type, table.rows[row][partition_sources[i]])));
        }
      }
    }
    ASSERT_EQ(rows, table.rows.size());
    if (HasFailure()) return;
  }
}

TEST(Partitioner, OneGroupInOrderPassesThroughWithoutACopy) {
  auto table = MakeTable(3, 30, 3);
  auto untouched = [&](const schema::PartitionSpec& spec, const schema::SortOrder& order) {
    auto groups = GroupRows(table.batches, table.schema, spec, order);
    EXPECT_TRUE(groups.has_value());
    return groups.has_value() && groups->size() == 1 && (*groups)[0].Batches() == table.batches;
  };
  schema::SortOrder by_row{1, {{FieldId{1}, Transform{}}}};
  schema::PartitionSpec by_void{1, {{FieldId{1}, FieldId{1000}, "v", {TransformKind::kVoid, 0, ""}}}};
  EXPECT_TRUE(untouched({}, {}));
  EXPECT_TRUE(untouched({}, by_row));
  EXPECT_TRUE(untouched(by_void, by_row));
  by_row.fields[0].direction = schema::SortDirection::kDescending;
  EXPECT_FALSE(untouched({}, by_row));
  by_row.order_id = 0;
  EXPECT_TRUE(untouched({}, by_row));
}

TEST(Partitioner, NothingGivesNoGroups) {
  auto table = MakeTable(3, 30, 1);
  auto none = GroupRows({}, table.schema, {}, {});
  ASSERT_TRUE(none.has_value());
  EXPECT_TRUE(none->empty());
  auto empty = GroupRows({table.batches[0]->Slice(0, 0)}, table.schema, {}, {});
  ASSERT_TRUE(empty.has_value());
  EXPECT_TRUE(empty->empty());
}

TEST(Partitioner, SlicedBatchesAreRead) {
  auto table = MakeTable(5, 200, 1);
  const auto& whole = table.batches[0];
  schema::PartitionSpec spec{1, {{FieldId{15}, FieldId{1000}, "p", Transform{}}}};  // a string inside the struct
  auto expected = GroupRows({whole}, table.schema, spec, {});
  auto actual = GroupRows({whole->Slice(0, 71), whole->Slice(71)}, table.schema, spec, {});
  ASSERT_TRUE(expected.has_value() && actual.has_value());
  ASSERT_EQ(expected->size(), actual->size());
  for (size_t i = 0; i < expected->size(); ++i) {
    EXPECT_EQ(RowNumbers((*expected)[i]), RowNumbers((*actual)[i]));
    EXPECT_TRUE(SameTuple((*expected)[i].partition, (*actual)[i].partition));
  }
}

TEST(Partitioner, ATruncatedDecimalStaysWithinItsType) {
  Schema schema;
  schema.fields = {{FieldId{1}, "price", Type::Decimal(3, 1)}, {FieldId{2}, "wide", Type::Decimal(38, 0)}};
  auto group = [&](int32_t source, int32_t width, __int128 unscaled, bool is_sort) {
    RowBuilder builder(schema);
    builder.column(0).AppendDecimal(source == 1 ? unscaled : 0);
    builder.column(1).AppendDecimal(source == 2 ? unscaled : 0);
    builder.CloseRow();
    Transform truncate{TransformKind::kTruncate, width, ""};
    schema::PartitionSpec spec{1, {{FieldId{source}, FieldId{1000}, "p", truncate}}};
    if (is_sort) return GroupRows({builder.Finish()}, schema, {}, {1, {{FieldId{source}, truncate}}});
    return GroupRows({builder.Finish()}, schema, spec, {});
  };
  __int128 largest = 1;
  for (int i = 0; i < 38; ++i) largest *= 10;
  largest -= 1;
  // -999 rounds down to -1000, four digits; -996 is the last multiple of six.
  EXPECT_EQ(group(1, 10, -999, false).error().code(), ErrorCode::kInvalidInput);
  EXPECT_EQ(group(1, 10, -991, false).error().code(), ErrorCode::kInvalidInput);
  EXPECT_EQ((*group(1, 10, -990, false))[0].partition[0], Value(schema::Decimal128{-990}));
  EXPECT_EQ((*group(1, 6, -996, false))[0].partition[0], Value(schema::Decimal128{-996}));
  EXPECT_EQ((*group(1, 10, 999, false))[0].partition[0], Value(schema::Decimal128{990}));
  EXPECT_EQ(group(2, 7, -largest, false).error().code(), ErrorCode::kInvalidInput);
  EXPECT_TRUE(group(2, 9, -largest, false).has_value());
  EXPECT_TRUE(group(1, 10, -999, true).has_value());  // an order has no such bound: nothing of it is stored
}

TEST(Partitioner, SortedPiecesAreCutByTheirOwnBytes) {
  constexpr int64_t kPieceBytesMax = 20'000;
  Schema schema;
  schema.fields = {{FieldId{1}, "row", Type::Primitive(TypeKind::kLong)},
                   {FieldId{2}, "text", Type::Primitive(TypeKind::kString)},
                   {FieldId{3}, "list", Type::List({FieldId{4}, "", Type::Primitive(TypeKind::kString)})}};
  // The long rows come first and last, and sorting brings them together at the end.
  Batches batches;
  for (int batch = 0; batch < 2; ++batch) {
    RowBuilder builder(schema);
    for (int64_t i = 0; i < 1000; ++i) {
      bool is_long = i % 100 == 0;
      builder.column(0).AppendInt64(is_long ? 100'000 + i : 1000 - i);
      builder.column(1).AppendBytes(std::string(is_long ? 5'000 : 5, 'x'));
      builder.column(2).child(0).AppendBytes(std::string(is_long ? 3'000 : 0, 'y'));
      ASSERT_TRUE(builder.column(2).AppendList());
      builder.CloseRow();
    }
    batches.push_back(builder.Finish());
  }
  auto groups = GroupRows(batches, schema, {}, {1, {{FieldId{1}, Transform{}}}}, kPieceBytesMax);
  ASSERT_TRUE(groups.has_value()) << groups.error().ToString();
  ASSERT_EQ(groups->size(), 1U);
  int64_t previous = INT64_MIN, rows = 0;
  for (const auto& batch : (*groups)[0].Batches()) {
    ASSERT_TRUE(batch->ValidateFull().ok());
    const auto& texts = static_cast<const arrow::StringArray&>(*batch->column(1));
    EXPECT_LE(texts.total_values_length(), kPieceBytesMax);
    EXPECT_LE(texts.total_values_length() * 8 / 5, kPieceBytesMax);  // with what the lists hold
    rows += batch->num_rows();
    const auto& numbers = static_cast<const arrow::Int64Array&>(*batch->column(0));
    for (int64_t i = 0; i < numbers.length(); ++i) {
      ASSERT_LE(previous, numbers.Value(i));
      previous = numbers.Value(i);
    }
  }
  EXPECT_EQ(rows, 2000);
  // A row that is longer than any piece is a piece by itself.
  auto single = GroupRows(batches, schema, {}, {1, {{FieldId{1}, Transform{}}}}, 1);
  ASSERT_TRUE(single.has_value());
  EXPECT_EQ((*single)[0].slices.size(), 2000U);
}

TEST(Partitioner, WhatCannotBeAppliedIsNamed) {
  auto table = MakeTable(3, 10, 1);
  auto code = [&](int32_t source, Transform transform, const Batches& batches) {
    schema::PartitionSpec spec{1, {{FieldId{source}, FieldId{1000}, "p", std::move(transform)}}};
    auto groups = GroupRows(batches, table.schema, spec, {});
    return groups.has_value() ? ErrorCode::kInternal : groups.error().code();
  };
  EXPECT_EQ(code(1, {TransformKind::kUnknown, 0, "zorder[3]"}, table.batches), ErrorCode::kUnsupported);
  EXPECT_EQ(code(77, {}, table.batches), ErrorCode::kInvalidInput);                           // no such column
  EXPECT_EQ(code(99, {}, table.batches), ErrorCode::kInvalidInput);                           // a struct
  EXPECT_EQ(code(100, {}, table.batches), ErrorCode::kInvalidInput);                          // inside a list
  EXPECT_EQ(code(1, {TransformKind::kDay, 0, ""}, table.batches), ErrorCode::kInvalidInput);  // day of a long
  auto other = table.batches[0]->RemoveColumn(0);
  ASSERT_TRUE(other.ok());
  EXPECT_EQ(code(1, {}, {*other}), ErrorCode::kInvalidInput);
  EXPECT_EQ(code(101, {}, {*other}), ErrorCode::kInvalidInput);
}

}  // namespace
}  // namespace firn::columnar
