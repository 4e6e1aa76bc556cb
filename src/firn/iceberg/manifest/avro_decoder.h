// Decoding one Avro datum after the other by its writer's schema, straight into what a manifest needs.
//
// Free functions on (schema node, cursor): each consumes exactly one datum. A union is resolved first, and its null
// branch is nullopt (or nothing appended). A datum of another kind than asked for, or bytes that end early, are
// kCorruption. Collections are bounded by the bytes that are left, so a count cannot make memory.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "firn/base/byte_cursor.h"
#include "firn/base/error.h"
#include "firn/iceberg/manifest/avro_schema.h"
#include "firn/schema/type.h"
#include "firn/schema/value.h"

namespace firn::iceberg {

// Reads the branch index of a union; any other schema is its own branch.
Result<const AvroSchema*> ResolveUnion(const AvroSchema& schema, ByteCursor& cursor);

Status SkipDatum(const AvroSchema& schema, ByteCursor& cursor);

Result<std::optional<bool>> DecodeBoolean(const AvroSchema& schema, ByteCursor& cursor);
Result<std::optional<int64_t>> DecodeLong(const AvroSchema& schema, ByteCursor& cursor);  // int or long
Result<std::optional<int32_t>> DecodeInt(const AvroSchema& schema, ByteCursor& cursor);   // int, or a long that fits
Result<std::optional<std::string>> DecodeBytes(const AvroSchema& schema, ByteCursor& cursor);  // string, bytes, fixed

// Maps with int keys as Iceberg stores them: an array of (key, value) records; an Avro map with number keys also goes.
Status DecodeLongMap(const AvroSchema& schema, ByteCursor& cursor, std::map<int32_t, int64_t>& out);
Status DecodeBytesMap(const AvroSchema& schema, ByteCursor& cursor, std::map<int32_t, std::string>& out);
Status DecodeLongList(const AvroSchema& schema, ByteCursor& cursor, std::vector<int64_t>& out);
Status DecodeIntList(const AvroSchema& schema, ByteCursor& cursor, std::vector<int32_t>& out);

// Calls `item(item_schema)` once for each item of an array; null arrays give false, arrays true.
template <typename Item>
Result<bool> DecodeArray(const AvroSchema& schema, ByteCursor& cursor, Item item);

// A primitive value as a column of type `type` holds it, promotions (int → long, float → double) included.
Result<schema::Value> DecodeValue(const AvroSchema& schema, const schema::Type& type, ByteCursor& cursor);

// The number of items of the next block of an array or map (0: it ends).
Result<int64_t> NextBlockCount(ByteCursor& cursor);

std::unexpected<Error> UnexpectedKind(const AvroSchema& schema, std::string_view wanted);

template <typename Item>
Result<bool> DecodeArray(const AvroSchema& schema, ByteCursor& cursor, Item item) {
  FIRN_ASSIGN(const AvroSchema* branch, ResolveUnion(schema, cursor));
  if (branch->kind == AvroKind::kNull) return false;
  if (branch->kind != AvroKind::kArray) return UnexpectedKind(*branch, "array");
  while (true) {
    FIRN_ASSIGN(const int64_t count, NextBlockCount(cursor));
    if (count == 0) return true;
    for (int64_t i = 0; i < count; ++i) FIRN_TRY(item(*branch->items[0]));
  }
}

}  // namespace firn::iceberg
