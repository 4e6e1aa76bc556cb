// TextPattern: a regular expression (RE2's syntax) over whole texts from outside.
//
// Immutable after Create; any thread. Time is linear in the text's length and the stack does not grow with it, whatever
// pattern and text say; that is why there are no back references and no look-around. Characters are those of UTF-8: a
// text that is not UTF-8 matches only where the pattern asks for single bytes (\C).
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "firn/base/error.h"

namespace re2 {
class RE2;
}

namespace firn {

class TextPattern {
 public:
  // kInvalidInput: the pattern cannot be read, or its compiled form would be larger than 8 MiB. The message
  // says why and leaves it to the caller to show the pattern.
  static Result<TextPattern> Create(const std::string& pattern);
  TextPattern(TextPattern&&) noexcept;
  TextPattern& operator=(TextPattern&&) noexcept;
  ~TextPattern();

  // The whole text, from its first to its last byte.
  bool Matches(std::string_view text) const;

 private:
  explicit TextPattern(std::unique_ptr<re2::RE2> compiled);

  std::unique_ptr<re2::RE2> compiled_;
};

}  // namespace firn
