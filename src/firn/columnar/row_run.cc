#include "firn/columnar/row_run.h"

#include <arrow/buffer.h>
#include <arrow/record_batch.h>
#include <arrow/type.h>
#include <arrow/util/compression.h>
#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "firn/base/check.h"
#include "firn/columnar/pool_block.h"
#include "firn/columnar/row_pack.h"
#include "firn/env/spill_file.h"

namespace firn::columnar {
namespace {

std::unexpected<Error> Failed(const arrow::Status& status) {
  return Fail(status.IsOutOfMemory() ? ErrorCode::kResourceExhausted : ErrorCode::kInternal,
              fmt::format("a run of rows: {}", status.message()));
}

// LZ4 has no state; one codec a thread saves making it for each block.
arrow::util::Codec& BlockCodec() {
  thread_local const std::unique_ptr<arrow::util::Codec> codec = [] {
    auto made = arrow::util::Codec::Create(arrow::Compression::LZ4);
    FIRN_CHECK(made.ok(), "this build's Arrow has no LZ4");
    return std::move(*made);
  }();
  return *codec;
}

}  // namespace

uint32_t BlockChecksum(const void* data, size_t size) {
  return static_cast<uint32_t>(crc32_z(0, static_cast<const Bytef*>(data), size));
}

// Cuts groups into blocks and packs each.
class RowRun::Packer {
 public:
  Packer(RowRun& run, int64_t block_bytes) : run_(run), block_bytes_(block_bytes) {}

  Status Add(const Group& group) {
    Extent extent{group.partition, 0, 0, 0};
    for (const RowSlice& slice : group.slices) {
      for (int64_t begin = slice.begin; begin < slice.end;) {
        int64_t end = begin + Fitting(slice, begin);
        if (!slices_.empty() && BytesOfRows(*slice.batch, begin, end) > Room()) {
          FIRN_TRY(CloseBlock());
          end = begin + Fitting(slice, begin);
        }
        if (extent.rows == 0) {
          extent.block = static_cast<uint32_t>(run_.blocks_.size());
          extent.row = slice_rows_;
        }
        slices_.push_back({slice.batch, begin, end});
        slice_bytes_ += BytesOfRows(*slice.batch, begin, end);
        slice_rows_ += static_cast<uint32_t>(end - begin);
        extent.rows += static_cast<uint32_t>(end - begin);
        begin = end;
        if (slice_bytes_ >= block_bytes_) FIRN_TRY(CloseBlock());
      }
    }
    if (extent.rows == 0) return {};
    run_.rows_ += extent.rows;
    run_.extents_.push_back(extent);
    return {};
  }

  Status Finish() {
    FIRN_TRY(CloseBlock());
    run_.blocks_.shrink_to_fit();
    run_.extents_.shrink_to_fit();
    run_.packed_ = packed_.Release(run_.packed_bytes_);
    if (run_.packed_ == nullptr) return {};
    // What doubling has left over would be held as long as the run lives.
    auto exact = arrow::AllocateBuffer(run_.packed_bytes_);
    if (!exact.ok()) return Failed(exact.status());
    std::copy_n(run_.packed_->data(), run_.packed_bytes_, (*exact)->mutable_data());
    run_.packed_ = std::move(*exact);
    return {};
  }

 private:
  // How many rows from `begin` on fill the block, but at least one.
  int64_t Fitting(const RowSlice& slice, int64_t begin) const {
    const int64_t room = Room();
    int64_t rows = slice.end - begin;
    for (;;) {
      const int64_t bytes = BytesOfRows(*slice.batch, begin, begin + rows);
      if (rows == 1 || bytes <= room) return rows;
      rows = std::clamp<int64_t>(room * rows / std::max<int64_t>(1, bytes), 1, rows / 2 + 1);
    }
  }
  // A little more than what is left, rather than a block of two rows.
  int64_t Room() const { return block_bytes_ + block_bytes_ / 4 - slice_bytes_; }

  Status CloseBlock() {
    if (slices_.empty()) return {};
    raw_.clear();
    PackRows(slices_, raw_);
    arrow::util::Codec& codec = BlockCodec();
    const auto raw_size = static_cast<int64_t>(raw_.size());
    const auto* raw = reinterpret_cast<const uint8_t*>(raw_.data());
    const int64_t bound = codec.MaxCompressedLen(raw_size, raw);
    if (raw_size > std::numeric_limits<int32_t>::max() || bound > std::numeric_limits<int32_t>::max()) {
      return Fail(ErrorCode::kResourceExhausted, fmt::format("rows are too long to be packed: {} bytes", raw_size));
    }
    if (packed_.capacity() < run_.packed_bytes_ + bound) {
      packed_.Grow(std::max(run_.packed_bytes_ + bound, packed_.capacity() + packed_.capacity() / 2));
    }
    uint8_t* target = packed_.data() + run_.packed_bytes_;
    auto compressed = codec.Compress(raw_size, raw, bound, target);
    if (!compressed.ok()) return Failed(compressed.status());
    run_.blocks_.push_back({run_.packed_bytes_, static_cast<uint32_t>(*compressed), static_cast<uint32_t>(raw_size),
                            slice_rows_, BlockChecksum(target, static_cast<size_t>(*compressed))});
    run_.packed_bytes_ += *compressed;
    run_.raw_bytes_ += raw_size;
    run_.largest_block_ = std::max(run_.largest_block_, raw_size);
    slices_.clear();
    slice_bytes_ = 0;
    slice_rows_ = 0;
    return {};
  }

  RowRun& run_;
  const int64_t block_bytes_;
  std::vector<RowSlice> slices_;  // of the block under construction
  int64_t slice_bytes_ = 0;
  uint32_t slice_rows_ = 0;
  std::string raw_;
  PoolBlock packed_;
};

Result<RowRun> RowRun::Pack(const std::vector<Group>& groups, int64_t block_bytes) {
  RowRun run;
  Packer packer(run, block_bytes);
  for (size_t i = 0; i < groups.size(); ++i) {
    FIRN_CHECK(i == 0 || groups[i - 1].partition < groups[i].partition, "the partitions of a run must ascend");
    FIRN_TRY(packer.Add(groups[i]));
  }
  FIRN_TRY(packer.Finish());
  return run;
}

int64_t RowRun::memory_bytes() const {
  return (packed_ == nullptr ? 0 : packed_->size()) + static_cast<int64_t>(blocks_.capacity() * sizeof(Block)) +
         static_cast<int64_t>(extents_.capacity() * sizeof(Extent));
}

Status RowRun::MoveTo(std::shared_ptr<env::SpillFile> file) {
  if (packed_ == nullptr) return {};
  FIRN_ASSIGN(file_offset_,
              file->Append({reinterpret_cast<const char*>(packed_->data()), static_cast<size_t>(packed_->size())}));
  file_ = std::move(file);
  packed_.reset();
  return {};
}

RunReader::RunReader(const RowRun& run, std::shared_ptr<arrow::Schema> schema)
    : run_(&run), schema_(std::move(schema)) {}
RunReader::~RunReader() = default;
RunReader::RunReader(RunReader&&) noexcept = default;

bool RunReader::Open(uint32_t partition) {
  auto found = std::ranges::lower_bound(run_->extents_, partition, {}, &RowRun::Extent::partition);
  rows_left_ = 0;
  if (found == run_->extents_.end() || found->partition != partition) return false;
  next_block_ = found->block;
  next_row_ = found->row;
  rows_left_ = found->rows;
  return true;
}

Result<RowSlice> RunReader::Next() {
  if (rows_ == nullptr) block_bytes_ = 0;
  if (rows_left_ == 0) return RowSlice{};
  if (block_ != next_block_) FIRN_TRY(Load(next_block_));
  const uint32_t in_block = run_->blocks_[block_].rows;
  const uint32_t rows = std::min(rows_left_, in_block - next_row_);
  RowSlice slice{rows_, int64_t{next_row_}, int64_t{next_row_} + rows};
  rows_left_ -= rows;
  next_row_ += rows;
  if (next_row_ == in_block) {
    ++next_block_;
    next_row_ = 0;
    if (rows_left_ == 0 || rows == in_block) DropBlock();
  }
  return slice;
}

// Whoever took its last rows may still hold them: its bytes count until more are asked for.
void RunReader::DropBlock() {
  rows_.reset();
  block_ = UINT32_MAX;
}

Status RunReader::Load(uint32_t index) {
  const RowRun::Block& block = run_->blocks_[index];
  DropBlock();
  block_bytes_ = 0;
  std::string read;
  const uint8_t* packed = nullptr;
  if (run_->file_ != nullptr) {
    read.resize(block.packed_bytes);
    FIRN_TRY(run_->file_->ReadAt(run_->file_offset_ + block.offset, read.data(), read.size()));
    if (BlockChecksum(read.data(), read.size()) != block.checksum) {
      return Fail(ErrorCode::kCorruption, "a spill file gave back other bytes than were written to it");
    }
    packed = reinterpret_cast<const uint8_t*>(read.data());
  } else {
    packed = run_->packed_->data() + block.offset;
  }
  auto raw = arrow::AllocateBuffer(block.raw_bytes);
  if (!raw.ok()) return Failed(raw.status());
  auto size = BlockCodec().Decompress(block.packed_bytes, packed, block.raw_bytes, (*raw)->mutable_data());
  if (!size.ok() || *size != block.raw_bytes) {
    return Fail(ErrorCode::kCorruption, "a block of packed rows cannot be unpacked");
  }
  FIRN_ASSIGN(rows_, UnpackRows(schema_, block.rows, std::shared_ptr<arrow::Buffer>(std::move(*raw))));
  block_ = index;
  block_bytes_ = block.raw_bytes;
  return {};
}

}  // namespace firn::columnar
