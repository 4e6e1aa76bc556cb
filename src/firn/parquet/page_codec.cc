#include "firn/parquet/page_codec.h"

#include <arrow/util/compression.h>
#include <fmt/format.h>
#include <zstd.h>

namespace firn::parquet {
namespace {

constexpr int32_t kZstdLevelDefault = 1;
constexpr int32_t kGzipLevelDefault = 6;

const uint8_t* Bytes(std::string_view text) {
  return reinterpret_cast<const uint8_t*>(text.data());
}

class NoCodec final : public PageCodec {
 public:
  Status Decompress(std::string_view bytes, size_t length, ByteBuffer& out) override {
    if (bytes.size() != length) return Fail(ErrorCode::kCorruption, "a page has another length than its header says");
    out.Clear();
    out.Append(bytes);
    return {};
  }
  Status AppendCompressed(std::string_view bytes, ByteBuffer& out) override {
    out.Append(bytes);
    return {};
  }
};

class ZstdCodec final : public PageCodec {
 public:
  explicit ZstdCodec(int32_t level) : level_(level), compress_(ZSTD_createCCtx()), decompress_(ZSTD_createDCtx()) {}

  Status Decompress(std::string_view bytes, size_t length, ByteBuffer& out) override {
    out.Clear();
    const size_t done = ZSTD_decompressDCtx(decompress_.get(), out.Room(length), length, bytes.data(), bytes.size());
    if (ZSTD_isError(done) != 0 || done != length) {
      return Fail(ErrorCode::kCorruption, "a page cannot be decompressed by zstd");
    }
    out.Advance(length);
    return {};
  }

  Status AppendCompressed(std::string_view bytes, ByteBuffer& out) override {
    const size_t room = ZSTD_compressBound(bytes.size());
    const size_t done = ZSTD_compressCCtx(compress_.get(), out.Room(room), room, bytes.data(), bytes.size(), level_);
    if (ZSTD_isError(done) != 0) {
      return Fail(ErrorCode::kInternal, fmt::format("zstd cannot compress: {}", ZSTD_getErrorName(done)));
    }
    out.Advance(done);
    return {};
  }

 private:
  struct FreeCompress {
    void operator()(ZSTD_CCtx* context) const { ZSTD_freeCCtx(context); }
  };
  struct FreeDecompress {
    void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
  };
  const int32_t level_;
  std::unique_ptr<ZSTD_CCtx, FreeCompress> compress_;
  std::unique_ptr<ZSTD_DCtx, FreeDecompress> decompress_;
};

class ArrowCodec final : public PageCodec {
 public:
  explicit ArrowCodec(std::unique_ptr<arrow::util::Codec> codec) : codec_(std::move(codec)) {}

  Status Decompress(std::string_view bytes, size_t length, ByteBuffer& out) override {
    out.Clear();
    auto room = static_cast<int64_t>(length);
    auto done = codec_->Decompress(static_cast<int64_t>(bytes.size()), Bytes(bytes), room, out.Room(length));
    if (!done.ok() || *done != room) {
      return Fail(ErrorCode::kCorruption, fmt::format("a page cannot be decompressed by {}", codec_->name()));
    }
    out.Advance(length);
    return {};
  }

  Status AppendCompressed(std::string_view bytes, ByteBuffer& out) override {
    const auto length = static_cast<int64_t>(bytes.size());
    const int64_t room = codec_->MaxCompressedLen(length, Bytes(bytes));
    auto done = codec_->Compress(length, Bytes(bytes), room, out.Room(static_cast<size_t>(room)));
    if (!done.ok()) return Fail(ErrorCode::kInternal, fmt::format("compressing a page: {}", done.status().message()));
    out.Advance(static_cast<size_t>(*done));
    return {};
  }

 private:
  std::unique_ptr<arrow::util::Codec> codec_;
};

}  // namespace

Result<std::unique_ptr<PageCodec>> PageCodec::Create(CodecId id, int32_t level) {
  using arrow::Compression;
  Compression::type type = Compression::UNCOMPRESSED;
  switch (id) {
    case CodecId::kNone: return std::make_unique<NoCodec>();
    case CodecId::kZstd: return std::make_unique<ZstdCodec>(level < 0 ? kZstdLevelDefault : level);
    case CodecId::kSnappy: type = Compression::SNAPPY; break;
    case CodecId::kGzip: type = Compression::GZIP; break;
    case CodecId::kBrotli: type = Compression::BROTLI; break;
    case CodecId::kLz4Hadoop: type = Compression::LZ4_HADOOP; break;
    case CodecId::kLz4Raw: type = Compression::LZ4; break;
    default: break;
  }
  if (type == Compression::UNCOMPRESSED || !arrow::util::Codec::IsAvailable(type)) {
    return Fail(ErrorCode::kUnsupported,
                fmt::format("pages of this compression codec are not read: {}", static_cast<int32_t>(id)));
  }
  int32_t chosen = arrow::util::Codec::UseDefaultCompressionLevel();
  if (arrow::util::Codec::SupportsCompressionLevel(type)) {
    if (level >= 0) chosen = level;
    if (level < 0 && id == CodecId::kGzip) chosen = kGzipLevelDefault;
  }
  auto codec = arrow::util::Codec::Create(type, chosen);
  if (!codec.ok()) return Fail(ErrorCode::kInvalidInput, codec.status().message());
  return std::make_unique<ArrowCodec>(*std::move(codec));
}

}  // namespace firn::parquet
