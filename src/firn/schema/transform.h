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
  static Result<Transform> Parse(std::string_view text);  // JSON form; unknown names give kUnknown, not an error

  // kInvalidInput when the source type is not allowed; else the type of the result.
  Result<TypePtr> ResultType(const Type& source) const;
  // Null → null (void: always null). The value must be of the source type.
  Value Apply(const Type& source, const Value& value) const;
};

// murmur3_x86_32, seed 0, of the bytes that the spec's Appendix B gives for a value of `type` (non-null).
int32_t BucketHash(const Type& type, const Value& value);
int32_t Murmur3(std::string_view bytes, uint32_t seed = 0);

// The text of a partition value in a path, as Java writes it: day 19737 → "2024-01-15", null → "null", URL-encoded.
std::string PartitionPathText(const Transform& transform, const Type& source, const Value& value);

}  // namespace firn::schema
