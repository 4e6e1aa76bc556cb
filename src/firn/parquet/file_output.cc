#include "firn/parquet/file_output.h"

#include <utility>

namespace firn::parquet {
namespace {

constexpr size_t kGatheredBytesMax = 256 << 10;

}  // namespace

FileOutput::FileOutput(ByteSink sink) : sink_(std::move(sink)) {}

Status FileOutput::Append(std::string_view bytes) {
  if (gathered_.size() + bytes.size() > kGatheredBytesMax) FIRN_TRY(Flush());
  position_ += static_cast<int64_t>(bytes.size());
  if (bytes.size() > kGatheredBytesMax) return sink_(bytes);
  gathered_.Append(bytes);
  return {};
}

void FileOutput::Restart() {
  gathered_.Clear();
  position_ = 0;
}

Status FileOutput::Flush() {
  if (gathered_.empty()) return {};
  Status status = sink_(gathered_.view());
  gathered_.Clear();
  return status;
}

}  // namespace firn::parquet
