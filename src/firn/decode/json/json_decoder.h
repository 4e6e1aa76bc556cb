// JsonDecoder: JSON records into the columns of one table, by a plan compiled once from the table's schema.
//
// Owned by one worker thread. Decode appends exactly one row to the RowBuilder, or leaves it as it was and says why.
// docs/types.md is the table of what each JSON value becomes in each column type; decode/json/json_table_test.cc
// checks that table row by row.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "firn/base/error.h"
#include "firn/columnar/column_builder.h"
#include "firn/decode/reject.h"
#include "firn/schema/type.h"
#include "firn/stream/record_source.h"

namespace firn::decode::json {

enum class UnknownFields : uint8_t { kCount, kKeep, kReject };
enum class DuplicateKeys : uint8_t { kLast, kFirst, kReject };
enum class EpochUnit : uint8_t { kAuto, kSeconds, kMillis, kMicros, kNanos };  // numbers in timestamp columns
enum class BinaryText : uint8_t { kBase64, kHex };

inline constexpr int32_t kDepthMaxDefault = 64;
inline constexpr int32_t kDepthMaxLimit = 1000;             // the walk nests on the stack
inline constexpr int64_t kRecordBytesMaxDefault = 16 << 20;
inline constexpr int64_t kRecordBytesMaxLimit = 1 << 30;
// What the elements of all lists and maps of a record may hold in columns beside texts and bytes, each with all of its
// fields: two bytes of JSON may stand for an element of a thousand columns. A list<long> of 16 MiB of JSON fits.
inline constexpr int64_t kElementBytesMax = 64 << 20;
inline constexpr size_t kUnknownFieldNamesMax = 1000;  // distinct unknown paths that are counted by name

// How one column is filled, where that is not "the JSON path that equals the column's name". Several columns may take
// from one path, and from paths inside each other (a JSON text and one of its fields). A field of a struct may have a
// path of its own; elements of lists and maps may not.
struct ColumnSource {
  std::vector<std::string> path;              // JSON path from the root of the record, one key a level; empty: by name
  std::optional<EpochUnit> epoch_unit;        // this column's own unit
  std::optional<BinaryText> binary_text;
};

struct JsonDecoderOptions {
  UnknownFields unknown_fields = UnknownFields::kCount;
  std::string unknown_column;                 // kKeep: name of the string column that takes them as one JSON object
  DuplicateKeys duplicate_keys = DuplicateKeys::kLast;
  EpochUnit epoch_unit = EpochUnit::kMillis;
  BinaryText binary_text = BinaryText::kBase64;
  int32_t depth_max = kDepthMaxDefault;
  int64_t record_bytes_max = kRecordBytesMaxDefault;
  std::map<FieldId, ColumnSource> sources;    // keyed by the field's id: survives a rename of the column
  std::map<FieldId, __int128> unscaled_min;   // of decimal columns, by the field's id: what is less is out of range
  std::string kafka_column;                   // struct column filled with position and metadata; empty: none
  std::string raw_column;                     // string or binary column filled with the record's bytes; empty: none
};

// What the decoder has seen, for metrics; reset by TakeCounts.
struct UnknownFieldCounts {
  std::map<std::string, uint64_t> by_path;    // at most kUnknownFieldNamesMax names
  uint64_t beyond_the_limit = 0;
  std::map<std::string, std::string> sample_by_path;  // first value seen, shortened to 100 bytes
};

class JsonDecoder {
 public:
  // kInvalidInput: the options name a column that is missing or has the wrong type, with the remedy. kUnsupported: the
  // table has a column of a type that JSON cannot fill.
  static Result<std::unique_ptr<JsonDecoder>> Create(const schema::Schema& schema, JsonDecoderOptions options);
  virtual ~JsonDecoder() = default;
  // True: one row appended. False: nothing appended, `reject` filled.
  virtual bool Decode(const stream::Record& record, const stream::SourcePartition& partition,
                      columnar::RowBuilder& rows, Reject& reject) = 0;
  virtual UnknownFieldCounts TakeUnknownFieldCounts() = 0;
};

// Dotted names of the required columns (and of required fields of required structs) that are filled only where a record
// happens to have a key of their name: no source names a path for them and the decoder does not fill them itself. Used
// by `firn check`.
std::vector<std::string> RequiredColumnsWithoutSource(const schema::Schema& schema, const JsonDecoderOptions& options);

// The type of the `_kafka` struct that table creation uses: topic, partition, offset, timestamp, timestamp_type, key,
// headers (list of struct name, value); field ids are placeholders.
schema::TypePtr KafkaColumnType();

}  // namespace firn::decode::json
