#include "firn/env/spill_file.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>

namespace firn::env {
namespace {

class SpillFileTest : public testing::Test {
 protected:
  SpillFileTest() {
    std::string name = std::filesystem::temp_directory_path() / "firn-spill-test-XXXXXX";
    folder_ = mkdtemp(name.data());
  }
  ~SpillFileTest() override { std::filesystem::remove_all(folder_); }
  std::filesystem::path folder_;
};

TEST_F(SpillFileTest, GivesBackWhatWasAppended) {
  auto folder = LocalSpillFolder::Open(folder_ / "made" / "here");
  ASSERT_TRUE(folder.has_value()) << folder.error().ToString();
  auto file = (*folder)->NewFile();
  ASSERT_TRUE(file.has_value());
  EXPECT_EQ((*file)->Append("first").value(), 0);
  EXPECT_EQ((*file)->Append(std::string(3 << 20, 'x')).value(), 5);
  EXPECT_EQ((*file)->Append("last").value(), 5 + (3 << 20));
  std::string read(5, '\0');
  ASSERT_TRUE((*file)->ReadAt(4 + (3 << 20), read.data(), read.size()).has_value());
  EXPECT_EQ(read, "xlast");
  EXPECT_EQ((*file)->ReadAt(6 + (3 << 20), read.data(), read.size()).error().code(), ErrorCode::kCorruption);
}

TEST_F(SpillFileTest, FilesHaveNoName) {
  auto folder = LocalSpillFolder::Open(folder_);
  ASSERT_TRUE(folder.has_value());
  auto file = (*folder)->NewFile();
  ASSERT_TRUE((*file)->Append("bytes").has_value());
  EXPECT_TRUE(std::filesystem::is_empty(folder_));
}

TEST_F(SpillFileTest, AFolderInMemoryIsKnown) {
  if (std::filesystem::exists("/dev/shm")) {
    std::string name = "/dev/shm/firn-spill-test-XXXXXX";
    const std::filesystem::path shared = mkdtemp(name.data());
    EXPECT_TRUE(LocalSpillFolder::Open(shared).value()->in_memory());
    std::filesystem::remove_all(shared);
  }
  EXPECT_FALSE(LocalSpillFolder::Open("/var/tmp").value()->in_memory());
}

TEST_F(SpillFileTest, FilesOfALimitedFolderShareItsLimit) {
  auto folder = LocalSpillFolder::Open(folder_).value();
  LimitedSpillFolder limited(*folder, 10);
  auto first = limited.NewFile().value();
  auto second = limited.NewFile().value();
  ASSERT_TRUE(first->Append("12345").has_value());
  ASSERT_TRUE(second->Append("1234").has_value());
  EXPECT_EQ(first->Append("12").error().code(), ErrorCode::kResourceExhausted);
  EXPECT_EQ(first->Append("1").value(), 5);
  EXPECT_EQ(limited.bytes(), 10);
  second.reset();
  EXPECT_EQ(limited.bytes(), 6);
  EXPECT_TRUE(first->Append("1234").has_value());
}

TEST_F(SpillFileTest, AFolderThatCannotBeUsedIsSaidAtOnce) {
  EXPECT_FALSE(LocalSpillFolder::Open("/proc/no/such/place").has_value());
  EXPECT_FALSE(LocalSpillFolder::Open("/dev/null").has_value());
}

}  // namespace
}  // namespace firn::env
