// DeleteIndex: which delete files of a table may touch which of its data files, and how much they may delete.
//
// Pure. Goes by manifest entries alone; no file is opened. Values of `table` must outlive it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "firn/compaction/picker.h"

namespace firn::compaction {

class DeleteIndex {
 public:
  explicit DeleteIndex(const TableFiles& table);

  // Delete files that may touch the data file, ascending.
  const std::vector<size_t>& Of(size_t data) const { return touching_.empty() ? none_ : touching_[data]; }
  // Can all of them be applied? Parquet files that are not encrypted can, deletion vectors cannot.
  bool AreApplicable(size_t data) const;
  int64_t Bytes(size_t data) const;
  int64_t NewestMs(size_t data) const;  // 0: there are none
  // About so many rows they delete: what a delete file has is shared out among the files that it may touch. Position
  // deletes that are older than the file cannot name it, though by their sequence number they may touch it: it is the
  // output of a compaction.
  double RowsDeleted(size_t data) const;

 private:
  const TableFiles& table_;
  const std::vector<size_t> none_;
  std::vector<std::vector<size_t>> touching_;  // by data file; empty: no deletes at all
  std::vector<int64_t> touched_;               // data files, by delete file
};

// May this delete file touch rows of that data file (spec: "Scan Planning")? `is_global`: its spec has no partition.
bool MayTouch(const LiveFile& deletes, const LiveFile& data, bool is_global);

// Remembers that of the deletes that may touch this file none does: with a newer one it is another key.
std::string NothingDeletedKey(const TableFiles& table, size_t data, const std::vector<size_t>& deletes);

bool IsParquet(const iceberg::DataFile& file);

}  // namespace firn::compaction
