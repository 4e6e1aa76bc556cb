// MovableFiles: which data files of a table may be written anew, by partition; what the pickers of all strategies have
// in common.
//
// Pure.
#pragma once

#include <cstddef>
#include <functional>
#include <vector>

#include "firn/compaction/delete_index.h"
#include "firn/compaction/picker.h"

namespace firn::compaction {

// Files that `options` do not keep out (where, owns) and that `wants` says may have to be moved, by spec and partition,
// in the order of `table`. Of these, those that have to stay are counted by reason in `picked.left_alone`; all that
// `options` let in, in `picked.files_seen`.
std::vector<std::vector<size_t>> MovableFiles(const TableFiles& table, const DeleteIndex& deletes,
                                              const PickOptions& options, const std::function<bool(size_t)>& wants,
                                              Picked& picked);

}  // namespace firn::compaction
