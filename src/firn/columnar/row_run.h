// RowRun: rows of one (table, schema) that wait for their commit: packed column by column, compressed with LZ4, grouped
// by partition, inside a partition in the order they came (sorted, where the table declares an order). An index says
// where each partition's rows are, so that one partition can be read at a time, from memory or from a spill file.
//
// A run is made and moved to a file by one thread; after that any number of RunReaders, each with a thread of its own,
// may read it. Rows lie in blocks of about kRunBlockBytes (a longer row is a block by itself), which are unpacked one
// by one; a block may hold rows of many partitions. Partitions are numbers that the caller gives out.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "firn/base/error.h"
#include "firn/columnar/row_pack.h"

namespace arrow {
class Buffer;
class RecordBatch;
class Schema;
}  // namespace arrow

namespace firn::env {
class SpillFile;
}

namespace firn::columnar {

inline constexpr int64_t kRunBlockBytes = 128 << 10;  // unpacked

class RowRun {
 public:
  struct Group {
    uint32_t partition = 0;
    std::vector<RowSlice> slices;
  };
  // Groups in ascending order of their partitions, each of them once. kResourceExhausted: no memory.
  static Result<RowRun> Pack(const std::vector<Group>& groups, int64_t block_bytes = kRunBlockBytes);

  int64_t rows() const { return rows_; }
  int64_t raw_bytes() const { return raw_bytes_; }        // unpacked
  int64_t packed_bytes() const { return packed_bytes_; }  // wherever they are
  int64_t memory_bytes() const;                           // blocks in memory, and the index
  int64_t largest_block() const { return largest_block_; }  // unpacked; what a reader holds at a time
  bool spilled() const { return file_ != nullptr; }
  // What is in memory goes to the end of the file, in one piece. On an error the run is as it was.
  Status MoveTo(std::shared_ptr<env::SpillFile> file);

  // The rows of one partition begin in that block, after `row` rows of others, and go on into the next ones.
  struct Extent {
    uint32_t partition = 0;
    uint32_t block = 0;
    uint32_t row = 0;
    uint32_t rows = 0;
  };
  const std::vector<Extent>& extents() const { return extents_; }  // by partition, ascending

 private:
  friend class RunReader;
  class Packer;
  struct Block {
    int64_t offset = 0;  // in the run's packed bytes
    uint32_t packed_bytes = 0;
    uint32_t raw_bytes = 0;
    uint32_t rows = 0;
    uint32_t checksum = 0;  // CRC-32 of the packed bytes
  };

  std::vector<Block> blocks_;
  std::vector<Extent> extents_;
  std::shared_ptr<arrow::Buffer> packed_;  // null once spilled
  std::shared_ptr<env::SpillFile> file_;
  int64_t file_offset_ = 0;
  int64_t rows_ = 0;
  int64_t raw_bytes_ = 0;
  int64_t packed_bytes_ = 0;
  int64_t largest_block_ = 0;
};

// Reads a run, one partition at a time; cheapest in ascending order. Keeps the block it read last.
class RunReader {
 public:
  // `run` must outlive the reader.
  RunReader(const RowRun& run, std::shared_ptr<arrow::Schema> schema);
  ~RunReader();
  RunReader(RunReader&&) noexcept;

  // Next gives this partition's rows from now on. False: the run has none.
  bool Open(uint32_t partition);
  // Rows in order, at most a block of them; none at the partition's end. kCorruption: the bytes are not those that were
  // packed, which only a spill file can bring about; kIoError: they cannot be read.
  Result<RowSlice> Next();
  int64_t memory_bytes() const { return block_bytes_; }  // of the block whose rows it gave last

 private:
  void DropBlock();
  Status Load(uint32_t block);

  const RowRun* run_;
  std::shared_ptr<arrow::Schema> schema_;
  uint32_t block_ = UINT32_MAX;  // what `rows_` is of
  std::shared_ptr<arrow::RecordBatch> rows_;
  int64_t block_bytes_ = 0;
  uint32_t next_block_ = 0;
  uint32_t next_row_ = 0;
  uint32_t rows_left_ = 0;
};

// The CRC-32 that blocks carry.
uint32_t BlockChecksum(const void* data, size_t size);

}  // namespace firn::columnar
