#include "firn/columnar/external_sort.h"

#include <arrow/record_batch.h>
#include <arrow/type.h>
#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <utility>

#include "firn/columnar/column_builder.h"
#include "firn/columnar/partitioner.h"
#include "firn/env/spill_file.h"

namespace firn::columnar {
namespace {

// Parts of the memory: rows that are collected, packed rows that stay, blocks that are merged, rows that a pass packs.
constexpr int64_t kBufferPart = 8;
constexpr int64_t kPackedPart = 4;
constexpr int64_t kMergePart = 8;
constexpr int64_t kPiecePart = 32;
constexpr int64_t kBlockPart = 256;
constexpr int64_t kBlockBytesMin = 16 << 10;
// What a merge holds of each input, in blocks: the one it reads, the one before whose rows are on their way out, keys.
constexpr int64_t kBlocksOfInput = 3;
constexpr size_t kFanInMax = 512;
// Runs that share a file: its room is free again only when all of them are merged.
constexpr int64_t kRunsOfFileMax = 64;

// As many rows as a merge gives at a time.
RowSlice TakePiece(std::deque<RowSlice>& left) {
  RowSlice& first = left.front();
  RowSlice piece{first.batch, first.begin, std::min(first.end, first.begin + kMergedRowsMax)};
  while (piece.rows() > 1 && BytesOfRows(*piece.batch, piece.begin, piece.end) > kMergedBytesMax) {
    piece.end = piece.begin + piece.rows() / 2;
  }
  first.begin = piece.end;
  if (first.begin == first.end) left.pop_front();
  return piece;
}

}  // namespace

// One chain's rows, run after run.
class ExternalSort::ChainReader {
 public:
  ChainReader(const Chain& chain, const std::shared_ptr<arrow::Schema>& schema) : chain_(chain), schema_(schema) {}

  Result<RowSlice> Next() {
    for (; next_ < chain_.size() || reader_ != nullptr; reader_.reset()) {
      if (reader_ == nullptr) {
        reader_ = std::make_unique<RunReader>(chain_[next_++], schema_);
        reader_->Open(0);
      }
      FIRN_ASSIGN(RowSlice rows, reader_->Next());
      if (rows.batch != nullptr) return rows;
    }
    return RowSlice{};
  }

 private:
  const Chain& chain_;
  const std::shared_ptr<arrow::Schema> schema_;
  std::unique_ptr<RunReader> reader_;
  size_t next_ = 0;
};

ExternalSort::ExternalSort(const schema::Schema& schema, const schema::SortOrder& order, ExternalSortOptions options)
    : schema_(schema),
      order_(order),
      options_(std::move(options)),
      block_bytes_(std::clamp(options_.memory_bytes / kBlockPart, kBlockBytesMin, kRunBlockBytes)),
      arrow_schema_(ToArrowSchema(schema)) {}
ExternalSort::~ExternalSort() = default;

Status ExternalSort::Add(const std::shared_ptr<arrow::RecordBatch>& batch) {
  if (batch->num_rows() == 0) return {};
  const int64_t bytes = BytesOfRows(*batch, 0, batch->num_rows());
  const int64_t most = std::min(options_.memory_bytes / kBufferPart, kSortedBatchBytesMax);
  if (!buffer_.empty() && buffer_bytes_ + bytes > most) FIRN_TRY(PackBuffer());
  // Who reads a file may name parts of nested columns otherwise.
  buffer_.push_back(arrow::RecordBatch::Make(arrow_schema_, batch->num_rows(), batch->column_data()));
  buffer_bytes_ += bytes;
  rows_ += batch->num_rows();
  return {};
}

Result<std::vector<RowSlice>> ExternalSort::SortBuffer() {
  std::vector<std::shared_ptr<arrow::RecordBatch>> rows = std::exchange(buffer_, {});
  buffer_bytes_ = 0;
  if (rows.size() > 1) {
    auto whole = arrow::ConcatenateRecordBatches(rows);
    if (!whole.ok()) return Fail(ErrorCode::kResourceExhausted, fmt::format("sorting: {}", whole.status().message()));
    rows = {*std::move(whole)};
  }
  FIRN_ASSIGN(std::vector<PartitionGroup> groups, GroupRows(rows, schema_, {}, order_));
  return groups.empty() ? std::vector<RowSlice>() : std::move(groups.front().slices);
}

Status ExternalSort::PackBuffer() {
  RowRun::Group group;
  FIRN_ASSIGN(group.slices, SortBuffer());
  if (group.slices.empty()) return {};
  FIRN_ASSIGN(RowRun run, RowRun::Pack({std::move(group)}, block_bytes_));
  ++runs_;
  Chain chain;
  std::shared_ptr<env::SpillFile> file;
  const bool may_stay = packed_bytes_ + run.memory_bytes() <= options_.memory_bytes / kPackedPart;
  if (!may_stay) {
    FIRN_ASSIGN(file, FileOfRuns());
  }
  FIRN_TRY(Keep(std::move(run), may_stay, file, chain));
  chains_.push_back(std::move(chain));
  return {};
}

Result<std::shared_ptr<env::SpillFile>> ExternalSort::FileOfRuns() {
  if (options_.spill == nullptr) {
    return Fail(ErrorCode::kResourceExhausted,
                fmt::format("the rows to be sorted do not fit into memory ({} bytes); set spill.dir, or raise "
                            "memory.limit",
                            options_.memory_bytes));
  }
  if (file_ == nullptr || runs_of_file_ == kRunsOfFileMax) {
    FIRN_ASSIGN(file_, options_.spill->NewFile());
    runs_of_file_ = 0;
  }
  ++runs_of_file_;
  return file_;
}

Status ExternalSort::Keep(RowRun run, bool may_stay, const std::shared_ptr<env::SpillFile>& file, Chain& chain) {
  if (!may_stay) {
    FIRN_TRY(run.MoveTo(file));
    bytes_spilled_ += run.packed_bytes();
  }
  packed_bytes_ += run.memory_bytes();
  largest_block_ = std::max(largest_block_, run.largest_block());
  chain.push_back(std::move(run));
  return {};
}

size_t ExternalSort::FanIn() const {
  const int64_t of_input = kBlocksOfInput * std::max(largest_block_, block_bytes_);
  return std::clamp(static_cast<size_t>(options_.memory_bytes / kMergePart / of_input), size_t{2}, kFanInMax);
}

RowSource ExternalSort::SourceOf(const Chain& chain) const {
  return [reader = std::make_shared<ChainReader>(chain, arrow_schema_)] { return reader->Next(); };
}

std::unique_ptr<SortedMerge> ExternalSort::MergeOf(size_t first, size_t count) const {
  std::vector<RowSource> sources;
  for (size_t i = first; i < first + count; ++i) sources.push_back(SourceOf(chains_[i]));
  const int64_t batch_bytes = std::min(kMergedBytesMax, std::max(options_.memory_bytes / kPiecePart, block_bytes_));
  return std::make_unique<SortedMerge>(schema_, order_, std::move(sources), batch_bytes);
}

// Neighbours, so that equal rows keep their order.
Result<ExternalSort::Chain> ExternalSort::MergeChains(size_t first, size_t count) {
  std::shared_ptr<env::SpillFile> file;
  if (options_.spill != nullptr) {
    FIRN_ASSIGN(file, options_.spill->NewFile());
  }
  const std::unique_ptr<SortedMerge> merge = MergeOf(first, count);
  Chain chain;
  for (bool end = false; !end;) {
    if (options_.go_on && !options_.go_on()) return Fail(ErrorCode::kCancelled, "stopped while rows are sorted");
    RowRun::Group group;
    for (int64_t bytes = 0; bytes < options_.memory_bytes / kPiecePart;) {
      FIRN_ASSIGN(RowSlice rows, merge->Next());
      end = rows.batch == nullptr;
      if (end) break;
      bytes += BytesOfRows(*rows.batch, rows.begin, rows.end);
      group.slices.push_back(std::move(rows));
    }
    if (group.slices.empty()) break;
    FIRN_ASSIGN(RowRun run, RowRun::Pack({std::move(group)}, block_bytes_));
    FIRN_TRY(Keep(std::move(run), file == nullptr, file, chain));
  }
  for (size_t i = first; i < first + count; ++i) {
    for (const RowRun& run : chains_[i]) packed_bytes_ -= run.memory_bytes();
  }
  return chain;
}

// Until there are few enough for one merge. It goes round, so that chains of like size are merged.
Status ExternalSort::MakeRoom() {
  file_.reset();
  for (size_t first = 0; chains_.size() > FanIn(); ++first) {
    const size_t count = std::min(FanIn(), chains_.size() - FanIn() + 1);
    if (first + count > chains_.size()) first = 0;
    FIRN_ASSIGN(Chain merged, MergeChains(first, count));
    const auto at = chains_.begin() + static_cast<std::ptrdiff_t>(first);
    chains_.erase(at + 1, at + static_cast<std::ptrdiff_t>(count));
    *at = std::move(merged);
    ++passes_;
  }
  return {};
}

Result<RowSource> ExternalSort::Finish() {
  if (chains_.empty()) {
    FIRN_ASSIGN(std::vector<RowSlice> sorted, SortBuffer());
    auto left = std::make_shared<std::deque<RowSlice>>(sorted.begin(), sorted.end());
    return RowSource([left]() -> Result<RowSlice> { return left->empty() ? RowSlice{} : TakePiece(*left); });
  }
  FIRN_TRY(PackBuffer());
  FIRN_TRY(MakeRoom());
  merge_ = MergeOf(0, chains_.size());
  return RowSource([this] { return merge_->Next(); });
}

}  // namespace firn::columnar
