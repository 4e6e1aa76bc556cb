// PaddedText: a copy of one text with zero bytes behind it, so that whoever walks it may read 16 or 32 bytes at a time
// and needs no look at the end: the first zero stops every loop. One copy of a text costs less than those looks.
//
// Owned by one thread. Memory: the largest recent text.
#pragma once

#include <cstddef>
#include <memory>
#include <string_view>

namespace firn::decode::json {

inline constexpr size_t kTextPadding = 64;

class PaddedText {
 public:
  // The copy, valid until the next call; kTextPadding bytes behind it are zero.
  std::string_view Load(std::string_view text);
  void GiveBackMemory();

 private:
  std::unique_ptr<char[]> bytes_;
  size_t capacity_ = 0;
};

}  // namespace firn::decode::json
