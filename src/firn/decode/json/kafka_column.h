// KafkaColumn: fills a struct column with a record's place and metadata, whichever of the known fields the column has.
//
// Owned by one decoder and its thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "firn/base/error.h"
#include "firn/columnar/column_builder.h"
#include "firn/decode/reject.h"
#include "firn/schema/type.h"
#include "firn/stream/record_source.h"

namespace firn::decode::json {

// The record's own timestamp in microseconds. Producers may send any 64-bit number; outside 1970 to 9999 it is no time.
std::optional<int64_t> TimestampMicros(const stream::Record& record);

class KafkaColumn {
 public:
  // kInvalidInput: the column is no struct, a known field has another type, or a field is required and unknown.
  static Result<KafkaColumn> Create(const schema::Field& field);

  // Appends one struct. False: a required field has no value for this record, or the batch no room; `reject` is filled,
  // the row unfinished.
  bool Append(const stream::Record& record, const stream::SourcePartition& partition, columnar::ColumnBuilder& column,
              Reject& reject);

 private:
  enum class Part : uint8_t { kTopic, kPartition, kOffset, kTimestamp, kTimestampType, kKey, kHeaders, kOther };
  struct Entry {
    Part part = Part::kOther;
    bool required = false;
    bool is_text = false;   // kKey: a string column, which wants valid UTF-8
    std::string name;
    // kHeaders: where name and value stand in the element, and whether the value is text. -1: not there.
    int32_t header_name = -1;
    int32_t header_value = -1;
    bool header_value_is_text = false;
    bool header_value_required = false;
    size_t header_fields = 0;
  };

  static Part PartOf(std::string_view name);
  static Status CheckType(const schema::Field& field, Entry& entry);
  static Status CheckHeaders(const schema::Field& field, Entry& entry);
  // False: nothing there to append.
  bool AppendPart(const Entry& entry, const stream::Record& record, const stream::SourcePartition& partition,
                  columnar::ColumnBuilder& column);
  bool AppendHeaders(const Entry& entry, const stream::Record& record, columnar::ColumnBuilder& column);
  bool AppendBytes(std::string_view bytes, bool is_text, columnar::ColumnBuilder& column);

  std::vector<Entry> entries_;  // one a field
  std::string scratch_;
  bool is_full_ = false;        // a column of the batch has no room left
  bool lacks_value_ = false;    // a header has no value, and must have one
};

}  // namespace firn::decode::json
