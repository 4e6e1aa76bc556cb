#include "firn/compaction/sort_picker.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>

#include "firn/schema/value.h"

namespace firn::compaction {
namespace {

using schema::Type;
using schema::TypeKind;
using schema::Value;

constexpr int32_t kOrder = 3;
constexpr int32_t kField = 7;

Value ValueOf(const Type& type, const std::string& text) {
  if (type.kind() == TypeKind::kString || type.kind() == TypeKind::kBinary) return text;
  if (type.kind() == TypeKind::kDouble) return std::stod(text);
  return static_cast<int32_t>(std::stoi(text));
}

// One line a file: "name size [lower upper [words]]". Words: unsorted (all others name the order), nulls (some), nan
// (some), only-nulls and only-nan (bounds are not stated then), empty, and "p=PARTITION". Deletes: "name deletes
// PARTITION" is an equality delete, newer than all.
TableFiles Parse(const std::string& text, const Type& type) {
  TableFiles table;
  std::istringstream lines(text);
  std::string line;
  for (int64_t sequence = 1; std::getline(lines, line); ++sequence) {
    std::istringstream words(line);
    LiveFile file;
    iceberg::DataFile& data = file.entry.data_file;
    std::string size, lower, upper, word;
    if (!(words >> data.file_path >> size)) continue;
    file.entry.sequence_number = sequence;
    data.record_count = 10;
    if (size == "deletes") {
      words >> file.partition_path;
      file.entry.sequence_number = 1000;
      data.content = iceberg::FileContent::kEqualityDeletes;
      table.deletes.push_back(std::move(file));
      continue;
    }
    data.file_size_in_bytes = std::stoll(size);
    data.sort_order_id = kOrder;
    data.value_counts[kField] = 10;
    data.null_value_counts[kField] = 0;
    if (words >> lower >> upper && lower != "-") {
      data.lower_bounds[kField] = schema::SerializeSingleValue(type, ValueOf(type, lower));
      data.upper_bounds[kField] = schema::SerializeSingleValue(type, ValueOf(type, upper));
    }
    while (words >> word) {
      if (word == "unsorted") data.sort_order_id.reset();
      if (word == "nulls") data.null_value_counts[kField] = 1;
      if (word == "only-nulls") data.null_value_counts[kField] = 10;
      if (word == "nan") data.nan_value_counts[kField] = 1;
      if (word == "only-nan") data.nan_value_counts[kField] = 10;
      if (word == "empty") data.record_count = data.value_counts[kField] = 0;
      if (word.starts_with("p=")) file.partition_path = word;
    }
    table.data.push_back(std::move(file));
  }
  return table;
}

struct How {
  TypeKind type = TypeKind::kInt;
  schema::Transform transform = {};
  bool descending = false;
  bool nulls_last = false;
  std::optional<int32_t> bound_length = {};
  bool any_order = true;  // false: no file can say that it is sorted
};

// "a+b c": groups in the order of their first names, then what was left alone. The target is 100 bytes.
std::string Picks(const std::string& text, const How& how = {}) {
  SortPick sort{.order_id = kOrder, .first = {}, .source_type = Type::Primitive(how.type),
                .bound_length = how.bound_length};
  if (!how.any_order) sort.order_id.reset();
  sort.first.source_id = FieldId{kField};
  sort.first.transform = how.transform;
  if (how.descending) sort.first.direction = schema::SortDirection::kDescending;
  sort.first.null_order = how.nulls_last ? schema::NullOrder::kNullsLast : schema::NullOrder::kNullsFirst;
  const TableFiles table = Parse(text, *sort.source_type);
  PickOptions options;
  options.target_bytes = 100;
  const Picked picked = PickForSort(table, options, sort);
  std::vector<std::string> groups;
  for (const PickedGroup& group : picked.groups) {
    std::vector<std::string> names;
    for (const size_t file : group.files) names.push_back(table.data[file].entry.data_file.file_path);
    groups.push_back(fmt::format("{}", fmt::join(names, "+")));
    for (const size_t file : group.deletes) groups.back() += "-" + table.deletes[file].entry.data_file.file_path;
  }
  std::ranges::sort(groups);
  std::string result = fmt::format("{}", fmt::join(groups, " "));
  for (const auto& [reason, count] : picked.left_alone) result += fmt::format(" | {} {}", reason, count);
  return result;
}

TEST(SortPicker, WhatIsNotSortedIsSorted) {
  EXPECT_EQ(Picks("a 100 1 5 unsorted\nb 90 5 9\nc 100 9 12 unsorted"), "a c");
  EXPECT_EQ(Picks("a 100 1 5\nb 90 5 9\nc 100 9 12"), "");
  EXPECT_EQ(Picks("a 100 1 5\nb 90 5 9", {.any_order = false}), "a+b");
}

TEST(SortPicker, WhatOverlapsIsSortedTogether) {
  EXPECT_EQ(Picks("a 100 1 5\nb 100 4 9\nc 100 9 12\nd 100 20 40\ne 100 22 23\nf 100 39 41"), "a+b d+e+f");
  // Of one value all may be equal in it.
  EXPECT_EQ(Picks("a 100 5 5\nb 100 5 5\nc 100 5 9"), "");
  EXPECT_EQ(Picks("c 100 5 9\na 100 5 5"), "");
  EXPECT_EQ(Picks("a 100 1 9\nb 100 3 3"), "a+b");
}

TEST(SortPicker, WhatIsSortedTakesSmallNeighboursWithIt) {
  EXPECT_EQ(Picks("a 10 1 5\nb 100 5 9 unsorted\nc 10 9 12\nd 100 12 14\ne 10 14 15"), "a+b+c | alone 1");
}

TEST(SortPicker, SmallNeighboursArePutTogether) {
  EXPECT_EQ(Picks("a 10 1 5\nb 10 5 9\nc 100 9 12\nd 10 14 15\ne 10 16 17\nf 10 18 18"), "a+b d+e+f");
  // They would be as many afterwards.
  EXPECT_EQ(Picks("a 60 1 5\nb 60 5 9"), " | alone 2");
  EXPECT_EQ(Picks("a 60 1 5\nb 60 5 9\nc 60 9 10"), "a+b+c");
}

TEST(SortPicker, APartitionIsSortedByItself) {
  EXPECT_EQ(Picks("a 10 1 5 p=1\nb 10 2 9 p=2\nc 10 2 7 p=1\nd 10 3 4 p=2 unsorted"), "a+c b+d");
}

TEST(SortPicker, DescendingRangesRunBackwards) {
  EXPECT_EQ(Picks("a 100 5 9\nb 100 1 5", {.descending = true}), "");
  EXPECT_EQ(Picks("a 100 5 9\nb 100 1 6\nc 100 0 1", {.descending = true}), "a+b");
  EXPECT_EQ(Picks("a 10 5 9\nb 10 1 5\nc 10 20 20", {.descending = true}), "a+b+c");
}

TEST(SortPicker, NullsHaveTheirPlace) {
  // First: c has values that lie behind a's nulls and before its values.
  EXPECT_EQ(Picks("a 100 5 9 nulls\nc 100 1 2"), "a+c");
  EXPECT_EQ(Picks("a 100 1 2 nulls\nc 100 5 9"), "");
  EXPECT_EQ(Picks("a 100 - - only-nulls\nb 100 1 2 nulls\nc 100 5 9"), "");
  EXPECT_EQ(Picks("a 100 - - only-nulls\nb 100 1 2\nc 100 5 9 nulls"), "b+c");
  EXPECT_EQ(Picks("a 100 5 9\nc 100 1 2 nulls", {.nulls_last = true}), "a+c");
  EXPECT_EQ(Picks("a 100 5 9 nulls\nc 100 1 2", {.nulls_last = true}), "");
  EXPECT_EQ(Picks("a 100 - - only-nulls\nb 100 5 9 nulls\nc 100 1 2", {.nulls_last = true}), "");
}

TEST(SortPicker, NaNComesAfterAllNumbers) {
  EXPECT_EQ(Picks("a 100 1 2 nan\nb 100 5 9", {.type = TypeKind::kDouble}), "a+b");
  EXPECT_EQ(Picks("a 100 1 2\nb 100 5 9 nan", {.type = TypeKind::kDouble}), "");
  EXPECT_EQ(Picks("a 100 1 2\nb 100 5 9 nan\nc 100 - - only-nan", {.type = TypeKind::kDouble}), "");
  EXPECT_EQ(Picks("a 100 1 2 nan\nb 100 5 9\nc 100 - - only-nan", {.type = TypeKind::kDouble}), "a+b");
}

// Whatever a manifest of somebody else says.
TEST(SortPicker, CountsOfNaNDoNotMatterWhereThereIsNone) {
  EXPECT_EQ(Picks("a 100 1 2 nan\nb 100 5 9"), "");
  EXPECT_EQ(Picks("a 100 1 6 nan\nb 100 5 9"), "a+b");
  EXPECT_EQ(Picks("a 100 a b only-nan\nb 100 c d", {.type = TypeKind::kString}), "");
}

TEST(SortPicker, BoundsOfZeroAreBothZeros) {
  EXPECT_EQ(Picks("a 100 -1 0.0\nb 100 -0.0 9", {.type = TypeKind::kDouble}), "");
}

TEST(SortPicker, BoundsThatWereCutOverlapOnlyWhenTheValuesDo) {
  // "abcd…" as an upper bound of four code points is "abce", above the next file's lower bound "abcd".
  EXPECT_EQ(Picks("a 100 aaaa abce\nb 100 abcd abzz", {.type = TypeKind::kString, .bound_length = 4}), "");
  EXPECT_EQ(Picks("a 100 aaaa abce\nb 100 abcd abzz", {.type = TypeKind::kString}), "a+b");
  EXPECT_EQ(Picks("a 100 aaaa acce\nb 100 abcd abzz", {.type = TypeKind::kString, .bound_length = 4}), "a+b");
}

TEST(SortPicker, BoundsThatWereCutAndCarriedOverlapOnlyWhenTheValuesDo) {
  const How bytes{.type = TypeKind::kBinary, .bound_length = 4};
  // "abc\xff…" as an upper bound of four bytes is "abd".
  EXPECT_EQ(Picks("a 100 aaaa abd\nb 100 abc\xff abzz", bytes), "");
  EXPECT_EQ(Picks("a 100 aaaa b\nb 100 a\xff\xff\xff bzzz", bytes), "");
  EXPECT_EQ(Picks("a 100 aaaa abd\nb 100 abc\xfe abzz", bytes), "");  // told by the first three alone
  EXPECT_EQ(Picks("a 100 aaaa abd\nb 100 abb abzz", bytes), "a+b");
  // It may as well be the value itself.
  EXPECT_EQ(Picks("a 100 a c\nb 100 b d", bytes), "a+b");
  EXPECT_EQ(Picks("a 100 a abd\nb 100 abd abd\nc 100 abd x", bytes), "");
  EXPECT_EQ(Picks("b 100 abd abd\nc 100 aa abf", bytes), "b+c");
  EXPECT_EQ(Picks("a 100 a c\nb 100 b d", {.type = TypeKind::kBinary, .bound_length = 2'000'000'000}), "a+b");
}

TEST(SortPicker, TransformsThatKeepTheOrderTellRanges) {
  const schema::Transform tens = schema::Transform::Parse("truncate[10]").value();
  EXPECT_EQ(Picks("a 100 1 15\nb 100 12 30", {.transform = tens}), "");
  EXPECT_EQ(Picks("a 100 1 25\nb 100 12 30", {.transform = tens}), "a+b");
}

TEST(SortPicker, WithoutRangesWhatIsSmallOrUnsortedGoesTogether) {
  const How bucket{.transform = schema::Transform::Parse("bucket[4]").value()};
  EXPECT_EQ(Picks("a 100 1 9\nb 100 2 7", bucket), "");
  EXPECT_EQ(Picks("a 100 1 9\nb 100 2 7 unsorted\nc 10 1 9", bucket), "b+c");
  EXPECT_EQ(Picks("a 10 1 9\nb 10 2 7\nc 100 1 9", bucket), "a+b");
  EXPECT_EQ(Picks("a 10 1 9\nb 100 2 7", bucket), " | alone 1");
  // Bounds are missing: sorted files are believed, unsorted ones may lie anywhere.
  EXPECT_EQ(Picks("a 100 - -\nb 100 2 7"), "");
  EXPECT_EQ(Picks("a 100 - - unsorted\nb 100 2 7"), "a+b");
  EXPECT_EQ(Picks("a 100 - - unsorted empty\nb 100 2 7"), "a");
}

TEST(SortPicker, DeletesAreApplied) {
  EXPECT_EQ(Picks("a 100 1 5 p=1\nb 100 5 9 p=2\nd deletes p=2"), "b-d");
}

TEST(SortPicker, LongStretchesAreDividedWhereRangesAre) {
  const std::string gig = std::to_string(int64_t{1} << 30);
  std::string text;
  for (int i = 0; i < 5; ++i) text += fmt::format("{} {} {} {} unsorted\n", i, gig, i * 10, i * 10 + 9);
  EXPECT_EQ(Picks(text), "0+1 2+3 4");
  EXPECT_EQ(Picks(text + fmt::format("all {} 0 100", gig)), "0+1+2+3+4+all");
  // What would be left is less than a file.
  EXPECT_EQ(Picks(fmt::format("0 {} 0 9 unsorted\n1 {} 10 19 unsorted\n2 10 20 29 unsorted", gig, gig)), "0+1+2");
}

}  // namespace
}  // namespace firn::compaction
