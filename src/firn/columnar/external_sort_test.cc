#include "firn/columnar/external_sort.h"

#include <arrow/api.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <random>
#include <tuple>

#include "firn/columnar/column_builder.h"
#include "firn/env/testing/memory_spill.h"

namespace firn::columnar {
namespace {

using schema::Type;
using schema::TypeKind;

// A row's number, a key, a text that makes it long.
struct Row {
  int64_t number = 0;
  std::optional<int64_t> key;
  std::string text;
  bool operator==(const Row&) const = default;
};

schema::Schema RowSchema() {
  schema::Schema schema;
  schema.fields = {{FieldId{1}, "number", Type::Primitive(TypeKind::kLong)},
                   {FieldId{2}, "key", Type::Primitive(TypeKind::kLong)},
                   {FieldId{3}, "text", Type::Primitive(TypeKind::kString)}};
  return schema;
}

class ExternalSortTest : public testing::Test {
 protected:
  std::shared_ptr<arrow::RecordBatch> MakeBatch(int64_t rows) {
    arrow::Int64Builder numbers, keys;
    arrow::StringBuilder texts;
    for (int64_t i = 0; i < rows; ++i) {
      Row row{static_cast<int64_t>(rows_.size()), std::nullopt, std::string(random_() % 100, 'x')};
      if (random_() % 8 > 0) row.key = static_cast<int64_t>(random_() % 500);
      EXPECT_TRUE(numbers.Append(row.number).ok() && texts.Append(row.text).ok());
      EXPECT_TRUE((row.key.has_value() ? keys.Append(*row.key) : keys.AppendNull()).ok());
      rows_.push_back(std::move(row));
    }
    return arrow::RecordBatch::Make(
        ToArrowSchema(schema_), rows,
        {numbers.Finish().ValueOrDie(), keys.Finish().ValueOrDie(), texts.Finish().ValueOrDie()});
  }

  // All that were made, by key, descending, nulls last; rows of one key in the order they came in.
  std::vector<Row> Expected() {
    std::vector<Row> rows = rows_;
    std::ranges::stable_sort(rows, [](const Row& a, const Row& b) { return a.key > b.key; });
    return rows;
  }

  static Result<std::vector<Row>> Drain(const RowSource& source, const std::function<void()>& look = [] {}) {
    std::vector<Row> rows;
    for (;;) {
      FIRN_ASSIGN(const RowSlice slice, source());
      if (slice.batch == nullptr) return rows;
      look();
      const auto& numbers = static_cast<const arrow::Int64Array&>(*slice.batch->column(0));
      const auto& keys = static_cast<const arrow::Int64Array&>(*slice.batch->column(1));
      const auto& texts = static_cast<const arrow::StringArray&>(*slice.batch->column(2));
      for (int64_t i = slice.begin; i < slice.end; ++i) {
        rows.push_back({numbers.Value(i), std::nullopt, texts.GetString(i)});
        if (!keys.IsNull(i)) rows.back().key = keys.Value(i);
      }
    }
  }

  const schema::Schema schema_ = RowSchema();
  const schema::SortOrder order_ = schema::ParseSortOrder({"key desc nulls last"}, schema_).value();
  std::mt19937_64 random_{5};
  std::vector<Row> rows_;
  env::MemorySpill spill_;
};

TEST_F(ExternalSortTest, FewRowsStayInMemory) {
  ExternalSort sort(schema_, order_, {});
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(sort.Add(MakeBatch(100)).has_value());
  EXPECT_EQ(Drain(sort.Finish().value()).value(), Expected());
  EXPECT_EQ(sort.rows(), 500);
  EXPECT_EQ(sort.runs(), 0);
}

TEST_F(ExternalSortTest, NoRowsAreNoRows) {
  ExternalSort sort(schema_, order_, {});
  EXPECT_TRUE(Drain(sort.Finish().value()).value().empty());
}

TEST_F(ExternalSortTest, ManyRowsTakeNoMoreMemoryThanFew) {
  constexpr int64_t kMemory = 2 << 20;
  int64_t most = 0;
  {
    ExternalSort sort(schema_, order_, {.memory_bytes = kMemory, .spill = &spill_, .go_on = {}});
    const int64_t before = arrow::default_memory_pool()->bytes_allocated();
    auto look = [&] { most = std::max(most, arrow::default_memory_pool()->bytes_allocated() - before); };
    for (int i = 0; i < 150; ++i) {
      ASSERT_TRUE(sort.Add(MakeBatch(1000)).has_value());  // 80 bytes a row
      look();
    }
    auto source = sort.Finish();
    ASSERT_TRUE(source.has_value()) << source.error().ToString();
    look();
    EXPECT_EQ(Drain(*source, look).value(), Expected());
    EXPECT_GT(sort.runs(), 30);
    EXPECT_GT(sort.passes(), 0);
    EXPECT_EQ(sort.bytes_spilled(), spill_.bytes_appended());
    EXPECT_GT(sort.bytes_spilled(), 0);
  }
  EXPECT_LT(most, kMemory);
  EXPECT_EQ(spill_.files(), 0);
}

TEST_F(ExternalSortTest, SeveralPassesKeepTheOrderOfEqualRows) {
  ExternalSort sort(schema_, order_, {.memory_bytes = 64 << 10, .spill = &spill_, .go_on = {}});
  for (int i = 0; i < 60; ++i) ASSERT_TRUE(sort.Add(MakeBatch(200)).has_value());
  EXPECT_EQ(Drain(sort.Finish().value()).value(), Expected());
  EXPECT_GT(sort.passes(), 30);
}

TEST_F(ExternalSortTest, WithoutASpillFolderMemoryHasToDo) {
  ExternalSort sort(schema_, order_, {.memory_bytes = 256 << 10, .spill = nullptr, .go_on = {}});
  Status added;
  for (int i = 0; i < 100 && added.has_value(); ++i) added = sort.Add(MakeBatch(200));
  ASSERT_FALSE(added.has_value());
  EXPECT_EQ(added.error().code(), ErrorCode::kResourceExhausted);
  EXPECT_NE(added.error().message().find("spill.dir"), std::string::npos);
}

TEST_F(ExternalSortTest, WhatTheDiskDoesIsTold) {
  const auto run = [this]() -> Status {
    ExternalSort sort(schema_, order_, {.memory_bytes = 64 << 10, .spill = &spill_, .go_on = {}});
    for (int i = 0; i < 20; ++i) FIRN_TRY(sort.Add(MakeBatch(200)));
    FIRN_ASSIGN(const RowSource source, sort.Finish());
    FIRN_TRY(Drain(source));
    return {};
  };
  spill_.set_lies(true);
  EXPECT_EQ(run().error().code(), ErrorCode::kCorruption);
  spill_.set_lies(false);
  spill_.set_reads_fail(true);
  EXPECT_EQ(run().error().code(), ErrorCode::kIoError);
  spill_.set_reads_fail(false);
  spill_.set_bytes_max(50'000);
  EXPECT_EQ(run().error().code(), ErrorCode::kResourceExhausted);
}

TEST_F(ExternalSortTest, AStopEndsIt) {
  ExternalSort sort(schema_, order_, {.memory_bytes = 64 << 10, .spill = &spill_, .go_on = [] { return false; }});
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(sort.Add(MakeBatch(200)).has_value());
  EXPECT_EQ(sort.Finish().error().code(), ErrorCode::kCancelled);
}

}  // namespace
}  // namespace firn::columnar
