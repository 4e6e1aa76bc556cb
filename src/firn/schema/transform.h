// Partition transforms: pure functions from a value to a partition value (spec: "Partition Transforms").
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "firn/base/error.h"
#include "firn/schema/type.h"
#include "firn/schema/value.h"

namespace firn::schema {

enum class TransformKind : uint8_t { kIdentity, kBucket, kTruncate, kYear, kMonth, kDay, kHour, kVoid, kUnknown };

struct Transform {
  TransformKind kind = TransformKind::kIdentity;
  int32_t parameter = 0;   // bucket count or truncate width
  std::string text;        // as written, for kUnknown

  bool operator==(const Transform&) const = default;
  std::string ToString() const;                        // "bucket[16]", "day", ...
  // JSON form, any case; unknown names give kUnknown, not an error. kInvalidInput: a parameter below 1 or too large.
  static Result<Transform> Parse(std::string_view text);

  // kInvalidInput when the source type is not allowed; else the type of the result (kUnknown: string, as in Java).
  Result<TypePtr> ResultType(const Type& source) const;
  // Null → null (void: always null). The value must be of the source type, and the transform not kUnknown: specs with
  // one are readable, never written (CheckWritable in partition.h). Float NaNs come out as the one canonical NaN.
  // hour saturates beyond the year 246,000, where Iceberg's int has no room.
  Value Apply(const Type& source, const Value& value) const;
};

// murmur3_x86_32, seed 0, of the bytes that the spec's Appendix B gives for a value of `type` (non-null).
// Nanoseconds are floored to microseconds first. boolean, float and double have hashes, but no bucket transform.
int32_t BucketHash(const Type& type, const Value& value);
int32_t Murmur3(std::string_view bytes, uint32_t seed = 0);

// The text of a partition value in a path, as Java writes it: day 19737 → "2024-01-15", null → "null", URL-encoded.
std::string PartitionPathText(const Transform& transform, const Type& source, const Value& value);

// application/x-www-form-urlencoded, upper-case hex, space as '+'.
std::string UrlEncodeForm(std::string_view text);

}  // namespace firn::schema
