// Encoding single Avro data for the manifests' writers: lengths, optionals, partition values.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "firn/base/byte_cursor.h"
#include "firn/base/error.h"
#include "firn/schema/type.h"
#include "firn/schema/value.h"

namespace firn::iceberg {

// Branches of ["null", T].
inline constexpr int64_t kNullBranch = 0;
inline constexpr int64_t kValueBranch = 1;

void EncodeBytes(std::string_view bytes, ByteWriter& writer);
void EncodeOptionalLong(std::optional<int64_t> value, ByteWriter& writer);
void EncodeOptionalBytes(const std::optional<std::string>& value, ByteWriter& writer);

// The value as a column of the field's type holds it after the spec's promotions (int → long, float → double); a value
// that the type cannot hold is kInvalidInput with the field's name.
Result<schema::Value> PromoteValue(const schema::Field& field, const schema::Value& value);

// ["null", T] of a promoted value.
void EncodeOptionalValue(const schema::Type& type, const schema::Value& value, ByteWriter& writer);

// Bytes of the smallest two's complement that holds every decimal of this precision.
int32_t DecimalBytes(int32_t precision);

}  // namespace firn::iceberg
