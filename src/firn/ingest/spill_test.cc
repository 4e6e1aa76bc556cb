#include "firn/ingest/spill.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <atomic>
#include <filesystem>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "firn/env/testing/memory_spill.h"

namespace firn::ingest {
namespace {

class SpillTest : public testing::Test {
 protected:
  SpillTest() {
    std::string name = std::filesystem::temp_directory_path() / "firn-spill-test-XXXXXX";
    path_ = mkdtemp(name.data());
  }
  ~SpillTest() override { std::filesystem::remove_all(path_); }
  std::filesystem::path path_;
};

// A commit's threads put finished pages there while the ingest thread spills runs of the next batch.
TEST_F(SpillTest, SeveralThreadsMayAppendToOneFile) {
  constexpr int kThreads = 4;
  constexpr int kBlocks = 2'000;
  auto folder = env::LocalSpillFolder::Open(path_);
  ASSERT_TRUE(folder.has_value()) << folder.error().ToString();
  Spill spill(folder->get(), int64_t{1} << 30);
  const std::shared_ptr<env::SpillFile> file = spill.File();
  ASSERT_NE(file, nullptr);
  std::vector<std::vector<std::pair<int64_t, std::string>>> written(kThreads);
  std::atomic<int> ready{0};
  {
    std::vector<std::jthread> threads;
    for (int thread = 0; thread < kThreads; ++thread) {
      threads.emplace_back([&, thread] {
        ++ready;
        while (ready < kThreads) std::this_thread::yield();
        for (int block = 0; block < kBlocks; ++block) {
          std::string bytes(static_cast<size_t>(1 + block % 97), static_cast<char>('a' + thread));
          Result<int64_t> offset = file->Append(bytes);
          if (offset.has_value()) written[static_cast<size_t>(thread)].emplace_back(*offset, std::move(bytes));
        }
      });
    }
  }
  int64_t bytes = 0;
  for (const auto& blocks : written) {
    ASSERT_EQ(blocks.size(), static_cast<size_t>(kBlocks));
    for (const auto& [offset, expected] : blocks) {
      std::string read(expected.size(), '\0');
      ASSERT_TRUE(file->ReadAt(offset, read.data(), read.size()).has_value());
      ASSERT_EQ(read, expected) << offset;
      bytes += static_cast<int64_t>(expected.size());
    }
  }
  EXPECT_EQ(spill.bytes(), bytes);
}

TEST_F(SpillTest, TheLimitHoldsOverTheFilesOfAllBatches) {
  env::MemorySpill disk;
  Spill spill(&disk, 100);
  const std::shared_ptr<env::SpillFile> first = spill.File();
  ASSERT_TRUE(first->Append(std::string(60, 'x')).has_value());
  spill.EndBatch();
  std::shared_ptr<env::SpillFile> second = spill.File();
  ASSERT_NE(second, first);
  EXPECT_EQ(second->Append(std::string(41, 'x')).error().code(), ErrorCode::kResourceExhausted);
  EXPECT_FALSE(spill.usable());
  EXPECT_EQ(spill.File(), nullptr);
  spill.EndBatch();
  EXPECT_TRUE(spill.usable());
  EXPECT_TRUE(spill.File()->Append(std::string(40, 'x')).has_value());
  EXPECT_FALSE(spill.usable());
}

}  // namespace
}  // namespace firn::ingest
