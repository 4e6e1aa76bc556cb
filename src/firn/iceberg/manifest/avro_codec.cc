#include "firn/iceberg/manifest/avro_codec.h"

#include <fmt/format.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <cstdint>
#include <memory>

#include "firn/base/byte_cursor.h"

namespace firn::iceberg {
namespace {

// The writer's bytes are metadata that every planner reads again: a middle level pays.
constexpr int kDeflateLevel = 6;
constexpr size_t kChunkBytes = 64u << 10;

std::unexpected<Error> TooLong() {
  return Fail(ErrorCode::kResourceExhausted,
              fmt::format("avro block decompresses to more than the limit: {} bytes", kAvroBlockBytesMax));
}

Result<std::string> Inflate(std::string_view block) {
  z_stream stream{};
  if (inflateInit2(&stream, -MAX_WBITS) != Z_OK) return Fail(ErrorCode::kInternal, "zlib does not start");
  std::unique_ptr<z_stream, int (*)(z_streamp)> end(&stream, inflateEnd);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(block.data()));
  stream.avail_in = static_cast<uInt>(block.size());
  std::string out;
  for (int state = Z_OK; state != Z_STREAM_END;) {
    const size_t start = out.size();
    if (start >= kAvroBlockBytesMax) return TooLong();
    out.resize(std::min(kAvroBlockBytesMax, start + std::max(kChunkBytes, start)));
    stream.next_out = reinterpret_cast<Bytef*>(out.data() + start);
    stream.avail_out = static_cast<uInt>(out.size() - start);
    state = inflate(&stream, Z_NO_FLUSH);
    const size_t produced = out.size() - start - stream.avail_out;
    out.resize(start + produced);
    if (state == Z_STREAM_END) break;
    if (state != Z_OK || (produced == 0 && stream.avail_in == 0)) {
      return Fail(ErrorCode::kCorruption, fmt::format("avro block is not a deflate stream: zlib says {}", state));
    }
  }
  return out;
}

Result<std::string> UnZstd(std::string_view block) {
  std::unique_ptr<ZSTD_DCtx, size_t (*)(ZSTD_DCtx*)> context(ZSTD_createDCtx(), ZSTD_freeDCtx);
  if (context == nullptr) return Fail(ErrorCode::kInternal, "zstd does not start");
  ZSTD_inBuffer in{block.data(), block.size(), 0};
  std::string out;
  size_t hint = 1;
  while (hint != 0) {
    const size_t start = out.size();
    if (start >= kAvroBlockBytesMax) return TooLong();
    out.resize(std::min(kAvroBlockBytesMax, start + std::max(kChunkBytes, start)));
    ZSTD_outBuffer target{out.data(), out.size(), start};
    hint = ZSTD_decompressStream(context.get(), &target, &in);
    out.resize(target.pos);
    if (ZSTD_isError(hint) || (hint != 0 && target.pos == start && in.pos == in.size)) {
      return Fail(ErrorCode::kCorruption, fmt::format("avro block is not a zstd frame: {}",
                                                      ZSTD_isError(hint) ? ZSTD_getErrorName(hint) : "cut"));
    }
  }
  return out;
}

std::unexpected<Error> BadSnappy(std::string_view why) {
  return Fail(ErrorCode::kCorruption, fmt::format("avro block is not snappy: {}", why));
}

// A copy may overlap what it writes (that is how snappy says "repeat"), so it goes byte by byte.
Status SnappyCopy(std::string& out, size_t expected, size_t offset, size_t length) {
  if (offset == 0 || offset > out.size()) return BadSnappy("a copy from before the start");
  if (length > expected - out.size()) return BadSnappy("longer than it says");
  for (size_t i = 0; i < length; ++i) out.push_back(out[out.size() - offset]);
  return {};
}

Result<size_t> SnappyLength(ByteCursor& cursor) {
  size_t length = 0;
  for (int shift = 0; shift < 35; shift += 7) {
    FIRN_ASSIGN(const uint8_t byte, cursor.TakeByte());
    length |= static_cast<size_t>(byte & 0x7f) << shift;
    if (byte < 0x80) return length;
  }
  return BadSnappy("its length does not end");
}

Status SnappyLiteral(ByteCursor& cursor, uint8_t tag, size_t expected, std::string& out) {
  size_t length = static_cast<size_t>(tag >> 2) + 1;
  if (length > 60) {  // 61..64: the length stands in the next 1..4 bytes
    size_t stored = 0;
    const size_t width = length - 60;
    for (size_t i = 0; i < width; ++i) {
      FIRN_ASSIGN(const uint8_t byte, cursor.TakeByte());
      stored |= static_cast<size_t>(byte) << (8 * i);
    }
    length = stored + 1;
  }
  if (length > expected - out.size()) return BadSnappy("longer than it says");
  FIRN_ASSIGN(std::string_view literal, cursor.Take(length));
  out.append(literal);
  return {};
}

// The raw snappy format (google/snappy, format_description.txt).
Result<std::string> UnSnappyRaw(std::string_view compressed) {
  ByteCursor cursor(compressed);
  FIRN_ASSIGN(const size_t expected, SnappyLength(cursor));
  if (expected > kAvroBlockBytesMax) return TooLong();
  std::string out;
  out.reserve(std::min(expected, compressed.size() * 4));
  while (!cursor.empty()) {
    FIRN_ASSIGN(const uint8_t tag, cursor.TakeByte());
    switch (tag & 3) {
      case 0: FIRN_TRY(SnappyLiteral(cursor, tag, expected, out)); break;
      case 1: {
        FIRN_ASSIGN(const uint8_t low, cursor.TakeByte());
        const size_t offset = (static_cast<size_t>(tag >> 5) << 8) | low;
        FIRN_TRY(SnappyCopy(out, expected, offset, ((tag >> 2) & 7) + 4u));
        break;
      }
      case 2: {
        FIRN_ASSIGN(const uint16_t offset, cursor.TakeLittleEndian<uint16_t>());
        FIRN_TRY(SnappyCopy(out, expected, offset, (tag >> 2) + 1u));
        break;
      }
      default: {
        FIRN_ASSIGN(const uint32_t offset, cursor.TakeLittleEndian<uint32_t>());
        FIRN_TRY(SnappyCopy(out, expected, offset, (tag >> 2) + 1u));
        break;
      }
    }
  }
  if (out.size() != expected) return BadSnappy("shorter than it says");
  return out;
}

// Avro adds the big-endian CRC-32 of the uncompressed bytes.
Result<std::string> UnSnappy(std::string_view block) {
  if (block.size() < 4) return BadSnappy("no checksum");
  FIRN_ASSIGN(std::string out, UnSnappyRaw(block.substr(0, block.size() - 4)));
  uint32_t stored = 0;
  for (char c : block.substr(block.size() - 4)) stored = (stored << 8) | static_cast<uint8_t>(c);
  const uLong actual = crc32(0, reinterpret_cast<const Bytef*>(out.data()), static_cast<uInt>(out.size()));
  if (actual != stored) return BadSnappy("its checksum differs");
  return out;
}

}  // namespace

Result<std::string> DecompressAvroBlock(std::string_view codec, std::string_view block) {
  if (block.size() > kAvroBlockBytesMax) return TooLong();
  if (codec == "null" || codec.empty()) return std::string(block);
  if (codec == "deflate") return Inflate(block);
  if (codec == "zstandard") return UnZstd(block);
  if (codec == "snappy") return UnSnappy(block);
  return Fail(ErrorCode::kUnsupported,
              fmt::format("avro codec (known: null, deflate, zstandard, snappy): '{}'", codec.substr(0, 64)));
}

Result<std::string> DeflateAvroBlock(std::string_view block) {
  z_stream stream{};
  if (deflateInit2(&stream, kDeflateLevel, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
    return Fail(ErrorCode::kInternal, "zlib does not start");
  }
  std::unique_ptr<z_stream, int (*)(z_streamp)> end(&stream, deflateEnd);
  std::string out(deflateBound(&stream, block.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(block.data()));
  stream.avail_in = static_cast<uInt>(block.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  if (const int state = deflate(&stream, Z_FINISH); state != Z_STREAM_END) {
    return Fail(ErrorCode::kInternal, fmt::format("zlib does not deflate {} bytes: {}", block.size(), state));
  }
  out.resize(stream.total_out);
  return out;
}

}  // namespace firn::iceberg
