// Row deletes of others, applied by compaction.
#include <gtest/gtest.h>

#include <algorithm>

#include "firn/compaction/row_deletes.h"
#include "firn/compaction/table_fixture_for_test.h"
#include "firn/schema/value.h"

namespace firn::compaction {
namespace {

using schema::Type;
using schema::TypeKind;

using RowDeletesTest = CompactionFixture;

std::vector<int64_t> Without(std::vector<int64_t> ids, const std::vector<int64_t>& gone) {
  std::erase_if(ids, [&](int64_t id) { return std::find(gone.begin(), gone.end(), id) != gone.end(); });
  return ids;
}

TEST_F(RowDeletesTest, PositionDeletesAreApplied) {
  const std::string a = Append("eu", 0, 10);
  const std::string b = Append("eu", 10, 10);
  Append("eu", 20, 10);
  DeletePositions("eu", {{a, 0}, {a, 9}, {b, 5}, {b, 500}});
  DeletePositions("eu", {{b, 4}, {b, 5}}, true);
  auto report = Compact();
  ASSERT_TRUE(report.has_value()) << report.error().ToString();
  EXPECT_EQ(report->files_before, 3);
  EXPECT_EQ(report->files_after, 1);
  EXPECT_EQ(report->rows, 26);
  EXPECT_EQ(report->rows_deleted, 4);
  EXPECT_EQ(report->delete_files_removed, 2);
  EXPECT_EQ(Ids(), Without(UpTo(30), {0, 9, 14, 15}));
  EXPECT_TRUE(LiveDeletes().empty());
  // The metrics are those of the rows that are left.
  const iceberg::ManifestEntry entry = iceberg::ReadLiveEntries(Metadata(), store_)->at(0);
  const Type& long_type = *Type::Primitive(TypeKind::kLong);
  EXPECT_EQ(entry.data_file.lower_bounds.at(1), schema::SerializeSingleValue(long_type, schema::Value(int64_t{1})));
  EXPECT_EQ(entry.data_file.upper_bounds.at(1), schema::SerializeSingleValue(long_type, schema::Value(int64_t{29})));
  EXPECT_EQ(entry.data_file.value_counts.at(1), 26);
}

TEST_F(RowDeletesTest, EqualityDeletesAreAppliedToOlderFilesAlone) {
  Append("eu", 0, 10);   // 1
  Append("eu", 10, 10);  // 2
  DeleteIds("eu", {3, 15, 25});  // 3
  Append("eu", 20, 10);  // 4: 25 came again
  Append("us", 3, 2);    // 5: another partition
  Append("us", 15, 2);
  auto report = Compact();
  ASSERT_TRUE(report.has_value()) << report.error().ToString();
  EXPECT_EQ(report->rows_deleted, 2);
  EXPECT_EQ(report->delete_files_removed, 1);
  std::vector<int64_t> expected = Without(UpTo(30), {3, 15});
  expected.insert(expected.end(), {3, 4, 15, 16});
  std::vector<int64_t> ids = Ids();
  std::sort(expected.begin(), expected.end());
  std::sort(ids.begin(), ids.end());
  EXPECT_EQ(ids, expected);
  EXPECT_TRUE(LiveDeletes().empty());
}

TEST_F(RowDeletesTest, AnEqualityDeleteStaysForFilesThatStay) {
  Append("eu", 0, 10);
  Append("eu", 10, 10);
  const std::string rotten = Append("eu", 20, 10);
  const std::string deletes = DeleteIds("eu", {3, 25});
  ASSERT_TRUE(store_.Delete(rotten).has_value() && store_.Put(rotten, "PAR1 no PAR1").has_value());
  auto report = Compact();
  ASSERT_TRUE(report.has_value()) << report.error().ToString();
  EXPECT_EQ(report->left_alone, (std::map<std::string, int64_t>{{"damaged", 1}}));
  EXPECT_EQ(report->rows_deleted, 1);
  EXPECT_EQ(LiveDeletes(), std::vector<std::string>{deletes});
  const auto live = iceberg::ReadLiveEntries(Metadata(), store_).value();
  ASSERT_EQ(live.size(), 2u);
  for (const iceberg::ManifestEntry& entry : live) {
    // The output is newer than what was applied to it, so that nobody has to apply it again.
    EXPECT_EQ(entry.sequence_number, entry.data_file.file_path == rotten ? 3 : 4);
  }
  report = Compact();
  ASSERT_TRUE(report.has_value());
  EXPECT_EQ(report->files_after, 0);
}

TEST_F(RowDeletesTest, AFileWithoutARowLeftGoes) {
  const std::string a = Append("eu", 0, 3);
  DeletePositions("eu", {{a, 0}, {a, 1}, {a, 2}});
  Append("us", 3, 3);
  auto report = Compact();
  ASSERT_TRUE(report.has_value()) << report.error().ToString();
  EXPECT_EQ(report->files_before, 1);
  EXPECT_EQ(report->files_after, 0);
  EXPECT_EQ(report->rows_deleted, 3);
  EXPECT_EQ(Ids(), (std::vector<int64_t>{3, 4, 5}));
  EXPECT_TRUE(LiveDeletes().empty());
}

TEST_F(RowDeletesTest, DeletesThatComeMeanwhileAreNotLost) {
  const std::string a = Append("eu", 0, 10);
  Append("eu", 10, 10);
  DeletePositions("eu", {{a, 1}});
  int commits = 0;
  catalog_.SetFaults([&](iceberg::CatalogCall call, const iceberg::TableIdentifier&) {
    if (call == iceberg::CatalogCall::kCommit && ++commits == 1) DeletePositions("eu", {{a, 2}}, true);
    return iceberg::CatalogFault::kNone;
  });
  auto report = Compact();
  ASSERT_TRUE(report.has_value()) << report.error().ToString();
  EXPECT_EQ(report->groups_dropped, (std::map<std::string, int64_t>{{"deletes_changed", 1}}));
  EXPECT_EQ(report->rows_deleted, 0);
  EXPECT_EQ(LiveFiles(), 2u);
  EXPECT_EQ(LiveDeletes().size(), 2u);
  // Planned anew, it applies both.
  report = Compact();
  ASSERT_TRUE(report.has_value()) << report.error().ToString();
  EXPECT_EQ(report->rows_deleted, 2);
  EXPECT_EQ(Ids(), Without(UpTo(20), {1, 2}));
}

TEST_F(RowDeletesTest, AnEqualityDeleteThatComesMeanwhileTouchesTheOutput) {
  Append("eu", 0, 10);
  Append("eu", 10, 10);
  DeleteIds("eu", {1});
  int commits = 0;
  catalog_.SetFaults([&](iceberg::CatalogCall call, const iceberg::TableIdentifier&) {
    if (call == iceberg::CatalogCall::kCommit && ++commits == 1) DeleteIds("eu", {2});
    return iceberg::CatalogFault::kNone;
  });
  auto report = Compact();
  ASSERT_TRUE(report.has_value()) << report.error().ToString();
  EXPECT_EQ(report->groups_done, 1);
  EXPECT_EQ(report->delete_files_removed, 1);
  EXPECT_EQ(Ids(), Without(UpTo(20), {1}));
  EXPECT_EQ(LiveDeletes().size(), 1u);
  report = Compact();
  ASSERT_TRUE(report.has_value()) << report.error().ToString();
  EXPECT_EQ(Ids(), Without(UpTo(20), {1, 2}));
  EXPECT_TRUE(LiveDeletes().empty());
}

TEST_F(RowDeletesTest, EqualityDeletesOfAColumnThatHasBecomeWider) {
  schema::Schema schema = Metadata().CurrentSchema();
  schema.schema_id = 1;
  schema.fields.push_back({FieldId{3}, "added", Type::Primitive(TypeKind::kInt)});
  ASSERT_TRUE(catalog_.CommitAsSomebodyElse(kTable, {iceberg::AddSchema{schema, 3}, iceberg::SetCurrentSchema{-1}}));
  Append("eu", 0, 4);   // all null in "added"
  Append("eu", 10, 4);
  schema.schema_id = 2;
  schema.fields[2].type = Type::Primitive(TypeKind::kLong);
  ASSERT_TRUE(catalog_.CommitAsSomebodyElse(kTable, {iceberg::AddSchema{schema, 3}, iceberg::SetCurrentSchema{-1}}));
  arrow::Int64Builder ids;
  arrow::Int32Builder added;
  // Null is equal to null, and to nothing else.
  for (const int64_t id : {2, 11}) EXPECT_TRUE(ids.Append(id).ok());
  EXPECT_TRUE(added.AppendNull().ok() && added.Append(0).ok());
  schema::Schema deleted;
  deleted.fields = {{FieldId{3}, "added", Type::Primitive(TypeKind::kInt)},
                    {FieldId{1}, "id", Type::Primitive(TypeKind::kLong)}};
  iceberg::DataFile file;
  file.content = iceberg::FileContent::kEqualityDeletes;
  file.equality_ids = {1, 3};
  CommitDeletes("eu", deleted, {added.Finish().ValueOrDie(), ids.Finish().ValueOrDie()}, file);
  auto report = Compact();
  ASSERT_TRUE(report.has_value()) << report.error().ToString();
  EXPECT_EQ(report->rows_deleted, 1);
  EXPECT_EQ(Ids(), (std::vector<int64_t>{0, 1, 3, 10, 11, 12, 13}));
}

TEST_F(RowDeletesTest, WhatCannotBeAppliedKeepsItsFiles) {
  const std::string a = Append("eu", 0, 10);
  const std::string b = Append("eu", 10, 10);
  Append("eu", 20, 10);
  Append("eu", 30, 10);
  const std::string missing = DeletePositions("eu", {{a, 1}}, true);
  const std::string damaged = DeletePositions("eu", {{b, 1}}, true);
  ASSERT_TRUE(store_.Delete(missing).has_value());
  ASSERT_TRUE(store_.Delete(damaged).has_value() && store_.Put(damaged, "PAR1 no PAR1").has_value());
  auto report = Compact();
  ASSERT_TRUE(report.has_value()) << report.error().ToString();
  EXPECT_EQ(report->left_alone, (std::map<std::string, int64_t>{{"delete_file_unreadable", 2}}));
  EXPECT_EQ(report->files_before, 2);
  EXPECT_EQ(LiveFiles(), 3u);
  EXPECT_EQ(LiveDeletes().size(), 2u);
}

TEST_F(RowDeletesTest, EqualityDeletesByColumnsThatCannotBeComparedKeepTheirFiles) {
  Append("eu", 0, 10);
  Append("eu", 10, 10);
  iceberg::DataFile file;
  file.content = iceberg::FileContent::kEqualityDeletes;
  file.equality_ids = {9};
  schema::Schema deleted;
  deleted.fields = {{FieldId{9}, "gone", Type::Primitive(TypeKind::kInt)}};
  CommitDeletes("eu", deleted, {arrow::MakeArrayOfNull(arrow::int32(), 1).ValueOrDie()}, file);
  auto report = Compact();
  ASSERT_TRUE(report.has_value()) << report.error().ToString();
  EXPECT_EQ(report->left_alone, (std::map<std::string, int64_t>{{"delete_file_unreadable", 2}}));
  EXPECT_EQ(LiveFiles(), 2u);
}

TEST_F(RowDeletesTest, AFileWhoseDeletesDeleteNothingIsRememberedUntilThereAreOthers) {
  const std::string a = Append("eu", 0, 10);
  DeletePositions("eu", {{"file:///elsewhere", 1}, {"file:///lake/events/data/zz", 1}});
  RefusedFiles refused;
  auto run = [&] {
    TablePlan plan = PlanTable(catalog_.LoadTable(kTable).value(), store_, {.refused = &refused}).value();
    const CompactionParts parts{catalog_, store_, clock_, random_};
    TableCompaction compaction(parts, std::move(plan), {}, nullptr);
    for (const PickedGroup& group : compaction.plan().picked.groups) EXPECT_TRUE(compaction.Merge(group).has_value());
    EXPECT_TRUE(compaction.Commit({}).has_value());
    for (const auto& [key, reason] : compaction.refused()) refused[key] = reason;
    return compaction.report();
  };
  CompactionReport report = run();
  EXPECT_EQ(report.groups_planned, 1);
  EXPECT_EQ(report.groups_dropped, (std::map<std::string, int64_t>{{"nothing_deleted", 1}}));
  report = run();
  EXPECT_EQ(report.groups_planned, 0);
  EXPECT_EQ(report.left_alone, (std::map<std::string, int64_t>{{"alone", 1}}));
  DeletePositions("eu", {{a, 1}});
  report = run();
  EXPECT_EQ(report.rows_deleted, 1);
  EXPECT_EQ(Ids(), Without(UpTo(10), {1}));
}

TEST_F(RowDeletesTest, EachFaultOfTheStoreLeavesTheDeletesInForce) {
  const std::string a = Append("eu", 0, 10);
  Append("eu", 10, 10);
  DeletePositions("eu", {{a, 1}, {a, 2}});
  DeleteIds("eu", {15});
  int failed = 0;
  for (int64_t nth = 1; nth < 80; ++nth) {
    store_.ClearFaults();
    store_.Inject({.nth = nth});
    auto report = Compact();
    store_.ClearFaults();
    if (LiveFiles() == 1) break;
    std::vector<int64_t> ids = Ids();
    std::sort(ids.begin(), ids.end());
    EXPECT_EQ(ids, UpTo(20));
    EXPECT_EQ(LiveDeletes().size(), 2u);
    ++failed;
  }
  EXPECT_GT(failed, 5);
  EXPECT_EQ(Ids(), Without(UpTo(20), {1, 2, 15}));
  EXPECT_TRUE(LiveDeletes().empty());
}

}  // namespace
}  // namespace firn::compaction
