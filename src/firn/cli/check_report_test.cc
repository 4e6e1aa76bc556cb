#include "firn/cli/check_report.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "firn/cli/check_steps.h"

namespace firn::cli {
namespace {

TEST(CheckReport, OnlyErrorsStandAgainstARun) {
  CheckReport report;
  report.Add(Verdict::kOk, "kafka", "brokers_reached", "reached");
  report.Add(Verdict::kWarning, "kafka", "retention_short", "short");
  report.Add(Verdict::kNote, "store", "store_not_checked", "no");
  EXPECT_TRUE(report.ok());
  report.AddError("catalog", Error(ErrorCode::kUnauthorized, "no"));
  EXPECT_FALSE(report.ok());
  nlohmann::json document = report.ToJson();
  EXPECT_EQ(document["ok"], false);
  EXPECT_EQ(document["errors"], 1);
  EXPECT_EQ(document["warnings"], 1);
  EXPECT_EQ(document["checks"].size(), 4U);
  EXPECT_EQ(document["checks"][3]["code"], "unauthorized");
  EXPECT_EQ(document["checks"][1]["verdict"], "warning");
  std::ostringstream plain;
  report.Print(plain, false);
  EXPECT_EQ(plain.str().find('\x1b'), std::string::npos);
  std::ostringstream colored;
  report.Print(colored, true);
  EXPECT_NE(colored.str().find('\x1b'), std::string::npos);
}

schema::PartitionField Field(schema::TransformKind kind, int32_t parameter = 0) {
  schema::PartitionField field;
  field.transform = {kind, parameter, ""};
  return field;
}

TEST(FilesPerDay, AreCommitsTimesPartitionsOfACommit) {
  schema::PartitionSpec spec;
  EXPECT_EQ(EstimateFilesPerDay(spec, 60'000).files, 1440);
  spec.fields = {Field(schema::TransformKind::kDay)};
  EXPECT_EQ(EstimateFilesPerDay(spec, 60'000).files, 1440);
  spec.fields.push_back(Field(schema::TransformKind::kBucket, 16));
  EXPECT_EQ(EstimateFilesPerDay(spec, 60'000).files, 1440 * 16);
  EXPECT_FALSE(EstimateFilesPerDay(spec, 60'000).at_least);
  spec.fields.push_back(Field(schema::TransformKind::kIdentity));
  EXPECT_EQ(EstimateFilesPerDay(spec, 60'000).files, 1440 * 16);
  EXPECT_TRUE(EstimateFilesPerDay(spec, 60'000).at_least);
}

}  // namespace
}  // namespace firn::cli
