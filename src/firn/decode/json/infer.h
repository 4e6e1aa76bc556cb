// Schema inference: proposes columns for a topic out of sample records. A proposal for people (`firn infer`), never
// taken without them: samples show what was, not what is allowed.
//
// Pure functions, any thread. Bounded: distinct keys, depth and columns have limits, whatever the samples hold.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "firn/base/error.h"
#include "firn/decode/json/json_decoder.h"
#include "firn/schema/type.h"

namespace firn::decode::json {

inline constexpr size_t kInferredColumnsMax = 2000;  // root columns; further keys are only named in the notes

struct InferOptions {
  // An object with more distinct keys over all samples is free-form: a string column with its JSON text.
  size_t distinct_keys_max = 64;
  // So is an object or list nested deeper than this many levels below the record.
  int32_t depth_max = 8;
};

// kHigh: all samples agree and the type leaves no doubt. kMedium: a guess by name or magnitude. kLow: samples disagree,
// or there were hardly any values.
enum class Confidence : uint8_t { kHigh, kMedium, kLow };

struct InferredColumn {
  FieldId id;        // in InferredSchema::schema
  std::string name;  // dotted: "src.port", "resources.element.arn"
  Confidence confidence = Confidence::kHigh;
  std::string note;      // why this type, for people
  uint64_t present = 0;  // values seen, nulls included
  uint64_t nulls = 0;
  std::optional<EpochUnit> epoch_unit;  // of a timestamptz that comes as numbers
};

struct InferredSchema {
  schema::Schema schema;                    // every column optional; ids count from 1
  std::vector<InferredColumn> columns;      // every field, nested ones too, parents before children
  std::vector<std::string> notes;           // about keys that got no column
  std::map<FieldId, ColumnSource> sources;  // the epoch units, as the decoder wants them
  uint64_t record_count = 0;                // samples that are JSON objects
  uint64_t unusable_count = 0;              // samples that are not
};

// kInvalidInput: no sample is a JSON object.
Result<InferredSchema> InferSchema(std::span<const std::string> samples, const InferOptions& options);

}  // namespace firn::decode::json
