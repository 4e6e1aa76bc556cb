#include "firn/ingest/topic_start.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "firn/base/log.h"

namespace firn::ingest {
namespace {

constexpr int64_t kQueryTimeoutMs = 10'000;

enum class Acquaintance : uint8_t { kUnknown, kKnown, kRecreated };

// What the home knows of a topic: nothing, its id, or only its name under another id.
Acquaintance AcquaintanceWith(const Marks& marks, const stream::SourcePartition& partition) {
  Acquaintance result = Acquaintance::kUnknown;
  for (const auto& [key, mark] : marks) {
    if (key.cluster_id != partition.cluster_id) continue;
    if (key.topic_id == partition.topic_id) return Acquaintance::kKnown;
    if (mark.topic == partition.topic) result = Acquaintance::kRecreated;
  }
  return result;
}

Result<int64_t> ResolveOffset(stream::RecordSource& source, const StartPolicy& policy,
                              const stream::SourcePartition& partition) {
  if (policy.kind == StartPolicy::Kind::kTimestamp) {
    return source.OffsetForTimestamp(partition, policy.timestamp_ms, kQueryTimeoutMs);
  }
  FIRN_ASSIGN(stream::Watermarks watermarks, source.QueryWatermarks(partition, kQueryTimeoutMs));
  return policy.kind == StartPolicy::Kind::kLatest ? watermarks.end : watermarks.start;
}

// Every partition of the topic, not only the ones assigned to us: the policy is resolved once a topic. Empty: it is
// gone, another one has its name.
Result<std::vector<stream::SourcePartition>> PartitionsOfTopic(stream::RecordSource& source,
                                                               const stream::SourcePartition& one) {
  FIRN_ASSIGN(std::vector<stream::TopicDescription> topics, source.DescribeTopics(kQueryTimeoutMs));
  int32_t count = 0;
  bool is_replaced = false;
  for (const stream::TopicDescription& topic : topics) {
    if (topic.topic_id == one.topic_id) count = std::max(one.partition + 1, topic.partition_count);
    is_replaced |= topic.topic == one.topic && topic.topic_id != one.topic_id;
  }
  if (count == 0 && is_replaced) {
    LogWarning("topic was made anew once more, what was assigned of it is gone",
               {{"topic", one.topic}, {"topic_id", one.topic_id}});
    return std::vector<stream::SourcePartition>();
  }
  // With a part of the partitions only, the rest would later count as new ones and begin at 0, whatever the policy.
  if (count == 0) {
    return Fail(ErrorCode::kUnavailable,
                fmt::format("the brokers do not list the topic yet, it is asked for again: '{}'", one.topic));
  }
  std::vector<stream::SourcePartition> partitions;
  for (int32_t i = 0; i < count; ++i) {
    partitions.push_back(stream::SourcePartition{one.cluster_id, one.topic_id, one.topic, i});
  }
  return partitions;
}

Result<Marks> ResolveNewMarks(stream::RecordSource& source, const StartPolicy& policy, const Marks& known,
                              const std::vector<stream::SourcePartition>& partitions) {
  Marks marks;
  std::set<std::pair<std::string, std::string>> resolved;
  for (const stream::SourcePartition& partition : partitions) {
    if (known.contains(KeyOf(partition))) continue;
    Acquaintance acquaintance = AcquaintanceWith(known, partition);
    if (acquaintance == Acquaintance::kKnown) {
      marks[KeyOf(partition)] = Mark{partition.topic, stream::Position{}};
      LogInfo("new partition of a known topic, read from its beginning",
              {{"topic", partition.topic}, {"partition", partition.partition}});
      continue;
    }
    if (!resolved.emplace(partition.cluster_id, partition.topic_id).second) continue;
    StartPolicy effective = policy;
    if (acquaintance == Acquaintance::kRecreated) {
      effective.kind = StartPolicy::Kind::kEarliest;
      LogWarning("topic was made anew under another id, it is read from its beginning",
                 {{"topic", partition.topic}, {"topic_id", partition.topic_id}});
    }
    FIRN_ASSIGN(std::vector<stream::SourcePartition> all, PartitionsOfTopic(source, partition));
    for (const stream::SourcePartition& each : all) {
      FIRN_ASSIGN(int64_t offset, ResolveOffset(source, effective, each));
      marks[KeyOf(each)] = Mark{each.topic, stream::Position{offset, -1, -1}};
    }
  }
  return marks;
}

}  // namespace

Status EnsureTopicsStarted(Home& home, stream::RecordSource& source, const StartPolicy& policy,
                           const std::vector<stream::SourcePartition>& partitions, std::stop_token stop) {
  const Marks known = home.map().marks;
  FIRN_ASSIGN(Marks fresh, ResolveNewMarks(source, policy, known, partitions));
  if (fresh.empty()) return {};
  if (known.size() + fresh.size() > static_cast<size_t>(kSourcePartitionsMax)) {
    return Fail(
        ErrorCode::kInvalidInput,
        fmt::format("a pipeline reads at most {} source partitions; split the topics over several pipelines: {}",
                    kSourcePartitionsMax, known.size() + fresh.size()));
  }
  FIRN_ASSIGN(MapCommitResult edited, home.Edit(
                                          [&](PositionsMap& map) -> Result<bool> {
                                            bool changed = false;
                                            for (const auto& [key, mark] : fresh) {
                                              changed |= map.marks.emplace(key, mark).second;
                                            }
                                            return changed;
                                          },
                                          {}, stop));
  return RequireDone(edited, home.name());
}

}  // namespace firn::ingest
