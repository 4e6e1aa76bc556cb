#include "firn/iceberg/manifest/avro_container.h"

#include <fmt/format.h>

#include "firn/base/byte_cursor.h"
#include "firn/base/check.h"
#include "firn/iceberg/manifest/avro_codec.h"

namespace firn::iceberg {
namespace {

constexpr std::string_view kMagic("Obj\x01", 4);
constexpr size_t kSyncBytes = 16;
// A block per 64 KB of records, as Java does; a reader may split there.
constexpr size_t kBlockTargetBytes = 64u << 10;

Result<std::string_view> TakeText(ByteCursor& cursor) {
  FIRN_ASSIGN(const int64_t length, cursor.TakeZigZagVarint());
  if (length < 0) return Fail(ErrorCode::kCorruption, fmt::format("avro: a negative length: {}", length));
  return cursor.Take(static_cast<size_t>(length));
}

Status ReadHeader(ByteCursor& cursor, std::map<std::string, std::string>& header) {
  while (true) {
    FIRN_ASSIGN(int64_t count, cursor.TakeZigZagVarint());
    if (count == 0) return {};
    if (count < 0) {  // the block's size in bytes follows
      FIRN_TRY(cursor.TakeZigZagVarint());
      if (count == INT64_MIN) return Fail(ErrorCode::kCorruption, "avro header: impossible count");
      count = -count;
    }
    for (int64_t i = 0; i < count; ++i) {
      if (header.size() >= kAvroHeaderMembersMax) {
        return Fail(ErrorCode::kResourceExhausted,
                    fmt::format("avro header has more members than the limit: {}", kAvroHeaderMembersMax));
      }
      FIRN_ASSIGN(std::string_view key, TakeText(cursor));
      FIRN_ASSIGN(std::string_view value, TakeText(cursor));
      header[std::string(key)] = std::string(value);
    }
  }
}

uint64_t Fnv1a(std::string_view bytes, uint64_t hash) {
  for (char c : bytes) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3ull;
  return hash;
}

}  // namespace

Result<AvroContainer> ReadAvroContainer(std::string_view bytes) {
  ByteCursor cursor(bytes);
  auto magic = cursor.Take(kMagic.size());
  if (!magic.has_value() || *magic != kMagic) return Fail(ErrorCode::kCorruption, "not an Avro object container file");
  AvroContainer container;
  FIRN_TRY(ReadHeader(cursor, container.header));
  FIRN_ASSIGN(std::string_view sync, cursor.Take(kSyncBytes));
  auto codec = container.header.find("avro.codec");
  const std::string codec_name = codec == container.header.end() ? "null" : codec->second;
  size_t total = 0;
  while (!cursor.empty()) {
    AvroBlock block;
    FIRN_ASSIGN(block.record_count, cursor.TakeZigZagVarint());
    FIRN_ASSIGN(std::string_view packed, TakeText(cursor));
    FIRN_ASSIGN(block.records, DecompressAvroBlock(codec_name, packed));
    FIRN_ASSIGN(std::string_view block_sync, cursor.Take(kSyncBytes));
    if (block_sync != sync) {
      return Fail(ErrorCode::kCorruption,
                  fmt::format("avro block without the file's sync marker, ends at byte: {}", cursor.position()));
    }
    // No record of an Iceberg metadata file is empty, so a block cannot hold more records than bytes.
    if (block.record_count < 0 || static_cast<uint64_t>(block.record_count) > block.records.size()) {
      return Fail(ErrorCode::kCorruption, fmt::format("avro block of {} bytes with an impossible record count: {}",
                                                      block.records.size(), block.record_count));
    }
    total += block.records.size();
    if (total > kAvroFileBytesMax) {
      return Fail(ErrorCode::kResourceExhausted,
                  fmt::format("avro file decompresses to more than the limit: {} bytes", kAvroFileBytesMax));
    }
    container.blocks.push_back(std::move(block));
  }
  return container;
}

AvroContainerWriter::AvroContainerWriter(std::map<std::string, std::string> header) : header_(std::move(header)) {
  FIRN_CHECK(header_.contains("avro.schema"), "an Avro file needs its schema");
  header_["avro.codec"] = "deflate";
}

Status AvroContainerWriter::EndRecord() {
  ++record_count_;
  return records_.size() >= kBlockTargetBytes ? Flush() : Status();
}

Status AvroContainerWriter::Flush() {
  if (record_count_ == 0) return {};
  FIRN_ASSIGN(std::string packed, DeflateAvroBlock(records_));
  blocks_.push_back({record_count_, std::move(packed)});
  records_.clear();
  record_count_ = 0;
  return {};
}

Result<std::string> AvroContainerWriter::Finish() {
  FIRN_TRY(Flush());
  std::string out(kMagic);
  ByteWriter writer(out);
  writer.PutZigZagVarint(static_cast<int64_t>(header_.size()));
  for (const auto& [key, value] : header_) {
    writer.PutZigZagVarint(static_cast<int64_t>(key.size()));
    writer.Put(key);
    writer.PutZigZagVarint(static_cast<int64_t>(value.size()));
    writer.Put(value);
  }
  writer.PutZigZagVarint(0);
  uint64_t low = Fnv1a(out, 0xcbf29ce484222325ull);
  uint64_t high = Fnv1a(out, 0x9e3779b97f4a7c15ull);
  for (const PackedBlock& block : blocks_) {
    low = Fnv1a(block.bytes, low);
    high = Fnv1a(block.bytes, high);
  }
  std::string sync;
  ByteWriter sync_writer(sync);
  sync_writer.PutLittleEndian(low);
  sync_writer.PutLittleEndian(high);
  writer.Put(sync);
  for (const PackedBlock& block : blocks_) {
    writer.PutZigZagVarint(block.record_count);
    writer.PutZigZagVarint(static_cast<int64_t>(block.bytes.size()));
    writer.Put(block.bytes);
    writer.Put(sync);
  }
  return out;
}

}  // namespace firn::iceberg
