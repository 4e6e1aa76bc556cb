#include "firn/compaction/picker.h"

#include <algorithm>
#include <functional>

#include "firn/compaction/delete_index.h"
#include "firn/compaction/movable_files.h"

namespace firn::compaction {
namespace {

constexpr int64_t kTierBytes = 4 << 10;  // files below are of one tier: little more than a footer

// Files of one tier are within a factor of `factor` of each other; so many of them make one of a higher tier.
int TierOf(int64_t bytes, size_t factor) {
  int tier = 0;
  for (int64_t below = kTierBytes; bytes >= below; ++tier) below *= static_cast<int64_t>(factor);
  return tier;
}

class Packer {
 public:
  Packer(const TableFiles& table, const DeleteIndex& deletes, const PickOptions& options, Picked& picked)
      : table_(table), deletes_(deletes), options_(options), picked_(picked) {}

  // Files of one spec and partition; `large` ones have deletes, and are moved for their sake or not at all.
  void Pack(std::vector<size_t> files, const std::vector<size_t>& large) {
    FindPace(files, large);
    for (const size_t file : large) Leave(file, "");
    if (!options_.pace.has_value()) return PackAll(std::move(files));
    if (cold_) return PackAll(WithoutLarge(std::move(files)));
    std::map<int, std::vector<size_t>> tiers;
    const size_t enough = std::max<size_t>(options_.pace->tier_files_min, 2);
    for (size_t file : files) tiers[TierOf(Bytes(file), enough)].push_back(file);
    for (auto& [tier, of_tier] : tiers) {
      if (of_tier.size() >= enough) {
        PackAll(std::move(of_tier));
      } else {
        for (size_t file : of_tier) Leave(file, "waiting");
      }
    }
  }

 private:
  void FindPace(const std::vector<size_t>& files, const std::vector<size_t>& large) {
    cold_ = deletes_settled_ = !options_.pace.has_value();
    if (!options_.pace.has_value()) return;
    int64_t newest_ms = 0;
    for (size_t file : files) newest_ms = std::max(newest_ms, table_.data[file].added_ms);
    cold_ = newest_ms < options_.pace->cold_before_ms;
    for (size_t file : large) newest_ms = std::max(newest_ms, table_.data[file].added_ms);
    for (size_t file : files) newest_ms = std::max(newest_ms, deletes_.NewestMs(file));
    for (size_t file : large) newest_ms = std::max(newest_ms, deletes_.NewestMs(file));
    deletes_settled_ = newest_ms < options_.pace->cold_before_ms;
  }

  // Are its deletes reason enough to write it anew?
  bool IsDue(size_t file) const {
    const double rows = deletes_.RowsDeleted(file);
    if (rows <= 0) return false;
    if (options_.refused != nullptr &&
        options_.refused->contains(RefusedKey(NothingDeletedKey(table_, file, deletes_.Of(file))))) {
      return false;
    }
    const auto of_file = static_cast<double>(table_.data[file].entry.data_file.record_count);
    return deletes_settled_ || rows >= kDeletedShareMin * of_file;
  }

  // A file that goes with no others.
  void Leave(size_t file, const char* reason) {
    if (IsDue(file)) {
      PickedGroup group;
      Add(file, group);
      Finish(group);
    } else if (*reason != '\0') {
      ++picked_.left_alone[reason];
    }
  }

  int64_t Bytes(size_t file) const { return table_.data[file].entry.data_file.file_size_in_bytes; }

  // Late records trickle into cold partitions too: a file more than twice as large as all smaller ones together waits,
  // so that each move makes it half as large again.
  std::vector<size_t> WithoutLarge(std::vector<size_t> files) {
    std::vector<size_t> by_size = files;
    std::stable_sort(by_size.begin(), by_size.end(), [&](size_t a, size_t b) { return Bytes(a) < Bytes(b); });
    int64_t sum = 0;
    size_t keep = 0;
    for (size_t i = 0; i < by_size.size(); ++i) {
      if (i == 0 || Bytes(by_size[i]) <= 2 * sum) keep = i + 1;
      sum += Bytes(by_size[i]);
    }
    if (keep < 2 && by_size.size() > 1) keep = 0;  // one alone is no group
    for (size_t i = keep; i < by_size.size(); ++i) Leave(by_size[i], "waiting");
    by_size.resize(keep);
    std::sort(by_size.begin(), by_size.end());
    return by_size;
  }

  void PackAll(std::vector<size_t> files) {
    Sort(files);
    PickedGroup group;
    for (size_t file : files) {
      const int64_t bytes = Bytes(file);
      const bool full = group.bytes + bytes > options_.target_bytes || group.files.size() >= options_.group_files_max;
      if (!group.files.empty() && full) End(group);
      Add(file, group);
    }
    End(group);
  }

  void Add(size_t file, PickedGroup& group) const {
    group.files.push_back(file);
    group.bytes += Bytes(file);
    group.rows += table_.data[file].entry.data_file.record_count;
  }

  void End(PickedGroup& group) {
    if (group.files.size() >= std::max<size_t>(options_.group_files_min, 2)) {
      Finish(group);
    } else {
      for (size_t file : group.files) Leave(file, "alone");
    }
    group = {};
  }

  void Finish(PickedGroup& group) {
    group.cold = cold_ && options_.pace.has_value();
    for (size_t file : group.files) {
      group.deletes.insert(group.deletes.end(), deletes_.Of(file).begin(), deletes_.Of(file).end());
    }
    std::sort(group.deletes.begin(), group.deletes.end());
    group.deletes.erase(std::unique(group.deletes.begin(), group.deletes.end()), group.deletes.end());
    picked_.groups.push_back(std::move(group));
  }

  std::optional<schema::Value> LowerBound(size_t file) const {
    const auto& bounds = table_.data[file].entry.data_file.lower_bounds;
    auto found = bounds.find(*options_.sort_field_id);
    if (found == bounds.end()) return std::nullopt;
    auto value = schema::DeserializeSingleValue(*options_.sort_type, found->second);
    return value.has_value() ? std::optional(*std::move(value)) : std::nullopt;
  }

  void Sort(std::vector<size_t>& files) const {
    std::stable_sort(files.begin(), files.end(), [&](size_t a, size_t b) {
      return table_.data[a].entry.sequence_number < table_.data[b].entry.sequence_number;
    });
    if (!options_.sort_field_id.has_value() || options_.sort_type == nullptr) return;
    std::vector<std::pair<schema::Value, size_t>> by_bound;
    for (size_t file : files) {
      std::optional<schema::Value> bound = LowerBound(file);
      // Files without a bound have no place among the others.
      if (!bound.has_value()) return;
      by_bound.emplace_back(*std::move(bound), file);
    }
    std::stable_sort(by_bound.begin(), by_bound.end(),
                     [](const auto& a, const auto& b) { return schema::CompareValues(a.first, b.first) < 0; });
    for (size_t i = 0; i < files.size(); ++i) files[i] = by_bound[i].second;
  }

  const TableFiles& table_;
  const DeleteIndex& deletes_;
  const PickOptions& options_;
  Picked& picked_;
  bool cold_ = false;             // the partition does not grow
  bool deletes_settled_ = false;  // nor do its deletes
};

double Gain(const PickedGroup& group) {
  const size_t removed = group.files.size() - 1 + group.deletes.size();
  return static_cast<double>(removed) / static_cast<double>(std::max<int64_t>(group.bytes, 1));
}

}  // namespace

bool ComesBefore(const PickedGroup& a, const PickedGroup& b) {
  return a.cold != b.cold ? a.cold : Gain(a) > Gain(b);
}

Picked Pick(const TableFiles& table, const PickOptions& options) {
  Picked picked;
  const auto large = static_cast<int64_t>(static_cast<double>(options.target_bytes) * options.large_enough);
  const DeleteIndex deletes(table);
  const auto is_large = [&](size_t file) { return table.data[file].entry.data_file.file_size_in_bytes >= large; };
  const auto wants = [&](size_t file) { return !is_large(file) || !deletes.Of(file).empty(); };
  Packer packer(table, deletes, options, picked);
  for (std::vector<size_t>& small : MovableFiles(table, deletes, options, wants, picked)) {
    const auto begin_of_large = std::stable_partition(small.begin(), small.end(), std::not_fn(is_large));
    const std::vector<size_t> of_large(begin_of_large, small.end());
    small.erase(begin_of_large, small.end());
    packer.Pack(std::move(small), of_large);
  }
  std::stable_sort(picked.groups.begin(), picked.groups.end(), ComesBefore);
  return picked;
}

}  // namespace firn::compaction
