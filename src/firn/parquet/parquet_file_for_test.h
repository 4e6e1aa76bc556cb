// ParquetFileForTest: a file written in memory and opened again with Arrow's own reader. Tests only.
#pragma once

#include <arrow/buffer.h>
#include <arrow/io/memory.h>
#include <arrow/table.h>
#include <gtest/gtest.h>
#include <parquet/arrow/reader.h>
#include <parquet/file_reader.h>
#include <parquet/metadata.h>

#include <memory>
#include <string>
#include <vector>

#include "firn/parquet/file_layout.h"

namespace firn::parquet {

struct ParquetFileForTest {
  std::string bytes;
  FileMetrics metrics;

  std::unique_ptr<::parquet::ParquetFileReader> Open() const {
    auto source = std::make_shared<arrow::io::BufferReader>(arrow::Buffer::FromString(bytes));
    return ::parquet::ParquetFileReader::Open(source);
  }
  std::shared_ptr<arrow::Table> Read() const {
    std::unique_ptr<::parquet::arrow::FileReader> reader;
    EXPECT_TRUE(::parquet::arrow::FileReader::Make(arrow::default_memory_pool(), Open()).Value(&reader).ok());
    auto table = reader->ReadTable();
    EXPECT_TRUE(table.ok()) << table.status().ToString();
    return table.ok() ? *table : nullptr;
  }
};

inline ByteSink AppendTo(std::string& bytes) {
  return [&bytes](std::string_view more) -> Status {
    bytes.append(more);
    return {};
  };
}

inline Result<ParquetFileForTest> WriteParquet(const schema::Schema& schema, const FileLayoutOptions& options,
                                               const std::vector<std::shared_ptr<arrow::RecordBatch>>& batches) {
  ParquetFileForTest file;
  FIRN_ASSIGN(auto layout, FileLayout::Create(schema, options, "{\"type\":\"struct\"}", AppendTo(file.bytes)));
  for (const auto& batch : batches) FIRN_TRY(layout->Write(*batch));
  FIRN_ASSIGN(file.metrics, layout->Close());
  return file;
}

}  // namespace firn::parquet
