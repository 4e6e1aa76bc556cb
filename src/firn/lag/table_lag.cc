#include "firn/lag/table_lag.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <map>
#include <set>
#include <tuple>
#include <unordered_map>

#include "firn/compaction/picker.h"

namespace firn::lag {
namespace {

using iceberg::Snapshot;
using iceberg::TableMetadata;

std::optional<int64_t> ParseNumber(const std::string& text) {
  int64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0) return std::nullopt;
  return value;
}

std::optional<int64_t> SummaryNumber(const Snapshot& snapshot, std::string_view key) {
  auto found = snapshot.summary.find(std::string(key));
  return found == snapshot.summary.end() ? std::nullopt : ParseNumber(found->second);
}

bool IsReplace(const Snapshot& snapshot) {
  auto found = snapshot.summary.find("operation");
  return found != snapshot.summary.end() && found->second == "replace";
}

int64_t TargetBytes(const TableMetadata& metadata) {
  const int64_t absent = compaction::PickOptions{}.target_bytes;
  const std::optional<std::string> text = metadata.Property("write.target-file-size-bytes");
  if (!text.has_value()) return absent;
  const int64_t value = ParseNumber(*text).value_or(0);
  return value > 0 ? value : absent;
}

double Seconds(int64_t ms) {
  return static_cast<double>(ms) / 1000.0;
}

// Main's history as far as it is listed.
class History {
 public:
  explicit History(const TableMetadata& metadata) {
    std::set<SnapshotId> seen;
    const Snapshot* snapshot = metadata.CurrentSnapshot();
    while (snapshot != nullptr && seen.insert(snapshot->snapshot_id).second) {
      chain_.push_back(snapshot);
      if (!snapshot->parent_snapshot_id.has_value()) break;
      snapshot = metadata.FindSnapshot(*snapshot->parent_snapshot_id);
    }
    for (const Snapshot& each : metadata.snapshots) {
      by_id_.emplace(each.snapshot_id, &each);
      by_sequence_.emplace(each.sequence_number, each.timestamp_ms);
    }
  }

  const std::vector<const Snapshot*>& chain() const { return chain_; }  // newest first

  struct Added {
    int64_t ms = 0;
    bool at_least = false;  // the file is at least so old
  };
  // By the snapshot that added it; where that is expired, by the oldest listed one that came after it.
  std::optional<Added> AddedAt(SnapshotId snapshot_id, int64_t sequence_number) const {
    if (auto found = by_id_.find(snapshot_id); found != by_id_.end()) return Added{found->second->timestamp_ms, false};
    auto later = by_sequence_.upper_bound(sequence_number);
    if (later == by_sequence_.end()) return std::nullopt;
    return Added{later->second, true};
  }
  const Snapshot* Find(SnapshotId id) const {
    auto found = by_id_.find(id);
    return found == by_id_.end() ? nullptr : found->second;
  }

 private:
  std::vector<const Snapshot*> chain_;
  std::unordered_map<SnapshotId, const Snapshot*> by_id_;
  std::map<int64_t, int64_t> by_sequence_;  // → timestamp
};

class LagComputation {
 public:
  LagComputation(const TableMetadata& metadata, const std::vector<ManifestState>& manifests, const LagOptions& options)
      : metadata_(metadata), manifests_(manifests), options_(options), history_(metadata) {}

  TableLag Run() {
    lag_.snapshots = static_cast<int64_t>(metadata_.snapshots.size());
    SetWindow();
    CountFiles();
    FindUncompacted();
    MeasureRates();
    SetCapacity(lag_, measured_capacity_, options_.behind_after_ms);
    return std::move(lag_);
  }

 private:
  struct SmallFiles {
    PartitionLag lag;
    int64_t smallest[2] = {std::numeric_limits<int64_t>::max(), std::numeric_limits<int64_t>::max()};
    bool oldest_at_least = false;
  };

  // What a rate is over: (from, now]. It begins at the oldest listed snapshot where that is younger than the window.
  void SetWindow() {
    window_from_ms_ = options_.now_ms - options_.window_ms;
    if (history_.chain().empty()) return;
    window_from_ms_ = std::max(window_from_ms_, history_.chain().back()->timestamp_ms);
    lag_.window_s = Seconds(std::max<int64_t>(options_.now_ms - window_from_ms_, 0));
  }

  bool IsArrival(SnapshotId snapshot_id) const {
    const Snapshot* snapshot = history_.Find(snapshot_id);
    return snapshot != nullptr && snapshot->timestamp_ms > window_from_ms_ && !IsReplace(*snapshot);
  }

  void CountFiles() {
    const int64_t small = SmallFileBytes(metadata_);
    for (const ManifestState& state : manifests_) {
      const bool is_data = state.manifest.content == iceberg::ManifestContent::kData;
      if (state.facts->files.empty()) continue;
      ++lag_.manifests;
      lag_.manifest_bytes += state.manifest.manifest_length;
      for (const ManifestFacts::File& file : state.facts->files) {
        if (!is_data) {
          ++lag_.delete_files;
          continue;
        }
        const std::string& partition = state.facts->partitions[file.partition];
        auto [at, fresh] = partitions_.try_emplace({state.manifest.partition_spec_id, partition});
        if (fresh) {
          at->second.lag.spec_id = state.manifest.partition_spec_id;
          at->second.lag.partition = partition;
        }
        Count(file, file.bytes < small, at->second);
      }
    }
    lag_.partitions = static_cast<int64_t>(partitions_.size());
  }

  void Count(const ManifestFacts::File& file, bool is_small, SmallFiles& partition) {
    ++lag_.data_files;
    lag_.data_bytes += file.bytes;
    lag_.rows += file.rows;
    PartitionLag& lag = partition.lag;
    ++lag.files;
    lag.bytes += file.bytes;
    if (lag_.window_s > 0 && IsArrival(file.added_snapshot_id)) {
      lag.arrival_bytes_per_s += static_cast<double>(file.bytes) / lag_.window_s;
    }
    if (!is_small) return;
    ++lag.uncompacted_files;
    lag.uncompacted_bytes += file.bytes;
    if (file.bytes < partition.smallest[1]) partition.smallest[1] = file.bytes;
    if (partition.smallest[1] < partition.smallest[0]) std::swap(partition.smallest[0], partition.smallest[1]);
    const auto added = history_.AddedAt(file.added_snapshot_id, file.sequence_number);
    if (!added.has_value()) return;
    if (lag.oldest_ms.has_value() && added->ms >= *lag.oldest_ms) return;
    lag.oldest_ms = added->ms;
    partition.oldest_at_least = added->at_least;
  }

  // Small files count where two of them fit into one; a partition's only small file is as good as it gets.
  void FindUncompacted() {
    const int64_t target = TargetBytes(metadata_);
    for (auto& [key, partition] : partitions_) {
      PartitionLag& lag = partition.lag;
      if (lag.uncompacted_files < 2 || partition.smallest[0] > target - partition.smallest[1]) {
        lag.uncompacted_files = lag.uncompacted_bytes = 0;
        lag.oldest_ms.reset();
        continue;
      }
      ++lag_.uncompacted_partitions;
      lag_.uncompacted_files += lag.uncompacted_files;
      lag_.uncompacted_bytes += lag.uncompacted_bytes;
      if (lag.oldest_ms.has_value() && (!lag_.oldest_ms.has_value() || *lag.oldest_ms < *lag_.oldest_ms)) {
        lag_.oldest_ms = lag.oldest_ms;
        lag_.oldest_at_least = partition.oldest_at_least;
      }
      if (options_.partitions_max > 0) lag_.worst.push_back(lag);
    }
    auto worse = [](const PartitionLag& a, const PartitionLag& b) {
      return std::tuple(-a.uncompacted_files, -a.uncompacted_bytes, a.spec_id, a.partition) <
             std::tuple(-b.uncompacted_files, -b.uncompacted_bytes, b.spec_id, b.partition);
    };
    const size_t count = std::min(options_.partitions_max, lag_.worst.size());
    std::partial_sort(lag_.worst.begin(), lag_.worst.begin() + static_cast<ptrdiff_t>(count), lag_.worst.end(), worse);
    lag_.worst.resize(count);
  }

  void MeasureRates() {
    int64_t arrived = 0, written = 0, compacted = 0, measured_bytes = 0, measured_ms = 0;
    for (const Snapshot* snapshot : history_.chain()) {
      if (!lag_.last_commit_ms.has_value()) lag_.last_commit_ms = snapshot->timestamp_ms;
      if (!lag_.watermark_ms.has_value()) lag_.watermark_ms = SummaryNumber(*snapshot, "firn.watermark-ms");
      const int64_t removed = SummaryNumber(*snapshot, "removed-files-size").value_or(0);
      const bool compacts = IsReplace(*snapshot) && removed > 0;
      if (compacts) {
        if (!lag_.last_compaction_ms.has_value()) lag_.last_compaction_ms = snapshot->timestamp_ms;
        if (const auto ms = SummaryNumber(*snapshot, kCompactionMsSummary); ms.has_value() && *ms > 0) {
          measured_bytes += removed;
          measured_ms += *ms;
        }
      }
      if (snapshot->timestamp_ms <= window_from_ms_) continue;
      const int64_t added = SummaryNumber(*snapshot, "added-files-size").value_or(0);
      written += added;
      if (!IsReplace(*snapshot)) arrived += added;
      if (compacts) compacted += removed;
    }
    if (measured_ms > 0) measured_capacity_ = static_cast<double>(measured_bytes) / Seconds(measured_ms);
    if (lag_.window_s <= 0) return;
    lag_.arrival_bytes_per_s = static_cast<double>(arrived) / lag_.window_s;
    lag_.compacted_bytes_per_s = static_cast<double>(compacted) / lag_.window_s;
    if (arrived > 0) lag_.write_amplification = static_cast<double>(written) / static_cast<double>(arrived);
  }

  const TableMetadata& metadata_;
  const std::vector<ManifestState>& manifests_;
  const LagOptions& options_;
  const History history_;
  int64_t window_from_ms_ = 0;
  std::map<std::pair<int32_t, std::string>, SmallFiles> partitions_;
  std::optional<double> measured_capacity_;
  TableLag lag_;
};

}  // namespace

void SetCapacity(TableLag& lag, std::optional<double> bytes_per_s, int64_t behind_after_ms) {
  lag.capacity_bytes_per_s = bytes_per_s;
  lag.capacity_ratio.reset();
  lag.forecast_s.reset();
  lag.state = LagState::kUnknown;
  const double arrival = lag.arrival_bytes_per_s.value_or(0);
  if (bytes_per_s.has_value() && arrival > 0) lag.capacity_ratio = *bytes_per_s / arrival;
  if (lag.uncompacted_files == 0) {
    lag.state = LagState::kClear;
    lag.forecast_s = 0;
    return;
  }
  const std::optional<double> speed = bytes_per_s.has_value() ? bytes_per_s : lag.compacted_bytes_per_s;
  if (!speed.has_value() || !lag.arrival_bytes_per_s.has_value()) return;
  if (*speed <= 0) {
    lag.state = LagState::kNotCompacted;
    return;
  }
  const double gain = *speed - arrival;
  const double bytes = static_cast<double>(lag.uncompacted_bytes);
  const double bytes_behind = *speed * Seconds(behind_after_ms);
  if (bytes > bytes_behind) {
    lag.state = LagState::kBehind;
    if (gain > 0) lag.forecast_s = bytes / gain;
  } else if (gain > 0) {
    lag.state = LagState::kKeepsUp;
    lag.forecast_s = bytes / gain;
  } else {
    lag.state = LagState::kFallsBehind;
    if (gain < 0) lag.forecast_s = (bytes_behind - bytes) / -gain;
  }
}

std::string_view LagStateName(LagState state) {
  switch (state) {
    case LagState::kClear: return "clear";
    case LagState::kKeepsUp: return "keeps_up";
    case LagState::kFallsBehind: return "falls_behind";
    case LagState::kBehind: return "behind";
    case LagState::kNotCompacted: return "not_compacted";
    case LagState::kUnknown: return "unknown";
  }
  return "unknown";
}

int64_t SmallFileBytes(const TableMetadata& metadata) {
  return static_cast<int64_t>(static_cast<double>(TargetBytes(metadata)) * compaction::PickOptions{}.large_enough);
}

TableLag ComputeLag(const TableMetadata& metadata, const std::vector<ManifestState>& manifests,
                    const LagOptions& options) {
  return LagComputation(metadata, manifests, options).Run();
}

}  // namespace firn::lag
