// Which data files a position delete file may have rows for, as its manifest entry says.
//
// Pure.
#pragma once

#include <string>

#include "firn/iceberg/manifest/manifest.h"

namespace firn::iceberg {

inline constexpr int32_t kDeleteFilePathFieldId = 2147483546;  // spec, "Reserved Field IDs"

// By the data file that it names, or by the bounds of its column file_path (Java gives those in full, so that a delete
// file of one data file excludes all others); true where it has neither. Says nothing of sequence numbers and
// partitions.
bool MayDeleteFrom(const DataFile& position_deletes, const std::string& data_file_path);

}  // namespace firn::iceberg
