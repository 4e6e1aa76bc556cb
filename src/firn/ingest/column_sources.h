// Column sources: which JSON path fills which field id, remembered with the table (positions.md, section 7).
//
// Pure.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "firn/base/error.h"
#include "firn/decode/json/json_decoder.h"
#include "firn/ingest/pipeline_options.h"
#include "firn/schema/type.h"

namespace firn::ingest {

using ColumnSourcesById = std::map<FieldId, decode::json::ColumnSource>;

// Remembered sources win for fields that have one; then the configuration by column name; then the name itself.
ColumnSourcesById ResolveSources(const schema::Schema& schema, const ColumnSourcesByName& configured,
                                 const ColumnSourcesById& remembered);

std::string SerializeSources(const ColumnSourcesById& sources);
Result<ColumnSourcesById> ParseSources(std::string_view json_text);

}  // namespace firn::ingest
