#include "firn/columnar/column_builder.h"

#include <arrow/api.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace firn::columnar {
namespace {

using schema::Type;
using schema::TypeKind;

schema::Field MakeField(int32_t id, std::string name, schema::TypePtr type, bool required = false) {
  schema::Field field;
  field.id = FieldId{id};
  field.name = std::move(name);
  field.type = std::move(type);
  field.required = required;
  return field;
}

schema::TypePtr StringType() { return Type::Primitive(TypeKind::kString); }
schema::TypePtr IntType() { return Type::Primitive(TypeKind::kInt); }

schema::Schema EveryType() {
  schema::Schema schema;
  int32_t id = 1;
  for (TypeKind kind : {TypeKind::kBoolean, TypeKind::kInt, TypeKind::kLong, TypeKind::kFloat, TypeKind::kDouble,
                        TypeKind::kDate, TypeKind::kTime, TypeKind::kTimestamp, TypeKind::kTimestamptz,
                        TypeKind::kTimestampNs, TypeKind::kTimestamptzNs, TypeKind::kString, TypeKind::kUuid,
                        TypeKind::kBinary}) {
    schema.fields.push_back(MakeField(id, "c" + std::to_string(id), Type::Primitive(kind)));
    ++id;
  }
  schema.fields.push_back(MakeField(20, "dec", Type::Decimal(20, 3)));
  schema.fields.push_back(MakeField(21, "fix", Type::Fixed(4)));
  schema.fields.push_back(MakeField(22, "st", Type::Struct({MakeField(23, "a", IntType()),
                                                             MakeField(24, "b", StringType(), true)})));
  schema.fields.push_back(MakeField(25, "li", Type::List(MakeField(26, "element", StringType()))));
  schema.fields.push_back(MakeField(27, "ma", Type::Map(MakeField(28, "key", StringType(), true),
                                                         MakeField(29, "value", IntType()))));
  return schema;
}

void ExpectValid(const arrow::Array& array) {
  arrow::Status status = array.ValidateFull();
  EXPECT_TRUE(status.ok()) << status.ToString();
}

void FillRow(RowBuilder& rows, int seed) {
  std::string uuid(16, static_cast<char>('a' + seed % 26));
  for (size_t i = 0; i < rows.column_count(); ++i) {
    ColumnBuilder& column = rows.column(i);
    switch (column.storage()) {
      case Storage::kBool: column.AppendBool(seed % 2 == 0); break;
      case Storage::kInt32: column.AppendInt32(seed); break;
      case Storage::kInt64: column.AppendInt64(seed); break;
      case Storage::kFloat: column.AppendFloat(static_cast<float>(seed)); break;
      case Storage::kDouble: column.AppendDouble(seed); break;
      case Storage::kDecimal128: column.AppendDecimal(static_cast<__int128>(seed) * 1000); break;
      case Storage::kFixed: column.AppendBytes(std::string_view(uuid).substr(0, i == 12 ? 16 : 4)); break;
      case Storage::kBytes: column.AppendBytes(std::string(static_cast<size_t>(seed % 70), 'x')); break;
      case Storage::kStruct:
        column.child(0).AppendInt32(seed);
        column.child(1).AppendBytes("b");
        column.AppendStruct();
        break;
      case Storage::kList:
        for (int j = 0; j < seed % 4; ++j) column.child(0).AppendBytes("e");
        column.AppendList();
        break;
      case Storage::kMap:
        column.child(0).AppendBytes("k");
        column.child(1).AppendInt32(seed);
        column.AppendList();
        break;
    }
  }
}

TEST(ColumnBuilder, EveryTypeBecomesAValidBatch) {
  schema::Schema schema = EveryType();
  RowBuilder rows(schema);
  for (int i = 0; i < 1000; ++i) {
    if (i % 7 == 3) {
      for (size_t c = 0; c < rows.column_count(); ++c) {
        // The struct's second field is required: a null struct still has nulls below it.
        rows.column(c).AppendNull();
      }
    } else {
      FillRow(rows, i);
    }
    rows.CloseRow();
  }
  EXPECT_GT(rows.bytes(), 1000 * 100);
  std::shared_ptr<arrow::RecordBatch> batch = rows.Finish();
  ASSERT_EQ(batch->num_rows(), 1000);
  EXPECT_TRUE(batch->ValidateFull().ok()) << batch->ValidateFull().ToString();
  EXPECT_TRUE(batch->schema()->Equals(ToArrowSchema(schema), true));
  for (int c = 0; c < batch->num_columns(); ++c) {
    EXPECT_EQ(batch->column(c)->null_count(), 143) << batch->schema()->field(c)->name();
    EXPECT_FALSE(batch->column(c)->IsValid(3));
    EXPECT_TRUE(batch->column(c)->IsValid(4));
  }
  const auto& strings = static_cast<const arrow::StringArray&>(*batch->GetColumnByName("c12"));
  EXPECT_EQ(strings.GetString(69), std::string(69, 'x'));
  const auto& lists = static_cast<const arrow::ListArray&>(*batch->GetColumnByName("li"));
  EXPECT_EQ(lists.value_length(5), 1);
  EXPECT_EQ(rows.row_count(), 0);
  EXPECT_EQ(rows.bytes(), 0);
}

TEST(ColumnBuilder, ValidityAppearsOnlyWithANull) {
  auto column = ColumnBuilder::Make(MakeField(1, "a", IntType()));
  for (int i = 0; i < 100; ++i) column->AppendInt32(i);
  auto array = column->Finish();
  EXPECT_EQ(array->data()->buffers[0], nullptr);
  EXPECT_EQ(static_cast<const arrow::Int32Array&>(*array).Value(99), 99);
  for (int i = 0; i < 100; ++i) column->AppendInt32(i);
  column->AppendNull();
  column->Truncate(100);
  EXPECT_EQ(column->null_count(), 0);
  array = column->Finish();
  EXPECT_EQ(array->data()->buffers[0], nullptr);
  ExpectValid(*array);
}

TEST(ColumnBuilder, BuffersAreAlignedAndGoBackToThePool) {
  int64_t before = arrow::default_memory_pool()->bytes_allocated();
  {
    RowBuilder rows(EveryType());
    for (int i = 0; i < 300; ++i) {
      FillRow(rows, i);
      rows.CloseRow();
    }
    auto batch = rows.Finish();
    for (const auto& column : batch->columns()) {
      for (const auto& buffer : column->data()->buffers) {
        if (buffer == nullptr) continue;
        EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer->data()) % 64, 0U);
      }
    }
    FillRow(rows, 1);  // and a half-filled builder lets go too
  }
  EXPECT_EQ(arrow::default_memory_pool()->bytes_allocated(), before);
}

TEST(RowBuilder, DiscardLeavesNothing) {
  schema::Schema schema = EveryType();
  RowBuilder rows(schema);
  RowBuilder expected(schema);
  for (int i = 0; i < 200; ++i) {
    FillRow(rows, i);
    rows.CloseRow();
    FillRow(expected, i);
    expected.CloseRow();
    // A row that fails somewhere: some columns done, some nulls, an open list, an open struct.
    int64_t bytes = expected.bytes();
    if (i % 3 == 0) FillRow(rows, i + 1);
    if (i % 3 == 1) {
      rows.column(1).AppendNull();
      rows.column(11).AppendBytes("never seen");
      rows.column(16).child(0).AppendInt32(1);
    }
    if (i % 3 == 2) {
      rows.column(17).child(0).AppendBytes("open");
      EXPECT_EQ(rows.column(17).open_elements(), 1);
      rows.column(18).child(0).AppendBytes("key without value");
    }
    rows.DiscardRow();
    // The bitmap that a discarded null has brought stays; nothing else does.
    EXPECT_LE(rows.bytes() - bytes, 1000);
    EXPECT_EQ(rows.column(17).open_elements(), 0);
  }
  auto batch = rows.Finish();
  EXPECT_TRUE(batch->ValidateFull().ok());
  EXPECT_TRUE(batch->Equals(*expected.Finish()));
}

TEST(RowBuilder, ColumnsThatAreLeftOutCatchUpWithNulls) {
  schema::Schema schema = EveryType();
  RowBuilder lazy(schema);
  RowBuilder eager(schema);
  for (int i = 0; i < 500; ++i) {
    bool whole = i % 97 == 13;
    if (whole) {
      for (size_t c = 0; c < lazy.column_count(); ++c) lazy.column(c).FillNulls(i);
      FillRow(lazy, i);
      FillRow(eager, i);
    } else {
      for (size_t c = 0; c < eager.column_count(); ++c) eager.column(c).AppendNull();
    }
    lazy.CloseRow();
    eager.CloseRow();
    lazy.column(2).FillNulls(i + 1);
    lazy.column(2).AppendInt64(1);  // and a discarded row in between
    lazy.DiscardRow();
  }
  auto batch = lazy.Finish();
  EXPECT_TRUE(batch->ValidateFull().ok()) << batch->ValidateFull().ToString();
  EXPECT_TRUE(batch->Equals(*eager.Finish()));
}

// A wide table of which records fill a part: what Finish adds is counted before; columns without any value are free.
TEST(RowBuilder, NullsThatAreStillToComeAreCounted) {
  schema::Schema schema;
  for (int32_t id = 1; id <= 200; ++id) {
    schema.fields.push_back(MakeField(id, "c" + std::to_string(id), Type::Primitive(TypeKind::kLong)));
  }
  schema.fields.push_back(MakeField(300, "l", Type::List(MakeField(301, "element", Type::Struct(
      {MakeField(302, "a", IntType()), MakeField(303, "b", Type::Primitive(TypeKind::kLong))})))));
  int64_t before = arrow::default_memory_pool()->bytes_allocated();
  RowBuilder rows(schema);
  constexpr int64_t kRows = 8192;
  for (int64_t i = 0; i < kRows; ++i) {
    rows.column(0).AppendInt64(i);
    // Half of the columns have one value, at the beginning.
    for (size_t c = 1; i == 0 && c < 100; ++c) rows.column(c).AppendInt64(1);
    ColumnBuilder& element = rows.column(200).child(0);
    for (int e = 0; e < 4; ++e) {
      element.child(0).AppendInt32(e);
      if (i == 0) element.child(1).AppendInt64(e);
      element.AppendStruct();
    }
    ASSERT_TRUE(rows.column(200).AppendList());
    rows.CloseRow();
  }
  const int64_t counted = rows.bytes();
  EXPECT_GE(counted, 100 * kRows * 8 + kRows * 4 * (4 + 8));
  auto batch = rows.Finish();
  EXPECT_TRUE(batch->ValidateFull().ok()) << batch->ValidateFull().ToString();
  EXPECT_EQ(batch->column(150)->null_count(), kRows);
  EXPECT_EQ(batch->column(50)->null_count(), kRows - 1);
  // The other half shares one block: by itself each would take 64 KiB.
  int64_t held = arrow::default_memory_pool()->bytes_allocated() - before;
  EXPECT_LE(held, counted + counted / 4);
}

TEST(RowBuilder, ColumnsWithoutAValueAreValidOfEveryType) {
  schema::Schema schema = EveryType();
  schema.fields.push_back(MakeField(40, "first", IntType()));
  RowBuilder rows(schema);
  RowBuilder eager(schema);
  for (int batch_number = 0; batch_number < 2; ++batch_number) {
    for (int i = 0; i < 100; ++i) {
      rows.column(rows.column_count() - 1).AppendInt32(i);
      rows.column(17).child(0).AppendBytes("left open");
      if (i % 2 == 0) rows.column(17).Truncate(0);
      for (size_t c = 0; c + 1 < eager.column_count(); ++c) eager.column(c).AppendNull();
      eager.column(eager.column_count() - 1).AppendInt32(i);
      rows.CloseRow();
      eager.CloseRow();
    }
    auto batch = rows.Finish();
    EXPECT_TRUE(batch->ValidateFull().ok()) << batch->ValidateFull().ToString();
    EXPECT_TRUE(batch->Equals(*eager.Finish()));
  }
}

TEST(ColumnBuilder, StructFieldsThatAreLeftOutAreNull) {
  auto inner = Type::Struct({MakeField(4, "c", IntType())});
  auto type = Type::Struct({MakeField(2, "a", IntType()), MakeField(3, "b", inner)});
  auto column = ColumnBuilder::Make(MakeField(1, "s", type));
  column->child(0).AppendInt32(1);
  column->AppendStruct();
  column->AppendStruct();
  column->AppendNull();  // now every field has caught up
  EXPECT_EQ(column->child(0).length(), 3);
  EXPECT_EQ(column->child(1).child(0).length(), 3);
  column->child(0).AppendInt32(4);
  column->child(1).child(0).AppendInt32(5);
  column->child(1).AppendStruct();
  column->AppendStruct();
  auto array = column->Finish();
  ExpectValid(*array);
  const auto& parts = static_cast<const arrow::StructArray&>(*array);
  EXPECT_EQ(parts.null_count(), 1);
  EXPECT_EQ(parts.field(0)->null_count(), 2);
  EXPECT_EQ(static_cast<const arrow::Int32Array&>(*parts.field(0)).Value(3), 4);
  EXPECT_EQ(parts.field(1)->null_count(), 3);
}

// A field of a struct that is filled by itself: the struct gets its row later, or never.
TEST(RowBuilder, WhatADiscardedRowLeftBelowAStructWithoutRowsIsGone) {
  schema::Schema schema;
  schema.fields.push_back(MakeField(
      1, "actor",
      Type::Struct({MakeField(2, "name", StringType()),
                    MakeField(3, "user", Type::Struct({MakeField(4, "uid", IntType()),
                                                       MakeField(5, "tags", Type::List(MakeField(6, "element",
                                                                                                 IntType())))}))})));
  RowBuilder rows(schema);
  ColumnBuilder& actor = rows.column(0);
  ColumnBuilder& user = actor.child(1);
  auto add_row = [&] {
    actor.child(0).AppendBytes("x");
    actor.AppendStruct();
    rows.CloseRow();
  };
  for (int i = 0; i < 3; ++i) add_row();
  user.child(0).FillNulls(3);
  user.child(0).AppendInt32(7);
  user.child(1).child(0).AppendInt32(7);  // of a list that is still open
  rows.DiscardRow();
  add_row();
  auto batch = rows.Finish();
  ExpectValid(*batch->column(0));
  EXPECT_EQ(user.child(0).length(), 0);
  EXPECT_EQ(user.child(1).open_elements(), 0);
  add_row();
  batch = rows.Finish();
  ExpectValid(*batch->column(0));
  EXPECT_EQ(static_cast<const arrow::StructArray&>(*batch->column(0)).field(1)->null_count(), 1);
}

TEST(ColumnBuilder, NestedListsKeepTheirPlaces) {
  auto inner = Type::List(MakeField(3, "element", IntType()));
  auto column = ColumnBuilder::Make(MakeField(1, "a", Type::List(MakeField(2, "element", inner))));
  // [[1, 2], []], null, [null], []
  column->child(0).child(0).AppendInt32(1);
  column->child(0).child(0).AppendInt32(2);
  ASSERT_TRUE(column->child(0).AppendList());
  ASSERT_TRUE(column->child(0).AppendList());
  ASSERT_TRUE(column->AppendList());
  column->AppendNull();
  column->child(0).AppendNull();
  ASSERT_TRUE(column->AppendList());
  column->child(0).child(0).AppendInt32(9);  // left open, then cut
  column->Truncate(3);
  EXPECT_EQ(column->child(0).child(0).length(), 2);
  ASSERT_TRUE(column->AppendList());
  auto array = column->Finish();
  ExpectValid(*array);
  EXPECT_EQ(array->length(), 4);
  EXPECT_EQ(array->ToString(),
            "[\n  [\n    [\n      1,\n      2\n    ],\n    []\n  ],\n  null,\n  [\n    null\n  ],\n  []\n]");
}

TEST(ColumnBuilder, ReadableBytesCopyExactlyTheValue) {
  auto column = ColumnBuilder::Make(MakeField(1, "a", StringType()));
  std::string source(200, '\0');
  for (size_t i = 0; i < source.size(); ++i) source[i] = static_cast<char>('A' + i % 60);
  for (size_t n = 0; n <= 100; ++n) ASSERT_TRUE(column->AppendReadableBytes(std::string_view(source).substr(n, n)));
  auto array = column->Finish();
  ExpectValid(*array);
  for (size_t n = 0; n <= 100; ++n) {
    EXPECT_EQ(static_cast<const arrow::StringArray&>(*array).GetString(static_cast<int64_t>(n)), source.substr(n, n));
  }
}

TEST(ColumnBuilder, EmptyColumnsAreValid) {
  RowBuilder rows(EveryType());
  auto batch = rows.Finish();
  EXPECT_EQ(batch->num_rows(), 0);
  EXPECT_TRUE(batch->ValidateFull().ok()) << batch->ValidateFull().ToString();
}

TEST(ColumnBuilder, BeyondTheOffsetLimitNothingIsAppended) {
  auto column = ColumnBuilder::Make(MakeField(1, "a", StringType()));
  ASSERT_TRUE(column->AppendBytes("x"));
  // The size alone is looked at: no byte of it is touched.
  EXPECT_FALSE(column->AppendBytes(std::string_view("y", static_cast<size_t>(kColumnBytesMax))));
  EXPECT_EQ(column->length(), 1);
  ASSERT_TRUE(column->AppendBytes("z"));
  auto array = column->Finish();
  ExpectValid(*array);
  EXPECT_EQ(static_cast<const arrow::StringArray&>(*array).GetString(1), "z");
}

TEST(ToArrowSchema, CarriesFieldIdsEverywhere) {
  auto schema = ToArrowSchema(EveryType());
  auto id = [](const std::shared_ptr<arrow::Field>& field) { return *field->metadata()->Get("PARQUET:field_id"); };
  EXPECT_EQ(id(schema->GetFieldByName("c1")), "1");
  EXPECT_EQ(id(schema->GetFieldByName("st")->type()->field(1)), "24");
  EXPECT_FALSE(schema->GetFieldByName("st")->type()->field(1)->nullable());
  EXPECT_EQ(id(schema->GetFieldByName("li")->type()->field(0)), "26");
  const auto& map = static_cast<const arrow::MapType&>(*schema->GetFieldByName("ma")->type());
  EXPECT_EQ(id(map.key_field()), "28");
  EXPECT_EQ(id(map.item_field()), "29");
  EXPECT_TRUE(schema->GetFieldByName("c9")->type()->Equals(arrow::timestamp(arrow::TimeUnit::MICRO, "UTC")));
  EXPECT_TRUE(schema->GetFieldByName("c13")->type()->Equals(arrow::fixed_size_binary(16)));
}

}  // namespace
}  // namespace firn::columnar
