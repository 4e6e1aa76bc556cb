// PageCompressor: the codec of one file, as a thin seam over Arrow's codecs and libzstd.
//
// One thread. zstd goes to the library itself, whose context is made once a file; Arrow's codec makes one a page.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "firn/base/error.h"
#include "firn/parquet/byte_buffer.h"
#include "firn/parquet/format.h"

namespace firn::parquet {

class PageCompressor {
 public:
  // `name` as in write.parquet.compression-codec; level -1: the codec's default here. kInvalidInput: no codec of this
  // build.
  static Result<std::unique_ptr<PageCompressor>> Make(const std::string& name, int32_t level);
  virtual ~PageCompressor() = default;

  format::Codec codec() const { return codec_; }
  bool compresses() const { return codec_ != format::Codec::kUncompressed; }
  // Replaces `out` by the compressed bytes.
  virtual Status Compress(std::string_view bytes, ByteBuffer& out) = 0;

 protected:
  explicit PageCompressor(format::Codec codec) : codec_(codec) {}

 private:
  format::Codec codec_;
};

}  // namespace firn::parquet
