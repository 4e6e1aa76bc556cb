// Topic start: the positions of partitions that the home does not know yet (positions.md, section 5.1).
#pragma once

#include <stop_token>
#include <vector>

#include "firn/base/error.h"
#include "firn/ingest/home.h"
#include "firn/ingest/pipeline_options.h"
#include "firn/stream/record_source.h"

namespace firn::ingest {

// Makes sure that the home has a mark for each of `partitions`: resolves the start policy for all partitions of a topic
// that it meets for the first time, in one home commit. kConflict: the home was moved by somebody else meanwhile.
Status EnsureTopicsStarted(Home& home, stream::RecordSource& source, const StartPolicy& policy,
                           const std::vector<stream::SourcePartition>& partitions, std::stop_token stop);

}  // namespace firn::ingest
