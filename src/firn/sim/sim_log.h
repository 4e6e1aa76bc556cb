// SimLog: the log of one partition as a broker keeps it: offsets, leader epochs, transactions, holes by compaction.
//
// One OS thread; a value without time or chance. SimBroker owns one a partition and tells LogHistory what happens.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "firn/stream/record_source.h"

namespace firn::sim {

using TransactionId = int64_t;
inline constexpr TransactionId kNoTransaction = 0;

struct LogEntry {
  int64_t offset = 0;
  int32_t leader_epoch = 0;
  int64_t timestamp_ms = 0;
  std::optional<std::string> key;
  std::optional<std::string> value;
  std::vector<std::pair<std::string, std::optional<std::string>>> headers;
  int64_t id = 0;  // in LogHistory; 0: a transaction marker
  TransactionId transaction = kNoTransaction;
};

class SimLog {
 public:
  int64_t start() const { return start_; }
  int64_t end() const { return end_; }
  int64_t last_stable_offset() const;  // the first offset of an open transaction, else the end
  int32_t leader_epoch() const { return highest_epoch_; }

  int64_t Append(LogEntry entry);  // sets offset and epoch
  // Ends a transaction here with a marker; returns the ids of its records. It must have records here.
  std::vector<int64_t> EndTransaction(TransactionId transaction, bool committed, int64_t timestamp_ms);

  // Each returns the ids of the records that are gone.
  std::vector<int64_t> TruncateBefore(int64_t offset);  // retention
  // Keeps the last record of each key among [start, below); records without key go (as Kafka refuses them).
  std::vector<int64_t> Compact(int64_t below);
  // The log ends at `offset` now; transactions that began at or after it are forgotten.
  std::vector<int64_t> TruncateAfter(int64_t offset);
  void ElectLeader();  // the epoch goes up

  struct Slice {
    std::vector<const LogEntry*> entries;  // data only; valid until the log changes
    int64_t next = 0;                      // the position behind: over markers, holes and aborted data too
    int32_t next_epoch = -1;               // leader epoch of what lies before `next`
    bool at_end = false;
  };
  // From `from` on at most `records_max` records. At the readable end `next` is that end, else the offset
  // of the next record that it did not take.
  Slice Read(int64_t from, size_t records_max, bool read_committed) const;

  // OffsetForLeaderEpoch: where the largest epoch not above `epoch` ends; -1: none is known.
  int64_t EndOfEpoch(int32_t epoch) const;
  // In which epoch it was written, gone or not; -1: before the log began.
  int32_t EpochOf(int64_t offset) const;
  // The first offset whose record's timestamp is at or after; nullopt: none.
  std::optional<int64_t> OffsetForTimestamp(int64_t timestamp_ms) const;

 private:
  struct Epoch {
    int32_t epoch;
    int64_t start;
  };
  bool IsReadable(const LogEntry& entry, bool read_committed) const;

  std::map<int64_t, LogEntry> entries_;
  std::map<TransactionId, int64_t> open_;  // → its first offset
  std::set<TransactionId> aborted_;
  std::vector<Epoch> epochs_{{0, 0}};  // ascending in both
  int32_t highest_epoch_ = 0;
  int64_t start_ = 0;
  int64_t end_ = 0;
};

}  // namespace firn::sim
