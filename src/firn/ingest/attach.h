// Attach: how a table joins a pipeline (positions.md, section 5.3), and how a known one is opened again.
//
// Called by the ingest thread before any row for the table is decoded.
#pragma once

#include <stop_token>
#include <string>

#include "firn/base/error.h"
#include "firn/ingest/home.h"
#include "firn/ingest/map_commit.h"
#include "firn/ingest/table_state.h"

namespace firn::ingest {

struct AttachRequest {
  bool may_create = false;
  iceberg::CreateTableRequest create;  // when may_create
  bool allow_shared_topic = false;
  iceberg::Properties properties;   // set along with the first map (sources)
  std::string remedy_when_missing;  // "give columns under tables[0].columns, or create it"
};

struct AttachResult {
  bool attached = false;
  // When not attached: why a person has to decide (hold).
  std::string hold_reason;
};

// Errors: kNotFound (listed and gone, or missing and may not be created), kUnsupported (v3, ...), kInvalidInput
// (another pipeline feeds it from the same topic), and what catalog and store report.
Result<AttachResult> AttachTable(Home& home, MapCommitter& committer, TableState& table, const AttachRequest& request,
                                 std::stop_token stop);

// An expired token or a missing permission that the home met says nothing of a table: kUnavailable then, so that it is
// tried again and the table is not taken for unusable.
Status OfHomeAlone(Status status);
// As RequireDone, for an edit of the home on behalf of a table. kCorruption: the home itself is no longer this
// worker's; nothing is said of the table.
Status RequireDoneFor(const Result<MapCommitResult>& result, const std::string& home);

}  // namespace firn::ingest
