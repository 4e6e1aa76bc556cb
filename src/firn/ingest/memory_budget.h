// MemoryBudget: where `memory.limit` goes, and what each use holds now (docs/memory.md is the sheet).
//
// Shares are fixed fractions of the limit; whoever works for a use keeps to its share and tells what it holds, so that
// the sum can be seen and held against the process. Thread-safe, without locks.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>

namespace firn::ingest {

enum class MemoryUse : uint8_t {
  kClientQueue,  // records that the Kafka client has fetched ahead
  kQueue,        // records that were polled and wait to be decoded
  kSlabs,        // decoded columns
  kRows,         // rows packed or encoded, waiting for the commit that comes next
  kCommitRows,   // the same, of the commit under way
  kOpenFiles,    // encoders of files that are written to while rows come in
  kCommitFiles,  // encoders of files that a commit writes
  kMetadata,     // of open tables
  kLanes,        // what lanes of detached tables may hold, each a budget of its own
};
inline constexpr size_t kMemoryUses = 9;
// What a fetched record holds, of its bytes: the client keeps a whole batch as long as one record of it, in a buffer
// that it doubled until the batch fitted.
inline constexpr int64_t kFetchedOverhead = 2;

// "client_queue", as it stands in the name of its metric.
std::string_view MemoryUseName(MemoryUse use);

class MemoryBudget {
 public:
  explicit MemoryBudget(int64_t limit_bytes) : limit_(limit_bytes) {}

  int64_t limit() const { return limit_; }
  // What the use may hold. Lanes, and metadata or the client that outgrow their share, take from the rows that wait.
  int64_t share(MemoryUse use) const;
  int64_t used(MemoryUse use) const { return used_[static_cast<size_t>(use)].load(std::memory_order_relaxed); }
  int64_t used() const;
  bool over(MemoryUse use) const { return used(use) > share(use); }
  // The rows that wait hold more than there is room for. What says where spilled rows are cannot be spilled itself.
  bool rows_full(bool spill_usable) const;
  void Add(MemoryUse use, int64_t bytes) {
    used_[static_cast<size_t>(use)].fetch_add(bytes, std::memory_order_relaxed);
  }
  void Set(MemoryUse use, int64_t bytes) { used_[static_cast<size_t>(use)].store(bytes, std::memory_order_relaxed); }

  // Derived sizes, which keep a use within its share.
  int64_t fetched_bytes_max(MemoryUse use) const { return share(use) / kFetchedOverhead; }  // of a queue of records
  int64_t slab_bytes_max() const;                // decoded columns of all tables, before the largest is packed
  int64_t run_block_bytes() const;               // of packed rows; a thread that writes keeps one block a run
  int64_t heap_block_bytes_max() const;          // larger blocks are mapped alone, and their pages given back at once
  int64_t run_blocks_bytes_max() const;          // of all runs of a table, one block each
  int64_t commit_threads(int32_t wanted) const;  // that write files at the same time
  int64_t row_group_bytes_max(int32_t wanted_threads) const;  // of one file that a commit writes

 private:
  const int64_t limit_;
  std::array<std::atomic<int64_t>, kMemoryUses> used_{};
};

// Bytes that one owner holds for a use; given back when it ends. The budget must outlive it.
class MemoryHold {
 public:
  MemoryHold(MemoryBudget& budget, MemoryUse use) : budget_(&budget), use_(use) {}
  MemoryHold(MemoryHold&& other) noexcept
      : budget_(other.budget_), use_(other.use_), bytes_(std::exchange(other.bytes_, 0)) {}
  MemoryHold& operator=(MemoryHold&& other) noexcept {
    if (this == &other) return *this;
    Set(0);
    budget_ = other.budget_;
    use_ = other.use_;
    bytes_ = std::exchange(other.bytes_, 0);
    return *this;
  }
  ~MemoryHold() { Set(0); }

  int64_t bytes() const { return bytes_; }
  void Set(int64_t bytes) {
    budget_->Add(use_, bytes - bytes_);
    bytes_ = bytes;
  }
  void ChangeUse(MemoryUse use) {
    const int64_t bytes = bytes_;
    Set(0);
    use_ = use;
    Set(bytes);
  }

 private:
  MemoryBudget* budget_;
  MemoryUse use_;
  int64_t bytes_ = 0;
};

}  // namespace firn::ingest
