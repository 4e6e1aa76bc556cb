#include "firn/decode/json/testing/structural_index.h"

#include <simdjson.h>

#include <algorithm>

#include "firn/base/check.h"

namespace firn::decode::json::testing {
namespace {

constexpr size_t kCapacityMin = size_t{64} << 10;
// A rare huge record must not hold its index for ever: beyond this the next small record gives the memory back.
constexpr size_t kCapacityKeptMax = size_t{1} << 20;

}  // namespace

struct StructuralIndex::Parser {
  std::unique_ptr<simdjson::internal::dom_parser_implementation> implementation;

  void Reserve(size_t size) {
    size_t capacity = implementation == nullptr ? 0 : implementation->capacity();
    bool too_large = capacity > kCapacityKeptMax && size <= kCapacityMin;
    if (size <= capacity && !too_large) return;
    size_t wanted = std::max(kCapacityMin, size + size / 2);
    // Depth is the walker's business; stage 1 does not look at it.
    simdjson::error_code error =
        implementation == nullptr
            ? simdjson::get_active_implementation()->create_dom_parser_implementation(wanted, 1, implementation)
            : implementation->set_capacity(wanted);
    FIRN_CHECK(error == simdjson::SUCCESS, "out of memory for the index of a JSON record");
  }
};

StructuralIndex::StructuralIndex() : parser_(std::make_unique<Parser>()) {}
StructuralIndex::~StructuralIndex() = default;

StructuralIndex::Outcome StructuralIndex::Build(std::string_view text) {
  if (text.empty()) return Outcome::kNoValue;
  parser_->Reserve(text.size());
  auto& implementation = *parser_->implementation;
  simdjson::error_code error = implementation.stage1(reinterpret_cast<const uint8_t*>(text.data()), text.size(),
                                                     simdjson::stage1_mode::regular);
  positions_ = implementation.structural_indexes.get();
  count_ = implementation.n_structural_indexes;
  switch (error) {
    case simdjson::SUCCESS: return Outcome::kOk;
    case simdjson::EMPTY: return Outcome::kNoValue;
    case simdjson::UTF8_ERROR: return Outcome::kInvalidUtf8;
    default: return Outcome::kMalformed;
  }
}

}  // namespace firn::decode::json::testing
