// KeptFile: a data file that is encoded while rows come in and sent to the store at the commit, as often as it takes.
// Its bytes wait in memory or, when that is full, in the spill file.
//
// One thread at a time: the one that decodes, later the one that commits.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "firn/base/error.h"
#include "firn/ingest/file_plan.h"
#include "firn/ingest/memory_budget.h"
#include "firn/ingest/spill.h"

namespace firn::ingest {

class KeptFile {
 public:
  // Budget and spill must outlive it.
  static std::unique_ptr<KeptFile> Open(const FilePlan& plan, MemoryBudget& memory, Spill& spill);
  ~KeptFile();

  // Errors as FileLayout; after one the file is of no use, and every later call returns it.
  Status Write(const columnar::RowSlice& rows);
  Status Close();
  bool closed() const { return metrics_.has_value(); }
  const parquet::FileMetrics& metrics() const { return *metrics_; }  // once closed

  int64_t bytes_estimated() const { return layout_ == nullptr ? bytes_ : layout_->bytes_estimated(); }
  int64_t bytes() const { return bytes_; }  // that have left the encoder, wherever they are
  int64_t memory_bytes() const;             // of them, in memory

  // Gives the file's bytes in order. `lost` is set when the spill file did not give them back.
  Status SendTo(const parquet::ByteSink& sink, bool& lost);
  // What waits is of the batch that is committed now.
  void BeginCommit();

 private:
  KeptFile(MemoryBudget& memory, Spill& spill);
  Status Keep(std::string_view bytes);
  void CloseChunk();
  void Measure();

  struct Chunk {
    std::string bytes;  // empty once spilled
    std::shared_ptr<env::SpillFile> file;
    int64_t offset = 0;
    size_t size = 0;
    uint32_t checksum = 0;
  };

  MemoryBudget& memory_;
  Spill& spill_;
  MemoryHold encoder_hold_;
  MemoryHold rows_hold_;
  MemoryUse rows_use_ = MemoryUse::kRows;
  std::unique_ptr<parquet::FileLayout> layout_;  // until closed
  std::optional<parquet::FileMetrics> metrics_;
  std::vector<Chunk> chunks_;
  std::string open_chunk_;
  int64_t bytes_ = 0;
  int64_t chunk_memory_ = 0;
};

}  // namespace firn::ingest
