// PageCodec: compresses and decompresses page bodies by the codec numbers of the format.
//
// One thread's. Contexts of zstd are kept from page to page, because setting one up costs more than a small page.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "firn/base/error.h"
#include "firn/parquet/byte_buffer.h"

namespace firn::parquet {

// The format's numbers. kLz4Hadoop is the deprecated one with Hadoop's framing: read, never written.
enum class CodecId : int32_t {
  kNone = 0,
  kSnappy = 1,
  kGzip = 2,
  kLzo = 3,
  kBrotli = 4,
  kLz4Hadoop = 5,
  kZstd = 6,
  kLz4Raw = 7,
};

class PageCodec {
 public:
  // kUnsupported: LZO, unknown numbers, and codecs that this build does not have. `level` -1: the codec's default here.
  static Result<std::unique_ptr<PageCodec>> Create(CodecId id, int32_t level);
  virtual ~PageCodec() = default;
  // Replaces what is in `out`. kCorruption: damaged, or not of exactly `length` bytes.
  virtual Status Decompress(std::string_view bytes, size_t length, ByteBuffer& out) = 0;
  virtual Status AppendCompressed(std::string_view bytes, ByteBuffer& out) = 0;
};

}  // namespace firn::parquet
