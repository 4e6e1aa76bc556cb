#include "firn/ingest/table_rows.h"

#include <arrow/record_batch.h>

#include <algorithm>
#include <type_traits>
#include <utility>
#include <variant>

#include "firn/ingest/batch_commit.h"
#include "firn/ingest/data_files.h"

namespace firn::ingest {
namespace {

// Rows of the tail are given out in pieces of about that, as those of runs are.
constexpr int64_t kTailPieceBytes = 1 << 20;
constexpr int64_t kTailPieceRows = 16'384;
// A map entry and a tuple, beside what the values hold.
constexpr int64_t kPartitionOverheadBytes = 256;

// Equal for equal tuples and no others; NaN is one value (KeyColumn makes it so).
std::string BytesOf(const schema::PartitionTuple& tuple) {
  std::string bytes;
  for (const schema::Value& value : tuple) {
    bytes.push_back(static_cast<char>(value.index()));
    std::visit(
        [&](const auto& held) {
          using Held = std::decay_t<decltype(held)>;
          if constexpr (std::is_same_v<Held, std::string>) {
            const auto size = static_cast<uint32_t>(held.size());
            bytes.append(reinterpret_cast<const char*>(&size), sizeof(size));
            bytes.append(held);
          } else if constexpr (!std::is_same_v<Held, std::monostate>) {
            bytes.append(reinterpret_cast<const char*>(&held), sizeof(held));
          }
        },
        value);
  }
  return bytes;
}

}  // namespace

TableRows::TableRows(std::shared_ptr<const iceberg::LoadedTable> table, int32_t schema_id, MemoryBudget& memory,
                     Spill& spill, Limits limits)
    : table_(std::move(table)),
      schema_id_(schema_id),
      memory_(memory),
      spill_(spill),
      limits_(limits),
      runs_hold_(memory, MemoryUse::kRows),
      tail_hold_(memory, MemoryUse::kSlabs) {}
TableRows::TableRows(std::shared_ptr<const iceberg::LoadedTable> table, int32_t schema_id, MemoryBudget& memory,
                     Spill& spill)
    : TableRows(std::move(table), schema_id, memory, spill, Limits()) {}
TableRows::~TableRows() = default;

Status TableRows::MakePlan() {
  if (plan_ != nullptr) return {};
  FIRN_ASSIGN(plan_, MakeFilePlan(table_, schema_id_, limits_.row_group_bytes_max));
  return {};
}

void TableRows::Add(const std::shared_ptr<arrow::RecordBatch>& slab) {
  rows_ += slab->num_rows();
  if (!failure_.has_value()) return;
  failure_ = Pack(slab);
  if (!failure_.has_value()) MarkLostIfTransient(failure_.error());
  waiting_bytes_ = 0;
  for (const columnar::RowRun& run : runs_) waiting_bytes_ += run.packed_bytes();
  for (const Partition& partition : partitions_) {
    for (const auto& file : partition.files) waiting_bytes_ += file->bytes_estimated();
  }
}

Status TableRows::Pack(const std::shared_ptr<arrow::RecordBatch>& slab) {
  FIRN_TRY(MakePlan());
  double before = ThreadCpuSeconds();
  FIRN_ASSIGN(auto groups, columnar::GroupRows({slab}, *plan_->schema, *plan_->spec, plan_->sort_order));
  times_.group_cpu_s += ThreadCpuSeconds() - before;
  std::vector<columnar::RowRun::Group> rest;
  for (columnar::PartitionGroup& group : groups) {
    const uint32_t number = NumberOf(group.partition);
    FIRN_ASSIGN(bool written, WriteDirectly(number, group));
    if (!written) rest.push_back({number, std::move(group.slices)});
  }
  groups.clear();
  if (rest.empty()) return {};
  before = ThreadCpuSeconds();
  std::ranges::sort(rest, {}, &columnar::RowRun::Group::partition);
  FIRN_ASSIGN(columnar::RowRun run, columnar::RowRun::Pack(rest, limits_.run_block_bytes));
  rest.clear();
  SpillIfFull(run);
  blocks_bytes_ += run.largest_block();
  runs_.push_back(std::move(run));
  runs_hold_.Set(runs_hold_.bytes() + runs_.back().memory_bytes());
  times_.group_cpu_s += ThreadCpuSeconds() - before;
  return {};
}

void TableRows::SpillIfFull(columnar::RowRun& run) {
  if (memory_.used(MemoryUse::kRows) + run.memory_bytes() <= memory_.share(MemoryUse::kRows)) return;
  std::shared_ptr<env::SpillFile> file = spill_.File();
  if (file == nullptr) return;
  // An error is told where it comes up; the run stays in memory then.
  static_cast<void>(run.MoveTo(std::move(file)));
}

Result<bool> TableRows::WriteDirectly(uint32_t partition, const columnar::PartitionGroup& group) {
  if (plan_->is_sorted() || group.row_count < limits_.direct_rows_min) return false;
  if (memory_.over(MemoryUse::kOpenFiles)) return false;
  std::vector<std::unique_ptr<KeptFile>>& files = partitions_[partition].files;
  if (files.empty() || files.back()->closed()) {
    // As much again as the rows themselves: what an encoder keeps until it can choose encodings.
    int64_t bytes = 0;
    for (const columnar::RowSlice& slice : group.slices) {
      bytes += columnar::BytesOfRows(*slice.batch, slice.begin, slice.end);
    }
    if (memory_.used(MemoryUse::kOpenFiles) + bytes > memory_.share(MemoryUse::kOpenFiles)) return false;
    files.push_back(KeptFile::Open(*plan_, memory_, spill_));
  }
  const double before = ThreadCpuSeconds();
  KeptFile& file = *files.back();
  for (const columnar::RowSlice& rows : group.slices) FIRN_TRY(file.Write(rows));
  if (file.bytes_estimated() >= plan_->target_file_bytes) FIRN_TRY(file.Close());
  times_.encode_cpu_s += ThreadCpuSeconds() - before;
  return true;
}

uint32_t TableRows::NumberOf(const schema::PartitionTuple& tuple) {
  std::string bytes = BytesOf(tuple);
  const auto size = static_cast<int64_t>(bytes.size());
  auto [entry, is_new] = numbers_.try_emplace(std::move(bytes), static_cast<uint32_t>(partitions_.size()));
  if (is_new) {
    partitions_.push_back({tuple, {}, SIZE_MAX});
    runs_hold_.Set(runs_hold_.bytes() + 2 * size + kPartitionOverheadBytes);
  }
  return entry->second;
}

void TableRows::AddTail(std::shared_ptr<arrow::RecordBatch> slab) {
  if (slab != nullptr && slab->num_rows() > 0) {
    rows_ += slab->num_rows();
    tail_hold_.Set(columnar::BytesOfRows(*slab, 0, slab->num_rows()));
    tail_ = std::move(slab);
  }
  runs_hold_.ChangeUse(MemoryUse::kCommitRows);
  for (Partition& partition : partitions_) {
    for (auto& file : partition.files) file->BeginCommit();
  }
}

Status TableRows::PrepareToWrite() {
  FIRN_TRY(failure_);
  FIRN_TRY(MakePlan());
  if (tail_ == nullptr) return {};
  const double before = ThreadCpuSeconds();
  FIRN_ASSIGN(tail_groups_, columnar::GroupRows({tail_}, *plan_->schema, *plan_->spec, plan_->sort_order));
  for (size_t i = 0; i < tail_groups_.size(); ++i) partitions_[NumberOf(tail_groups_[i].partition)].tail = i;
  tail_.reset();
  times_.group_cpu_s += ThreadCpuSeconds() - before;
  return {};
}

void TableRows::MarkLostIfTransient(const Error& error) {
  if (IsTransient(error.code())) MarkLost();
}

void TableRows::MarkLostBySpill() {
  MarkLost();
  spill_.GiveUp();
}

PartitionRows::PartitionRows(TableRows& rows) : rows_(rows) {
  for (const columnar::RowRun& run : rows_.runs_) readers_.emplace_back(run, rows_.plan_->arrow_schema);
}
PartitionRows::~PartitionRows() = default;

int64_t PartitionRows::memory_bytes() const {
  int64_t bytes = 0;
  for (const columnar::RunReader& reader : readers_) bytes += reader.memory_bytes();
  return bytes;
}

columnar::RowSource PartitionRows::RunSource(columnar::RunReader& reader) {
  return [this, &reader]() -> Result<columnar::RowSlice> {
    auto next = reader.Next();
    if (!next.has_value()) {
      const ErrorCode code = next.error().code();
      if (code == ErrorCode::kCorruption || code == ErrorCode::kIoError) rows_.MarkLostBySpill();
    }
    return next;
  };
}

columnar::RowSource PartitionRows::TailSource(const columnar::PartitionGroup& group) const {
  return [&group, slice = size_t{0}, row = int64_t{0}]() mutable -> Result<columnar::RowSlice> {
    if (slice == group.slices.size()) return columnar::RowSlice{};
    const columnar::RowSlice& from = group.slices[slice];
    const int64_t begin = from.begin + row;
    int64_t end = std::min(from.end, begin + kTailPieceRows);
    while (end - begin > 1 && columnar::BytesOfRows(*from.batch, begin, end) > kTailPieceBytes) {
      end = begin + (end - begin) / 2;
    }
    row = end - from.begin;
    if (end == from.end) {
      ++slice;
      row = 0;
    }
    return columnar::RowSlice{from.batch, begin, end};
  };
}

Result<columnar::RowSource> PartitionRows::Open(uint32_t partition) {
  std::vector<columnar::RowSource> sources;
  for (columnar::RunReader& reader : readers_) {
    if (reader.Open(partition)) sources.push_back(RunSource(reader));
  }
  const size_t tail = rows_.partitions_[partition].tail;
  if (tail != SIZE_MAX) sources.push_back(TailSource(rows_.tail_groups_[tail]));
  if (sources.size() == 1) return std::move(sources.front());
  if (rows_.plan_->is_sorted()) {
    merge_ = std::make_unique<columnar::SortedMerge>(*rows_.plan_->schema, rows_.plan_->sort_order, std::move(sources));
    return columnar::RowSource([merge = merge_.get()] { return merge->Next(); });
  }
  return columnar::RowSource(
      [sources = std::move(sources), at = size_t{0}]() mutable -> Result<columnar::RowSlice> {
        for (; at < sources.size(); ++at) {
          FIRN_ASSIGN(columnar::RowSlice next, sources[at]());
          if (next.batch != nullptr) return next;
        }
        return columnar::RowSlice{};
      });
}

}  // namespace firn::ingest
