// Metrics of a data file in a few hundred bytes: a plan holds those of all files of a table until they are merged, and
// maintenance until they are written into another manifest.
//
// Pure. In the form of the entry they take more than ten times as much: a node of a map for each
// column and number.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "firn/iceberg/manifest/manifest.h"

namespace firn::compaction {

// Takes sizes, counts and bounds of columns out of the file's entry; counts and bounds of `kept`, by which files are
// put in order, stay there too.
std::string PackMetrics(iceberg::DataFile& file, std::optional<int32_t> kept);

// Puts back what PackMetrics took.
void UnpackMetrics(const std::string& packed, iceberg::DataFile& file);

}  // namespace firn::compaction
