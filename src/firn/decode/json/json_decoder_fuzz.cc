// Any bytes as records of a table with every type, under options that the first byte picks; one record a line. Rows
// must be valid Arrow, a reject must leave nothing, and what counts as JSON must agree with another parser.
#include <arrow/api.h>

#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "firn/base/check.h"
#include "firn/decode/json/json_decoder.h"
#include "firn/schema/type_parser.h"

namespace firn::decode::json {
namespace {

constexpr char kColumns[] =
    "b: boolean, i: int, l: long, f: float, d: double, dec: decimal(9, 2), big: decimal(38, 10), date: date, "
    "time: time, ts: timestamp, tz: timestamptz, tsn: timestamp_ns, tzn: timestamptz_ns, s: string, bin: binary, "
    "fix: fixed[3], u: uuid, st: struct<a: int not null, in: struct<x: string, y: list<long>>>, "
    "as: struct<p: int, q: string>, li: list<list<string>>, ls: list<struct<a: int, b: map<string, int>>>, "
    "m: map<string, struct<z: double>>, mi: map<int, string>, mt: map<timestamptz, boolean>, "
    "rest: string, _raw: binary";

schema::Schema MakeSchema() {
  int32_t next_id = 1;
  auto type = schema::ParseTypeText("struct<" + std::string(kColumns) + ">", next_id);
  FIRN_CHECK(type.has_value(), "the fuzzer's schema does not parse");
  schema::Schema schema;
  schema.fields = (*type)->fields();
  return schema;
}

JsonDecoderOptions PickOptions(const schema::Schema& schema, uint8_t pick) {
  JsonDecoderOptions options;
  options.raw_column = "_raw";
  options.duplicate_keys = static_cast<DuplicateKeys>(pick % 3);
  options.epoch_unit = static_cast<EpochUnit>(pick / 3 % 5);
  options.binary_text = (pick & 0x20) != 0 ? BinaryText::kHex : BinaryText::kBase64;
  if ((pick & 0x40) != 0) {
    options.unknown_fields = UnknownFields::kKeep;
    options.unknown_column = "rest";
  }
  if ((pick & 0x80) != 0) {
    options.depth_max = 4;
    options.sources[schema.FindByName("as.q")->id].path = {"way", "q"};
    options.sources[schema.FindByName("i")->id].path = {"way", "i"};
    options.sources[schema.FindByName("s")->id].path = {"way"};
  }
  return options;
}

// Where the other parser follows the same rules: it takes numbers beyond double, half surrogates, a byte order mark and
// zero bytes another way.
bool IsComparable(std::string_view text) {
  return text.size() < 300 && text.find_first_of("eE") == std::string_view::npos &&
         text.find("\\ud") == std::string_view::npos && text.find("\\uD") == std::string_view::npos &&
         text.find('\0') == std::string_view::npos && !text.starts_with('\xef');
}

void CompareWithOtherParser(std::string_view text, bool decoded, RejectCode code) {
  if (text.empty() || !IsComparable(text)) return;
  bool is_json = nlohmann::json::accept(text);
  if (decoded || code == RejectCode::kNotAnObject) FIRN_CHECK(is_json, "took a record that is not JSON");
  if (!decoded && code == RejectCode::kMalformedJson) FIRN_CHECK(!is_json, "refused JSON as malformed");
  if (!decoded && code == RejectCode::kInvalidUtf8) FIRN_CHECK(!is_json, "refused UTF-8 as invalid");
}

void Fuzz(uint8_t pick, std::string_view text) {
  schema::Schema schema = MakeSchema();
  JsonDecoderOptions options = PickOptions(schema, pick);
  auto decoder = std::move(JsonDecoder::Create(schema, options).value());
  columnar::RowBuilder rows(schema);
  std::vector<std::string> taken;
  Reject reject;
  while (!text.empty()) {
    size_t end = std::min(text.find('\n'), text.size());
    // A copy of its own size, so that a read behind it is seen.
    std::vector<char> line(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(end));
    text.remove_prefix(std::min(end + 1, text.size()));
    stream::Record record;
    record.value = std::string_view(line.data(), line.size());
    int64_t before = rows.row_count();
    bool decoded = decoder->Decode(record, {}, rows, reject);
    FIRN_CHECK(rows.row_count() == before + (decoded ? 1 : 0), "a reject left a row, or a row is missing");
    for (size_t i = 0; i < rows.column_count(); ++i) {
      FIRN_CHECK(rows.column(i).length() <= rows.row_count(), "a reject left a value");
    }
    if (decoded) taken.emplace_back(line.begin(), line.end());
    CompareWithOtherParser({line.data(), line.size()}, decoded, reject.code);
  }
  auto batch = rows.Finish();
  FIRN_CHECK(batch->ValidateFull().ok(), batch->ValidateFull().ToString());
  // The rows alone, without the rejects between them and with a decoder that has learnt nothing yet.
  columnar::RowBuilder alone(schema);
  auto fresh = std::move(JsonDecoder::Create(schema, options).value());
  for (const std::string& line : taken) {
    stream::Record record;
    record.value = line;
    FIRN_CHECK(fresh->Decode(record, {}, alone, reject), "the same record is a row once and a reject once");
  }
  auto equal = arrow::EqualOptions::Defaults().nans_equal(true);
  FIRN_CHECK(batch->Equals(*alone.Finish(), false, equal), "rejects left a trace in the rows");
  decoder->TakeUnknownFieldCounts();
}

}  // namespace
}  // namespace firn::decode::json

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  firn::decode::json::Fuzz(data[0], {reinterpret_cast<const char*>(data) + 1, size - 1});
  return 0;
}
