// Columns as the configuration writes them ↔ an Iceberg schema with placeholder ids, and where each column comes from.
//
// Pure.
#pragma once

#include <array>
#include <optional>
#include <vector>

#include "firn/config/block_reader.h"
#include "firn/ingest/pipeline_options.h"
#include "firn/schema/type.h"

namespace firn::config {

// In the order of the choices in the table of keys.
inline constexpr std::array kEpochUnits = {decode::json::EpochUnit::kSeconds, decode::json::EpochUnit::kMillis,
                                           decode::json::EpochUnit::kMicros, decode::json::EpochUnit::kNanos,
                                           decode::json::EpochUnit::kAuto};
inline constexpr std::array kEpochUnitNames = {"s", "ms", "us", "ns", "auto"};
inline constexpr std::array kBinaryTexts = {decode::json::BinaryText::kBase64, decode::json::BinaryText::kHex};
inline constexpr std::array kBinaryTextNames = {"base64", "hex"};

// nullopt: something is wrong and has been reported. Ids count from 1, depth first.
std::optional<schema::Schema> ReadColumns(const std::vector<BlockReader>& columns,
                                          ingest::ColumnSourcesByName& sources);

// Adds the columns that the decode options name and the schema lacks: kafka_column, raw_column, unknown_column.
void AddServiceColumns(const decode::json::JsonDecoderOptions& decode, schema::Schema& schema);

// The columns as YAML, one a line, `indent` spaces before each; ReadColumns reads it back.
std::string FormatColumns(const schema::Schema& schema, const ingest::ColumnSourcesByName& sources, size_t indent);

// A YAML scalar that reads back as `text`, quoted only where it must be.
std::string QuoteYaml(std::string_view text);

}  // namespace firn::config
