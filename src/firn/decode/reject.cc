#include "firn/decode/reject.h"

namespace firn::decode {

std::string_view RejectCodeName(RejectCode code) {
  switch (code) {
    case RejectCode::kMalformedJson: return "malformed_json";
    case RejectCode::kInvalidUtf8: return "invalid_utf8";
    case RejectCode::kNotAnObject: return "not_an_object";
    case RejectCode::kTooDeep: return "too_deep";
    case RejectCode::kTooLarge: return "too_large";
    case RejectCode::kWrongType: return "wrong_type";
    case RejectCode::kOutOfRange: return "out_of_range";
    case RejectCode::kInexactNumber: return "inexact_number";
    case RejectCode::kMissingRequired: return "missing_required";
    case RejectCode::kNullRequired: return "null_required";
    case RejectCode::kDuplicateKey: return "duplicate_key";
    case RejectCode::kUnknownField: return "unknown_field";
    case RejectCode::kEmptyValue: return "empty_value";
    case RejectCode::kTombstone: return "tombstone";
    case RejectCode::kNoRoute: return "no_route";
    case RejectCode::kRulesChanged: return "rules_changed";
  }
  return "malformed_json";
}

}  // namespace firn::decode
