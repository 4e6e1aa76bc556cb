// Any bytes as records, one a line, through the decoder and the reference over an index: the first byte picks the
// table, the second the options. Rows, rejects and counts must be equal.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "firn/decode/json/testing/json_differential.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  namespace testing = firn::decode::json::testing;
  if (size < 3) return 0;
  testing::Engine random(data[0]);
  const firn::schema::Schema schema = data[0] < 0x80 ? testing::TableOfEveryType() : testing::RandomTable(random);
  random.seed(data[1]);
  const firn::decode::json::JsonDecoderOptions options = testing::RandomOptions(schema, random);
  if (!firn::decode::json::JsonDecoder::Create(schema, options).has_value()) return 0;
  testing::Differential differential(schema, options);
  std::string_view text(reinterpret_cast<const char*>(data) + 2, size - 2);
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    differential.Decode(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  differential.CompareRows();
  return 0;
}
