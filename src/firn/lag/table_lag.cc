#include "firn/lag/table_lag.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <map>
#include <set>
#include <tuple>
#include <unordered_map>

#include "firn/compaction/table_plan.h"
#include "firn/iceberg/commit/append.h"

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
      oldest_ms_ = std::min(oldest_ms_, each.timestamp_ms);
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
  // As compaction::ReadTableFiles has it.
  int64_t AddedForPicker(SnapshotId snapshot_id) const {
    auto found = by_id_.find(snapshot_id);
    return found == by_id_.end() ? oldest_ms_ : found->second->timestamp_ms;
  }
  const Snapshot* Find(SnapshotId id) const {
    auto found = by_id_.find(id);
    return found == by_id_.end() ? nullptr : found->second;
  }

 private:
  std::vector<const Snapshot*> chain_;
  std::unordered_map<SnapshotId, const Snapshot*> by_id_;
  std::map<int64_t, int64_t> by_sequence_;  // → timestamp
  int64_t oldest_ms_ = std::numeric_limits<int64_t>::max();
};

class LagComputation {
 public:
  LagComputation(const TableMetadata& metadata, const std::vector<ManifestState>& manifests, const LagOptions& options)
      : metadata_(metadata), manifests_(manifests), options_(options), history_(metadata) {}

  TableLag Run() {
    lag_.snapshots = static_cast<int64_t>(metadata_.snapshots.size());
    SetWindow();
    SetPickOptions();
    CountFiles();
    FindUncompacted();
    MeasureRates();
    FindStall();
    SetCapacity(lag_, measured_capacity_, options_.behind_after_ms);
    return std::move(lag_);
  }

 private:
  struct FileRef {
    uint32_t manifest = 0;
    uint32_t file = 0;
  };
  struct Partition {
    PartitionLag lag;
    std::vector<FileRef> small;
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
    for (uint32_t at = 0; at < manifests_.size(); ++at) {
      const ManifestState& state = manifests_[at];
      const bool is_data = state.manifest.content == iceberg::ManifestContent::kData;
      if (state.facts->files.empty()) continue;
      ++lag_.manifests;
      lag_.manifest_bytes += state.manifest.manifest_length;
      for (uint32_t index = 0; index < state.facts->files.size(); ++index) {
        if (!is_data) {
          ++lag_.delete_files;
          continue;
        }
        const ManifestFacts::File& file = state.facts->files[index];
        const std::string& partition = state.facts->partitions[file.partition];
        auto [found, fresh] = partitions_.try_emplace({state.manifest.partition_spec_id, partition});
        if (fresh) {
          found->second.lag.spec_id = state.manifest.partition_spec_id;
          found->second.lag.partition = partition;
        }
        Count(file, found->second.lag);
        if (file.bytes < SmallBytes()) found->second.small.push_back({at, index});
      }
    }
    lag_.partitions = static_cast<int64_t>(partitions_.size());
  }

  int64_t SmallBytes() const {
    return static_cast<int64_t>(static_cast<double>(pick_.target_bytes) * pick_.large_enough);
  }

  void Count(const ManifestFacts::File& file, PartitionLag& lag) {
    ++lag_.data_files;
    lag_.data_bytes += file.bytes;
    lag_.rows += file.rows;
    ++lag.files;
    lag.bytes += file.bytes;
    if (lag_.window_s > 0 && IsArrival(file.added_snapshot_id)) {
      lag.arrival_bytes_per_s += static_cast<double>(file.bytes) / lag_.window_s;
    }
  }

  // As PlanTable asks the picker, but for `refused`: what only an attempt to merge finds out is not known here.
  void SetPickOptions() {
    pick_.target_bytes = compaction::TargetBytes(metadata_).value_or(pick_.target_bytes);
    pick_.pace = compaction::PickPace{options_.files_min, options_.now_ms - options_.cold_after_ms};
    pick_.file_bytes_max = options_.memory_bytes;
    compaction::SetOrder(metadata_, pick_);
  }

  // One partition after the other, so that only its entries are there at the same time.
  void FindUncompacted() {
    const bool is_writable = iceberg::CheckWritable(metadata_).has_value();
    for (auto& [key, partition] : partitions_) {
      if (partition.small.empty()) continue;
      if (is_writable) {
        PickOf(partition);
      } else {
        lag_.left_alone["unsupported"] += std::ssize(partition.small);
        for (const FileRef& ref : partition.small) lag_.left_alone_bytes += FileOf(ref).bytes;
      }
      const PartitionLag& lag = partition.lag;
      if (lag.uncompacted_files == 0) continue;
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

  void PickOf(Partition& partition) {
    compaction::TableFiles files;
    for (const FileRef& ref : partition.small) files.data.push_back(LiveFileOf(ref, partition.lag));
    for (const ManifestState& state : manifests_) {
      for (const compaction::LiveFile& deletes : state.facts->deletes) {
        const bool elsewhere = !deletes.partition_path.empty() && deletes.partition_path != partition.lag.partition;
        // One that names its data file may be in any partition.
        if (!elsewhere || deletes.entry.data_file.referenced_data_file.has_value()) files.deletes.push_back(deletes);
      }
    }
    const compaction::Picked picked = compaction::Pick(files, pick_);
    for (const FileRef& ref : partition.small) lag_.left_alone_bytes += FileOf(ref).bytes;
    for (const compaction::PickedGroup& group : picked.groups) Take(files, group, partition);
    for (const auto& [reason, count] : picked.left_alone) lag_.left_alone[reason] += count;
  }

  void Take(const compaction::TableFiles& files, const compaction::PickedGroup& group, Partition& partition) {
    PartitionLag& lag = partition.lag;
    lag.uncompacted_files += std::ssize(group.files);
    lag.uncompacted_bytes += group.bytes;
    lag_.left_alone_bytes -= group.bytes;
    std::vector<int64_t> added_ms;
    for (const size_t index : group.files) {
      added_ms.push_back(files.data[index].added_ms);
      const ManifestFacts::File& file = FileOf(partition.small[index]);
      const auto added = history_.AddedAt(file.added_snapshot_id, file.sequence_number);
      if (!added.has_value() || (lag.oldest_ms.has_value() && added->ms >= *lag.oldest_ms)) continue;
      lag.oldest_ms = added->ms;
      partition.oldest_at_least = added->at_least;
    }
    // Since when it could have been taken: the partition had grown cold, or the last file that it needed was there.
    std::sort(added_ms.begin(), added_ms.end());
    const size_t needed = std::min(std::max<size_t>(options_.files_min, 2), added_ms.size());
    const int64_t since_ms = group.cold ? added_ms.back() + options_.cold_after_ms : added_ms[needed - 1];
    work_since_ms_ = std::min(work_since_ms_, since_ms);
  }

  const ManifestFacts::File& FileOf(const FileRef& ref) const {
    return manifests_[ref.manifest].facts->files[ref.file];
  }

  compaction::LiveFile LiveFileOf(const FileRef& ref, const PartitionLag& partition) const {
    const ManifestFacts& facts = *manifests_[ref.manifest].facts;
    const ManifestFacts::File& file = facts.files[ref.file];
    compaction::LiveFile live;
    live.spec_id = partition.spec_id;
    live.partition_path = partition.partition;
    live.added_ms = history_.AddedForPicker(file.added_snapshot_id);
    live.entry.sequence_number = file.data_sequence_number;
    iceberg::DataFile& data = live.entry.data_file;
    data.file_size_in_bytes = file.bytes;
    data.record_count = file.rows;
    if (!file.is_parquet) data.file_format = "other";
    if (file.is_encrypted) data.key_metadata = "";
    if (!facts.paths.empty()) data.file_path = facts.paths[ref.file];
    const bool has_bounds = facts.sort_field_id == pick_.sort_field_id && !facts.sort_bounds.empty();
    if (has_bounds && facts.sort_bounds[ref.file].has_value()) {
      data.lower_bounds[*facts.sort_field_id] = *facts.sort_bounds[ref.file];
    }
    return live;
  }

  // Compaction of any part of the table counts: a long queue is not the end of work.
  void FindStall() {
    if (lag_.uncompacted_files == 0) return;
    const int64_t since_ms = std::max(work_since_ms_, lag_.last_compaction_ms.value_or(work_since_ms_));
    lag_.waiting_ms = std::max<int64_t>(options_.now_ms - since_ms, 0);
    lag_.stalled = lag_.waiting_ms > options_.stalled_after_ms;
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
    // A CPU second of work is a second's only with a whole core.
    if (measured_ms > 0) {
      measured_capacity_ = static_cast<double>(measured_bytes) / Seconds(measured_ms) * options_.cpu_share;
    }
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
  std::map<std::pair<int32_t, std::string>, Partition> partitions_;
  compaction::PickOptions pick_;
  int64_t work_since_ms_ = std::numeric_limits<int64_t>::max();
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
  // Capacity that nobody uses works nothing off.
  if (lag.stalled) {
    lag.state = LagState::kNotCompacted;
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

std::optional<int32_t> SortFieldOf(const TableMetadata& metadata) {
  compaction::PickOptions pick;
  compaction::SetOrder(metadata, pick);
  return pick.sort_field_id;
}

TableLag ComputeLag(const TableMetadata& metadata, const std::vector<ManifestState>& manifests,
                    const LagOptions& options) {
  return LagComputation(metadata, manifests, options).Run();
}

}  // namespace firn::lag
