#include "firn/ingest/kept_file.h"

#include <algorithm>
#include <utility>

#include "firn/columnar/row_run.h"

namespace firn::ingest {
namespace {

constexpr size_t kChunkBytes = 256 << 10;

}  // namespace

KeptFile::KeptFile(MemoryBudget& memory, Spill& spill)
    : memory_(memory),
      spill_(spill),
      encoder_hold_(memory, MemoryUse::kOpenFiles),
      rows_hold_(memory, MemoryUse::kRows) {}
KeptFile::~KeptFile() = default;

std::unique_ptr<KeptFile> KeptFile::Open(const FilePlan& plan, MemoryBudget& memory, Spill& spill) {
  std::unique_ptr<KeptFile> file(new KeptFile(memory, spill));
  file->layout_ = parquet::FileLayout::Create(
      plan.form, [kept = file.get()](std::string_view bytes) { return kept->Keep(bytes); });
  return file;
}

Status KeptFile::Write(const columnar::RowSlice& rows) {
  Status written = layout_->Write(rows);
  Measure();
  return written;
}

Status KeptFile::Close() {
  FIRN_ASSIGN(metrics_, layout_->Close());
  layout_.reset();
  CloseChunk();
  Measure();
  return {};
}

int64_t KeptFile::memory_bytes() const {
  return chunk_memory_ + static_cast<int64_t>(open_chunk_.capacity());
}

void KeptFile::Measure() {
  encoder_hold_.Set(layout_ == nullptr ? 0 : layout_->bytes_buffered());
  rows_hold_.Set(memory_bytes());
}

Status KeptFile::Keep(std::string_view bytes) {
  bytes_ += static_cast<int64_t>(bytes.size());
  while (!bytes.empty()) {
    const std::string_view part = bytes.substr(0, kChunkBytes - open_chunk_.size());
    // Grown up to what it may hold and no further; most files are smaller than a chunk.
    const size_t needed = open_chunk_.size() + part.size();
    if (needed > open_chunk_.capacity()) open_chunk_.reserve(std::min(kChunkBytes, 2 * needed));
    open_chunk_.append(part);
    bytes.remove_prefix(part.size());
    if (open_chunk_.size() == kChunkBytes) CloseChunk();
  }
  return {};
}

void KeptFile::CloseChunk() {
  if (open_chunk_.empty()) return;
  Chunk chunk;
  chunk.size = open_chunk_.size();
  if (memory_.over(rows_use_)) {
    if (std::shared_ptr<env::SpillFile> file = spill_.File(); file != nullptr) {
      Result<int64_t> offset = file->Append(open_chunk_);
      if (offset.has_value()) {
        chunk.file = std::move(file);
        chunk.offset = *offset;
        chunk.checksum = columnar::BlockChecksum(open_chunk_.data(), open_chunk_.size());
        open_chunk_.clear();
      }
    }
  }
  if (chunk.file == nullptr) {
    chunk.bytes = std::exchange(open_chunk_, {});
    chunk.bytes.shrink_to_fit();
    chunk_memory_ += static_cast<int64_t>(chunk.bytes.capacity());
  }
  chunks_.push_back(std::move(chunk));
  rows_hold_.Set(memory_bytes());
}

Status KeptFile::SendTo(const parquet::ByteSink& sink, bool& lost) {
  std::string read;
  for (const Chunk& chunk : chunks_) {
    if (chunk.file == nullptr) {
      FIRN_TRY(sink(chunk.bytes));
      continue;
    }
    read.resize(chunk.size);
    Status status = chunk.file->ReadAt(chunk.offset, read.data(), read.size());
    if (status.has_value() && columnar::BlockChecksum(read.data(), read.size()) != chunk.checksum) {
      status = Fail(ErrorCode::kCorruption, "a spill file gave back other bytes than were written to it");
    }
    lost |= !status.has_value();
    FIRN_TRY(std::move(status));
    FIRN_TRY(sink(read));
  }
  return {};
}

void KeptFile::BeginCommit() {
  rows_use_ = MemoryUse::kCommitRows;
  rows_hold_.ChangeUse(rows_use_);
  encoder_hold_.ChangeUse(MemoryUse::kCommitFiles);
}

}  // namespace firn::ingest
