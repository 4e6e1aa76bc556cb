// Any bytes as a Thrift struct: skipped whole, or an error; never past the end, never without bound.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "firn/base/check.h"
#include "firn/parquet/thrift_compact.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using firn::parquet::ThriftReader;
  std::string_view bytes(reinterpret_cast<const char*>(data), size);
  ThriftReader reader(bytes);
  auto skipped = reader.Skip(firn::parquet::ThriftType::kStruct);
  FIRN_CHECK(reader.position() <= size, "read past the end");
  if (!skipped.has_value()) return 0;
  // Field by field it is the same.
  ThriftReader again(bytes);
  for (;;) {
    auto field = again.NextField();
    FIRN_CHECK(field.has_value(), "a field that was skipped before cannot be read");
    if (field->type == firn::parquet::ThriftType::kStop) break;
    FIRN_CHECK(again.Skip(field->type).has_value(), "a value that was skipped before cannot be skipped");
  }
  FIRN_CHECK(again.position() == reader.position(), "two ways through a struct end at different places");
  return 0;
}
