#include "firn/ingest/table_intake.h"

#include <fmt/format.h>

#include <utility>

#include "firn/base/check.h"

namespace firn::ingest {

bool RouteToTable(Router& router, const std::vector<TableRule>& rules, const stream::Record& record,
                  const std::string& topic, Route& route, decode::Reject& reject) {
  route.table.clear();
  if (!router.RouteRecord(record, topic, route, reject)) return false;
  const TableRule& rule = rules[route.rule];
  if (!rule.is_template()) route.table = rule.name;
  return true;
}

bool DecodeRow(const stream::Record& record, const stream::SourcePartition& partition, Sink& sink,
               columnar::RowBuilder& rows, decode::Reject& reject) {
  if (!record.value.has_value()) {
    reject.code = decode::RejectCode::kTombstone;
    reject.message = "a tombstone has no row to make; upserts are not built";
    return false;
  }
  if (record.value->empty()) {
    reject.code = decode::RejectCode::kEmptyValue;
    reject.message = "the value has no bytes";
    return false;
  }
  return sink.decoder->Decode(record, partition, rows, reject);
}

void AppendReject(Sink& sink, const stream::Record& record, const stream::SourcePartition& partition,
                  const decode::Reject& reject, const std::string& intended_table, int64_t now_ms) {
  if (sink.rejects->Append(*sink.rows, record, partition, reject, intended_table, now_ms)) return;
  sink.CutSlab();
  FIRN_CHECK(sink.rejects->Append(*sink.rows, record, partition, reject, intended_table, now_ms),
             "a reject is longer than a column can hold");
}

TableBatch FreezeRows(Sink& sink, Claims claims) {
  TableBatch table;
  table.table = &sink.state;
  table.is_rejects = sink.is_rejects();
  table.waiting = sink.Freeze();
  table.rows = table.waiting == nullptr ? 0 : table.waiting->rows();
  table.claims = std::move(claims);
  table.properties = sink.unremembered_sources;
  return table;
}

decode::Reject RulesChangedReject() {
  decode::Reject reject;
  reject.code = decode::RejectCode::kRulesChanged;
  reject.message =
      "the routing rules were changed across a restart; under the old rules this record may have gone to another table";
  return reject;
}

Error StoppedByReject(const stream::Record& record, const stream::SourcePartition& partition,
                      const decode::Reject& reject) {
  return Error(ErrorCode::kInvalidInput, fmt::format("stopped by 'rejects.policy: stop' at {}/{} offset {}: {}: {}",
                                                     partition.topic, partition.partition, record.offset,
                                                     decode::RejectCodeName(reject.code), reject.message));
}

}  // namespace firn::ingest
