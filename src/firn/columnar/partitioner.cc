#include "firn/columnar/partitioner.h"

#include <arrow/array.h>
#include <arrow/array/array_primitive.h>
#include <arrow/buffer.h>
#include <arrow/compute/api_vector.h>
#include <arrow/datum.h>
#include <arrow/record_batch.h>
#include <arrow/util/byte_size.h>
#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <limits>
#include <numeric>
#include <span>
#include <utility>

#include "firn/columnar/key_column.h"
#include "firn/columnar/row_pack.h"
#include "firn/columnar/sort_keys.h"

namespace firn::columnar {
namespace {

using Batch = std::shared_ptr<arrow::RecordBatch>;
using Batches = std::vector<Batch>;
using Slices = std::vector<RowSlice>;

constexpr int64_t kRowsMax = std::numeric_limits<int32_t>::max();

struct Grouping {
  std::vector<uint32_t> group_of_row;
  std::vector<uint32_t> first_rows;  // of each group
};

std::unexpected<Error> Failed(const arrow::Status& status) {
  auto code = status.IsOutOfMemory() || status.IsCapacityError() ? ErrorCode::kResourceExhausted : ErrorCode::kInternal;
  return Fail(code, fmt::format("grouping rows: {}", status.message()));
}

// Numbers the distinct key tuples in order of their first row.
class GroupFinder {
 public:
  GroupFinder(const std::vector<KeyColumn>& keys, uint32_t rows) : keys_(keys), rows_(rows), slots_(64, kFree) {}

  Grouping Run() && {
    grouping_.group_of_row.resize(rows_);
    for (uint32_t row = 0; row < rows_; ++row) {
      // Partitions come in runs: a day, a host's burst.
      bool repeats = row > 0 && Equal(row - 1, row);
      grouping_.group_of_row[row] = repeats ? grouping_.group_of_row[row - 1] : FindOrAdd(row);
    }
    return std::move(grouping_);
  }

 private:
  static constexpr uint32_t kFree = std::numeric_limits<uint32_t>::max();

  bool Equal(uint32_t a, uint32_t b) const {
    return std::all_of(keys_.begin(), keys_.end(), [&](const KeyColumn& key) { return key.Equal(a, b); });
  }

  uint64_t Hash(uint32_t row) const {
    uint64_t hash = 0;
    for (const auto& key : keys_) hash = std::rotl(hash, 23) * 0x9E3779B97F4A7C15ULL ^ key.Hash(row);
    return hash ^ hash >> 32;
  }

  uint32_t FindOrAdd(uint32_t row) {
    size_t slot = Hash(row) & (slots_.size() - 1);
    for (; slots_[slot] != kFree; slot = (slot + 1) & (slots_.size() - 1)) {
      if (Equal(grouping_.first_rows[slots_[slot]], row)) return slots_[slot];
    }
    auto group = static_cast<uint32_t>(grouping_.first_rows.size());
    slots_[slot] = group;
    grouping_.first_rows.push_back(row);
    if (grouping_.first_rows.size() * 2 > slots_.size()) Grow();
    return group;
  }

  void Grow() {
    slots_.assign(slots_.size() * 2, kFree);
    for (uint32_t group = 0; group < grouping_.first_rows.size(); ++group) {
      size_t slot = Hash(grouping_.first_rows[group]) & (slots_.size() - 1);
      while (slots_[slot] != kFree) slot = (slot + 1) & (slots_.size() - 1);
      slots_[slot] = group;
    }
  }

  const std::vector<KeyColumn>& keys_;
  uint32_t rows_;
  std::vector<uint32_t> slots_;  // open addressing, a power of two of them, at most half full
  Grouping grouping_;
};

class RowOrder {
 public:
  explicit RowOrder(const SortKeys& keys) : keys_(keys) {}

  // False when the rows were in order already.
  bool Sort(std::span<uint32_t> rows) const {
    if (keys_.columns().empty()) return false;
    auto before = [this](uint32_t a, uint32_t b) { return keys_.Compare(a, keys_, b) < 0; };
    if (std::is_sorted(rows.begin(), rows.end(), before)) return false;
    const SortKeys::Column& first = keys_.columns()[0];
    if (first.keys.ordered_numbers() != nullptr && !first.keys.has_nulls()) {
      SortByNumber(rows, first);
    } else {
      std::stable_sort(rows.begin(), rows.end(), before);
    }
    return true;
  }

 private:
  // Rows beside their first key, so that most comparisons touch no other memory; ties go by the other columns, then by
  // the order that the rows had (they come in ascending order).
  void SortByNumber(std::span<uint32_t> rows, const SortKeys::Column& first) const {
    struct Keyed {
      int64_t key;
      uint32_t row;
    };
    std::vector<Keyed> keyed(rows.size());
    const int64_t* numbers = first.keys.ordered_numbers();
    for (size_t i = 0; i < rows.size(); ++i) {
      keyed[i] = {first.descending ? ~numbers[rows[i]] : numbers[rows[i]], rows[i]};
    }
    std::sort(keyed.begin(), keyed.end(), [this](const Keyed& a, const Keyed& b) {
      if (a.key != b.key) return a.key < b.key;
      int order = keys_.Compare(a.row, keys_, b.row, 1);
      return order != 0 ? order < 0 : a.row < b.row;
    });
    for (size_t i = 0; i < rows.size(); ++i) rows[i] = keyed[i].row;
  }

  const SortKeys& keys_;
};

// Copies the rows of all groups out of the batches. Column by column for all groups at once where it can: a group at a
// time would read every column from memory as often as there are groups.
class Gatherer {
 public:
  Gatherer(Batches batches, int64_t piece_bytes_max) : batches_(std::move(batches)), piece_bytes_max_(piece_bytes_max) {
    int64_t rows = 0;
    for (const auto& batch : batches_) {
      begins_.push_back(static_cast<uint32_t>(rows));
      rows += batch->num_rows();
      bytes_ += arrow::util::ReferencedBufferSize(*batch).ValueOr(arrow::util::TotalBufferSize(*batch));
    }
    begins_.push_back(static_cast<uint32_t>(rows));
  }

  // `groups[i]` are the rows of the group whose batches go to `out[i]`. Ascending where `sorted` is false.
  Status Gather(const std::vector<std::span<const uint32_t>>& groups, bool sorted, std::vector<Slices>& out) {
    if (sorted && batches_.size() > 1 && bytes_ <= piece_bytes_max_) FIRN_TRY(Concatenate());
    if (sorted && batches_.size() > 1) {
      const std::vector<int64_t> row_bytes = BytesOfAllRows();
      for (size_t i = 0; i < groups.size(); ++i) FIRN_TRY(GatherPieces(groups[i], row_bytes, out[i]));
      return {};
    }
    std::vector<size_t> next(groups.size(), 0);
    for (size_t batch = 0; batch < batches_.size(); ++batch) FIRN_TRY(GatherBatch(batch, groups, next, out));
    return {};
  }

 private:
  Status Concatenate() {
    auto whole = arrow::ConcatenateRecordBatches(batches_);
    if (!whole.ok()) return Failed(whole.status());
    batches_ = {*whole};
    begins_ = {0, static_cast<uint32_t>((*whole)->num_rows())};
    return {};
  }

  // The rows of one batch, group after group; `next` says how far each group is done. With one batch groups may be in
  // any order, with several they ascend.
  Status GatherBatch(size_t index, const std::vector<std::span<const uint32_t>>& groups, std::vector<size_t>& next,
                     std::vector<Slices>& out) const {
    std::vector<uint32_t> rows;
    std::vector<std::pair<size_t, size_t>> parts;  // group, number of rows
    rows.reserve(static_cast<size_t>(batches_[index]->num_rows()));
    for (size_t i = 0; i < groups.size(); ++i) {
      size_t before = rows.size();
      for (; next[i] < groups[i].size() && groups[i][next[i]] < begins_[index + 1]; ++next[i]) {
        rows.push_back(groups[i][next[i]] - begins_[index]);
      }
      if (rows.size() > before) parts.emplace_back(i, rows.size() - before);
    }
    FIRN_ASSIGN(auto taken, Take(batches_[index], rows));
    int64_t begin = 0;
    for (auto [group, count] : parts) {
      const int64_t end = begin + static_cast<int64_t>(count);
      out[group].push_back({taken, begin, end});
      begin = end;
    }
    return {};
  }

  // What each row holds: an average would not do, because sorting may bring the long ones together.
  std::vector<int64_t> BytesOfAllRows() const {
    std::vector<int64_t> bytes(begins_.back(), 0);
    for (size_t batch = 0; batch < batches_.size(); ++batch) {
      int64_t* of_row = bytes.data() + begins_[batch];
      for (int i = 0; i < batches_[batch]->num_columns(); ++i) {
        const arrow::ArrayData& column = *batches_[batch]->column_data(i);
        for (int64_t row = 0; row < column.length; ++row) of_row[row] += BytesOfRows(column, row, row + 1);
      }
    }
    return bytes;
  }

  // Sorted rows out of several batches that are too large to be one.
  Status GatherPieces(std::span<const uint32_t> rows, const std::vector<int64_t>& row_bytes, Slices& out) const {
    while (!rows.empty()) {
      size_t piece_rows = 1;  // however long
      for (int64_t bytes = row_bytes[rows[0]]; piece_rows < rows.size(); ++piece_rows) {
        bytes += row_bytes[rows[piece_rows]];
        if (bytes > piece_bytes_max_) break;
      }
      auto piece = rows.first(piece_rows);
      rows = rows.subspan(piece.size());
      FIRN_ASSIGN(auto taken, TakeAcross(piece));
      const int64_t taken_rows = taken->num_rows();
      out.push_back({std::move(taken), 0, taken_rows});
    }
    return {};
  }

  // First the rows of each batch, then all of them into their order.
  Result<Batch> TakeAcross(std::span<const uint32_t> rows) const {
    std::vector<uint32_t> positions(rows.size()), place_of(rows.size());
    std::iota(positions.begin(), positions.end(), 0U);
    std::sort(positions.begin(), positions.end(), [&](uint32_t a, uint32_t b) { return rows[a] < rows[b]; });
    Batches pieces;
    for (size_t at = 0, batch = 0; at < rows.size(); ++batch) {
      std::vector<uint32_t> local;
      for (; at < rows.size() && rows[positions[at]] < begins_[batch + 1]; ++at) {
        place_of[positions[at]] = static_cast<uint32_t>(at);
        local.push_back(rows[positions[at]] - begins_[batch]);
      }
      if (local.empty()) continue;
      FIRN_ASSIGN(auto taken, Take(batches_[batch], local));
      pieces.push_back(std::move(taken));
    }
    auto whole = arrow::ConcatenateRecordBatches(pieces);
    if (!whole.ok()) return Failed(whole.status());
    return Take(*whole, place_of);
  }

  static Result<Batch> Take(const Batch& batch, const std::vector<uint32_t>& rows) {
    bool contiguous = true;
    for (size_t i = 0; i < rows.size() && contiguous; ++i) contiguous = rows[i] == rows[0] + i;
    if (contiguous) return batch->Slice(rows.empty() ? 0 : rows[0], static_cast<int64_t>(rows.size()));
    auto indexes = std::make_shared<arrow::UInt32Array>(static_cast<int64_t>(rows.size()), arrow::Buffer::Wrap(rows));
    auto taken = arrow::compute::Take(batch, arrow::Datum(indexes), arrow::compute::TakeOptions::NoBoundsCheck());
    if (!taken.ok()) return Failed(taken.status());
    return taken->record_batch();
  }

  Batches batches_;
  const int64_t piece_bytes_max_;
  std::vector<uint32_t> begins_;  // the first row of each batch, and the number of rows
  int64_t bytes_ = 0;
};

schema::PartitionTuple TupleAt(const std::vector<KeyColumn>& keys, uint32_t row) {
  schema::PartitionTuple tuple;
  for (const auto& key : keys) tuple.push_back(key.ValueAt(row));
  return tuple;
}

// Truncating rounds down, and near the lower end of a decimal's range the result needs a digit more than the type has
// (spec: "Truncate Transform Details"): no reader could make anything of it.
Status CheckDecimals(const schema::Schema& schema, const schema::PartitionSpec& spec,
                     const schema::PartitionTuple& tuple) {
  for (size_t i = 0; i < tuple.size(); ++i) {
    const auto* decimal = std::get_if<schema::Decimal128>(&tuple[i]);
    if (decimal == nullptr || spec.fields[i].transform.kind != schema::TransformKind::kTruncate) continue;
    const schema::Type& type = *schema.FindById(spec.fields[i].source_id)->type;
    __int128 power = 1;
    for (int32_t digit = 0; digit < type.precision(); ++digit) power *= 10;
    if (decimal->unscaled > -power) continue;
    return Fail(ErrorCode::kInvalidInput,
                fmt::format("the partition value of a row, rounded down by partition field '{}' ({}), leaves the type "
                            "of column '{}'; widen the column or partition by another: {}, unscaled {}",
                            spec.fields[i].name, spec.fields[i].transform.ToString(),
                            schema.NameOf(spec.fields[i].source_id), type.ToString(), decimal->unscaled));
  }
  return {};
}

// Row numbers by group, ascending inside each: a counting sort. `begins` gets one entry more than there are groups.
std::vector<uint32_t> RowsByGroup(const Grouping& grouping, std::vector<uint32_t>& begins) {
  begins.assign(grouping.first_rows.size() + 1, 0);
  for (uint32_t group : grouping.group_of_row) ++begins[group + 1];
  std::partial_sum(begins.begin(), begins.end(), begins.begin());
  std::vector<uint32_t> next(begins.begin(), begins.end() - 1);
  std::vector<uint32_t> rows(grouping.group_of_row.size());
  for (uint32_t row = 0; row < rows.size(); ++row) rows[next[grouping.group_of_row[row]]++] = row;
  return rows;
}

Result<std::vector<KeyColumn>> PartitionKeys(const Batches& batches, const schema::Schema& schema,
                                             const schema::PartitionSpec& spec) {
  std::vector<KeyColumn> keys;
  for (const auto& field : spec.fields) {
    auto key = KeyColumn::Compute(batches, schema, field.source_id, field.transform);
    FIRN_ASSIGN(auto column, WithContext(std::move(key), fmt::format("partition field {}", field.name)));
    keys.push_back(std::move(column));
  }
  return keys;
}

}  // namespace

std::vector<std::shared_ptr<arrow::RecordBatch>> PartitionGroup::Batches() const {
  std::vector<std::shared_ptr<arrow::RecordBatch>> batches;
  for (const RowSlice& slice : slices) batches.push_back(slice.Batch());
  return batches;
}

Result<std::vector<PartitionGroup>> GroupRows(const Batches& batches, const schema::Schema& schema,
                                              const schema::PartitionSpec& spec, const schema::SortOrder& sort_order,
                                              int64_t sorted_batch_bytes_max) {
  Batches filled;
  int64_t total = 0;
  for (const auto& batch : batches) {
    if (batch->num_rows() == 0) continue;
    filled.push_back(batch);
    total += batch->num_rows();
  }
  if (total > kRowsMax) {
    return Fail(ErrorCode::kResourceExhausted,
                fmt::format("too many rows to group at once, at most {}: {}", kRowsMax, total));
  }
  std::vector<PartitionGroup> groups;
  if (total == 0) return groups;

  FIRN_ASSIGN(auto keys, PartitionKeys(filled, schema, spec));
  FIRN_ASSIGN(auto sort_keys, SortKeys::Compute(filled, schema, sort_order));
  RowOrder order(sort_keys);
  auto grouping = GroupFinder(keys, static_cast<uint32_t>(total)).Run();
  std::vector<uint32_t> begins;
  auto rows = RowsByGroup(grouping, begins);
  bool sorted = false;
  std::vector<std::span<const uint32_t>> members;
  for (size_t i = 0; i < grouping.first_rows.size(); ++i) {
    groups.push_back({TupleAt(keys, grouping.first_rows[i]), {}, begins[i + 1] - begins[i]});
    FIRN_TRY(CheckDecimals(schema, spec, groups.back().partition));
    auto group_rows = std::span(rows).subspan(begins[i], begins[i + 1] - begins[i]);
    sorted = order.Sort(group_rows) || sorted;
    members.push_back(group_rows);
  }
  if (groups.size() == 1 && !sorted) {
    for (const auto& batch : filled) groups[0].slices.push_back({batch, 0, batch->num_rows()});
    return groups;
  }
  std::vector<Slices> gathered(groups.size());
  FIRN_TRY(Gatherer(filled, sorted_batch_bytes_max).Gather(members, sorted, gathered));
  for (size_t i = 0; i < groups.size(); ++i) groups[i].slices = std::move(gathered[i]);
  return groups;
}

}  // namespace firn::columnar
