// Table intake: what the pipeline's main way and a lane do alike with a record and its table: route it, decode it, and
// freeze what came together into a batch. So a record becomes the same row on either way.
//
// Functions of what they are given; a Sink and a Router belong to one thread at a time.
#pragma once

#include <string>
#include <vector>

#include "firn/base/error.h"
#include "firn/columnar/column_builder.h"
#include "firn/decode/reject.h"
#include "firn/ingest/batch_commit.h"
#include "firn/ingest/rules.h"
#include "firn/ingest/sinks.h"
#include "firn/stream/record_source.h"

namespace firn::ingest {

// True: `route.table` names the table. False: `reject` filled, and `route.table` what is known of it.
bool RouteToTable(Router& router, const std::vector<TableRule>& rules, const stream::Record& record,
                  const std::string& topic, Route& route, decode::Reject& reject);

// Appends the record's row to `rows`, which has the sink's columns. False: `reject` filled, nothing appended.
bool DecodeRow(const stream::Record& record, const stream::SourcePartition& partition, Sink& sink,
               columnar::RowBuilder& rows, decode::Reject& reject);

// Appends to the rejects table's sink, whose rows are packed before when the batch has no room for it.
void AppendReject(Sink& sink, const stream::Record& record, const stream::SourcePartition& partition,
                  const decode::Reject& reject, const std::string& intended_table, int64_t now_ms);

// Moves the sink's rows into a batch of its table; the sink is empty then.
TableBatch FreezeRows(Sink& sink, Claims claims);

// Of a record that the rules of before may have given to another table (positions.md, section 6).
decode::Reject RulesChangedReject();

// What ends a run under `rejects.policy: stop`.
Error StoppedByReject(const stream::Record& record, const stream::SourcePartition& partition,
                      const decode::Reject& reject);

}  // namespace firn::ingest
