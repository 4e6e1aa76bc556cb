// Takes bytes for a Parquet file and walks all that page_reader.h reads of it: no step may read outside of the bytes.
#include <cstdint>
#include <string_view>

#include "firn/base/check.h"
#include "firn/parquet/page_reader.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace firn::parquet;
  std::string_view file(reinterpret_cast<const char*>(data), size);
  auto footer = ReadFooter(file);
  if (!footer.has_value()) return 0;
  for (const FileRowGroup& group : footer->row_groups) {
    FIRN_CHECK(group.chunks.size() == footer->leaves.size(), "a footer with too few column chunks was taken");
    for (const FileChunk& chunk : group.chunks) {
      if (chunk.column_index.has_value()) (void)ReadColumnIndex(file, *chunk.column_index);
      if (chunk.offset_index.has_value()) (void)ReadOffsetIndex(file, *chunk.offset_index);
      auto pages = ReadPages(file, chunk);
      if (!pages.has_value()) continue;
      int64_t bytes = 0;
      for (const PageView& page : pages->data) bytes += static_cast<int64_t>(page.body.size());
      FIRN_CHECK(bytes <= static_cast<int64_t>(size), "pages are larger than their file");
    }
  }
  return 0;
}
