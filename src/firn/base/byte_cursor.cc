#include "firn/base/byte_cursor.h"

#include <fmt/format.h>

namespace firn {

Result<std::string_view> ByteCursor::Take(size_t length) {
  if (length > remaining()) {
    return Fail(ErrorCode::kCorruption,
                fmt::format("bytes end early: wanted {} at position {}, left {}", length, position_, remaining()));
  }
  std::string_view taken = bytes_.substr(position_, length);
  position_ += length;
  return taken;
}

Status ByteCursor::Skip(size_t length) {
  FIRN_TRY(Take(length));
  return {};
}

Result<uint8_t> ByteCursor::TakeByte() {
  FIRN_ASSIGN(std::string_view byte, Take(1));
  return static_cast<uint8_t>(byte[0]);
}

Result<int64_t> ByteCursor::TakeZigZagVarint() {
  uint64_t bits = 0;
  for (int shift = 0; shift < 70; shift += 7) {
    FIRN_ASSIGN(uint8_t byte, TakeByte());
    if (shift == 63 && byte > 1) break;
    bits |= static_cast<uint64_t>(byte & 0x7f) << shift;
    if ((byte & 0x80) == 0) return static_cast<int64_t>(bits >> 1) ^ -static_cast<int64_t>(bits & 1);
  }
  return Fail(ErrorCode::kCorruption, fmt::format("varint longer than 64 bits before position {}", position_));
}

void ByteWriter::PutZigZagVarint(int64_t value) {
  uint64_t bits = (static_cast<uint64_t>(value) << 1) ^ static_cast<uint64_t>(value >> 63);
  while (bits >= 0x80) {
    PutByte(static_cast<uint8_t>(bits | 0x80));
    bits >>= 7;
  }
  PutByte(static_cast<uint8_t>(bits));
}

}  // namespace firn
