// Avro object container files (Avro specification 1.11, "Object Container Files"): header, blocks, sync markers.
//
// Pure: bytes in, values out. Limits: header members, block size, total size after decompression.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "firn/base/error.h"

namespace firn::iceberg {

inline constexpr size_t kAvroHeaderMembersMax = 10'000;
inline constexpr size_t kAvroFileBytesMax = 1u << 30;  // of all blocks together, decompressed

struct AvroBlock {
  int64_t record_count = 0;
  std::string records;  // decompressed
};

struct AvroContainer {
  std::map<std::string, std::string> header;  // avro.schema and avro.codec included
  std::vector<AvroBlock> blocks;
};

// kCorruption, kUnsupported (codec), kResourceExhausted (a limit).
Result<AvroContainer> ReadAvroContainer(std::string_view bytes);

// One record after the other, encoded by the caller into `records`; `record_count` of them. The sync marker is a hash
// of the content, so the same input gives the same bytes.
class AvroContainerWriter {
 public:
  // `header` without avro.codec; must hold avro.schema.
  explicit AvroContainerWriter(std::map<std::string, std::string> header);

  // Where the caller appends one record, followed by EndRecord.
  std::string& records() { return records_; }
  Status EndRecord();
  Result<std::string> Finish();

 private:
  Status Flush();

  std::map<std::string, std::string> header_;
  std::string records_;
  int64_t record_count_ = 0;
  struct PackedBlock {
    int64_t record_count;
    std::string bytes;
  };
  std::vector<PackedBlock> blocks_;
};

}  // namespace firn::iceberg
