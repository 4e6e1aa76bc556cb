#include "firn/sim/sim_group.h"

#include <fmt/format.h>

#include <algorithm>

#include "firn/base/check.h"

namespace firn::sim {

void SimLife::Resume(int64_t now_ms) {
  if (dead_ || silent_since_ms_ < 0) return;
  if (now_ms - silent_since_ms_ >= silence_ms_) {
    silence_ms_ = now_ms - silent_since_ms_;
    silence_ended_ms_ = now_ms;
  }
  silent_since_ms_ = -1;
}

int64_t SimLife::TakeSilenceMs(int64_t now_ms, int64_t from_ms) {
  int64_t longest = std::min(silence_ms_, silence_ended_ms_ - from_ms);
  silence_ms_ = 0;
  if (silent_since_ms_ >= 0) longest = std::max(longest, now_ms - std::max(silent_since_ms_, from_ms));
  if (cut_off_from_ms_ >= 0) {
    longest = std::max(longest, std::min(now_ms, cut_off_until_ms_) - std::max(cut_off_from_ms_, from_ms));
    if (now_ms >= cut_off_until_ms_) cut_off_from_ms_ = -1;
  }
  return longest;
}

void SimGroup::SetPartitions(Partitions all) {
  std::set<stream::SourcePartition> fresh(all.begin(), all.end());
  if (fresh == all_) return;
  all_ = std::move(fresh);
  ScheduleRebalance();
}

void SimGroup::ScheduleRebalance() {
  int64_t at_ms = clock_.BootMs() + DelayMs();
  if (rebalance_at_ms_ < 0 || at_ms < rebalance_at_ms_) rebalance_at_ms_ = at_ms;
}

SimGroup::MemberId SimGroup::Join(std::string name, std::set<std::string> topics, std::shared_ptr<SimLife> life) {
  Member member;
  member.name = std::move(name);
  member.topics = std::move(topics);
  member.life = std::move(life);
  member.joined_ms = member.last_poll_ms = clock_.BootMs();
  MemberId id = next_member_++;
  members_.emplace(id, std::move(member));
  ScheduleRebalance();
  return id;
}

void SimGroup::Leave(MemberId id) {
  auto found = members_.find(id);
  if (found == members_.end()) return;
  std::erase_if(owners_, [&](const auto& one) {
    if (one.second != id) return false;
    revoking_.erase(one.first);
    return true;
  });
  members_.erase(found);
  ScheduleRebalance();
}

void SimGroup::Polled(MemberId id) {
  auto found = members_.find(id);
  if (found == members_.end() || found->second.evicted) return;
  Member& member = found->second;
  // The client looks at its own clock before it says that it is alive.
  if (clock_.BootMs() - member.last_poll_ms > options_.max_poll_interval_ms) {
    Evict(id, member, FaultKind::kPollIntervalExceeded);
    member.evicted_known_ms = clock_.BootMs();
    return;
  }
  member.last_poll_ms = clock_.BootMs();
}

bool SimGroup::IsLostTo(MemberId id) {
  auto found = members_.find(id);
  if (found == members_.end()) return true;
  Member& member = found->second;
  if (!member.evicted) return false;
  const int64_t now_ms = clock_.BootMs();
  if (member.life->IsCutOff(now_ms)) return false;
  // The answer to its next heartbeat says so.
  if (member.evicted_known_ms < 0) {
    member.evicted_known_ms = now_ms + Below(random_, options_.heartbeat_interval_ms + 1);
  }
  return now_ms >= member.evicted_known_ms;
}

std::optional<SimGroup::Event> SimGroup::Take(MemberId id) {
  auto found = members_.find(id);
  if (found == members_.end() || found->second.evicted) return std::nullopt;
  Member& member = found->second;
  while (!member.event_open && !member.events.empty() && member.events.front().not_before_ms <= clock_.BootMs()) {
    Event event = std::move(member.events.front());
    member.events.pop_front();
    if (event.kind == Event::Kind::kAssigned) {
      // Of topics that are gone by now nobody hears.
      std::erase_if(event.partitions, [&](const stream::SourcePartition& one) {
        if (all_.contains(one)) return false;
        owners_.erase(one);
        revoking_.erase(one);
        return true;
      });
      if (event.partitions.empty()) continue;
    } else if (member.revoking_since_ms < 0) {
      member.revoking_since_ms = clock_.BootMs();
    }
    member.event_open = true;
    return event;
  }
  return std::nullopt;
}

void SimGroup::Answered(MemberId id) {
  if (auto found = members_.find(id); found != members_.end()) found->second.event_open = false;
}

void SimGroup::Released(MemberId id, const Partitions& partitions, bool all) {
  auto found = members_.find(id);
  if (found == members_.end()) return;
  Member& member = found->second;
  for (const stream::SourcePartition& one : partitions) {
    auto owner = owners_.find(one);
    if (owner == owners_.end() || owner->second != id) continue;
    owners_.erase(owner);
    revoking_.erase(one);
  }
  if (!all) return;
  member.event_open = false;
  member.revoking_since_ms = -1;
  if (!member.evicted) ScheduleRebalance();
}

void SimGroup::Evict(MemberId id, Member& member, FaultKind why) {
  faults_.Note(why, member.name);
  member.evicted = true;
  member.events.clear();
  member.revoking_since_ms = -1;
  std::erase_if(owners_, [&](const auto& one) {
    if (one.second != id) return false;
    revoking_.erase(one.first);
    return true;
  });
  ScheduleRebalance();
}

void SimGroup::EvictByName(const std::string& name, FaultKind why) {
  for (auto& [id, member] : members_) {
    if (member.name == name && !member.evicted) Evict(id, member, why);
  }
}

void SimGroup::ForceRebalance() {
  faults_.Note(FaultKind::kRebalanceForced, "");
  move_wanted_ = true;
  ScheduleRebalance();
}

void SimGroup::Tick(bool up) {
  const int64_t now_ms = clock_.BootMs();
  if (!up) {
    was_up_ = false;
    return;
  }
  // After an outage every session begins anew.
  if (!was_up_) up_since_ms_ = now_ms;
  was_up_ = true;
  if (now_ms - looked_ms_ >= options_.look_ms_min) LookAtMembers(now_ms);
  if (rebalance_at_ms_ >= 0 && now_ms >= rebalance_at_ms_) {
    rebalance_at_ms_ = -1;
    Rebalance();
  }
}

void SimGroup::LookAtMembers(int64_t now_ms) {
  looked_ms_ = now_ms;
  for (auto it = members_.begin(); it != members_.end();) {
    Member& member = it->second;
    const int64_t from_ms = std::max(up_since_ms_, member.joined_ms);
    if (!member.evicted && member.life->TakeSilenceMs(now_ms, from_ms) > options_.session_timeout_ms) {
      Evict(it->first, member, FaultKind::kSessionLost);
    }
    bool running = !member.life->suspended();
    if (!member.evicted && running && now_ms - member.last_poll_ms > options_.max_poll_interval_ms) {
      Evict(it->first, member, FaultKind::kPollIntervalExceeded);
      member.evicted_known_ms = now_ms;
    }
    if (!member.evicted && member.revoking_since_ms >= 0 &&
        now_ms - member.revoking_since_ms > options_.max_poll_interval_ms) {
      Evict(it->first, member, FaultKind::kPollIntervalExceeded);
    }
    it = member.evicted && member.life->dead() ? members_.erase(it) : std::next(it);
  }
}

// Sticky: who has a partition keeps it, as far as an equal share allows.
std::map<stream::SourcePartition, SimGroup::MemberId> SimGroup::PlanTargets() {
  std::map<MemberId, size_t> load;
  for (const auto& [id, member] : members_) {
    if (!member.evicted) load[id] = 0;
  }
  std::map<stream::SourcePartition, MemberId> targets;
  if (load.empty()) return targets;
  const auto wanted = static_cast<size_t>(std::ranges::count_if(all_, [&](const stream::SourcePartition& one) {
    return std::ranges::any_of(load,
                               [&](const auto& two) { return members_.at(two.first).topics.contains(one.topic); });
  }));
  const size_t share = (wanted + load.size() - 1) / load.size();
  std::vector<stream::SourcePartition> free;
  for (const stream::SourcePartition& one : all_) {
    auto owner = owners_.find(one);
    bool keeps = owner != owners_.end() && load[owner->second] < share && !revoking_.contains(one);
    if (keeps) {
      targets[one] = owner->second;
      ++load[owner->second];
    } else {
      free.push_back(one);
    }
  }
  std::set<std::pair<size_t, MemberId>> by_load;
  for (const auto& [id, count] : load) by_load.emplace(count, id);
  for (const stream::SourcePartition& one : free) {
    auto best = std::ranges::find_if(
        by_load, [&](const auto& each) { return members_.at(each.second).topics.contains(one.topic); });
    if (best == by_load.end()) continue;
    const auto [count, id] = *best;
    targets[one] = id;
    by_load.erase(best);
    by_load.emplace(count + 1, id);
  }
  return targets;
}

void SimGroup::Move(std::map<stream::SourcePartition, MemberId>& targets) {
  std::vector<MemberId> living;
  for (const auto& [id, member] : members_) {
    if (!member.evicted) living.push_back(id);
  }
  if (living.size() < 2 || targets.empty()) return;
  int64_t moves = 1 + Below(random_, static_cast<int64_t>(targets.size()));
  for (int64_t i = 0; i < moves; ++i) {
    auto it = std::next(targets.begin(), Below(random_, static_cast<int64_t>(targets.size())));
    MemberId to = living[static_cast<size_t>(Below(random_, static_cast<int64_t>(living.size())))];
    if (members_.at(to).topics.contains(it->first.topic)) it->second = to;
  }
}

void SimGroup::Rebalance() {
  std::map<stream::SourcePartition, MemberId> targets = PlanTargets();
  const bool revocations_open = !revoking_.empty();
  // The second half of a rebalance only hands out what the first has taken away.
  if (!revocations_open && (move_wanted_ || faults_.Chance(FaultKind::kPartitionsMoved, options_.moved_per_mille))) {
    Move(targets);
    move_wanted_ = false;
  }
  const int64_t at_ms = clock_.BootMs() + DelayMs();
  std::map<MemberId, Partitions> assigned;
  std::map<MemberId, Partitions> revoked;
  for (const auto& [one, owner] : owners_) {
    auto target = targets.find(one);
    if ((target == targets.end() || target->second != owner) && revoking_.insert(one).second) {
      revoked[owner].push_back(one);
    }
  }
  for (const auto& [one, target] : targets) {
    if (owners_.try_emplace(one, target).second) assigned[target].push_back(one);
  }
  for (auto& [id, partitions] : revoked) {
    Member& member = members_.at(id);
    if (member.revoking_since_ms < 0) member.revoking_since_ms = clock_.BootMs();
    member.events.push_back({Event::Kind::kRevoked, std::move(partitions), at_ms});
  }
  for (auto& [id, partitions] : assigned) {
    members_.at(id).events.push_back({Event::Kind::kAssigned, std::move(partitions), at_ms});
  }
}

std::string SimGroup::OwnerOf(const stream::SourcePartition& partition) const {
  auto owner = owners_.find(partition);
  if (owner == owners_.end()) return "";
  return members_.at(owner->second).name;
}

bool SimGroup::IsSettled() const {
  if (rebalance_at_ms_ >= 0 || !revoking_.empty()) return false;
  for (const auto& [id, member] : members_) {
    if (member.evicted || member.event_open || !member.events.empty()) return false;
  }
  return std::ranges::all_of(all_, [&](const stream::SourcePartition& one) {
    bool wanted = std::ranges::any_of(members_, [&](const auto& two) { return two.second.topics.contains(one.topic); });
    return !wanted || owners_.contains(one);
  });
}

size_t SimGroup::member_count() const {
  return static_cast<size_t>(std::ranges::count_if(members_, [](const auto& one) { return !one.second.evicted; }));
}

}  // namespace firn::sim
