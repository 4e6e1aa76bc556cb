// What a IndexedDecoder says when a record does not become a row: code, column, place, value.
#include <fmt/format.h>

#include <iterator>
#include <utility>

#include "firn/decode/json/testing/indexed_decoder.h"

namespace firn::decode::json::testing {

bool IndexedDecoder::Fail(RejectCode code, std::string message) {
  reject_->code = code;
  reject_->message = std::move(message);
  return false;
}

bool IndexedDecoder::Malformed() {
  return Fail(RejectCode::kMalformedJson, fmt::format("not JSON from byte {} on", cursor_.position()));
}

bool IndexedDecoder::FailStep(TokenCursor::Step step, const Place& place) {
  if (step == TokenCursor::Step::kMalformed) return Malformed();
  return Fail(RejectCode::kTooDeep, fmt::format("nested deeper than depth_max ({}), at '{}'", options_.depth_max,
                                                PlaceText(place)));
}

bool IndexedDecoder::FailEscapes(Escapes escapes, const Place& place) {
  if (escapes == Escapes::kMalformed) return Malformed();
  return Fail(RejectCode::kInvalidUtf8,
              fmt::format("a \\u escape is half of a surrogate pair and has no UTF-8 form, at '{}'", PlaceText(place)));
}

bool IndexedDecoder::FailConversion(Conversion outcome, const ValuePlan& plan, uint32_t token, const Place& place) {
  RejectCode code = RejectCode::kWrongType;
  std::string_view why = "does not take this value";
  switch (outcome) {
    case Conversion::kDone:
    case Conversion::kWrongType: break;
    case Conversion::kOutOfRange:
      code = RejectCode::kOutOfRange;
      why = "has no such value: out of range";
      break;
    case Conversion::kInexact:
      code = RejectCode::kInexactNumber;
      why = "would lose digits of this number";
      break;
    case Conversion::kColumnFull:
      code = RejectCode::kTooLarge;
      why = "has no room left in this batch; cut batches earlier";
      break;
  }
  return Fail(code, fmt::format("column '{}' ({}) {}, at '{}': {}", plan.name, plan.type_name, why, PlaceText(place),
                                ValueText(token)));
}

bool IndexedDecoder::FailType(const ValuePlan& plan, const Place& place) {
  uint32_t token = cursor_.at();
  // A broken value is no value of another type.
  if (!SkipValue(place)) return false;
  return FailConversion(Conversion::kWrongType, plan, token, place);
}

bool IndexedDecoder::FailDuplicate(const Place& place) {
  return Fail(RejectCode::kDuplicateKey, fmt::format("the same key twice in one object, at '{}'", PlaceText(place)));
}

bool IndexedDecoder::FailMissing(std::string_view column) {
  return Fail(RejectCode::kMissingRequired,
              fmt::format("the record has no value for the required column '{}'", column));
}

std::string IndexedDecoder::ValueText(uint32_t token) const {
  return Shorten(cursor_.ValueFrom(token), kRejectValueBytesMax);
}

void IndexedDecoder::AppendPlace(const Place& place, std::string& out) {
  if (place.above == nullptr) return;
  AppendPlace(*place.above, out);
  if (place.index >= 0) {
    fmt::format_to(std::back_inserter(out), "[{}]", place.index);
    return;
  }
  if (place.above->above != nullptr) out += '.';
  out += place.key;
}

std::string IndexedDecoder::PlaceText(const Place& place) {
  std::string text;
  AppendPlace(place, text);
  return Shorten(text, kRejectValueBytesMax);
}

}  // namespace firn::decode::json::testing
