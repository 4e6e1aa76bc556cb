#include "firn/parquet/format.h"

#include <parquet/schema.h>
#include <parquet/types.h>

#include "firn/parquet/thrift_compact.h"

namespace firn::parquet::format {
namespace {

namespace pq = ::parquet;

constexpr int32_t kFileVersion = 2;

template <typename Enum>
int32_t Number(Enum value) {
  return static_cast<int32_t>(value);
}

void EmptyStruct(ThriftWriter& thrift, int16_t id) {
  thrift.BeginStruct(id);
  thrift.EndStruct();
}

void AppendTimeUnit(ThriftWriter& thrift, int16_t id, pq::LogicalType::TimeUnit::unit unit) {
  thrift.BeginStruct(id);
  using Unit = pq::LogicalType::TimeUnit;
  EmptyStruct(thrift, unit == Unit::MILLIS ? 1 : unit == Unit::MICROS ? 2 : 3);
  thrift.EndStruct();
}

// The union LogicalType; only what ToParquetSchema makes.
void AppendLogicalType(ThriftWriter& thrift, int16_t id, const pq::LogicalType& type) {
  thrift.BeginStruct(id);
  if (type.is_string()) EmptyStruct(thrift, 1);
  if (type.is_map()) EmptyStruct(thrift, 2);
  if (type.is_list()) EmptyStruct(thrift, 3);
  if (type.is_decimal()) {
    const auto& decimal = static_cast<const pq::DecimalLogicalType&>(type);
    thrift.BeginStruct(5);
    thrift.I32(1, decimal.scale());
    thrift.I32(2, decimal.precision());
    thrift.EndStruct();
  }
  if (type.is_date()) EmptyStruct(thrift, 6);
  if (type.is_time()) {
    const auto& time = static_cast<const pq::TimeLogicalType&>(type);
    thrift.BeginStruct(7);
    thrift.Bool(1, time.is_adjusted_to_utc());
    AppendTimeUnit(thrift, 2, time.time_unit());
    thrift.EndStruct();
  }
  if (type.is_timestamp()) {
    const auto& timestamp = static_cast<const pq::TimestampLogicalType&>(type);
    thrift.BeginStruct(8);
    thrift.Bool(1, timestamp.is_adjusted_to_utc());
    AppendTimeUnit(thrift, 2, timestamp.time_unit());
    thrift.EndStruct();
  }
  if (type.is_UUID()) EmptyStruct(thrift, 14);
  thrift.EndStruct();
}

void AppendSchemaElement(ThriftWriter& thrift, const pq::schema::Node& node, bool is_root) {
  thrift.BeginElement();
  const auto* primitive = node.is_primitive() ? static_cast<const pq::schema::PrimitiveNode*>(&node) : nullptr;
  if (primitive != nullptr) {
    thrift.I32(1, Number(primitive->physical_type()));
    if (primitive->physical_type() == pq::Type::FIXED_LEN_BYTE_ARRAY) thrift.I32(2, primitive->type_length());
  }
  if (!is_root) thrift.I32(3, Number(node.repetition()));
  thrift.Binary(4, node.name());
  if (primitive == nullptr) thrift.I32(5, static_cast<const pq::schema::GroupNode&>(node).field_count());
  // Arrow numbers converted types from 1, the file from 0.
  bool converted = node.converted_type() != pq::ConvertedType::NONE && node.converted_type() < pq::ConvertedType::NA;
  if (converted) thrift.I32(6, Number(node.converted_type()) - 1);
  if (primitive != nullptr && node.converted_type() == pq::ConvertedType::DECIMAL) {
    thrift.I32(7, primitive->decimal_metadata().scale);
    thrift.I32(8, primitive->decimal_metadata().precision);
  }
  if (node.field_id() >= 0) thrift.I32(9, node.field_id());
  if (node.logical_type() != nullptr && !node.logical_type()->is_none()) {
    AppendLogicalType(thrift, 10, *node.logical_type());
  }
  thrift.EndStruct();
  if (primitive != nullptr) return;
  const auto& group = static_cast<const pq::schema::GroupNode&>(node);
  for (int i = 0; i < group.field_count(); ++i) AppendSchemaElement(thrift, *group.field(i), false);
}

size_t CountNodes(const pq::schema::Node& node) {
  if (node.is_primitive()) return 1;
  const auto& group = static_cast<const pq::schema::GroupNode&>(node);
  size_t count = 1;
  for (int i = 0; i < group.field_count(); ++i) count += CountNodes(*group.field(i));
  return count;
}

size_t CountLeaves(const pq::schema::Node& node) {
  if (node.is_primitive()) return 1;
  const auto& group = static_cast<const pq::schema::GroupNode&>(node);
  size_t count = 0;
  for (int i = 0; i < group.field_count(); ++i) count += CountLeaves(*group.field(i));
  return count;
}

void AppendNumbers(ThriftWriter& thrift, int16_t id, const std::vector<int64_t>& numbers) {
  thrift.BeginList(id, ThriftType::kI64, numbers.size());
  for (int64_t number : numbers) thrift.NumberElement(number);
}

void AppendTexts(ThriftWriter& thrift, int16_t id, std::span<const std::string> texts) {
  thrift.BeginList(id, ThriftType::kBinary, texts.size());
  for (const auto& text : texts) thrift.Bytes(text);
}

void AppendStatistics(ThriftWriter& thrift, int16_t id, const Statistics& statistics) {
  thrift.BeginStruct(id);
  thrift.I64(3, statistics.null_count);
  if (statistics.has_bounds) {
    thrift.Binary(5, statistics.max);
    thrift.Binary(6, statistics.min);
    thrift.Bool(7, statistics.max_is_exact);
    thrift.Bool(8, statistics.min_is_exact);
  }
  thrift.EndStruct();
}

void AppendSizeStatistics(ThriftWriter& thrift, int16_t id, const SizeStatistics& sizes) {
  if (!sizes.unencoded_byte_array_bytes && sizes.repetition_levels.empty() && sizes.definition_levels.empty()) return;
  thrift.BeginStruct(id);
  if (sizes.unencoded_byte_array_bytes) thrift.I64(1, *sizes.unencoded_byte_array_bytes);
  if (!sizes.repetition_levels.empty()) AppendNumbers(thrift, 2, sizes.repetition_levels);
  if (!sizes.definition_levels.empty()) AppendNumbers(thrift, 3, sizes.definition_levels);
  thrift.EndStruct();
}

void AppendColumnMetaData(ThriftWriter& thrift, int16_t id, const ColumnChunk& chunk) {
  thrift.BeginStruct(id);
  thrift.I32(1, Number(chunk.type));
  thrift.BeginList(2, ThriftType::kI32, chunk.encodings.size());
  for (Encoding encoding : chunk.encodings) thrift.NumberElement(Number(encoding));
  AppendTexts(thrift, 3, chunk.path);
  thrift.I32(4, Number(chunk.codec));
  thrift.I64(5, chunk.num_values);
  thrift.I64(6, chunk.uncompressed_bytes);
  thrift.I64(7, chunk.compressed_bytes);
  thrift.I64(9, chunk.data_page_offset);
  if (chunk.dictionary_page_offset) thrift.I64(11, *chunk.dictionary_page_offset);
  AppendStatistics(thrift, 12, chunk.statistics);
  thrift.BeginList(13, ThriftType::kStruct, chunk.encoding_counts.size());
  for (const PageEncodingCount& count : chunk.encoding_counts) {
    thrift.BeginElement();
    thrift.I32(1, Number(count.page_type));
    thrift.I32(2, Number(count.encoding));
    thrift.I32(3, count.count);
    thrift.EndStruct();
  }
  if (chunk.bloom_filter_offset) {
    thrift.I64(14, *chunk.bloom_filter_offset);
    thrift.I32(15, chunk.bloom_filter_bytes);
  }
  AppendSizeStatistics(thrift, 16, chunk.size_statistics);
  thrift.EndStruct();
}

void AppendRowGroup(ThriftWriter& thrift, const RowGroup& group, int16_t ordinal) {
  int64_t uncompressed = 0, compressed = 0;
  thrift.BeginElement();
  thrift.BeginList(1, ThriftType::kStruct, group.columns.size());
  for (const ColumnChunk& chunk : group.columns) {
    uncompressed += chunk.uncompressed_bytes;
    compressed += chunk.compressed_bytes;
    thrift.BeginElement();
    thrift.I64(2, 0);  // file_offset: required and deprecated
    AppendColumnMetaData(thrift, 3, chunk);
    thrift.I64(4, chunk.offset_index_offset);
    thrift.I32(5, chunk.offset_index_bytes);
    if (chunk.column_index_offset) {
      thrift.I64(6, *chunk.column_index_offset);
      thrift.I32(7, chunk.column_index_bytes);
    }
    thrift.EndStruct();
  }
  thrift.I64(2, uncompressed);
  thrift.I64(3, group.num_rows);
  thrift.I64(5, group.columns.empty() ? 0 : group.columns.front().start());
  thrift.I64(6, compressed);
  if (ordinal >= 0) thrift.I16(7, ordinal);
  thrift.EndStruct();
}

void AppendDataPageV2(ThriftWriter& thrift, const PageHeader& header) {
  thrift.BeginStruct(8);
  thrift.I32(1, header.num_values);
  thrift.I32(2, header.num_nulls);
  thrift.I32(3, header.num_rows);
  thrift.I32(4, Number(header.encoding));
  thrift.I32(5, header.definition_level_bytes);
  thrift.I32(6, header.repetition_level_bytes);
  thrift.Bool(7, header.is_compressed);
  thrift.EndStruct();
}

}  // namespace

void Append(const PageHeader& header, ByteBuffer& out) {
  ThriftWriter thrift(out);
  thrift.I32(1, Number(header.type));
  thrift.I32(2, header.uncompressed_bytes);
  thrift.I32(3, header.compressed_bytes);
  if (header.crc) thrift.I32(4, static_cast<int32_t>(*header.crc));
  if (header.type == PageType::kData) {
    thrift.BeginStruct(5);
    thrift.I32(1, header.num_values);
    thrift.I32(2, Number(header.encoding));
    thrift.I32(3, Number(Encoding::kRle));
    thrift.I32(4, Number(Encoding::kRle));
    thrift.EndStruct();
  } else if (header.type == PageType::kDictionary) {
    thrift.BeginStruct(7);
    thrift.I32(1, header.num_values);
    thrift.I32(2, Number(header.encoding));
    thrift.EndStruct();
  } else {
    AppendDataPageV2(thrift, header);
  }
  thrift.EndStruct();
}

void Append(const OffsetIndex& index, ByteBuffer& out) {
  ThriftWriter thrift(out);
  thrift.BeginList(1, ThriftType::kStruct, index.pages.size());
  for (const PageLocation& page : index.pages) {
    thrift.BeginElement();
    thrift.I64(1, page.offset);
    thrift.I32(2, page.compressed_bytes);
    thrift.I64(3, page.first_row);
    thrift.EndStruct();
  }
  if (!index.unencoded_byte_array_bytes.empty()) AppendNumbers(thrift, 2, index.unencoded_byte_array_bytes);
  thrift.EndStruct();
}

void Append(const ColumnIndex& index, ByteBuffer& out) {
  ThriftWriter thrift(out);
  thrift.BeginList(1, ThriftType::kTrue, index.null_pages.size());
  for (bool null_page : index.null_pages) thrift.BoolElement(null_page);
  AppendTexts(thrift, 2, index.min_values);
  AppendTexts(thrift, 3, index.max_values);
  thrift.I32(4, Number(index.boundary_order));
  AppendNumbers(thrift, 5, index.null_counts);
  thrift.EndStruct();
}

void AppendSchema(const pq::schema::GroupNode& schema, ByteBuffer& out) {
  ThriftWriter thrift(out);
  thrift.I32(1, kFileVersion);
  thrift.BeginList(2, ThriftType::kStruct, CountNodes(schema));
  AppendSchemaElement(thrift, schema, true);
}

void AppendRowGroups(std::span<const RowGroup> row_groups, ByteBuffer& out) {
  ThriftWriter thrift(out, 2);
  int64_t rows = 0;
  for (const RowGroup& group : row_groups) rows += group.num_rows;
  thrift.I64(3, rows);
  thrift.BeginList(4, ThriftType::kStruct, row_groups.size());
  for (size_t i = 0; i < row_groups.size(); ++i) {
    // The ordinal is a 16-bit number that only encryption needs; beyond it, it is left out.
    AppendRowGroup(thrift, row_groups[i], i <= INT16_MAX ? static_cast<int16_t>(i) : int16_t{-1});
  }
}

void AppendFileEnd(const std::string& key, const std::string& value, const std::string& created_by,
                   const pq::schema::GroupNode& schema, ByteBuffer& out) {
  ThriftWriter thrift(out, 4);
  thrift.BeginList(5, ThriftType::kStruct, 1);
  thrift.BeginElement();
  thrift.Binary(1, key);
  thrift.Binary(2, value);
  thrift.EndStruct();
  thrift.Binary(6, created_by);
  size_t leaves = CountLeaves(schema);
  thrift.BeginList(7, ThriftType::kStruct, leaves);
  for (size_t i = 0; i < leaves; ++i) {
    thrift.BeginElement();
    EmptyStruct(thrift, 1);  // bounds are in the order of the column's type
    thrift.EndStruct();
  }
  thrift.EndStruct();
}

void AppendBloomFilterHeader(int32_t bytes, ByteBuffer& out) {
  ThriftWriter thrift(out);
  thrift.I32(1, bytes);
  for (int16_t choice = 2; choice <= 4; ++choice) {  // split block, XXH64, uncompressed: the first of each union
    thrift.BeginStruct(choice);
    EmptyStruct(thrift, 1);
    thrift.EndStruct();
  }
  thrift.EndStruct();
}

}  // namespace firn::parquet::format
