#include "firn/decode/json/text_check.h"

#include <simdjson.h>

namespace firn::decode::json {

TextFault FindTextFault(std::string_view text) {
  bool in_string = false;
  bool has_control = false;
  for (size_t i = 0; i < text.size(); ++i) {
    has_control = has_control || (in_string && static_cast<unsigned char>(text[i]) < 0x20);
    if (text[i] == '\\') {
      ++i;  // what it escapes opens and closes nothing
      has_control = has_control || (in_string && i < text.size() && static_cast<unsigned char>(text[i]) < 0x20);
    } else if (text[i] == '"') {
      in_string = !in_string;
    }
  }
  if (in_string || has_control) return TextFault::kStrings;
  if (text.find_first_not_of(" \t\n\r") == std::string_view::npos) return TextFault::kNoValue;
  return IsValidUtf8(text) ? TextFault::kNone : TextFault::kInvalidUtf8;
}

bool IsValidUtf8(std::string_view text) { return simdjson::validate_utf8(text.data(), text.size()); }

}  // namespace firn::decode::json
