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

// What of the resolved sources the decoder has to be told: paths that are not "the parent's path, then the field's
// name", and units. Fields below a list or map have no path of their own (they lie in the element), and the columns
// that the decoder fills itself (unknown_column, raw_column, kafka_column) have no source.
ColumnSourcesById DecoderSources(const schema::Schema& schema, const ColumnSourcesById& resolved,
                                 const decode::json::JsonDecoderOptions& options);

std::string SerializeSources(const ColumnSourcesById& sources);
Result<ColumnSourcesById> ParseSources(std::string_view json_text);

}  // namespace firn::ingest
