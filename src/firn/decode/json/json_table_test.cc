// docs/types.md is the specification of what JSON becomes; this test decodes every row of its tables.
#include <arrow/api.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "firn/base/encoding.h"
#include "firn/decode/json/json_decoder.h"
#include "firn/decode/json/json_string.h"
#include "firn/schema/calendar.h"
#include "firn/schema/type_parser.h"

namespace firn::decode::json {
namespace {

using schema::TypeKind;

struct Case {
  int line = 0;
  bool is_record = false;  // else the JSON of one column named "c"
  std::string columns;
  std::string options;
  std::string json;
  std::string expected;
};

std::string Trim(std::string text) {
  size_t begin = text.find_first_not_of(' ');
  if (begin == std::string::npos) return "";
  return text.substr(begin, text.find_last_not_of(' ') - begin + 1);
}

std::string WithoutTicks(std::string text) {
  if (text.size() >= 2 && text.front() == '`' && text.back() == '`') return text.substr(1, text.size() - 2);
  return text;
}

std::vector<std::string> Cells(const std::string& line) {
  std::vector<std::string> cells;
  std::stringstream stream(line.substr(1));
  for (std::string cell; std::getline(stream, cell, '|');) cells.push_back(Trim(cell));
  return cells;
}

std::vector<Case> ReadCases(const std::string& path) {
  std::vector<Case> cases;
  std::ifstream file(path);
  int number = 0;
  int table = 0;  // 1: a column's value, 2: a record
  for (std::string line; std::getline(file, line);) {
    ++number;
    if (line.empty() || line[0] != '|') {
      table = 0;
      continue;
    }
    if (line == "| column type | options | JSON | becomes |") table = 1;
    if (line == "| columns | options | record | row |") table = 2;
    std::vector<std::string> cells = Cells(line);
    if (table == 0 || cells.size() < 4 || cells[0].front() != '`') continue;
    cases.push_back({number, table == 2, WithoutTicks(cells[0]), WithoutTicks(cells[1]), WithoutTicks(cells[2]),
                     cells[3]});
  }
  return cases;
}

std::string Quoted(std::string_view text) {
  std::string quoted = "\"";
  AppendEscaped(text, quoted);
  return quoted + "\"";
}

std::string Show(const arrow::Array& array, const schema::Type& type, int64_t row);

// All digits; Arrow's own form turns to exponents.
std::string ShowDecimal(const arrow::Decimal128& value, const schema::Type& type) {
  std::string digits = value.ToIntegerString();
  std::string sign = digits.starts_with('-') ? "-" : "";
  digits = digits.substr(sign.size());
  auto scale = static_cast<size_t>(type.scale());
  if (scale == 0) return sign + digits;
  if (digits.size() <= scale) digits.insert(0, scale + 1 - digits.size(), '0');
  return sign + digits.insert(digits.size() - scale, ".");
}

std::string ShowElements(const arrow::Array& array, const schema::Field& field, int64_t begin, int64_t end) {
  std::string text;
  for (int64_t i = begin; i < end; ++i) {
    if (i > begin) text += ", ";
    text += Show(array, *field.type, i);
  }
  return text;
}

std::string ShowMap(const arrow::MapArray& array, const schema::Type& type, int64_t row) {
  std::string text = "{";
  for (int64_t i = array.value_offset(row); i < array.value_offset(row + 1); ++i) {
    if (text.size() > 1) text += ", ";
    text += Show(*array.keys(), *type.key().type, i) + ": " + Show(*array.items(), *type.value().type, i);
  }
  return text + "}";
}

std::string ShowStruct(const arrow::StructArray& array, const schema::Type& type, int64_t row) {
  std::string text = "{";
  for (size_t i = 0; i < type.fields().size(); ++i) {
    if (i > 0) text += ", ";
    text += type.fields()[i].name + ": " + Show(*array.field(static_cast<int>(i)), *type.fields()[i].type, row);
  }
  return text + "}";
}

template <typename ArrayType>
auto At(const arrow::Array& array, int64_t row) {
  return static_cast<const ArrayType&>(array).Value(row);
}

std::string Show(const arrow::Array& array, const schema::Type& type, int64_t row) {
  if (array.IsNull(row)) return "null";
  switch (type.kind()) {
    case TypeKind::kBoolean: return At<arrow::BooleanArray>(array, row) ? "true" : "false";
    case TypeKind::kInt: return fmt::format("{}", At<arrow::Int32Array>(array, row));
    case TypeKind::kLong: return fmt::format("{}", At<arrow::Int64Array>(array, row));
    case TypeKind::kFloat: return fmt::format("{}", At<arrow::FloatArray>(array, row));
    case TypeKind::kDouble: return fmt::format("{}", At<arrow::DoubleArray>(array, row));
    case TypeKind::kDecimal:
      return ShowDecimal(arrow::Decimal128(static_cast<const arrow::Decimal128Array&>(array).GetValue(row)), type);
    case TypeKind::kDate: return schema::FormatDate(At<arrow::Date32Array>(array, row));
    case TypeKind::kTime: return schema::FormatTimeOfDay(At<arrow::Time64Array>(array, row), 1'000'000);
    case TypeKind::kTimestamp: return schema::FormatTimestamp(At<arrow::TimestampArray>(array, row), 1'000'000);
    case TypeKind::kTimestamptz:
      return schema::FormatTimestamp(At<arrow::TimestampArray>(array, row), 1'000'000) + "Z";
    case TypeKind::kTimestampNs: return schema::FormatTimestamp(At<arrow::TimestampArray>(array, row), 1'000'000'000);
    case TypeKind::kTimestamptzNs:
      return schema::FormatTimestamp(At<arrow::TimestampArray>(array, row), 1'000'000'000) + "Z";
    case TypeKind::kString: return Quoted(static_cast<const arrow::StringArray&>(array).GetView(row));
    case TypeKind::kBinary:
      return "x'" + HexEncode(static_cast<const arrow::BinaryArray&>(array).GetView(row)) + "'";
    case TypeKind::kFixed:
    case TypeKind::kUuid:
      return "x'" + HexEncode(static_cast<const arrow::FixedSizeBinaryArray&>(array).GetView(row)) + "'";
    case TypeKind::kStruct: return ShowStruct(static_cast<const arrow::StructArray&>(array), type, row);
    case TypeKind::kMap: return ShowMap(static_cast<const arrow::MapArray&>(array), type, row);
    case TypeKind::kList: {
      const auto& list = static_cast<const arrow::ListArray&>(array);
      return "[" + ShowElements(*list.values(), type.element(), list.value_offset(row), list.value_offset(row + 1)) +
             "]";
    }
    default: return "?";
  }
}

schema::Schema ParseColumns(const std::string& columns) {
  int32_t next_id = 1;
  Result<schema::TypePtr> type = schema::ParseTypeText("struct<" + columns + ">", next_id);
  EXPECT_TRUE(type.has_value()) << columns << ": " << (type ? "" : type.error().message());
  schema::Schema schema;
  if (type.has_value()) schema.fields = (*type)->fields();
  return schema;
}

std::vector<std::string> Split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::stringstream stream(text);
  for (std::string part; std::getline(stream, part, separator);) parts.push_back(part);
  return parts;
}

bool SetOption(const std::string& key, const std::string& value, const schema::Schema& schema,
               JsonDecoderOptions& options) {
  if (key == "epoch_unit") {
    options.epoch_unit = value == "seconds" ? EpochUnit::kSeconds
                         : value == "micros" ? EpochUnit::kMicros
                         : value == "nanos" ? EpochUnit::kNanos
                                            : EpochUnit::kAuto;
    return value == "seconds" || value == "micros" || value == "nanos" || value == "auto";
  }
  if (key == "binary_text" && value == "hex") {
    options.binary_text = BinaryText::kHex;
    return true;
  }
  if (key == "duplicate_keys") {
    options.duplicate_keys = value == "first" ? DuplicateKeys::kFirst : DuplicateKeys::kReject;
    return value == "first" || value == "reject";
  }
  if (key == "unknown_fields") {
    options.unknown_fields = value == "keep" ? UnknownFields::kKeep : UnknownFields::kReject;
    if (value == "keep") options.unknown_column = "rest";
    return value == "keep" || value == "reject";
  }
  if (key == "depth_max") options.depth_max = std::stoi(value);
  if (key == "record_bytes_max") options.record_bytes_max = std::stoi(value);
  if (key.starts_with("source.")) {
    const schema::Field* field = schema.FindByName(key.substr(7));
    if (field == nullptr) return false;
    options.sources[field->id].path = Split(value, '/');
  }
  return key == "depth_max" || key == "record_bytes_max" || key.starts_with("source.");
}

std::string ShowRow(const arrow::RecordBatch& batch, const schema::Schema& schema) {
  std::string text = "{";
  for (size_t i = 0; i < schema.fields.size(); ++i) {
    if (i > 0) text += ", ";
    text += schema.fields[i].name + ": " + Show(*batch.column(static_cast<int>(i)), *schema.fields[i].type, 0);
  }
  return text + "}";
}

// The row as text, or the code of the reject.
std::string DecodeOne(const schema::Schema& schema, const JsonDecoderOptions& options, const std::string& text) {
  Result<std::unique_ptr<JsonDecoder>> decoder = JsonDecoder::Create(schema, options);
  if (!decoder.has_value()) return decoder.error().ToString();
  columnar::RowBuilder rows(schema);
  stream::Record record;
  // A copy of exactly that size: a read beyond its end is seen by the address sanitizer.
  std::vector<char> exact(text.begin(), text.end());
  record.value = std::string_view(exact.data(), exact.size());
  Reject reject;
  if (!(*decoder)->Decode(record, {}, rows, reject)) {
    EXPECT_EQ(rows.row_count(), 0);
    EXPECT_FALSE(reject.message.empty());
    EXPECT_TRUE(rows.Finish()->ValidateFull().ok());
    return std::string(RejectCodeName(reject.code));
  }
  auto batch = rows.Finish();
  EXPECT_TRUE(batch->ValidateFull().ok()) << batch->ValidateFull().ToString();
  EXPECT_EQ(batch->num_rows(), 1);
  return ShowRow(*batch, schema);
}

TEST(TypesTable, EveryRowHolds) {
  const char* source = std::getenv("FIRN_SOURCE_DIR");
  ASSERT_NE(source, nullptr) << "run under ctest, or set FIRN_SOURCE_DIR to the repository";
  std::vector<Case> cases = ReadCases(std::string(source) + "/docs/types.md");
  ASSERT_GT(cases.size(), 350U);
  for (const Case& one : cases) {
    SCOPED_TRACE(fmt::format("docs/types.md:{}: {} {} {}", one.line, one.columns, one.options, one.json));
    schema::Schema schema = ParseColumns(one.is_record ? one.columns : "c: " + one.columns);
    JsonDecoderOptions options;
    for (const std::string& option : Split(one.options, ' ')) {
      size_t equals = option.find('=');
      ASSERT_NE(equals, std::string::npos);
      ASSERT_TRUE(SetOption(option.substr(0, equals), option.substr(equals + 1), schema, options)) << option;
    }
    std::string json = one.is_record ? one.json : one.json == "(no key)" ? "{}" : "{\"c\": " + one.json + "}";
    std::string found = DecodeOne(schema, options, json);
    if (!one.is_record && found.starts_with("{c: ")) found = found.substr(4, found.size() - 5);
    EXPECT_EQ(found, one.expected);
  }
}

}  // namespace
}  // namespace firn::decode::json
