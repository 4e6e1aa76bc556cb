#include "firn/ingest/memory_budget.h"

#include <algorithm>

namespace firn::ingest {
namespace {

constexpr int64_t kParts = 32;

// Of kParts. kSlabs: columns that grow (up to twice what they hold), the copy that grouping makes, and the same of what
// was not packed when the commit began.
constexpr std::array<int64_t, kMemoryUses> kShares = {2, 2, 10, 4, 4, 4, 4, 1, 0};
constexpr int64_t kUnplanned = 1;  // upload buffers, indexes, and what nobody counts

static_assert([] {
  int64_t sum = kUnplanned;
  for (int64_t share : kShares) sum += share;
  return sum == kParts;
}());

constexpr int64_t kSlabPartOfShare = 5;
constexpr int64_t kIndexPartOfRows = 4;  // of the rows' share, beside it
constexpr int64_t kSlabBytesLimit = 64 << 20;
constexpr int64_t kRunBlocksOfSlab = 256;  // blocks of as many runs as a table may have are half a slab
constexpr int64_t kRunBlockBytesMin = 16 << 10;
constexpr int64_t kRunBlockBytesMax = 128 << 10;
constexpr int64_t kThreadBytes = 32 << 20;  // an encoder's first sample of rows is up to that
constexpr int64_t kRowGroupBytesMin = 4 << 20;
// The client unpacks a batch into a block that it lets grow to 1.75 times what it guessed, 1,000,000 bytes: such a
// block is to be one of the heap, whose pages are there already.
constexpr int64_t kHeapBlockPartOfLimit = 256;
constexpr int64_t kHeapBlockBytesMin = 1 << 20;
constexpr int64_t kHeapBlockBytesMax = 2 << 20;

}  // namespace

std::string_view MemoryUseName(MemoryUse use) {
  switch (use) {
    case MemoryUse::kClientQueue: return "client_queue";
    case MemoryUse::kQueue: return "queue";
    case MemoryUse::kSlabs: return "slabs";
    case MemoryUse::kRows: return "rows";
    case MemoryUse::kCommitRows: return "commit_rows";
    case MemoryUse::kOpenFiles: return "open_files";
    case MemoryUse::kCommitFiles: return "commit_files";
    case MemoryUse::kMetadata: return "metadata";
    case MemoryUse::kLanes: return "lanes";
  }
  return "";
}

int64_t MemoryBudget::share(MemoryUse use) const {
  int64_t share = limit_ / kParts * kShares[static_cast<size_t>(use)];
  if (use != MemoryUse::kRows && use != MemoryUse::kCommitRows) return share;
  const auto beyond = [&](MemoryUse other) { return std::max<int64_t>(0, used(other) - this->share(other)); };
  const int64_t taken = beyond(MemoryUse::kMetadata) + beyond(MemoryUse::kClientQueue) + beyond(MemoryUse::kLanes);
  return std::max(share / 4, share - taken / 2);
}

bool MemoryBudget::rows_full(bool spill_usable) const {
  const int64_t rows = share(MemoryUse::kRows);
  return used(MemoryUse::kRows) > (spill_usable ? rows + rows / kIndexPartOfRows : rows);
}

int64_t MemoryBudget::used() const {
  int64_t sum = 0;
  for (const auto& used : used_) sum += used.load(std::memory_order_relaxed);
  return sum;
}

int64_t MemoryBudget::slab_bytes_max() const {
  return std::min(kSlabBytesLimit, share(MemoryUse::kSlabs) / kSlabPartOfShare);
}

int64_t MemoryBudget::heap_block_bytes_max() const {
  return std::clamp(limit_ / kHeapBlockPartOfLimit, kHeapBlockBytesMin, kHeapBlockBytesMax);
}

int64_t MemoryBudget::run_block_bytes() const {
  return std::clamp(slab_bytes_max() / kRunBlocksOfSlab, kRunBlockBytesMin, kRunBlockBytesMax);
}

int64_t MemoryBudget::run_blocks_bytes_max() const { return run_block_bytes() * kRunBlocksOfSlab; }

int64_t MemoryBudget::commit_threads(int32_t wanted) const {
  return std::clamp<int64_t>(share(MemoryUse::kCommitFiles) / kThreadBytes, 1, std::max(1, wanted));
}

int64_t MemoryBudget::row_group_bytes_max(int32_t wanted_threads) const {
  return std::max(kRowGroupBytesMin, share(MemoryUse::kCommitFiles) / commit_threads(wanted_threads));
}

}  // namespace firn::ingest
