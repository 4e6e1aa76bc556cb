#include "firn/compaction/picker.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <sstream>

#include "firn/compaction/delete_index.h"
#include "firn/iceberg/commit/position_deletes.h"

namespace firn::compaction {
namespace {

using iceberg::FileContent;

// One line a file: "name size sequence partition [kind [argument]]"; it was added at a time like its sequence number.
// Kinds: orc, encrypted, position, equality, names (a position delete that names a data file), range (one whose paths
// are between its own name and the argument), vector (a deletion vector of the argument), lower (a lower bound of field
// 7, an int), rows (their number), later (a data file that was added after it was written, as a compaction's), null,
// text, int and long (the value of the partition).
TableFiles Parse(const std::string& text) {
  TableFiles table;
  std::istringstream lines(text);
  std::string line;
  while (std::getline(lines, line)) {
    std::istringstream words(line);
    LiveFile file;
    std::string kind, argument;
    int64_t sequence = 0;
    if (!(words >> file.entry.data_file.file_path >> file.entry.data_file.file_size_in_bytes >> sequence)) continue;
    words >> file.partition_path >> kind >> argument;
    if (file.partition_path == "-") file.partition_path.clear();
    file.entry.sequence_number = sequence;
    file.added_ms = sequence;
    file.entry.data_file.record_count = 1;
    if (kind == "null") file.entry.data_file.partition = {schema::Value()};
    if (kind == "text") file.entry.data_file.partition = {schema::Value(argument)};
    if (kind == "int") file.entry.data_file.partition = {schema::Value(static_cast<int32_t>(std::stoi(argument)))};
    if (kind == "long") file.entry.data_file.partition = {schema::Value(int64_t{std::stoi(argument)})};
    if (kind == "orc") file.entry.data_file.file_format = "orc";
    if (kind == "encrypted") file.entry.data_file.key_metadata = "key";
    if (kind == "lower") {
      file.entry.data_file.lower_bounds[7] = schema::SerializeSingleValue(
          *schema::Type::Primitive(schema::TypeKind::kInt), schema::Value(static_cast<int32_t>(std::stoi(argument))));
    }
    if (kind == "rows") file.entry.data_file.record_count = std::stoi(argument);
    file.entry.file_sequence_number = kind == "later" ? std::stoi(argument) : sequence;
    if (kind == "vector") file.entry.data_file.content_offset = 4;
    if (kind == "names" || kind == "vector") file.entry.data_file.referenced_data_file = argument;
    if (kind == "range") {
      file.entry.data_file.lower_bounds[iceberg::kDeleteFilePathFieldId] = file.entry.data_file.file_path;
      file.entry.data_file.upper_bounds[iceberg::kDeleteFilePathFieldId] = argument;
    }
    const bool deletes_rows = kind == "position" || kind == "names" || kind == "range" || kind == "vector";
    if (deletes_rows) file.entry.data_file.content = FileContent::kPositionDeletes;
    if (kind == "equality") file.entry.data_file.content = FileContent::kEqualityDeletes;
    auto& list = file.entry.data_file.content == FileContent::kData ? table.data : table.deletes;
    list.push_back(std::move(file));
  }
  return table;
}

// "a+b c+d-x | reason 2": groups in order, with the deletes to be applied to them, then what was left alone.
std::string Picks(const std::string& text, PickOptions options = {}) {
  const TableFiles table = Parse(text);
  if (options.target_bytes == PickOptions{}.target_bytes) options.target_bytes = 100;
  const Picked picked = Pick(table, options);
  std::vector<std::string> groups;
  for (const PickedGroup& group : picked.groups) {
    std::vector<std::string> names;
    for (size_t file : group.files) names.push_back(table.data[file].entry.data_file.file_path);
    std::string of_group = fmt::format("{}", fmt::join(names, "+"));
    for (size_t file : group.deletes) of_group += "-" + table.deletes[file].entry.data_file.file_path;
    groups.push_back(of_group);
  }
  std::string result = fmt::format("{}", fmt::join(groups, " "));
  for (const auto& [reason, count] : picked.left_alone) result += fmt::format(" | {} {}", reason, count);
  return result;
}

TEST(Picker, Packs) {
  struct Case {
    const char* what;
    const char* files;
    const char* expected;
  };
  const Case cases[] = {
      {"nothing", "", ""},
      {"a table of one file", "a 10 1 -\n", " | alone 1"},
      {"two small files", "a 10 1 -\nb 20 2 -\n", "a+b"},
      {"large ones stay", "a 75 1 -\nb 20 2 -\nc 74 3 -\n", "b+c"},
      {"manifests are newest first, rows go by age", "c 1 3 -\nb 1 2 -\na 1 1 -\n", "a+b+c"},
      {"a group ends at the target", "a 40 1 -\nb 50 2 -\nc 40 3 -\nd 30 4 -\ne 60 5 -\n", "c+d a+b | alone 1"},
      {"partitions stay apart", "a 10 1 d=1\nb 10 2 d=2\nc 10 3 d=1\n", "a+c | alone 1"},
      {"most files for a byte first", "a 40 1 d=1\nb 40 1 d=1\nc 5 1 d=2\nd 5 1 d=2\ne 5 1 d=2\n", "c+d+e a+b"},
      {"other formats stay", "a 10 1 - orc\nb 10 2 -\nc 10 3 -\nd 1 1 - encrypted\n",
       "b+c | encrypted 1 | not_parquet 1"},
      {"deletes go with the files that they touch", "a 10 1 d=1\nb 10 4 d=1\nx 1 3 d=1 position\n", "a+b-x"},
      {"and with the group of each", "a 60 1 -\nb 60 2 -\nc 35 3 -\nx 1 9 - equality\ny 1 9 - names b\n",
       "b+c-x-y a-x"},
      {"deletion vectors keep their file", "a 10 1 -\nb 10 1 -\nc 10 1 -\nx 1 3 - vector a\n",
       "b+c | has_deletes 1"},
  };
  for (const Case& one : cases) EXPECT_EQ(Picks(one.files), one.expected) << one.what;
}

TEST(Picker, WhereMatchesWholePartitionFields) {
  PickOptions options;
  options.where = {"d=1", "r=eu"};
  EXPECT_EQ(Picks("a 1 1 d=1/r=eu\nb 1 1 d=1/r=eu\nc 1 1 d=1/r=us\nd 1 1 d=11/r=eu\n", options), "a+b");
}

// The data files that some delete file may touch.
std::string Touched(const std::string& text) {
  const TableFiles table = Parse(text);
  const DeleteIndex index(table);
  std::vector<std::string> names;
  for (size_t i = 0; i < table.data.size(); ++i) {
    if (!index.Of(i).empty()) names.push_back(table.data[i].entry.data_file.file_path);
  }
  return fmt::format("{}", fmt::join(names, "+"));
}

TEST(DeleteIndex, KnowsWhichFilesADeleteIsAbout) {
  struct Case {
    const char* what;
    const char* files;
    const char* expected;
  };
  const Case cases[] = {
      {"files of the partition that are older", "a 10 1 d=1\nb 10 2 d=1\nc 10 4 d=1\nd 10 1 d=2\nx 1 3 d=1 position\n",
       "a+b"},
      {"of the same commit", "a 10 3 d=1\nb 10 4 d=1\nx 1 3 d=1 position\n", "a"},
      {"the file that it names", "a 10 1 d=1\nb 10 1 d=1\nx 1 3 d=2 names a\n", "a"},
      {"by equality those that are older", "a 10 1 d=1\nb 10 3 d=1\nc 10 1 d=2\nx 1 3 d=1 equality\n", "a"},
      {"by equality without a partition all", "a 10 1 d=1\nb 10 1 d=2\nx 1 3 - equality\n", "a+b"},
      {"the path between equal bounds", "a 1 1 -\nb 1 2 -\nc 1 3 -\nd 1 4 -\nc 1 9 - range c\n", "c"},
      {"paths between bounds", "a 1 1 -\nb 1 2 -\nc 1 3 -\nd 1 4 -\nb 1 9 - range c\n", "b+c"},
      {"but for newer files", "a 1 1 -\nb 1 2 -\nc 1 10 -\nd 1 11 -\na 1 9 - range d\n", "a+b"},
  };
  for (const Case& one : cases) EXPECT_EQ(Touched(one.files), one.expected) << one.what;
}

TEST(Picker, ManyDeletesAreReasonEnough) {
  PickOptions growing;
  growing.pace = PickPace{.tier_files_min = 3, .cold_before_ms = 0};
  PickOptions cold;
  cold.pace = PickPace{.tier_files_min = 3, .cold_before_ms = 100};
  struct Case {
    const char* what;
    const char* files;
    PickOptions options;
    const char* expected;
  };
  const Case cases[] = {
      {"a single run takes any", "a 90 1 - rows 1000\nx 1 3 - names a\n", {}, "a-x"},
      {"a small one too", "a 10 1 - rows 1000\nx 1 3 - names a\n", {}, "a-x"},
      {"in a partition that grows a tenth", "a 90 1 - rows 10\nb 90 1 - rows 11\nx 1 3 - names a\ny 1 3 - names b\n",
       growing, "a-x"},
      {"small ones wait otherwise", "a 10 1 - rows 11\nx 1 3 - names a\n", growing, " | waiting 1"},
      {"small ones do not wait then", "a 10 1 - rows 10\nx 1 3 - names a\n", growing, "a-x"},
      {"several add up", "a 90 1 - rows 20\nx 1 3 - names a\ny 1 3 - names a\n", growing, "a-x-y"},
      {"shared out among the files of a partition", "a 90 1 - rows 10\nb 90 1 - rows 5\nx 1 3 - position\n", growing,
       "b-x"},
      {"in a cold one any", "a 90 1 - rows 1000\nx 1 3 - names a\n", cold, "a-x"},
      {"unless deletes still come", "a 90 1 - rows 1000\nx 1 100 - names a\n", cold, ""},
      {"not for a compaction's output of later", "a 90 1 - later 4\nx 1 3 - position\n", {}, ""},
      {"but for one of before", "a 90 1 - later 2\nx 1 3 - position\n", {}, "a-x"},
      {"large files with deletion vectors are counted", "a 90 1 -\nb 90 1 -\nx 1 3 - vector a\n", {},
       " | has_deletes 1"},
  };
  for (const Case& one : cases) EXPECT_EQ(Picks(one.files, one.options), one.expected) << one.what;
}

TEST(Picker, DeletesThatDeleteNothingAreNotTriedAgain) {
  PickOptions options;
  const std::string files = "a 10 1 - rows 10\nx 1 3 - names a\n";
  const RefusedFiles refused = {{RefusedKey(NothingDeletedKey(Parse(files), 0, {0})), "nothing_deleted"}};
  options.refused = &refused;
  EXPECT_EQ(Picks(files, options), " | alone 1");
  EXPECT_EQ(Picks(files + "y 1 4 - names a\n", options), "a-x-y");
}

TEST(Picker, FilesOfAPartitionThatGrowsWaitForOthersOfLikeSize) {
  PickOptions options;
  options.target_bytes = 1'000'000;
  options.pace = PickPace{.tier_files_min = 3, .cold_before_ms = 0};
  struct Case {
    const char* what;
    const char* files;
    const char* expected;
  };
  const Case cases[] = {
      {"too few", "a 10 1 -\nb 20 2 -\n", " | waiting 2"},
      {"enough", "a 10 1 -\nb 20 2 -\nc 30 3 -\n", "a+b+c"},
      {"of like size", "a 5000 1 -\nb 10 2 -\nc 10 3 -\nd 10 4 -\n", "b+c+d | waiting 1"},
      {"tiers are a factor apart", "a 4096 1 -\nb 12287 2 -\nc 12288 3 -\n", " | waiting 3"},
      {"one tier, other sizes between", "a 5000 1 -\nb 10 2 -\nc 9000 3 -\nd 6000 4 -\n", "a+c+d | waiting 1"},
      {"partitions wait apart", "a 10 1 d=1\nb 10 2 d=2\nc 10 3 d=1\n", " | waiting 3"},
  };
  for (const Case& c : cases) EXPECT_EQ(Picks(c.files, options), c.expected) << c.what;
}

TEST(Picker, FilesOfColdPartitionsDoNotWait) {
  PickOptions options;
  options.pace = PickPace{.tier_files_min = 8, .cold_before_ms = 10};
  options.target_bytes = 1000;
  struct Case {
    const char* what;
    const char* files;
    const char* expected;
  };
  const Case cases[] = {
      {"cold", "a 10 1 -\nb 20 9 -\n", "a+b"},
      {"its newest file counts", "a 10 1 -\nb 20 10 -\n", " | waiting 2"},
      {"cold ones come first", "a 1 20 d=1\nb 1 20 d=1\nc 1 20 d=1\nd 1 20 d=1\ne 1 20 d=1\nf 1 20 d=1\ng 1 20 d=1\n"
       "h 1 20 d=1\ny 400 1 d=2\nz 400 2 d=2\n", "y+z a+b+c+d+e+f+g+h"},
      {"a large one waits for more", "a 500 1 -\nb 100 2 -\nc 100 3 -\n", "b+c | waiting 1"},
      {"until they are worth it", "a 500 1 -\nb 125 2 -\nc 125 3 -\n", "a+b+c"},
      {"one that is small and one that is large", "a 500 1 -\nb 1 2 -\n", " | waiting 2"},
  };
  for (const Case& c : cases) EXPECT_EQ(Picks(c.files, options), c.expected) << c.what;
}

// A commit a minute, looked at after each: how often is a byte moved?
TEST(Picker, BytesAreMovedAboutOnceATier) {
  PickOptions options;
  options.target_bytes = 512 << 20;
  options.pace = PickPace{.tier_files_min = 8, .cold_before_ms = 0};
  TableFiles table;
  int64_t moved = 0;
  int64_t added = 0;
  size_t most_files = 0;
  for (int64_t minute = 1; minute <= 3000; ++minute) {
    LiveFile file;
    file.entry.data_file.file_path = fmt::format("{}", minute);
    file.entry.data_file.file_size_in_bytes = 700'000 + 137 * (minute % 2000);
    file.entry.sequence_number = minute;
    added += file.entry.data_file.file_size_in_bytes;
    table.data.push_back(file);
    const Picked picked = Pick(table, options);
    std::vector<LiveFile> next;
    std::vector<bool> gone(table.data.size());
    for (const PickedGroup& group : picked.groups) {
      moved += group.bytes;
      for (size_t index : group.files) gone[index] = true;
      LiveFile merged = table.data[group.files.back()];
      merged.entry.data_file.file_size_in_bytes = group.bytes;
      next.push_back(merged);
    }
    for (size_t i = 0; i < gone.size(); ++i) {
      if (!gone[i]) next.push_back(table.data[i]);
    }
    table.data = std::move(next);
    most_files = std::max(most_files, table.data.size());
  }
  EXPECT_LT(static_cast<double>(moved) / static_cast<double>(added), 4.0);
  EXPECT_LT(most_files, 40u);
}

TEST(Picker, WhatDoesNotFitIntoMemoryWhatIsOthersAndWhatWasRefusedStays) {
  PickOptions options;
  options.file_bytes_max = 30;
  EXPECT_EQ(Picks("a 10 1 -\nb 31 2 -\nc 30 3 -\n", options), "a+c | exceeds_memory 1");
  options.owns = [](int32_t, const std::string& path) { return path == "d=2"; };
  EXPECT_EQ(Picks("a 10 1 d=1\nb 10 2 d=1\nc 10 3 d=2\nd 10 4 d=2\n", options), "c+d");
  const RefusedFiles refused = {{RefusedKey("c"), "damaged"}, {RefusedKey("x"), "codec"}};
  options.refused = &refused;
  EXPECT_EQ(Picks("c 10 3 d=2\nd 10 4 d=2\ne 10 5 d=2\n", options), "d+e | damaged 1");
}

TEST(Picker, SortedTablesGoByTheirLowerBounds) {
  PickOptions options;
  options.sort_field_id = 7;
  options.sort_type = schema::Type::Primitive(schema::TypeKind::kInt);
  EXPECT_EQ(Picks("a 1 1 - lower 30\nb 1 2 - lower -5\nc 1 3 - lower 7\n", options), "b+c+a");
  EXPECT_EQ(Picks("a 1 1 - lower 30\nb 1 2 -\nc 1 3 - lower 7\n", options), "a+b+c");
}

TEST(Picker, PartitionsAreToldApartByValueNotByPath) {
  EXPECT_EQ(Picks("a 9 1 k=null null\nb 9 2 k=null text null\nc 9 3 k=null null\nd 9 4 k=null text null"), "a+c b+d");
  // Older manifests tell of a column as it was before it was promoted.
  EXPECT_EQ(Picks("a 9 1 k=5 int 5\nb 9 2 k=5 long 5"), "a+b");
}

TEST(Picker, SpecsStayApart) {
  TableFiles table = Parse("a 1 1 -\nb 1 1 -\nc 1 1 -\n");
  table.data[1].spec_id = 1;
  const Picked picked = Pick(table, {});
  ASSERT_EQ(picked.groups.size(), 1u);
  EXPECT_EQ(picked.groups[0].files, (std::vector<size_t>{0, 2}));
}

}  // namespace
}  // namespace firn::compaction
