#include "firn/compaction/sort_picker.h"

#include <algorithm>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "firn/compaction/delete_index.h"
#include "firn/compaction/movable_files.h"
#include "firn/schema/bounds.h"
#include "firn/schema/value.h"

namespace firn::compaction {
namespace {

using schema::TransformKind;
using schema::TypeKind;
using schema::Value;

// Of longer bounds it is not looked whether they were carried.
constexpr int32_t kCarryLengthMax = 1024;

// A place in the order of the first sort field.
struct Place {
  int nulls = 0;  // -1: the nulls before all values, 1: those after them
  Value value;
};
struct Range {
  Place first;
  Place last;
};

// Where the rows of files lie, by their entries' bounds.
class Ranges {
 public:
  Ranges(const TableFiles& table, const SortPick& sort) : table_(table), sort_(sort) {}

  // Does the transform keep the order of its column's values?
  bool CanTell() const {
    switch (sort_.first.transform.kind) {
      case TransformKind::kIdentity:
      case TransformKind::kTruncate:
      case TransformKind::kYear:
      case TransformKind::kMonth:
      case TransformKind::kDay:
      case TransformKind::kHour: return true;
      case TransformKind::kBucket:
      case TransformKind::kVoid:
      case TransformKind::kUnknown: return false;
    }
    return false;
  }

  // Certainly no larger than the range of the rows; nullopt: bounds are missing.
  std::optional<Range> Of(size_t file) const {
    const iceberg::DataFile& data = table_.data[file].entry.data_file;
    const int64_t nulls = CountOf(data.null_value_counts).value_or(0);
    // A foreign manifest may count them in any column; compared they are only with numbers of their type.
    const int64_t nans = IsFloat() ? CountOf(data.nan_value_counts).value_or(0) : 0;
    std::optional<Value> lower = BoundOf(data.lower_bounds, false);
    std::optional<Value> upper = BoundOf(data.upper_bounds, true);
    if (lower.has_value() && upper.has_value() && schema::CompareValues(*upper, *lower) < 0) upper = lower;
    const std::optional<int64_t> values = CountOf(data.value_counts);
    const uint64_t others = static_cast<uint64_t>(nulls) + static_cast<uint64_t>(nans);  // whatever a manifest states
    const bool only_others = values.has_value() && static_cast<uint64_t>(*values) == others;
    if (only_others) lower.reset();
    if (nans > 0) {
      upper = NaN();
      if (only_others) lower = upper;
    }
    if (!only_others && (!lower.has_value() || !upper.has_value())) return std::nullopt;
    Range range;
    if (lower.has_value()) {
      const bool descending = sort_.first.direction == schema::SortDirection::kDescending;
      range.first.value = descending ? *upper : *lower;
      range.last.value = descending ? *lower : *upper;
    }
    const int side = sort_.first.null_order == schema::NullOrder::kNullsFirst ? -1 : 1;
    if (nulls > 0 && (side < 0 || !lower.has_value())) range.first.nulls = side;
    if (nulls > 0 && (side > 0 || !lower.has_value())) range.last.nulls = side;
    if (nulls == 0 && !lower.has_value()) return std::nullopt;  // no rows
    return range;
  }

  int Compare(const Place& a, const Place& b) const {
    if (a.nulls != b.nulls) return a.nulls < b.nulls ? -1 : 1;
    if (a.nulls != 0) return 0;
    const int order = schema::CompareValues(a.value, b.value);
    return sort_.first.direction == schema::SortDirection::kDescending ? -order : order;
  }

 private:
  std::optional<int64_t> CountOf(const std::map<int32_t, int64_t>& counts) const {
    auto found = counts.find(sort_.first.source_id.value());
    return found == counts.end() ? std::nullopt : std::optional(found->second);
  }

  // An upper bound that was cut is larger than any value, but only in its last code point: without that, neither bound
  // says more than the rows do.
  std::optional<Value> BoundOf(const std::map<int32_t, std::string>& bounds, bool is_upper) const {
    auto found = bounds.find(sort_.first.source_id.value());
    if (found == bounds.end()) return std::nullopt;
    std::string_view bytes = found->second;
    std::string stepped_back;
    const schema::Type& type = *sort_.source_type;
    if (sort_.bound_length.has_value()) {
      const int32_t sure = std::max(*sort_.bound_length - 1, 0);
      if (type.kind() == TypeKind::kString) bytes = schema::CodePointPrefix(bytes, sure);
      if (type.kind() == TypeKind::kBinary && is_upper && MayBeCarried(bytes)) {
        stepped_back = bytes;
        --stepped_back.back();
        stepped_back.resize(static_cast<size_t>(sure), '\xff');
        bytes = stepped_back;
      }
      if (type.kind() == TypeKind::kBinary) bytes = bytes.substr(0, static_cast<size_t>(sure));
    }
    auto value = schema::DeserializeSingleValue(type, bytes);
    if (!value.has_value() || schema::IsNull(*value) || !schema::HoldsType(type, *value)) return std::nullopt;
    // A bound of zero stands for both zeros, whichever it is.
    if (auto* narrow = std::get_if<float>(&*value); narrow != nullptr && *narrow == 0) *narrow = 0;
    if (auto* wide = std::get_if<double>(&*value); wide != nullptr && *wide == 0) *wide = 0;
    return sort_.first.transform.Apply(type, *value);
  }

  // Could it be what "…\xff" became when it was cut? Then it is larger in the byte before. By a transform (truncate)
  // that would be too much for a bound that is the value itself, as most short ones are.
  bool MayBeCarried(std::string_view upper) const {
    const int32_t length = *sort_.bound_length;
    return sort_.first.transform.kind == TransformKind::kIdentity && length <= kCarryLengthMax && !upper.empty() &&
           upper.size() < static_cast<size_t>(std::max(length, 0)) && upper.back() != '\0';
  }

  bool IsFloat() const {
    const TypeKind kind = sort_.source_type->kind();
    return kind == TypeKind::kFloat || kind == TypeKind::kDouble;
  }

  Value NaN() const {
    if (sort_.source_type->kind() == TypeKind::kFloat) return std::numeric_limits<float>::quiet_NaN();
    return std::numeric_limits<double>::quiet_NaN();
  }

  const TableFiles& table_;
  const SortPick& sort_;
};

class SortPacker {
 public:
  SortPacker(const TableFiles& table, const DeleteIndex& deletes, const PickOptions& options, const SortPick& sort,
             Picked& picked)
      : table_(table), deletes_(deletes), options_(options), sort_(sort), ranges_(table, sort), picked_(picked) {}

  // All files of one spec and partition.
  void Pack(const std::vector<size_t>& files) {
    std::vector<std::pair<Range, size_t>> placed;
    std::vector<size_t> others;
    for (const size_t file : files) {
      std::optional<Range> range = ranges_.CanTell() ? ranges_.Of(file) : std::nullopt;
      if (range.has_value()) {
        placed.emplace_back(*std::move(range), file);
      } else {
        others.push_back(file);
      }
    }
    const bool anywhere = ranges_.CanTell() && std::ranges::any_of(others, [this](size_t file) {
      return !IsSorted(file) && FileAt(file).record_count > 0;
    });
    // Once it is sorted, its rows may turn out to lie anywhere among the others'.
    if (anywhere) return EndStretch({ItemOf(files, true)});
    PackItems(Overlapping(std::move(placed)));
    PackItems(WithoutRanges(others));
  }

 private:
  // Files that are sorted together or not at all.
  struct Item {
    std::vector<size_t> files;
    int64_t bytes = 0;
    bool is_due = false;
  };

  const iceberg::DataFile& FileAt(size_t file) const { return table_.data[file].entry.data_file; }
  int64_t LargeEnough() const {
    return static_cast<int64_t>(static_cast<double>(options_.target_bytes) * options_.large_enough);
  }
  bool IsSorted(size_t file) const {
    return sort_.order_id.has_value() && FileAt(file).sort_order_id == sort_.order_id;
  }
  bool IsDue(size_t file) const {
    if (!IsSorted(file)) return true;
    if (deletes_.RowsDeleted(file) <= 0) return false;
    return options_.refused == nullptr ||
           !options_.refused->contains(RefusedKey(NothingDeletedKey(table_, file, deletes_.Of(file))));
  }

  Item ItemOf(std::vector<size_t> files, bool is_due) const {
    Item item{.files = std::move(files), .is_due = is_due};
    for (const size_t file : item.files) {
      item.bytes += FileAt(file).file_size_in_bytes;
      item.is_due |= IsDue(file);
    }
    return item;
  }

  // In the order of their ranges, which only touch one another.
  std::vector<Item> Overlapping(std::vector<std::pair<Range, size_t>> placed) const {
    std::ranges::stable_sort(placed, [this](const auto& a, const auto& b) {
      const int order = ranges_.Compare(a.first.first, b.first.first);
      return order != 0 ? order < 0 : ranges_.Compare(a.first.last, b.first.last) < 0;
    });
    std::vector<Item> items;
    std::vector<size_t> together;
    Place last;
    for (auto& [range, file] : placed) {
      const bool apart = together.empty() || ranges_.Compare(range.first, last) >= 0;
      if (apart && !together.empty()) items.push_back(ItemOf(std::exchange(together, {}), false));
      if (apart || ranges_.Compare(range.last, last) > 0) last = range.last;
      together.push_back(file);
    }
    if (!together.empty()) items.push_back(ItemOf(std::move(together), false));
    for (Item& item : items) item.is_due |= item.files.size() > 1;
    return items;
  }

  // Those that are due go together with all small ones.
  std::vector<Item> WithoutRanges(const std::vector<size_t>& files) const {
    std::vector<size_t> moved;
    for (const size_t file : files) {
      if (IsDue(file) || FileAt(file).file_size_in_bytes < LargeEnough()) moved.push_back(file);
    }
    std::vector<Item> items;
    if (std::ranges::any_of(moved, [this](size_t file) { return IsDue(file); })) {
      items.push_back(ItemOf(std::move(moved), true));
    } else {
      for (const size_t file : moved) items.push_back(ItemOf({file}, false));
    }
    return items;
  }

  // Neighbours that are due or small are written anew together.
  void PackItems(std::vector<Item> items) {
    std::vector<Item> stretch;
    for (Item& item : items) {
      if (item.is_due || item.bytes < LargeEnough()) {
        stretch.push_back(std::move(item));
      } else {
        EndStretch(std::exchange(stretch, {}));
      }
    }
    EndStretch(std::move(stretch));
  }

  void EndStretch(const std::vector<Item>& stretch) {
    int64_t bytes = 0;
    bool is_due = false;
    for (const Item& item : stretch) {
      bytes += item.bytes;
      is_due |= item.is_due;
    }
    const int64_t files_after = (bytes + options_.target_bytes - 1) / options_.target_bytes;
    if (!is_due && files_after >= static_cast<int64_t>(stretch.size())) {
      if (!stretch.empty()) picked_.left_alone["alone"] += static_cast<int64_t>(stretch.size());
      return;
    }
    PickedGroup group;
    for (const Item& item : stretch) {
      for (const size_t file : item.files) Add(file, group);
      bytes -= item.bytes;
      // What is left would be a small file beside another.
      if (group.bytes >= kSortGroupBytes && bytes >= options_.target_bytes) Finish(std::exchange(group, {}));
    }
    Finish(std::move(group));
  }

  void Add(size_t file, PickedGroup& group) const {
    group.files.push_back(file);
    group.bytes += FileAt(file).file_size_in_bytes;
    group.rows += FileAt(file).record_count;
    group.deletes.insert(group.deletes.end(), deletes_.Of(file).begin(), deletes_.Of(file).end());
  }

  void Finish(PickedGroup group) {
    if (group.files.empty()) return;
    std::ranges::stable_sort(group.files, {}, [this](size_t file) {
      return std::pair(table_.data[file].entry.sequence_number.value_or(0), file);
    });
    std::ranges::sort(group.deletes);
    const auto repeated = std::ranges::unique(group.deletes);
    group.deletes.erase(repeated.begin(), repeated.end());
    picked_.groups.push_back(std::move(group));
  }

  const TableFiles& table_;
  const DeleteIndex& deletes_;
  const PickOptions& options_;
  const SortPick& sort_;
  const Ranges ranges_;
  Picked& picked_;
};

}  // namespace

Picked PickForSort(const TableFiles& table, const PickOptions& options, const SortPick& sort) {
  Picked picked;
  const DeleteIndex deletes(table);
  SortPacker packer(table, deletes, options, sort, picked);
  const auto all = [](size_t) { return true; };
  for (const std::vector<size_t>& files : MovableFiles(table, deletes, options, all, picked)) packer.Pack(files);
  std::stable_sort(picked.groups.begin(), picked.groups.end(), ComesBefore);
  return picked;
}

}  // namespace firn::compaction
