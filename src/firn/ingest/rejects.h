// Rejects: the table of records that did not become rows (docs/formats/rejects.md): its schema and its appender.
//
// The appender belongs to the ingest thread. It fills columns by name, so a rejects table that somebody has added
// columns to still works; a column that it does not know stays null.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "firn/base/error.h"
#include "firn/columnar/column_builder.h"
#include "firn/decode/reject.h"
#include "firn/iceberg/spec/table_update.h"
#include "firn/stream/record_source.h"

namespace firn::ingest {

// Unpartitioned values with placeholder field ids; partitioned by day(rejected_at).
iceberg::CreateTableRequest RejectsTableRequest();

class RejectsAppender {
 public:
  // kInvalidInput: a column that rejects need has another type, or is missing though the code cannot do without it.
  static Result<std::unique_ptr<RejectsAppender>> Create(const schema::Schema& schema);

  // False, and nothing appended: a column of `rows` has no room for it; into an empty builder it fits.
  bool Append(columnar::RowBuilder& rows, const stream::Record& record, const stream::SourcePartition& partition,
              const decode::Reject& reject, const std::string& intended_table, int64_t now_ms) const;

 private:
  bool AppendValues(columnar::RowBuilder& rows, const stream::Record& record, const stream::SourcePartition& partition,
                    const decode::Reject& reject, const std::string& intended_table, int64_t now_ms) const;
  bool AppendHeaders(columnar::ColumnBuilder& column, std::span<const stream::Header> headers) const;

  enum class Column : uint8_t {
    kRejectedAt,
    kCode,
    kMessage,
    kIntendedTable,
    kClusterId,
    kTopic,
    kTopicId,
    kPartition,
    kOffset,
    kTimestamp,
    kKey,
    kValue,
    kHeaders,
    kOther,
  };
  std::vector<Column> columns_;  // in the schema's order
  size_t header_name_ = 0;       // where they stand in an element of `headers`
  size_t header_value_ = 0;
};

}  // namespace firn::ingest
