// One JSON string, number or boolean into one value of a primitive column: the rules of docs/types.md as code.
//
// Pure but for the builder that takes the value; any thread. Nothing is appended unless the outcome is kDone.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "firn/columnar/column_builder.h"
#include "firn/decode/json/json_decoder.h"
#include "firn/decode/json/json_number.h"
#include "firn/schema/type.h"

namespace firn::decode::json {

enum class Conversion : uint8_t {
  kDone,
  kWrongType,
  kOutOfRange,
  kInexact,
  kColumnFull,  // 32-bit offsets are used up; see column_builder.h
};

struct ScalarRule {
  schema::TypeKind kind = schema::TypeKind::kString;
  int32_t precision = 0;
  int32_t scale = 0;
  int32_t length = 0;
  EpochUnit epoch_unit = EpochUnit::kMillis;
  BinaryText binary_text = BinaryText::kBase64;
  std::optional<__int128> unscaled_min;  // of a decimal, where the type would take less
  bool is_map_key = false;  // its text stands for a boolean too
};

Conversion AppendText(const ScalarRule& rule, std::string_view text, std::string& scratch,
                      columnar::ColumnBuilder& column);
Conversion AppendNumber(const ScalarRule& rule, const JsonNumber& number, columnar::ColumnBuilder& column);
Conversion AppendBoolean(const ScalarRule& rule, bool value, columnar::ColumnBuilder& column);

}  // namespace firn::decode::json
