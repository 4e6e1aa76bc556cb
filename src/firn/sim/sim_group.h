// SimGroup: the coordinator of one consumer group, with cooperative rebalances and members that fall silent.
//
// One OS thread; belongs to SimBroker, which calls Tick before every look. A rebalance revokes only what moves; what is
// released is assigned by the next one. A member is thrown out when no heartbeat of it gets through within the session
// time-out, when it does not poll within max.poll.interval, or does not answer a revocation within it. Then its
// partitions go to others at once; it learns of that later, and may come back by Rejoin.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "firn/env/clock.h"
#include "firn/sim/fault_kinds.h"
#include "firn/stream/record_source.h"

namespace firn::sim {

// Of one simulated process, shared by all its sources. A living process beats on its own, polling or not. Times are
// those of the broker's clock.
class SimLife {
 public:
  void Kill(int64_t now_ms) {
    Suspend(now_ms);
    dead_ = true;
  }
  void Suspend(int64_t now_ms) { silent_since_ms_ = silent_since_ms_ < 0 ? now_ms : silent_since_ms_; }
  void Resume(int64_t now_ms);
  // The brokers are out of its reach until then; it goes on itself.
  void CutOff(int64_t now_ms, int64_t until_ms) {
    cut_off_from_ms_ = now_ms, cut_off_until_ms_ = until_ms;
    cut_off_unmet_ = true;
  }
  bool MeetCutOff() { return std::exchange(cut_off_unmet_, false); }  // true: the first time

  bool dead() const { return dead_; }
  bool IsCutOff(int64_t now_ms) const { return now_ms < cut_off_until_ms_; }
  // The longest time without heartbeat since the last call, the one that goes on included; not counting before
  // `from_ms`.
  int64_t TakeSilenceMs(int64_t now_ms, int64_t from_ms);
  bool suspended() const { return silent_since_ms_ >= 0; }

 private:
  bool dead_ = false;
  int64_t silent_since_ms_ = -1;
  int64_t silence_ended_ms_ = -1;  // of the longest one that is over, when it ended
  int64_t silence_ms_ = 0;         // and how long it was
  int64_t cut_off_from_ms_ = -1;
  int64_t cut_off_until_ms_ = -1;
  bool cut_off_unmet_ = false;
};

struct SimGroupOptions {
  int64_t session_timeout_ms = 45'000;
  int64_t heartbeat_interval_ms = 3'000;
  int64_t max_poll_interval_ms = 300'000;
  int64_t rebalance_delay_ms_max = 500;
  int moved_per_mille = 200;  // how often a rebalance moves more than balance asks for
  int64_t look_ms_min = 0;    // between two looks at all members
};

class SimGroup {
 public:
  using Partitions = std::vector<stream::SourcePartition>;
  using MemberId = int64_t;

  struct Event {
    enum class Kind : uint8_t { kAssigned, kRevoked } kind = Kind::kAssigned;
    Partitions partitions;
    int64_t not_before_ms = 0;
  };

  SimGroup(env::Clock& clock, env::Random& random, SimFaults& faults, SimGroupOptions options)
      : clock_(clock), random_(random), faults_(faults), options_(options) {}

  // What there is to share out; a change rebalances after a while.
  void SetPartitions(Partitions all);
  // Lets time pass: members that fell silent go, a rebalance that is due takes place. Nothing happens while `up` is
  // false.
  void Tick(bool up);

  MemberId Join(std::string name, std::set<std::string> topics, std::shared_ptr<SimLife> life);
  void Leave(MemberId member);
  void Polled(MemberId member);
  // The member was thrown out, and may know by now.
  bool IsLostTo(MemberId member);
  // The next event of a member, if it is due; then it is open until Answered (kAssigned) or Released.
  std::optional<Event> Take(MemberId member);
  void Answered(MemberId member);
  void Released(MemberId member, const Partitions& partitions, bool all);

  // On demand.
  void ForceRebalance();
  void EvictByName(const std::string& name, FaultKind why);

  // Who the coordinator takes for the owner; empty: nobody.
  std::string OwnerOf(const stream::SourcePartition& partition) const;
  bool IsSettled() const;  // everything is assigned and answered, no rebalance is due
  size_t member_count() const;
  const SimGroupOptions& options() const { return options_; }

 private:
  struct Member {
    std::string name;
    std::set<std::string> topics;
    std::shared_ptr<SimLife> life;
    int64_t joined_ms = 0;
    int64_t last_poll_ms = 0;
    std::deque<Event> events;
    bool event_open = false;
    int64_t revoking_since_ms = -1;
    bool evicted = false;
    int64_t evicted_known_ms = -1;  // when the member learns it; -1: not thought about yet
  };
  void Evict(MemberId id, Member& member, FaultKind why);
  void LookAtMembers(int64_t now_ms);
  void ScheduleRebalance();
  void Rebalance();
  std::map<stream::SourcePartition, MemberId> PlanTargets();
  void Move(std::map<stream::SourcePartition, MemberId>& targets);
  int64_t DelayMs() { return Below(random_, options_.rebalance_delay_ms_max + 1); }

  env::Clock& clock_;
  env::Random& random_;
  SimFaults& faults_;
  const SimGroupOptions options_;
  std::map<MemberId, Member> members_;  // the evicted ones too, until they rejoin, leave or die
  std::map<stream::SourcePartition, MemberId> owners_;
  std::set<stream::SourcePartition> revoking_;
  std::set<stream::SourcePartition> all_;
  MemberId next_member_ = 1;
  int64_t rebalance_at_ms_ = -1;
  bool move_wanted_ = false;
  int64_t up_since_ms_ = 0;
  int64_t looked_ms_ = 0;
  bool was_up_ = true;
};

}  // namespace firn::sim
