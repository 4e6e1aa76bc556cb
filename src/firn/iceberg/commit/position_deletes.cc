#include "firn/iceberg/commit/position_deletes.h"

namespace firn::iceberg {

bool MayDeleteFrom(const DataFile& position_deletes, const std::string& data_file_path) {
  if (position_deletes.referenced_data_file.has_value()) {
    return *position_deletes.referenced_data_file == data_file_path;
  }
  // A bound that was cut is below the least, or above the greatest path.
  auto lower = position_deletes.lower_bounds.find(kDeleteFilePathFieldId);
  if (lower != position_deletes.lower_bounds.end() && data_file_path < lower->second) return false;
  auto upper = position_deletes.upper_bounds.find(kDeleteFilePathFieldId);
  return upper == position_deletes.upper_bounds.end() || data_file_path <= upper->second;
}

}  // namespace firn::iceberg
