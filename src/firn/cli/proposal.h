// Proposal: an inferred schema as a configuration that can be run, with the doubts as comments.
//
// Pure functions.
#pragma once

#include <string>

#include "firn/decode/json/infer.h"

namespace firn::cli {

struct ProposalFrame {
  std::string table;  // "lake.events"
  std::string bootstrap;
  std::string topic;
  std::string folder;       // absolute; catalog and warehouse are proposed in it
  bool table_only = false;  // only the item of `tables`, for a configuration that exists
};

std::string ProposalYaml(const decode::json::InferredSchema& inferred, const ProposalFrame& frame);

// "lake.<topic>" with every character outside [a-z0-9_] turned into '_'.
std::string ProposedTableName(std::string_view topic);

}  // namespace firn::cli
