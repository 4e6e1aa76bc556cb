// DeleteReader: what the delete files of a table say of its data files (spec: "Delete Formats").
//
// One thread's. Reads each delete file once and keeps what it says: positions by path, and the keys of equality deletes
// as bytes that are equal where values are (null is equal to null).
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "firn/base/error.h"
#include "firn/compaction/table_plan.h"
#include "firn/env/object_store.h"

namespace arrow {
class RecordBatch;
}

namespace firn::compaction {

// The rows of one or more equality delete files of the same columns.
class EqualityDeletes {
 public:
  // Columns of the table's schema, by index.
  explicit EqualityDeletes(std::vector<int> columns) : columns_(std::move(columns)) {}
  // All columns of `batch`, in the order of `columns`.
  Status Add(const arrow::RecordBatch& batch);
  // Marks the rows of a batch of the table's schema that are deleted.
  Status Mark(const arrow::RecordBatch& batch, std::vector<bool>& deleted) const;

 private:
  const std::vector<int> columns_;
  std::unordered_set<std::string> keys_;
};

// What applies to one data file.
struct FileDeletes {
  std::vector<int64_t> positions;  // ascending, each once
  std::vector<std::shared_ptr<const EqualityDeletes>> equality;

  bool empty() const { return positions.empty() && equality.empty(); }
};

class DeleteReader {
 public:
  DeleteReader(const TablePlan& plan, env::ObjectStore& store) : plan_(plan), store_(store) {}

  // `deletes`: indices of plan.files.deletes that may touch the data file. kUnsupported: columns that equality deletes
  // cannot have, or have no more. kCorruption, kNotFound: a delete file that cannot be read.
  Result<FileDeletes> For(size_t data, std::span<const size_t> deletes);
  // All data files that a position delete file has rows for, once it was read; empty of others.
  std::vector<std::string> NamedBy(size_t deletes) const;

 private:
  using Positions = std::unordered_map<std::string, std::vector<int64_t>>;  // by path
  Result<const Positions*> PositionsOf(size_t deletes);
  Result<std::shared_ptr<const EqualityDeletes>> EqualityOf(size_t deletes);
  Status Read(size_t deletes, const schema::Schema& schema,
              const std::function<Status(const arrow::RecordBatch&)>& take) const;

  const TablePlan& plan_;
  env::ObjectStore& store_;
  std::map<size_t, Positions> positions_;
  std::map<size_t, std::shared_ptr<const EqualityDeletes>> equality_;
};

}  // namespace firn::compaction
