// StructuralIndex: where each token of a JSON text begins (brackets, colons, commas, opening quotes, first bytes of
// numbers and words), as simdjson's first stage finds them with vector instructions; it validates UTF-8, unclosed
// strings and raw control characters on the way. The reference for FindTextFault and for a walk without an index.
//
// Owned by one thread. Reads exactly the bytes it is given: no padding is wanted behind them. Memory: 4 bytes a byte of
// the largest recent text.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

namespace firn::decode::json::testing {

class StructuralIndex {
 public:
  enum class Outcome : uint8_t { kOk, kNoValue, kInvalidUtf8, kMalformed };

  StructuralIndex();
  ~StructuralIndex();

  // At most 4 GiB - 1 of text.
  Outcome Build(std::string_view text);
  // Token positions of the last text that was kOk; positions()[count()] is the text's length.
  const uint32_t* positions() const { return positions_; }
  uint32_t count() const { return count_; }

 private:
  struct Parser;
  std::unique_ptr<Parser> parser_;
  const uint32_t* positions_ = nullptr;
  uint32_t count_ = 0;
};

}  // namespace firn::decode::json::testing
