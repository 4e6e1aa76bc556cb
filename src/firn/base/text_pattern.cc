#include "firn/base/text_pattern.h"

#include <fmt/format.h>
#include <re2/re2.h>

namespace firn {
namespace {

constexpr int64_t kCompiledBytesMax = 8 << 20;

// RE2's words without the piece of the pattern that it adds: a pattern may come from a secret place.
std::string Reason(const re2::RE2& compiled) {
  std::string reason = compiled.error();
  std::string piece = ": " + compiled.error_arg();
  if (reason.ends_with(piece)) reason.resize(reason.size() - piece.size());
  return reason;
}

}  // namespace

TextPattern::TextPattern(std::unique_ptr<re2::RE2> compiled) : compiled_(std::move(compiled)) {}
TextPattern::TextPattern(TextPattern&&) noexcept = default;
TextPattern& TextPattern::operator=(TextPattern&&) noexcept = default;
TextPattern::~TextPattern() = default;

Result<TextPattern> TextPattern::Create(const std::string& pattern) {
  re2::RE2::Options options;
  options.set_log_errors(false);  // the message below is the one
  options.set_never_capture(true);
  options.set_max_mem(kCompiledBytesMax);
  auto compiled = std::make_unique<re2::RE2>(pattern, options);
  if (!compiled->ok()) {
    return Fail(ErrorCode::kInvalidInput,
                fmt::format("not a regular expression in RE2's syntax, which has no back references and no look-around "
                            "({})",
                            Reason(*compiled)));
  }
  return TextPattern(std::move(compiled));
}

bool TextPattern::Matches(std::string_view text) const {
  return re2::RE2::FullMatch(re2::StringPiece(text.data(), text.size()), *compiled_);
}

}  // namespace firn
