// A topic has moved to another cluster: what positions stand for in the old log is said again for the new one
// (`firn positions move`).
//
// Pure. Only what is sure is planned: offsets that are the same, that begin anew, or that somebody gives one by one.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "firn/base/error.h"
#include "firn/ingest/positions_admin.h"

namespace firn::ingest {

// (partition, offset in the old log) → offset in the new log.
using OffsetPairs = std::map<std::pair<int32_t, int64_t>, int64_t>;

// Lines of "partition old new"; empty ones and those that begin with '#' do not count. kInvalidInput: anything else, or
// pairs that go back.
Result<OffsetPairs> ParseOffsetPairs(std::string_view text);

struct MoveRequest {
  enum class Offsets : uint8_t {
    kKeep,      // the new log holds each record at the offset that it had
    kEarliest,  // the new log begins with the first record that has not been read
    kPairs,     // as `pairs` says
  };
  std::string topic;          // as the home names it
  std::string from_cluster;
  std::string from_topic_id;  // needed only when the old cluster has had several topics of the name
  std::string to_cluster;
  std::string to_topic_id;
  Offsets offsets = Offsets::kKeep;
  OffsetPairs pairs;
};

struct MovePlan {
  struct Write {
    std::string table;
    std::optional<PositionsMap> planned;  // what stood
    Marks marks;
  };
  std::vector<Write> writes;  // in this order: tables, then the home
  std::vector<AdminChange> changes;
};

// The old log's positions stay. kNotFound: the home does not know the topic there. kConflict: a table is not where the
// home is, so that the rest has to be read from the old cluster first. kAlreadyExists: the new log has been read from.
// kInvalidInput: pairs are missing, all of which are named.
Result<MovePlan> PlanMove(const MoveRequest& request, const PipelinePositions& shown);

}  // namespace firn::ingest
