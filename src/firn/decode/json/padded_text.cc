#include "firn/decode/json/padded_text.h"

#include <algorithm>
#include <cstring>

namespace firn::decode::json {
namespace {

constexpr size_t kCapacityMin = size_t{16} << 10;

}  // namespace

std::string_view PaddedText::Load(std::string_view text) {
  const size_t needed = text.size() + kTextPadding;
  if (needed > capacity_) {
    capacity_ = std::max(kCapacityMin, needed + needed / 2);
    bytes_ = std::make_unique_for_overwrite<char[]>(capacity_);
  }
  if (!text.empty()) std::memcpy(bytes_.get(), text.data(), text.size());
  std::memset(bytes_.get() + text.size(), 0, kTextPadding);
  return {bytes_.get(), text.size()};
}

void PaddedText::GiveBackMemory() {
  bytes_.reset();
  capacity_ = 0;
}

}  // namespace firn::decode::json
