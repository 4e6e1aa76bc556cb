#include "firn/parquet/column_encoding.h"

#include <arrow/array.h>
#include <arrow/builder.h>
#include <arrow/record_batch.h>
#include <gtest/gtest.h>

#include <random>
#include <string>

#include "firn/columnar/column_builder.h"

namespace firn::parquet {
namespace {

using schema::Type;
using schema::TypeKind;

constexpr int64_t kRows = 100'000;

LeafPiece PieceOf(const arrow::Array& array) { return {array.data().get(), array.offset(), array.length()}; }

template <typename Builder, typename Make>
Encoding Choose(TypeKind kind, int64_t rows, Make make, const EncodingRules& rules = {}) {
  Builder builder;
  for (int64_t row = 0; row < rows; ++row) EXPECT_TRUE(builder.Append(make(row)).ok());
  std::shared_ptr<arrow::Array> array = *builder.Finish();
  return ChooseEncoding(*Type::Primitive(kind), {PieceOf(*array)}, rules).encoding;
}

template <typename Make>
Encoding ChooseString(int64_t rows, Make make, const EncodingRules& rules = {}) {
  return Choose<arrow::StringBuilder>(TypeKind::kString, rows, make, rules);
}

template <typename Make>
Encoding ChooseLong(int64_t rows, Make make) {
  return Choose<arrow::Int64Builder>(TypeKind::kLong, rows, make);
}

TEST(ColumnEncoding, StringsByTheirShareOfDistinctValues) {
  std::mt19937 random(7);
  auto draw_from = [&](uint32_t variety) {
    return [&random, variety](int64_t) { return "host-" + std::to_string(random() % variety); };
  };
  EXPECT_EQ(ChooseString(kRows, draw_from(1)), Encoding::kDictionary);
  EXPECT_EQ(ChooseString(kRows, draw_from(500)), Encoding::kDictionary);
  // The sample of 2,048 values sees hardly one of them twice; all rows see each of them twenty times.
  EXPECT_EQ(ChooseString(kRows, draw_from(5'000)), Encoding::kDictionary);
  EXPECT_EQ(ChooseString(kRows, draw_from(400'000)), Encoding::kDeltaLengthByteArray);
  EXPECT_EQ(ChooseString(kRows, [](int64_t row) { return std::to_string(row); }), Encoding::kDeltaLengthByteArray);
  // The same 5,000 values are nearly unique in a file of 3,000 rows.
  EXPECT_EQ(ChooseString(3'000, draw_from(5'000)), Encoding::kDeltaLengthByteArray);
}

TEST(ColumnEncoding, ALargeDictionaryIsNoDictionary) {
  auto values = [](int64_t row) { return std::string(1000, 'x') + std::to_string(row % 4'000); };
  EXPECT_EQ(ChooseString(20'000, values), Encoding::kDeltaLengthByteArray);
  EXPECT_EQ(ChooseString(20'000, values, {.dictionary_bytes_max = 64 << 20}), Encoding::kDictionary);
}

TEST(ColumnEncoding, IntegersByTheCheaperForm) {
  std::mt19937_64 random(7);
  EXPECT_EQ(ChooseLong(kRows, [](int64_t row) { return 1'700'000'000'000 + row * 3; }), Encoding::kDeltaBinaryPacked);
  EXPECT_EQ(ChooseLong(kRows, [](int64_t row) { return row % 3 * 1'000'000'007; }), Encoding::kDictionary);
  EXPECT_EQ(ChooseLong(kRows, [&](int64_t) { return static_cast<int64_t>(random()); }), Encoding::kDeltaBinaryPacked);
  EXPECT_EQ(ChooseLong(kRows, [&](int64_t) { return static_cast<int64_t>(random() % 60'000); }),
            Encoding::kDeltaBinaryPacked);
}

TEST(ColumnEncoding, OtherTypes) {
  auto irrational = [](int64_t row) { return static_cast<double>(row) * 0.7310585786; };
  EXPECT_EQ(Choose<arrow::DoubleBuilder>(TypeKind::kDouble, kRows, irrational), Encoding::kByteStreamSplit);
  EXPECT_EQ(Choose<arrow::DoubleBuilder>(TypeKind::kDouble, kRows, [](int64_t row) { return row % 4 * 0.5; }),
            Encoding::kDictionary);
  auto bit = [](int64_t row) { return row % 2 == 0; };
  EXPECT_EQ(Choose<arrow::BooleanBuilder>(TypeKind::kBoolean, 10, bit), Encoding::kPlain);
  EXPECT_EQ(Choose<arrow::BooleanBuilder>(TypeKind::kBoolean, 10, bit, {.run_length_booleans = true}),
            Encoding::kRunLength);
}

TEST(ColumnEncoding, CompatibleKnowsOnlyDictionaryAndPlain) {
  EncodingRules rules{.modern_encodings = false, .run_length_booleans = true};
  EXPECT_EQ(ChooseString(kRows, [](int64_t row) { return std::to_string(row); }, rules), Encoding::kPlain);
  EXPECT_EQ(ChooseString(kRows, [](int64_t row) { return std::to_string(row % 9); }, rules), Encoding::kDictionary);
  auto count = [](int64_t row) { return row; };
  EXPECT_EQ(Choose<arrow::Int64Builder>(TypeKind::kLong, kRows, count, rules), Encoding::kPlain);
  auto bit = [](int64_t row) { return row % 2 == 0; };
  EXPECT_EQ(Choose<arrow::BooleanBuilder>(TypeKind::kBoolean, 10, bit, rules), Encoding::kPlain);
}

TEST(ColumnEncoding, NothingToSeeIsNoReasonToFail) {
  EXPECT_EQ(ChooseEncoding(*Type::Primitive(TypeKind::kString), {}, {}).encoding, Encoding::kDictionary);
  arrow::StringBuilder nulls;
  ASSERT_TRUE(nulls.AppendNulls(1000).ok());
  std::shared_ptr<arrow::Array> array = *nulls.Finish();
  auto choice = ChooseEncoding(*Type::Primitive(TypeKind::kString), {PieceOf(*array)}, {});
  EXPECT_EQ(choice.encoding, Encoding::kDictionary);
  EXPECT_EQ(choice.value_bytes, 0);
}

TEST(ColumnEncoding, LeavesAreCollectedInParquetsOrder) {
  auto number = Type::Primitive(TypeKind::kLong);
  auto map = Type::Map({FieldId{5}, "key", number, true}, {FieldId{6}, "value", number});
  auto inner = Type::Struct({{FieldId{3}, "a", number}, {FieldId{4}, "m", map}});
  schema::Schema schema{.fields = {{FieldId{1}, "list", Type::List({FieldId{2}, "element", inner})},
                                   {FieldId{7}, "last", number}}};
  columnar::RowBuilder builder(schema);
  auto& list = builder.column(0);
  for (int row = 0; row < 3; ++row) {
    for (int i = 0; i < row; ++i) {
      list.child(0).child(0).AppendInt64(10 + row);
      list.child(0).child(1).child(0).AppendInt64(20 + row);
      list.child(0).child(1).child(1).AppendInt64(30 + row);
      list.child(0).child(1).AppendList();
      list.child(0).AppendStruct();
    }
    list.AppendList();
    builder.column(1).AppendInt64(40 + row);
    builder.CloseRow();
  }
  // Of a slice only the elements of its own lists count, whether the batch is sliced or rows of it are asked for.
  const auto whole = builder.Finish();
  const std::vector<columnar::RowSlice> slices[] = {
      {{whole->Slice(2), 0, 1}}, {{whole->Slice(1), 1, 2}}, {{whole, 2, 3}}};
  const int64_t expected[] = {12, 22, 32, 42};
  const int64_t lengths[] = {2, 2, 2, 1};
  for (const auto& slice : slices) {
    std::vector<LeafValues> leaves(4);
    CollectLeaves(schema, slice, leaves);
    for (size_t i = 0; i < 4; ++i) {
      ASSERT_EQ(leaves[i].size(), 1U);
      const LeafPiece& piece = leaves[i][0];
      ASSERT_EQ(piece.length, lengths[i]);
      EXPECT_EQ(piece.array->GetValues<int64_t>(1, piece.begin)[0], expected[i]);
    }
  }
}

}  // namespace
}  // namespace firn::parquet
