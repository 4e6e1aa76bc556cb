// ByteCursor and ByteWriter: the one bounds-checked way through bytes in memory.
//
// Reading past the end is kCorruption, never undefined. Multi-byte integers say their byte order in the name; varints
// are the zig-zag form that Avro uses. Values, no ownership: the cursor looks at bytes that somebody else keeps alive.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

#include "firn/base/error.h"

namespace firn {

class ByteCursor {
 public:
  explicit ByteCursor(std::string_view bytes) : bytes_(bytes) {}

  size_t position() const { return position_; }
  size_t remaining() const { return bytes_.size() - position_; }
  bool empty() const { return remaining() == 0; }

  Result<std::string_view> Take(size_t length);
  Status Skip(size_t length);
  Result<uint8_t> TakeByte();

  // Avro: zig-zag varint of at most 10 bytes.
  Result<int64_t> TakeZigZagVarint();

  template <typename T>
  Result<T> TakeLittleEndian() {
    FIRN_ASSIGN(std::string_view raw, Take(sizeof(T)));
    T value;
    std::memcpy(&value, raw.data(), sizeof(T));
    static_assert(std::endian::native == std::endian::little, "Firn is built for little-endian machines");
    return value;
  }

 private:
  std::string_view bytes_;
  size_t position_ = 0;
};

// Appends to a string; cannot fail.
class ByteWriter {
 public:
  explicit ByteWriter(std::string& out) : out_(out) {}

  void Put(std::string_view bytes) { out_.append(bytes); }
  void PutByte(uint8_t byte) { out_.push_back(static_cast<char>(byte)); }
  void PutZigZagVarint(int64_t value);

  template <typename T>
  void PutLittleEndian(T value) {
    char raw[sizeof(T)];
    std::memcpy(raw, &value, sizeof(T));
    out_.append(raw, sizeof(T));
  }

 private:
  std::string& out_;
};

}  // namespace firn
