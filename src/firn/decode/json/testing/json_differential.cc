#include "firn/decode/json/testing/json_differential.h"

#include <arrow/api.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <utility>
#include <vector>

#include "firn/base/check.h"
#include "firn/decode/json/testing/indexed_decoder.h"
#include "firn/schema/type_parser.h"

namespace firn::decode::json::testing {
namespace {

using schema::TypeKind;

constexpr std::array kScalars = {"boolean", "int", "long", "float", "double", "decimal(9, 2)", "date", "time",
                                 "timestamp", "timestamptz", "timestamptz_ns", "string", "binary", "fixed[3]", "uuid",
                                 "string", "int", "long", "timestamptz", "string"};
constexpr std::array kMapKeys = {"string", "string", "int", "boolean", "date"};
// Among them keys of one, sixteen and more bytes, and keys that no JSON text holds as they are.
constexpr std::array kNames = {"a", "time", "name", "uid", "src_ip", "class_uid", "exactly_14byte", "exactly_15bytes",
                               "a_key_that_is_longer_than_sixteen_bytes", "a_key_that_is_longer_than_sixteen_bits",
                               "caf\xc3\xa9", "key \"x\"", "b", "c"};
// Texts and numbers that mean something to some column, and some that no JSON text may hold.
constexpr std::array kTokens = {
    "null", "true", "false", "0", "-0", "7", "-12", "123456", "12345678", "123456789", "1763769600123", "-1763769600",
    "1234567890123456", "12345678901234567", "123456789012345678", "999999999999999999", "1000000000000000000",
    "9223372036854775807", "9223372036854775808", "-9223372036854775808", "2147483647", "2147483648", "-2147483649",
    "1.5", "12.34", "-0.01", "1e3", "1E-2", "5e-324", "1e400", "253402300799999", "253402300800000", "00", "01", "-",
    "1.", ".5", "1e", "12x", "tru", "nulll", "\"\"", "\"x\"", "\"443\"", "\"1.5\"", "\"NaN\"", "\"2024-01-31\"",
    "\"2024-01-31T12:34:56.789Z\"", "\"2024-01-31 12:34:56\"", "\"12:34:56\"", "\"AAAA\"", "\"00ff01\"",
    "\"123e4567-e89b-12d3-a456-426614174000\"", "\"exactly 15bytes\"", "\"exactly 16 bytes\"", "\"seventeen bytes !\"",
    "\"a text of more than thirty-two bytes, so that its copy takes more than one step\"", "\"caf\xc3\xa9\"",
    "\"\xe2\x82\xac and \xf0\x9f\x98\x80\"", "\"\xff\"", "\"esc \\\"q\\\" \\\\ \\/ \\n\"", "\"\\u00e9\\ud83d\\ude00\"",
    "\"\\ud83d\"", "\"\\u12\"", "\"\\q\"", "\"raw\ttab\"", "\"\\\\\"", "{}", "[]", "{\"a\":1}", "[1,[2,{\"b\":null}]]",
    "{\"a\" : 1 , \"b\":[ ]}", "[[[[[1]]]]]"};

uint64_t Below(Engine& random, uint64_t limit) { return random() % limit; }
template <typename Choices>
std::string Pick(const Choices& choices, Engine& random) {
  return choices[Below(random, choices.size())];
}

std::string RandomType(int depth, Engine& random) {
  const uint64_t pick = depth == 0 ? 9 : Below(random, 10);
  if (pick == 0) return "list<" + RandomType(depth - 1, random) + ">";
  if (pick == 1) return "map<" + Pick(kMapKeys, random) + ", " + RandomType(depth - 1, random) + ">";
  if (pick > 3) return Pick(kScalars, random);
  std::string type = "struct<";
  const uint64_t fields = 1 + Below(random, 5);
  for (uint64_t i = 0; i < fields; ++i) {
    type += fmt::format("{}f{}: {}{}", i == 0 ? "" : ", ", i, RandomType(depth - 1, random),
                        Below(random, 8) == 0 ? " not null" : "");
  }
  return type + ">";
}

schema::Schema ParseTable(const std::string& columns) {
  int32_t next_id = 1;
  auto type = schema::ParseTypeText("struct<" + columns + ">", next_id);
  FIRN_CHECK(type.has_value(), "a random table's columns do not parse");
  schema::Schema schema;
  schema.fields = (*type)->fields();
  return schema;
}

// Writes one record.
class Writer {
 public:
  Writer(Engine& random, uint64_t order) : random_(random), order_(order), spaced_(Below(random, 4) == 0) {}

  std::string Object(const std::vector<schema::Field>& fields, int depth) {
    std::vector<std::pair<std::string, std::string>> members;
    for (const schema::Field& field : fields) {
      if (Below(random_, 12) == 0) continue;
      members.emplace_back(Key(field.name), Value(*field.type, depth));
      if (Below(random_, 60) == 0) members.emplace_back(Key(field.name), Value(*field.type, depth));
    }
    if (Below(random_, 6) == 0) members.emplace_back(Key(Pick(kNames, random_)), Pick(kTokens, random_));
    Engine own_order(order_);
    std::shuffle(members.begin(), members.end(), order_ == 0 ? random_ : own_order);
    std::string text = "{" + Space();
    for (size_t i = 0; i < members.size(); ++i) {
      text += fmt::format("{}\"{}\"{}:{}{}{}", i == 0 ? "" : "," + Space(), members[i].first, Space(), Space(),
                          members[i].second, Space());
    }
    return text + "}";
  }

 private:
  std::string Space() {
    constexpr std::array kSpaces = {" ", " ", "", "  ", "\n\t", "\r\n                    "};
    return spaced_ ? Pick(kSpaces, random_) : "";
  }
  // The name as it stands in JSON, sometimes with an escape that means the same.
  std::string Key(const std::string& name) {
    std::string key;
    for (char c : name) {
      if (c == '"' || c == '\\') key += '\\';
      if (Below(random_, 400) == 0 && static_cast<unsigned char>(c) < 0x80) {
        key += fmt::format("\\u{:04x}", static_cast<int>(c));
      } else {
        key += c;
      }
    }
    return key;
  }
  std::string Value(const schema::Type& type, int depth) {
    if (Below(random_, 40) == 0) return Pick(kTokens, random_);
    if (Below(random_, 12) == 0) return "null";
    switch (type.kind()) {
      case TypeKind::kStruct: return Object(type.fields(), depth + 1);
      case TypeKind::kList: {
        std::string text = "[" + Space();
        for (uint64_t i = Below(random_, 4); i > 0; --i) {
          text += Value(*type.element().type, depth + 1) + Space() + (i > 1 ? "," + Space() : "");
        }
        return text + "]";
      }
      case TypeKind::kMap: return Map(type, depth);
      default: return Scalar(type);
    }
  }
  std::string Map(const schema::Type& type, int depth) {
    std::string text = "{";
    for (uint64_t i = Below(random_, 4); i > 0; --i) {
      std::string key = Scalar(*type.key().type);
      if (key.front() != '"') key = "\"" + key + "\"";
      text += key + Space() + ":" + Value(*type.value().type, depth + 1) + (i > 1 ? "," + Space() : "");
    }
    return text + "}";
  }
  std::string Scalar(const schema::Type& type) {
    switch (type.kind()) {
      case TypeKind::kBoolean: return Below(random_, 2) == 0 ? "true" : "false";
      case TypeKind::kInt: return fmt::format("{}", static_cast<int32_t>(random_() >> Below(random_, 64)));
      case TypeKind::kLong: return fmt::format("{}", static_cast<int64_t>(random_() >> Below(random_, 64)));
      case TypeKind::kFloat:
      case TypeKind::kDouble: return fmt::format("{}.{}", Below(random_, 10'000), Below(random_, 1000));
      case TypeKind::kDecimal: return fmt::format("{}.{:02}", Below(random_, 10'000), Below(random_, 100));
      case TypeKind::kDate: return "\"2024-01-31\"";
      case TypeKind::kTime: return fmt::format("\"{:02}:{:02}:07.5\"", Below(random_, 24), Below(random_, 60));
      case TypeKind::kTimestamp: return fmt::format("\"2024-02-{:02}T10:11:12\"", 1 + Below(random_, 31));
      case TypeKind::kTimestamptz:
        return Below(random_, 2) == 0 ? fmt::format("{}", 1'700'000'000'000 + Below(random_, 1'000'000'000))
                                      : "\"2024-01-31T12:34:56.789+01:00\"";
      case TypeKind::kTimestamptzNs: return "1700000000123";
      case TypeKind::kBinary:
      case TypeKind::kFixed: return "\"AAEC\"";
      case TypeKind::kUuid: return "\"123e4567-e89b-12d3-a456-426614174000\"";
      default: return Text();
    }
  }
  std::string Text() {
    std::string text(Below(random_, 4) == 0 ? Below(random_, 100) : Below(random_, 20), 'x');
    for (char& c : text) c = static_cast<char>('a' + Below(random_, 26));
    if (Below(random_, 8) == 0) text += "\xc3\xa9\xe2\x82\xac";
    if (Below(random_, 8) == 0) text.insert(Below(random_, text.size() + 1), "\\\"");
    return "\"" + text + "\"";
  }

  Engine& random_;
  const uint64_t order_;
  const bool spaced_;
};

// Some columns, and fields of struct columns, from inside the object of the first column, or from the same place; some
// fields from where they would be taken anyway, which makes their struct one that is assembled.
void AddSources(const schema::Field& field, const std::string& first, std::vector<std::string> path, Engine& random,
                JsonDecoderOptions& options) {
  const bool is_nested = !path.empty();
  path.push_back(field.name);
  if (Below(random, is_nested ? 32 : 8) == 0) {
    options.sources[field.id].path = {first};
    if (Below(random, 2) == 0) options.sources[field.id].path.push_back("f0");
  } else if (is_nested && Below(random, 6) == 0) {
    options.sources[field.id].path = path;
  }
  if (field.type->kind() != TypeKind::kStruct) return;
  for (const schema::Field& child : field.type->fields()) AddSources(child, first, path, random, options);
}

void CheckEmpty(const columnar::ColumnBuilder& column) {
  FIRN_CHECK(column.length() == 0, "rows of one batch are left for the next");
  for (const auto& child : column.children()) CheckEmpty(*child);
}

}  // namespace

Differential::Differential(const schema::Schema& schema, const JsonDecoderOptions& options)
    : tested_rows_(schema), reference_rows_(schema) {
  auto parts = CompileDecoder(schema, options);
  FIRN_CHECK(parts.has_value(), "the options do not fit the table");
  reference_ = std::make_unique<IndexedDecoder>(std::move(*parts));
  tested_ = std::move(JsonDecoder::Create(schema, options).value());
}

bool Differential::Decode(std::string_view text) {
  // A copy of its own size, so that a read behind it is seen.
  const std::vector<char> exact(text.begin(), text.end());
  stream::Record record;
  record.value = std::string_view(exact.data(), exact.size());
  Reject reject;
  Reject expected;
  const bool is_row = reference_->Decode(record, {}, reference_rows_, expected);
  FIRN_CHECK(tested_->Decode(record, {}, tested_rows_, reject) == is_row, "a row once and a reject once");
  FIRN_CHECK(tested_rows_.row_count() == reference_rows_.row_count(), "a reject left a row");
  // Two control characters look like separators to the index until they are looked at: what is wrong elsewhere in such
  // a text may come first.
  if (is_row || text.find_first_of("\x0c\x1a") != std::string_view::npos) return is_row;
  FIRN_CHECK(reject.code == expected.code, fmt::format("{} instead of {}: {}", RejectCodeName(reject.code),
                                                       RejectCodeName(expected.code), text));
  // Where exactly a text stops being JSON is no promise.
  FIRN_CHECK(reject.code == RejectCode::kMalformedJson || reject.message == expected.message, reject.message);
  return false;
}

void Differential::CompareRows() {
  auto rows = tested_rows_.Finish();
  FIRN_CHECK(rows->ValidateFull().ok(), rows->ValidateFull().ToString());
  auto equal = arrow::EqualOptions::Defaults().nans_equal(true);
  FIRN_CHECK(rows->Equals(*reference_rows_.Finish(), false, equal), "the rows differ");
  for (const auto& column : tested_rows_.columns()) CheckEmpty(*column);
  UnknownFieldCounts counts = tested_->TakeUnknownFieldCounts();
  UnknownFieldCounts expected = reference_->TakeUnknownFieldCounts();
  FIRN_CHECK(counts.by_path == expected.by_path && counts.beyond_the_limit == expected.beyond_the_limit &&
                 counts.sample_by_path == expected.sample_by_path,
             "the counts of unknown fields differ");
}

schema::Schema TableOfEveryType() {
  return ParseTable(
      "b: boolean, i: int, l: long, f: float, d: double, dec: decimal(9, 2), big: decimal(38, 10), date: date, "
      "time: time, ts: timestamp, tz: timestamptz, tsn: timestamp_ns, tzn: timestamptz_ns, s: string, bin: binary, "
      "fix: fixed[3], u: uuid, st: struct<a: int not null, in: struct<x: string, y: list<long>>>, "
      "as: struct<p: int, q: string>, li: list<list<string>>, ls: list<struct<a: int, b: map<string, int>>>, "
      "m: map<string, struct<z: double>>, mi: map<int, string>, mt: map<timestamptz, boolean>, rest: string, "
      "_raw: binary");
}

schema::Schema RandomTable(Engine& random) {
  std::vector<std::string> names(kNames.begin(), kNames.end());
  std::shuffle(names.begin(), names.end(), random);
  names.resize(1 + Below(random, names.size()));
  std::string columns;
  for (size_t i = 0; i < names.size(); ++i) {
    columns += fmt::format("c{}: {}{}, ", i, RandomType(3, random), Below(random, 12) == 0 ? " not null" : "");
  }
  schema::Schema schema = ParseTable(columns + "rest: string, _raw: binary");
  // The parser of types takes words only; names may be anything.
  for (size_t i = 0; i < names.size(); ++i) schema.fields[i].name = names[i];
  return schema;
}

JsonDecoderOptions RandomOptions(const schema::Schema& schema, Engine& random) {
  JsonDecoderOptions options;
  options.duplicate_keys = static_cast<DuplicateKeys>(Below(random, 3));
  options.epoch_unit = Below(random, 2) == 0 ? EpochUnit::kMillis : static_cast<EpochUnit>(Below(random, 5));
  options.binary_text = static_cast<BinaryText>(Below(random, 2));
  options.depth_max = Below(random, 3) == 0 ? 4 : kDepthMaxDefault;
  options.unknown_fields = static_cast<UnknownFields>(Below(random, 3));
  if (options.unknown_fields == UnknownFields::kKeep) options.unknown_column = "rest";
  if (Below(random, 2) == 0) options.raw_column = "_raw";
  const std::string& first = schema.fields.front().name;
  for (const schema::Field& field : schema.fields) {
    if (field.name != "rest" && field.name != "_raw") AddSources(field, first, {}, random, options);
  }
  return options;
}

std::string RandomRecord(const schema::Schema& schema, uint64_t order, Engine& random) {
  std::vector<schema::Field> fields;
  for (const schema::Field& field : schema.fields) {
    if (field.name != "rest" && field.name != "_raw") fields.push_back(field);
  }
  std::string text = Writer(random, order).Object(fields, 0);
  if (Below(random, 10) != 0) return text;
  // A byte becomes another, goes, or the rest does.
  const size_t at = Below(random, text.size());
  switch (Below(random, 4)) {
    case 0: text[at] = "\"{}[]:,\\x0 \x01\xc3"[Below(random, 13)]; break;
    case 1: text.erase(at, 1); break;
    case 2: text.resize(at); break;
    default: text.insert(at, 1, "\"{}[]:,\\x0 \x01\xc3"[Below(random, 13)]); break;
  }
  return text;
}

}  // namespace firn::decode::json::testing
