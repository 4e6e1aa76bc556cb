// SortKeys: the keys of a table's sort order, of all rows of some batches.
//
// Pure and single-threaded. The batches must outlive it (see KeyColumn).
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "firn/columnar/key_column.h"
#include "firn/schema/partition.h"

namespace firn::columnar {

class SortKeys {
 public:
  struct Column {
    KeyColumn keys;
    bool descending;
    bool nulls_first;
  };

  // No columns for order_id 0. Errors as KeyColumn::Compute.
  static Result<SortKeys> Compute(const std::vector<std::shared_ptr<arrow::RecordBatch>>& batches,
                                  const schema::Schema& schema, const schema::SortOrder& order);

  const std::vector<Column>& columns() const { return columns_; }
  // A row of these against a row of `other`, computed by the same order; from the `from`th column on.
  int Compare(uint32_t a, const SortKeys& other, uint32_t b, size_t from = 0) const {
    for (size_t i = from; i < columns_.size(); ++i) {
      const Column& column = columns_[i];
      const Column& against = other.columns_[i];
      const bool a_null = column.keys.IsNull(a), b_null = against.keys.IsNull(b);
      if (a_null || b_null) {
        if (a_null == b_null) continue;
        return a_null == column.nulls_first ? -1 : 1;
      }
      const int order = column.keys.CompareValid(a, against.keys, b);
      if (order != 0) return column.descending ? -order : order;
    }
    return 0;
  }

 private:
  std::vector<Column> columns_;
};

}  // namespace firn::columnar
