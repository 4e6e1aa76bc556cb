#include "firn/parquet/level_buffer.h"

#include <algorithm>
#include <cstring>

#include "firn/parquet/run_length.h"

namespace firn::parquet {

void LevelBuffer::Spread() {
  alike_ = false;
  levels_.Clear();
  if (count_ > 0) std::memset(levels_.Extend(static_cast<size_t>(count_)), level_, static_cast<size_t>(count_));
}

void LevelBuffer::AppendRun(uint8_t level, int64_t count) {
  if (max_level_ == 0 || count == 0) return;
  if (count_ == 0) level_ = level;
  if (alike_ && level != level_) Spread();
  if (!alike_) std::memset(levels_.Extend(static_cast<size_t>(count)), level, static_cast<size_t>(count));
  count_ += count;
}

void LevelBuffer::Append(std::span<const uint8_t> levels) {
  if (max_level_ == 0 || levels.empty()) return;
  bool same = std::memcmp(levels.data(), levels.data() + 1, levels.size() - 1) == 0;
  if (same) return AppendRun(levels[0], static_cast<int64_t>(levels.size()));
  if (alike_) Spread();
  levels_.Append(levels.data(), levels.size());
  count_ += static_cast<int64_t>(levels.size());
}

void LevelBuffer::Encode(bool with_length, ByteBuffer& out) const {
  if (max_level_ == 0) return;
  size_t begin = out.size();
  if (with_length) out.AppendValue(uint32_t{0});
  int width = BitWidth(max_level_);
  if (!alike_) {
    AppendRunLengths(std::span(levels_.data(), levels_.size()), width, out);
  } else if (count_ > 0) {
    parquet::AppendRun(level_, static_cast<uint64_t>(count_), width, out);
  }
  if (!with_length) return;
  auto length = static_cast<uint32_t>(out.size() - begin - sizeof(uint32_t));
  std::memcpy(out.data() + begin, &length, sizeof(length));
}

void LevelBuffer::CountInto(std::vector<int64_t>& histogram) const {
  if (max_level_ == 0) return;
  if (alike_) {
    histogram[level_] += count_;
    return;
  }
  // One pass a level, but each over many levels at a time.
  const uint8_t* end = levels_.data() + levels_.size();
  for (int level = 0; level <= max_level_; ++level) {
    histogram[static_cast<size_t>(level)] += std::count(levels_.data(), end, static_cast<uint8_t>(level));
  }
}

void LevelBuffer::Clear() {
  alike_ = true;
  count_ = 0;
  levels_.Clear();
}

}  // namespace firn::parquet
