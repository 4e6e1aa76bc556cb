// Kinds of fault in the simulated world: their names, who decides that one happens, and how often each did.
//
// One OS thread. Every fault goes through SimFaults: `Chance` asks whether one happens here and now, `Note` reports one
// that somebody decided elsewhere (the world's plan, the broker's group). Both count and trace, so that a run can prove
// which kinds it has met. To add a kind: the enum, its name in fault_kinds.cc (a static_assert compares the numbers).
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "firn/env/clock.h"

namespace firn::sim {

enum class FaultKind : uint8_t {
  // Broker and source.
  kBrokersDown,              // nobody reaches the cluster for a while
  kMemberCutOff,             // one process does not reach it
  kFetchSlow,
  kSourceTrouble,            // a word about trouble, without effect
  kQueryUnavailable,
  kQueryTimeout,
  kQueryEndUnknown,          // QueryEnds: one partition without an answer
  kTopicNotListed,           // DescribeTopics leaves a topic out
  kGroupOffsetsNotStored,
  kGroupDeleted,
  kRebalanceForced,
  kPartitionsMoved,          // more than balance asks for
  kSessionLost,              // thrown out: no heartbeat within the session time-out
  kPollIntervalExceeded,     // thrown out: no poll within max.poll.interval, or a revocation not answered in time
  kTransactionOpened,
  kTransactionAborted,
  kLogCompacted,
  kLogRetained,              // retention moved the log's start
  kLogTruncated,             // unclean leader election
  kLeaderElected,            // clean: only the epoch goes up
  kTopicRecreated,
  kPartitionsAdded,
  // Store.
  kStoreDown,
  kStoreSlow,
  kStoreReadFails,
  kStoreWriteFails,
  kStoreWritePartial,        // the process saw a part go out, no object is there
  kStoreAnswerLost,          // the object is there, the writer is told an error
  kStoreUnauthorized,
  // Spill disk, of one process.
  kSpillFull,
  kSpillTorn,                // the second half of what was written reads back as zeros
  kSpillLies,                // one bit of it reads back wrong
  kSpillReadFails,
  // Catalog.
  kCatalogDown,
  kCatalogSlow,
  kCatalogReadFails,
  kCatalogConflict,          // 409, certainly not applied
  kCatalogConflictAfterSuccess,
  kCatalogPreconditionFailed,  // 412
  kCatalogServerErrorBefore,   // 5xx, not applied
  kCatalogServerErrorAfter,    // 5xx, applied
  kCatalogRequestLost,       // no answer, not applied
  kCatalogAnswerLost,        // no answer, applied
  kCatalogUnauthorized,
  kCatalogForgetsHistory,    // returns no parents (Nessie)
  // Process.
  kProcessCrashed,
  kProcessSuspended,
  kProcessStopped,           // cleanly
  kWallClockJumped,
  kRulesChanged,
  kRecordsRerouted,
  // Compaction.
  kCompactionRuns,           // without it nobody compacts
  kCompactionCommitted,
  kCompactionGroupDropped,   // merged in vain: somebody else changed its files
  kCompactionDeletesApplied, // rows that somebody had deleted are left out
  kCompactorCrashed,
  kCompactorSuspended,
  // Foreign hands.
  kForeignAppend,
  kForeignRewrite,
  kForeignDelete,
  kForeignRowDelete,         // by position
  kForeignRollback,
  kForeignCreateOrReplace,
  kForeignClone,
  kForeignCherryPick,
  kForeignExpiry,
  kForeignPropertyChanged,
  kTableDropped,
  kPermissionLost,
  kPositionsByHand,          // `firn positions`
};
inline constexpr size_t kFaultKindCount = static_cast<size_t>(FaultKind::kPositionsByHand) + 1;

std::string_view FaultKindName(FaultKind kind);  // "catalog_answer_lost"

class SimFaults {
 public:
  virtual ~SimFaults() = default;
  // Whether a fault of this kind happens here and now. True: counted and traced.
  virtual bool Chance(FaultKind kind, int per_mille) = 0;
  // One has happened by other means.
  virtual void Note(FaultKind kind, std::string_view detail) = 0;
};

class FaultCounter {
 public:
  void Count(FaultKind kind) { ++counts_[static_cast<size_t>(kind)]; }
  uint64_t count(FaultKind kind) const { return counts_[static_cast<size_t>(kind)]; }
  void Add(const FaultCounter& other);
  std::string ToString() const;  // "kind=n kind=n …", kinds that have happened, in the enum's order

 private:
  std::array<uint64_t, kFaultKindCount> counts_{};
};

// Faults by chance, from one random sequence. `scale_per_mille` 0: none happen by chance, 1000: as asked.
class SeededFaults final : public SimFaults {
 public:
  explicit SeededFaults(env::Random& random, int scale_per_mille = 1000)
      : random_(random), scale_per_mille_(scale_per_mille) {}

  bool Chance(FaultKind kind, int per_mille) override;
  void Note(FaultKind kind, std::string_view detail) override;

  void set_scale_per_mille(int scale_per_mille) { scale_per_mille_ = scale_per_mille; }
  // This kind happens with this chance, whatever is asked; scale and all. -1: as asked.
  void Override(FaultKind kind, int per_mille) { overrides_[static_cast<size_t>(kind)] = per_mille + 1; }
  void set_trace(std::function<void(FaultKind, std::string_view)> trace) { trace_ = std::move(trace); }
  const FaultCounter& counter() const { return counter_; }

 private:
  env::Random& random_;
  int scale_per_mille_;
  std::array<int, kFaultKindCount> overrides_{};  // 0: none, else per mille + 1
  std::function<void(FaultKind, std::string_view)> trace_;
  FaultCounter counter_;
};

// A number in [0, bound); 0 for a bound below 1. The bias of the remainder is of no concern here.
inline int64_t Below(env::Random& random, int64_t bound) {
  return bound < 1 ? 0 : static_cast<int64_t>(random.Next64() % static_cast<uint64_t>(bound));
}

}  // namespace firn::sim
