// FileOutput: the bytes of a file on their way into the sink, small pieces gathered into larger ones.
//
// One thread. After the sink has failed, nothing more is sent. Destroyed without Flush, what is gathered is dropped.
#pragma once

#include <cstdint>
#include <string_view>

#include "firn/base/error.h"
#include "firn/parquet/byte_buffer.h"
#include "firn/parquet/file_layout.h"

namespace firn::parquet {

class FileOutput {
 public:
  explicit FileOutput(ByteSink sink);

  Status Append(std::string_view bytes);
  Status Flush();
  // For another file: what is gathered is dropped.
  void Restart();
  int64_t position() const { return position_; }  // of the next byte in the file

 private:
  ByteSink sink_;
  ByteBuffer gathered_;
  int64_t position_ = 0;
};

}  // namespace firn::parquet
