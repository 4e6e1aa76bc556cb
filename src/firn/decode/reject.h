// Reject: why a record did not become a row. A bad record is data, not an Error: it goes to the rejects table with its
// bytes, and the rest flows.
//
// Codes are an on-disk contract (docs/formats/rejects.md): add, never rename.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace firn::decode {

enum class RejectCode : uint8_t {
  kMalformedJson,      // not JSON, or more than one value
  kInvalidUtf8,
  kNotAnObject,        // the root is not a JSON object
  kTooDeep,            // nesting beyond decode.depth_max
  kTooLarge,           // the record is longer than decode.record_bytes_max, or its elements take too much room
  kWrongType,          // a JSON value that the column's type does not take
  kOutOfRange,         // a number, date, decimal, fixed length outside the type
  kInexactNumber,      // 1.5 into a long, more digits than the decimal's scale
  kMissingRequired,    // required column without a value
  kNullRequired,       // required column with null
  kDuplicateKey,       // the same key twice in one object, by policy
  kUnknownField,       // by policy
  kEmptyValue,         // value of no bytes
  kTombstone,          // null value
  kNoRoute,            // no table for it
  kRulesChanged,       // in doubt after a change of the routing rules
};
std::string_view RejectCodeName(RejectCode code);  // "malformed_json", ...

struct Reject {
  RejectCode code = RejectCode::kMalformedJson;
  std::string message;  // for people: column, place, value (shortened to 200 bytes)
};

}  // namespace firn::decode
