#include "firn/parquet/page_compressor.h"

#include <arrow/util/compression.h>
#include <fmt/format.h>
#include <zstd.h>

#include <utility>

namespace firn::parquet {
namespace {

using arrow::Compression;
using format::Codec;

constexpr int32_t kZstdLevelDefault = 1;
constexpr int32_t kGzipLevelDefault = 6;  // zlib's own; Arrow would take 9

struct KnownCodec {
  std::string_view name;
  Codec codec;
  Compression::type arrow;
  int32_t level_default = arrow::util::kUseDefaultCompressionLevel;
};
constexpr KnownCodec kKnownCodecs[] = {
    {"uncompressed", Codec::kUncompressed, Compression::UNCOMPRESSED},
    {"snappy", Codec::kSnappy, Compression::SNAPPY},
    {"gzip", Codec::kGzip, Compression::GZIP, kGzipLevelDefault},
    {"zstd", Codec::kZstd, Compression::ZSTD, kZstdLevelDefault},
    {"lz4", Codec::kLz4Raw, Compression::LZ4},  // the framed LZ4 of old is deprecated
    {"brotli", Codec::kBrotli, Compression::BROTLI},
};

class Uncompressed final : public PageCompressor {
 public:
  Uncompressed() : PageCompressor(Codec::kUncompressed) {}
  Status Compress(std::string_view bytes, ByteBuffer& out) override {
    out.Clear();
    out.Append(bytes);
    return {};
  }
};

class ArrowCompressor final : public PageCompressor {
 public:
  ArrowCompressor(Codec codec, std::unique_ptr<arrow::util::Codec> arrow_codec)
      : PageCompressor(codec), arrow_codec_(std::move(arrow_codec)) {}

  Status Compress(std::string_view bytes, ByteBuffer& out) override {
    const auto* input = reinterpret_cast<const uint8_t*>(bytes.data());
    auto length = static_cast<int64_t>(bytes.size());
    int64_t room = arrow_codec_->MaxCompressedLen(length, input);
    out.Clear();
    auto written = arrow_codec_->Compress(length, input, room, out.Room(static_cast<size_t>(room)));
    if (!written.ok()) {
      return Fail(ErrorCode::kInternal, fmt::format("a page cannot be compressed: {}", written.status().ToString()));
    }
    out.Advance(static_cast<size_t>(*written));
    return {};
  }

 private:
  std::unique_ptr<arrow::util::Codec> arrow_codec_;
};

class ZstdCompressor final : public PageCompressor {
 public:
  explicit ZstdCompressor(int32_t level) : PageCompressor(Codec::kZstd), level_(level) {}

  Status Compress(std::string_view bytes, ByteBuffer& out) override {
    if (context_ == nullptr) context_.reset(ZSTD_createCCtx());
    if (context_ == nullptr) return Fail(ErrorCode::kResourceExhausted, "no memory for a zstd context");
    size_t room = ZSTD_compressBound(bytes.size());
    out.Clear();
    size_t written = ZSTD_compressCCtx(context_.get(), out.Room(room), room, bytes.data(), bytes.size(), level_);
    if (ZSTD_isError(written) != 0) {
      return Fail(ErrorCode::kInternal, fmt::format("a page cannot be compressed: {}", ZSTD_getErrorName(written)));
    }
    out.Advance(written);
    return {};
  }

 private:
  struct Free {
    void operator()(ZSTD_CCtx* context) const { ZSTD_freeCCtx(context); }
  };
  int32_t level_;
  std::unique_ptr<ZSTD_CCtx, Free> context_;
};

}  // namespace

Result<std::unique_ptr<PageCompressor>> PageCompressor::Make(const std::string& name, int32_t level) {
  for (const KnownCodec& known : kKnownCodecs) {
    if (known.name != name) continue;
    if (known.codec == Codec::kUncompressed) return std::make_unique<Uncompressed>();
    int32_t level_used = level >= 0 ? level : known.level_default;
    if (known.codec == Codec::kZstd) return std::make_unique<ZstdCompressor>(level_used);
    if (!arrow::util::Codec::SupportsCompressionLevel(known.arrow)) {
      level_used = arrow::util::kUseDefaultCompressionLevel;
    }
    auto codec = arrow::util::Codec::Create(known.arrow, level_used);
    if (!codec.ok()) break;
    return std::make_unique<ArrowCompressor>(known.codec, std::move(codec).ValueOrDie());
  }
  return Fail(ErrorCode::kInvalidInput,
              fmt::format("write.parquet.compression-codec is not a codec of this build, zstd always is: '{}'", name));
}

}  // namespace firn::parquet
