// Reads one item of `tables` into a TableRule: name, conditions, columns or schema file, partition, decode options.
//
// Pure but for schema_file, which is read from the configuration's folder. What is wrong goes to the block's problems.
#pragma once

#include <string>

#include "firn/base/error.h"
#include "firn/config/block_reader.h"
#include "firn/ingest/pipeline_options.h"

namespace firn::config {

// Sets only what the block names, so that a table's block can stand on top of the pipeline's.
void ReadDecodeOptions(const BlockReader& block, decode::json::JsonDecoderOptions& options);

void ReadHistoryPolicy(const BlockReader& block, std::string_view name, ingest::HistoryPolicy& policy);

// "event_day=90d". kInvalidInput.
Result<ingest::DataRetention> ParseRetention(const std::string& text);
std::string FormatRetention(const ingest::DataRetention& retention);

ingest::TableRule ReadTableRule(const BlockReader& block, const decode::json::JsonDecoderOptions& pipeline_decode,
                                const std::string& folder);

// Why a table name (or template) cannot be taken; empty: it can. `template_allowed`: {topic} and its kin may stand in
// it.
std::string TableNameProblem(const std::string& name, bool template_allowed);

}  // namespace firn::config
