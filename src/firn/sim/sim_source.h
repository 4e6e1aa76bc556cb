// SimSource: one simulated process's consumer of a SimBroker, as a RecordSource; a member of the group, or a lane.
//
// Runs in the fibers of its process; the only place where it waits is Clock::SleepMs. It keeps KafkaSource's contracts:
// one rebalance event open at a time; Assign answers the open PartitionsAssigned, and what it leaves out is held until
// Seek names it; Release may answer in several calls; after PartitionTrouble a partition is held likewise, with
// kNotFound (outside the log, topic gone) or kConflict (truncated below the position, topic recreated); SourceTrouble
// comes at most twice a minute for each code. A topic made anew: trouble for the old partitions, then the group takes
// them back and assigns the new ones under new indexes.
// After the process's death every call returns kCancelled at once and has no effect; destruction does not leave then.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "firn/env/clock.h"
#include "firn/sim/fault_kinds.h"
#include "firn/sim/sim_broker.h"
#include "firn/stream/record_source.h"

namespace firn::sim {

struct SimSourceOptions {
  std::string name = "member";
  std::set<std::string> topics;
  // A lane: no group, no events but chunks and trouble; Assign and Release take any partition at any time.
  bool lane = false;
  bool read_committed = true;
  int64_t chunk_records_max = 50;
  int64_t fetch_latency_ms_max = 20;
  int64_t slow_fetch_ms_max = 5'000;
  int64_t query_latency_ms_max = 10;
  int64_t poll_step_ms_max = 20;  // how late a Poll may see what has happened
  int64_t poll_ms_min = 0;        // a Poll that sees nothing takes so long, whatever it is asked for
  // Of 1000 fetches, questions.
  int slow_fetch_per_mille = 5;
  int source_trouble_per_mille = 1;
  int query_fault_per_mille = 10;
};

class SimSource final : public stream::RecordSource {
 public:
  // `clock` and `random` are those of the process; `life` is shared by all its sources.
  SimSource(SimBroker& broker, env::Clock& clock, env::Random& random, SimFaults& faults,
            std::shared_ptr<SimLife> life, SimSourceOptions options);
  ~SimSource() override;  // a living member leaves the group

  // A consumer of its own for single partitions, in the same process; outside of the group.
  std::unique_ptr<SimSource> MakeLane() const;

  Result<stream::SourceEvent> Poll(int64_t timeout_ms, bool want_records) override;
  Status Assign(std::span<const stream::PartitionPosition> start) override;
  Status Release(std::span<const stream::PartitionIndex> partitions) override;
  Status Seek(std::span<const stream::PartitionPosition> positions) override;
  Status CommitGroupOffsets(std::span<const stream::PartitionPosition> positions) override;
  Result<stream::Watermarks> QueryWatermarks(const stream::SourcePartition& partition, int64_t timeout_ms) override;
  Result<std::vector<std::optional<int64_t>>> QueryEnds(std::span<const stream::SourcePartition> partitions,
                                                        int64_t timeout_ms) override;
  Result<int64_t> OffsetForTimestamp(const stream::SourcePartition& partition, int64_t timestamp_ms,
                                     int64_t timeout_ms) override;
  Result<std::vector<stream::TopicDescription>> DescribeTopics(int64_t timeout_ms) override;
  std::string cluster_id() const override { return broker_.cluster_id(); }
  Result<std::unique_ptr<stream::LaneSource>> OpenLane(std::span<const stream::PartitionPosition> start,
                                                       int64_t queue_bytes_max) override;
  stream::SourcePartition partition(stream::PartitionIndex index) const override;
  stream::PartitionIndex IndexOf(const stream::SourcePartition& partition) override;

  void Kill();  // the process, with all its sources
  SimLife& life() { return *life_; }
  bool Owns(stream::PartitionIndex index) const { return assigned_.contains(index); }

 private:
  using Index = stream::PartitionIndex;
  struct Reading {
    bool reading = false;
    stream::Position position;
    int32_t checked_epoch = -1;  // the leader epoch that the position was checked against last
  };
  enum class Open : uint8_t { kNone, kAssigned, kRevoked, kLost };

  Status CheckAlive() const;
  bool Reaches() const;
  std::optional<stream::SourceEvent> NextEvent(bool want_records);
  std::optional<stream::SourceEvent> NextRebalance();
  std::optional<stream::SourceEvent> DeliverLost();
  void Rejoin();
  std::optional<stream::SourceEvent> NextTrouble(bool want_records);
  std::optional<Error> TroubleOf(Index index, const SimLog* log, Reading& reading);
  std::unique_ptr<stream::RecordChunk> NextChunk();
  stream::Position MoveOn(Index index, const SimLog::Slice& slice);
  std::optional<stream::SourceEvent> Report(Error error);
  void Start(std::span<const stream::PartitionPosition> positions);
  // Waits as long as a question takes; an error when it fails.
  Status Ask(int64_t timeout_ms);
  Result<const SimLog*> LogOf(const stream::SourcePartition& partition) const;
  int64_t EndOf(const SimLog& log) const { return options_.read_committed ? log.last_stable_offset() : log.end(); }

  SimBroker& broker_;
  env::Clock& clock_;
  env::Random& random_;
  SimFaults& faults_;
  const std::shared_ptr<SimLife> life_;
  const SimSourceOptions options_;
  SimGroup::MemberId member_ = 0;
  std::vector<stream::SourcePartition> names_;
  std::map<stream::SourcePartition, Index> indexes_;
  std::map<Index, Reading> assigned_;
  Open open_ = Open::kNone;
  std::set<Index> open_partitions_;
  std::map<ErrorCode, int64_t> reported_ms_;
  int64_t next_fetch_ms_ = 0;
};

}  // namespace firn::sim
