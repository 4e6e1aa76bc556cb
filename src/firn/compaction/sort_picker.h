// The picker of the strategy `sort`: which data files of a table have to be sorted, as a pure function of its state.
//
// Values in, values out. A file is sorted when its entry names the wanted order. Files that are not, files with row
// deletes and files whose ranges of the first sort field overlap have to be written anew, together with all that they
// overlap; so are small neighbours that become fewer. What one run has written the next one leaves as it is.
#pragma once

#include <cstdint>
#include <optional>

#include "firn/compaction/picker.h"
#include "firn/schema/partition.h"
#include "firn/schema/type.h"

namespace firn::compaction {

// A group of files that could be sorted one after the other ends at so many bytes: each is committed as a whole.
inline constexpr int64_t kSortGroupBytes = int64_t{2} << 30;

struct SortPick {
  std::optional<int32_t> order_id;  // that sorted files name; nullopt: no file can say that it is sorted
  schema::SortField first;          // field of the order
  schema::TypePtr source_type;      // of its column
  // Who writes bounds of texts and bytes cuts them to so many code points or bytes; nullopt: never.
  std::optional<int32_t> bound_length;
};

// Of the options, those of pace do not apply. Files of a group are in the order they came into the table.
Picked PickForSort(const TableFiles& table, const PickOptions& options, const SortPick& sort);

}  // namespace firn::compaction
