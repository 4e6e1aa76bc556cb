#include "firn/ingest/memory_budget.h"

#include <gtest/gtest.h>

namespace firn::ingest {
namespace {

constexpr int64_t kMiB = 1 << 20;

// What the client lets a block grow to when a batch is longer than the 1,000,000 bytes that it guesses.
constexpr int64_t kGrownBatchBytes = 1'750'000;

TEST(MemoryBudget, BatchesOfAMegabyteAreUnpackedOnTheHeap) {
  EXPECT_GT(MemoryBudget(512 * kMiB).heap_block_bytes_max(), kGrownBatchBytes);
  EXPECT_EQ(MemoryBudget(16'384 * kMiB).heap_block_bytes_max(), 2 * kMiB);
}

// A heap of large blocks fragments, and a small limit has little room for that.
TEST(MemoryBudget, SmallLimitsHaveTheirLargeBlocksMappedAlone) {
  EXPECT_EQ(MemoryBudget(256 * kMiB).heap_block_bytes_max(), kMiB);
  EXPECT_EQ(MemoryBudget(64 * kMiB).heap_block_bytes_max(), kMiB);
}

}  // namespace
}  // namespace firn::ingest
