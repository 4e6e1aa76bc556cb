// What a RecordDecoder says when a record does not become a row: code, column, place, value.
#include <fmt/format.h>

#include <iterator>
#include <utility>

#include "firn/decode/json/record_decoder.h"

namespace firn::decode::json {

bool RecordDecoder::Fail(RejectCode code, std::string message) {
  reject_->code = code;
  reject_->message = std::move(message);
  return false;
}

bool RecordDecoder::Malformed() {
  return Fail(RejectCode::kMalformedJson, fmt::format("not JSON from byte {} on", cursor_.at()));
}

bool RecordDecoder::FailText(TextFault fault) {
  Uncount();
  switch (fault) {
    case TextFault::kNone: break;
    case TextFault::kStrings:
      return Fail(RejectCode::kMalformedJson, "not JSON: a string without end, or a control character inside one");
    case TextFault::kNoValue: return Fail(RejectCode::kMalformedJson, "the record is white space only");
    case TextFault::kInvalidUtf8: return Fail(RejectCode::kInvalidUtf8, "the record is not UTF-8");
  }
  return false;
}

bool RecordDecoder::FailStep(TextCursor::Step step, const Place& place) {
  if (step == TextCursor::Step::kMalformed) return Malformed();
  return Fail(RejectCode::kTooDeep, fmt::format("nested deeper than depth_max ({}), at '{}'", options_.depth_max,
                                                PlaceText(place)));
}

bool RecordDecoder::FailEscapes(Escapes escapes, const Place& place) {
  if (escapes == Escapes::kMalformed) return Malformed();
  return Fail(RejectCode::kInvalidUtf8,
              fmt::format("a \\u escape is half of a surrogate pair and has no UTF-8 form, at '{}'", PlaceText(place)));
}

bool RecordDecoder::FailConversion(Conversion outcome, const ValuePlan& plan, uint32_t at, const Place& place) {
  RejectCode code = RejectCode::kWrongType;
  std::string_view why = "does not take this value";
  switch (outcome) {
    case Conversion::kDone:
    case Conversion::kWrongType: break;
    case Conversion::kOutOfRange:
      code = RejectCode::kOutOfRange;
      why = plan.rule.unscaled_min.has_value()
                ? "has no such value, or its truncated partition value none: out of range"
                : "has no such value: out of range";
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
                                ValueText(at)));
}

bool RecordDecoder::FailType(const ValuePlan& plan, const Place& place) {
  uint32_t at = cursor_.at();
  // A broken value is no value of another type.
  if (!SkipValue(place)) return false;
  return FailConversion(Conversion::kWrongType, plan, at, place);
}

bool RecordDecoder::FailDuplicate(const Place& place) {
  return Fail(RejectCode::kDuplicateKey, fmt::format("the same key twice in one object, at '{}'", PlaceText(place)));
}

bool RecordDecoder::FailMissing(std::string_view column) {
  return Fail(RejectCode::kMissingRequired,
              fmt::format("the record has no value for the required column '{}'", column));
}

bool RecordDecoder::FailElements(const ValuePlan& plan, const Place& place) {
  return Fail(RejectCode::kTooLarge,
              fmt::format("the elements of the record's lists and maps would take more than {} bytes; column '{}' "
                          "({}), at '{}'",
                          kElementBytesMax, plan.name, plan.type_name, PlaceText(place)));
}

std::string RecordDecoder::ValueText(uint32_t at) const {
  return Shorten(cursor_.ValueFrom(at), kRejectValueBytesMax);
}

void RecordDecoder::AppendPlace(const Place& place, std::string& out) {
  if (place.above == nullptr) return;
  AppendPlace(*place.above, out);
  if (place.index >= 0) {
    fmt::format_to(std::back_inserter(out), "[{}]", place.index);
    return;
  }
  if (place.above->above != nullptr) out += '.';
  out += place.key;
}

std::string RecordDecoder::PlaceText(const Place& place) {
  std::string text;
  AppendPlace(place, text);
  return Shorten(text, kRejectValueBytesMax);
}

}  // namespace firn::decode::json
