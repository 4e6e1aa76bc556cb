// Lanes: which detached tables catch up at the moment, which wait for a place or for better times, and which have
// caught up and wait for main to take them in (docs/adr/0005).
//
// Belongs to the ingest thread. Nothing here waits, but for Wait and the destructor.
#pragma once

#include <functional>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "firn/ingest/lane.h"

namespace firn::ingest {

inline constexpr size_t kLanesMax = 4;  // and one more for the rejects table, which others wait for
// A lane that has run so long makes room when another one waits for a place: a table that cannot keep up with its topic
// would keep it for ever.
inline constexpr int64_t kLaneTurnMs = 600'000;
inline constexpr int64_t kLaneBackoffMs = 60'000;
// Times in a row that a lane begins again at once after others moved its positions.
inline constexpr int kLaneForgottenMax = 3;

class Lanes {
 public:
  // `on_end` is called by a lane's thread.
  Lanes(const PipelineOptions& options, const WorkerDependencies& dependencies, Home& home, MapCommitter& committer,
        WorkerMetrics& metrics, std::function<void()> on_end);
  ~Lanes();

  // As many as there is room for, those first whose last turn is longest ago. Where there is none, a lane whose turn is
  // over is asked to end.
  void StartWaiting(std::vector<LaneRequest> requests);
  bool BacksOff(const std::string& table) const;
  // Runs, or has caught up and waits for main.
  bool Has(const std::string& table, stream::PartitionIndex partition) const;
  void SetGoals(const std::function<int64_t(stream::PartitionIndex)>& goal_of);

  // What lanes have done since the last call, with their table's name.
  std::vector<std::pair<std::string, LaneProgress>> TakeProgress();
  struct Ended {
    LaneRequest request;
    LaneEnd end;
  };
  // Lanes that have ended otherwise than by having caught up or by Cancel.
  std::vector<Ended> TakeEnded();

  struct CaughtUp {
    std::string table;
    std::vector<LaneEnd::Partition> partitions;
  };
  const std::vector<CaughtUp>& caught_up() const { return caught_up_; }
  std::vector<CaughtUp> TakeCaughtUp();
  // It cannot be taken in now: it begins again later.
  void PutOff(const std::string& table);

  // Ends every lane that reads one of these partitions; what it has not committed is read again by whoever is next.
  void Cancel(const std::vector<stream::PartitionIndex>& partitions);
  void CancelAll();
  void Wait();

  size_t running() const { return running_.size(); }

 private:
  struct Backoff {
    int64_t until_ms = 0;
    int forgotten = 0;
  };
  void Collect();
  bool Start(LaneRequest request);
  void EndATurn();
  void PutOffFor(const std::string& table, const LaneEnd& end);

  const PipelineOptions& options_;
  const WorkerDependencies deps_;
  Home& home_;
  MapCommitter& committer_;
  WorkerMetrics& metrics_;
  const std::function<void()> on_end_;
  std::list<std::unique_ptr<Lane>> running_;
  std::list<std::unique_ptr<Lane>> cancelled_;  // their threads are about to end
  std::vector<std::pair<std::string, LaneProgress>> progress_;
  std::vector<Ended> ended_;
  std::vector<CaughtUp> caught_up_;
  std::map<std::string, Backoff> backoffs_;
  std::map<std::string, int64_t> turns_ms_;  // by table: when its last turn began
};

}  // namespace firn::ingest
