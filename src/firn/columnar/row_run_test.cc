#include "firn/columnar/row_run.h"

#include <arrow/api.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>

#include "firn/columnar/column_builder.h"
#include "firn/columnar/row_pack.h"
#include "firn/columnar/sorted_merge.h"
#include "firn/env/testing/memory_spill.h"

namespace firn::columnar {
namespace {

using schema::Field;
using schema::Schema;
using schema::Type;
using schema::TypeKind;
using Batch = std::shared_ptr<arrow::RecordBatch>;
using Batches = std::vector<Batch>;

// The row's number, every primitive type, and the nested shapes: a struct, a list of structs, a map of lists.
Schema AllShapes() {
  int32_t id = 0;
  auto field = [&](schema::TypePtr type) {
    ++id;
    return Field{FieldId{id}, "c" + std::to_string(id), std::move(type)};
  };
  Schema schema;
  schema.fields.push_back(field(Type::Primitive(TypeKind::kLong)));
  for (TypeKind kind :
       {TypeKind::kBoolean, TypeKind::kInt, TypeKind::kFloat, TypeKind::kDouble, TypeKind::kDate, TypeKind::kTime,
        TypeKind::kTimestamptz, TypeKind::kTimestampNs, TypeKind::kString, TypeKind::kUuid, TypeKind::kBinary}) {
    schema.fields.push_back(field(Type::Primitive(kind)));
  }
  schema.fields.push_back(field(Type::Decimal(38, 4)));
  schema.fields.push_back(field(Type::Fixed(3)));
  auto text = [&] { return field(Type::Primitive(TypeKind::kString)); };
  auto flag = [&] { return field(Type::Primitive(TypeKind::kBoolean)); };
  schema.fields.push_back(field(Type::Struct({text(), flag(), field(Type::Struct({text()}))})));
  schema.fields.push_back(field(Type::List(field(Type::Struct({text(), flag()})))));
  schema.fields.push_back(field(Type::Map(text(), field(Type::List(text())))));
  schema.fields.push_back(field(Type::Primitive(TypeKind::kDouble)));  // never has a value
  return schema;
}

class RowMaker {
 public:
  explicit RowMaker(uint64_t seed) : random_(seed), builder_(schema_) {}

  // `sorted_by`: the value of column 2 (an int), ascending.
  Batch Make(int64_t rows, int64_t first = 0) {
    for (int64_t row = 0; row < rows; ++row) {
      builder_.column(0).AppendInt64(first + row);
      for (size_t i = 1; i + 1 < schema_.fields.size(); ++i) Append(schema_.fields[i], builder_.column(i));
      builder_.column(schema_.fields.size() - 1).AppendNull();
      builder_.CloseRow();
    }
    return builder_.Finish();
  }
  const Schema& schema() const { return schema_; }

 private:
  void Append(const Field& field, ColumnBuilder& out) {
    if (!out.required() && random_() % 4 == 0) return out.AppendNull();
    switch (out.storage()) {
      case Storage::kBool: return out.AppendBool(random_() % 2 == 0);
      case Storage::kInt32: return out.AppendInt32(static_cast<int32_t>(random_() % 100));
      case Storage::kInt64:
        return out.AppendInt64(static_cast<int64_t>(random_() % 86'400'000'000));  // fits a time, too
      case Storage::kFloat: return out.AppendFloat(random_() % 9 == 0 ? NAN : static_cast<float>(random_() % 100));
      case Storage::kDouble: return out.AppendDouble(static_cast<double>(random_() % 100) / 7);
      case Storage::kDecimal128: return out.AppendDecimal(static_cast<__int128>(random_()) * 1'000'003);
      case Storage::kFixed: {
        std::string bytes(static_cast<size_t>(field.type->kind() == TypeKind::kUuid ? 16 : 3), 'x');
        bytes[0] = static_cast<char>(random_());
        ASSERT_TRUE(out.AppendBytes(bytes));
        return;
      }
      case Storage::kBytes: {
        ASSERT_TRUE(out.AppendBytes(std::string(random_() % 30, static_cast<char>('a' + random_() % 26))));
        return;
      }
      case Storage::kStruct: {
        for (size_t i = 0; i < out.child_count(); ++i) Append(field.type->fields()[i], out.child(i));
        return out.AppendStruct();
      }
      case Storage::kList:
      case Storage::kMap: {
        for (uint64_t n = random_() % 4; n > 0; --n) {
          for (size_t i = 0; i < out.child_count(); ++i) AppendRequired(field.type->fields()[i], out.child(i));
        }
        ASSERT_TRUE(out.AppendList());
        return;
      }
    }
  }
  // Elements and keys; a value for each.
  void AppendRequired(const Field& field, ColumnBuilder& out) {
    const int64_t before = out.length();
    while (out.length() == before) Append(field, out);
    EXPECT_TRUE(!out.required() || out.null_count() == 0);
  }

  std::mt19937_64 random_;
  Schema schema_ = AllShapes();
  RowBuilder builder_;
};

bool Same(const Batch& a, const Batch& b) {
  return a->Equals(*b, false, arrow::EqualOptions().nans_equal(true));
}

Batch Joined(const Batches& batches) {
  return arrow::ConcatenateRecordBatches(batches).ValueOrDie();
}

Result<Batches> ReadPartition(RunReader& reader, uint32_t partition) {
  Batches batches;
  EXPECT_TRUE(reader.Open(partition));
  for (;;) {
    FIRN_ASSIGN(const RowSlice rows, reader.Next());
    Batch next = rows.Batch();
    if (next == nullptr) return batches;
    batches.push_back(std::move(next));
  }
}

std::vector<RowSlice> Whole(const Batch& batch) {
  return {{batch, 0, batch->num_rows()}};
}

Batch Joined(const std::vector<RowSlice>& slices) {
  Batches batches;
  for (const RowSlice& slice : slices) batches.push_back(slice.batch->Slice(slice.begin, slice.end - slice.begin));
  return Joined(batches);
}

// Rows cut at random over partitions with gaps between their numbers.
std::vector<RowRun::Group> Groups(const Batch& rows, size_t count, std::mt19937_64& random) {
  std::vector<RowRun::Group> groups;
  const uint64_t size_max = static_cast<uint64_t>(rows->num_rows()) / count;
  int64_t begin = 0;
  for (size_t i = 0; i < count; ++i) {
    RowRun::Group group{static_cast<uint32_t>(i * 3 + 1), {}};
    for (uint64_t parts = 1 + random() % 3; parts > 0; --parts) {
      const int64_t end = std::min(rows->num_rows(), begin + static_cast<int64_t>(random() % size_max));
      group.slices.push_back({rows, begin, end});
      begin = end;
    }
    groups.push_back(std::move(group));
  }
  return groups;
}

TEST(RowPack, SlicesOfEveryShapeComeBackEqual) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    RowMaker maker(seed);
    Batch a = maker.Make(40), b = maker.Make(3), c = maker.Make(100);
    const RowSlice slices[] = {{a, 7, 31}, {b, 0, 0}, {c, 99, 100}, {b, 0, 3}, {a, 0, 40}};
    std::string bytes;
    PackRows(slices, bytes);
    const int64_t rows = 24 + 1 + 3 + 40;
    auto unpacked = UnpackRows(a->schema(), rows, arrow::Buffer::FromString(bytes));
    ASSERT_TRUE(unpacked.has_value()) << unpacked.error().ToString();
    ASSERT_TRUE((*unpacked)->ValidateFull().ok()) << (*unpacked)->ValidateFull().ToString();
    EXPECT_TRUE(Same(*unpacked, Joined({a->Slice(7, 24), c->Slice(99, 1), b, a})));
    // Anything else is refused rather than read beyond its end.
    for (size_t size : {size_t{0}, bytes.size() / 2, bytes.size() - 1}) {
      EXPECT_FALSE(UnpackRows(a->schema(), rows, arrow::Buffer::FromString(bytes.substr(0, size))).has_value());
    }
    EXPECT_FALSE(UnpackRows(a->schema(), rows, arrow::Buffer::FromString(bytes + "x")).has_value());
  }
}

TEST(RowRun, EachPartitionIsReadByItselfFromMemoryAndFromASpillFile) {
  for (uint64_t seed = 0; seed < 30; ++seed) {
    std::mt19937_64 random(seed);
    RowMaker maker(seed);
    Batch rows = maker.Make(600);
    auto groups = Groups(rows, 1 + random() % 40, random);
    const int64_t block_bytes = 1 << (6 + random() % 12);
    auto run = RowRun::Pack(groups, block_bytes);
    ASSERT_TRUE(run.has_value()) << run.error().ToString();
    env::MemorySpill spill;
    if (seed % 2 == 1) {
      const int64_t before = run->memory_bytes();
      ASSERT_TRUE(run->MoveTo(std::move(*spill.NewFile())).has_value());
      EXPECT_LE(run->memory_bytes(), before - run->packed_bytes());
    }
    std::shuffle(groups.begin(), groups.end(), random);
    RunReader reader(*run, rows->schema());
    int64_t total = 0;
    for (const auto& group : groups) {
      Batch expected = Joined(group.slices);
      total += expected->num_rows();
      if (expected->num_rows() == 0) {
        EXPECT_FALSE(reader.Open(group.partition));
        continue;
      }
      auto read = ReadPartition(reader, group.partition);
      ASSERT_TRUE(read.has_value()) << read.error().ToString();
      EXPECT_TRUE(Same(Joined(*read), expected)) << "seed " << seed << " partition " << group.partition;
      EXPECT_FALSE(reader.Open(group.partition + 1));
    }
    EXPECT_EQ(run->rows(), total);
  }
}

TEST(RowRun, ALongRowIsABlockByItselfAndBlocksStaySmall) {
  Schema schema;
  schema.fields = {{FieldId{1}, "text", Type::Primitive(TypeKind::kString)}};
  RowBuilder builder(schema);
  for (int i = 0; i < 300; ++i) {
    ASSERT_TRUE(builder.column(0).AppendBytes(std::string(i % 100 == 50 ? 200'000 : 10, 'x')));
    builder.CloseRow();
  }
  Batch rows = builder.Finish();
  auto run = RowRun::Pack({{7, Whole(rows)}}, 4'096);
  ASSERT_TRUE(run.has_value());
  RunReader reader(*run, rows->schema());
  ASSERT_TRUE(reader.Open(7));
  int64_t largest_of_several = 0;
  for (;;) {
    Batch next = reader.Next().value().Batch();
    if (next == nullptr) break;
    if (next->num_rows() > 1) largest_of_several = std::max(largest_of_several, reader.memory_bytes());
    largest_of_several =
        std::max(largest_of_several, next->num_rows() > 1 ? BytesOfRows(*next, 0, next->num_rows()) : 0);
  }
  EXPECT_LE(largest_of_several, 2 * 4'096);
}

TEST(RowRun, TornAndLyingSpillFilesAreNoticed) {
  RowMaker maker(1);
  Batch rows = maker.Make(500);
  for (int fault = 0; fault < 3; ++fault) {
    auto run = RowRun::Pack({{0, Whole(rows)}}, 4'096);
    ASSERT_TRUE(run.has_value());
    env::MemorySpill spill;
    if (fault == 0) spill.TearAppend(1);
    if (fault == 1) spill.set_lies(true);
    if (fault == 2) spill.set_reads_fail(true);
    ASSERT_TRUE(run->MoveTo(std::move(*spill.NewFile())).has_value());
    RunReader reader(*run, rows->schema());
    auto read = ReadPartition(reader, 0);
    ASSERT_FALSE(read.has_value());
    EXPECT_EQ(read.error().code(), fault == 2 ? ErrorCode::kIoError : ErrorCode::kCorruption);
  }
}

TEST(RowRun, AFullDiskLeavesTheRunInMemory) {
  RowMaker maker(2);
  Batch rows = maker.Make(100);
  auto run = RowRun::Pack({{0, Whole(rows)}});
  ASSERT_TRUE(run.has_value());
  env::MemorySpill spill;
  spill.set_bytes_max(run->packed_bytes() - 1);
  EXPECT_EQ(run->MoveTo(std::move(*spill.NewFile())).error().code(), ErrorCode::kResourceExhausted);
  EXPECT_FALSE(run->spilled());
  RunReader reader(*run, rows->schema());
  auto read = ReadPartition(reader, 0);
  ASSERT_TRUE(read.has_value());
  EXPECT_TRUE(Same(Joined(*read), rows));
}

// Against std::stable_sort over all rows, numbered through in the order of their sources.
TEST(SortedMerge, GivesWhatAStableSortGives) {
  for (uint64_t seed = 0; seed < 40; ++seed) {
    std::mt19937_64 random(seed);
    RowMaker maker(seed);
    schema::SortField by;
    by.source_id = FieldId{3};  // an int of few values, null now and then
    by.direction = seed % 2 == 0 ? schema::SortDirection::kAscending : schema::SortDirection::kDescending;
    by.null_order = seed % 3 == 0 ? schema::NullOrder::kNullsFirst : schema::NullOrder::kNullsLast;
    const schema::SortOrder order{1, {by}};
    struct Key {
      bool null;
      int32_t value;
      int64_t row;
    };
    auto before = [&](const Key& a, const Key& b) {
      if (a.null != b.null) return a.null == (by.null_order == schema::NullOrder::kNullsFirst);
      if (a.null || a.value == b.value) return false;
      return (a.value < b.value) == (by.direction == schema::SortDirection::kAscending);
    };
    auto key_of = [](const Batch& batch, int64_t row) {
      const auto& values = static_cast<const arrow::Int32Array&>(*batch->column(2));
      const auto& numbers = static_cast<const arrow::Int64Array&>(*batch->column(0));
      return Key{values.IsNull(row), values.IsNull(row) ? 0 : values.Value(row), numbers.Value(row)};
    };
    std::vector<Key> expected;
    std::vector<RowSource> sources;
    int64_t rows = 0;
    for (uint64_t source = random() % 7; source > 0; --source) {
      Batch whole = maker.Make(static_cast<int64_t>(random() % 200), rows);
      rows += whole->num_rows();
      std::vector<Key> keys;
      for (int64_t row = 0; row < whole->num_rows(); ++row) keys.push_back(key_of(whole, row));
      expected.insert(expected.end(), keys.begin(), keys.end());
      std::vector<int64_t> sorted(keys.size());
      for (size_t i = 0; i < sorted.size(); ++i) sorted[i] = static_cast<int64_t>(i);
      std::ranges::stable_sort(sorted, [&](int64_t a, int64_t b) { return before(keys[a], keys[b]); });
      auto pieces = std::make_shared<std::vector<RowSlice>>();
      Batches ordered;
      for (int64_t row : sorted) ordered.push_back(whole->Slice(row, 1));
      if (ordered.empty()) ordered.push_back(whole);
      Batch joined = Joined(ordered);
      for (int64_t at = 0; at < joined->num_rows();) {
        auto size = std::min<int64_t>(joined->num_rows() - at, static_cast<int64_t>(random() % 40));
        pieces->push_back({joined, at, at + size});  // an empty one now and then
        at += size;
      }
      sources.push_back([pieces, next = size_t{0}]() mutable -> Result<RowSlice> {
        return next < pieces->size() ? (*pieces)[next++] : RowSlice{};
      });
    }
    std::ranges::stable_sort(expected, before);
    SortedMerge merge(maker.schema(), order, std::move(sources), seed % 5 == 0 ? 1 : kMergedBytesMax);
    size_t at = 0;
    for (;;) {
      auto rows = merge.Next();
      ASSERT_TRUE(rows.has_value()) << rows.error().ToString();
      if (rows->batch == nullptr) break;
      const Batch next = rows->Batch();
      for (int64_t row = 0; row < next->num_rows(); ++row, ++at) {
        ASSERT_LT(at, expected.size());
        ASSERT_EQ(key_of(next, row).row, expected[at].row) << "seed " << seed << " row " << at;
      }
    }
    EXPECT_EQ(at, expected.size()) << "seed " << seed;
  }
}

}  // namespace
}  // namespace firn::columnar
