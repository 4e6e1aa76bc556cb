#include "firn/compaction/row_reader.h"

#include <arrow/api.h>
#include <arrow/io/memory.h>
#include <fmt/format.h>
#include <parquet/arrow/reader.h>
#include <parquet/file_reader.h>

#include <exception>
#include <new>
#include <optional>

#include "firn/parquet/file_merge.h"

namespace firn::compaction {
namespace {

std::unexpected<Error> Undecodable(const std::string& what) {
  return Fail(ErrorCode::kCorruption, fmt::format("rows cannot be decoded: {}", what));
}

std::unexpected<Error> ErrorOf(const arrow::Status& status) {
  if (status.IsOutOfMemory()) return Fail(ErrorCode::kResourceExhausted, "no memory for rows");
  return Undecodable(status.ToString());
}

class ArrowRowReader final : public RowReader {
 public:
  ArrowRowReader(std::string bytes, size_t columns) : bytes_(std::move(bytes)), columns_(columns) {}

  Status Open() {
    try {
      auto buffer = std::make_shared<arrow::Buffer>(reinterpret_cast<const uint8_t*>(bytes_.data()),
                                                    static_cast<int64_t>(bytes_.size()));
      ::parquet::ArrowReaderProperties properties;
      properties.set_batch_size(kReadRowsMax);
      properties.set_pre_buffer(false);  // nothing is read ahead by other threads
      ::parquet::arrow::FileReaderBuilder builder;
      arrow::Status opened = builder.Open(std::make_shared<arrow::io::BufferReader>(buffer));
      if (!opened.ok()) return ErrorOf(opened);
      auto reader = builder.properties(properties)->Build();
      if (!reader.ok()) return ErrorOf(reader.status());
      reader_ = *std::move(reader);
      auto batches = reader_->GetRecordBatchReader();
      if (!batches.ok()) return ErrorOf(batches.status());
      batches_ = *std::move(batches);
    } catch (const std::bad_alloc&) {
      return Fail(ErrorCode::kResourceExhausted, "no memory for rows");
    } catch (const std::exception& e) {
      return Undecodable(e.what());
    }
    return {};
  }

  Result<std::shared_ptr<arrow::RecordBatch>> Next() override {
    std::shared_ptr<arrow::RecordBatch> batch;
    try {
      arrow::Status read = batches_->ReadNext(&batch);
      if (!read.ok()) return ErrorOf(read);
    } catch (const std::bad_alloc&) {
      return Fail(ErrorCode::kResourceExhausted, "no memory for rows");
    } catch (const std::exception& e) {
      return Undecodable(e.what());
    }
    if (batch != nullptr && static_cast<size_t>(batch->num_columns()) != columns_) {
      return Fail(ErrorCode::kUnsupported, "rows with columns that are not stored in files");
    }
    return batch;
  }

 private:
  const std::string bytes_;
  const size_t columns_;
  std::unique_ptr<::parquet::arrow::FileReader> reader_;
  std::unique_ptr<arrow::RecordBatchReader> batches_;
};

}  // namespace

Result<std::unique_ptr<RowReader>> RowReader::Open(const schema::Schema& schema,
                                                   std::shared_ptr<const std::string> file) {
  std::string bytes;
  auto sink = [&bytes](std::string_view more) -> Status {
    bytes.append(more);
    return {};
  };
  FIRN_ASSIGN(auto merge, parquet::FileMerge::Create(schema, {}, "{}", sink));
  FIRN_ASSIGN(std::optional<parquet::Refusal> refusal, merge->Add(std::move(file)));
  if (refusal.has_value()) return Fail(ErrorCode::kUnsupported, std::move(refusal->detail));
  FIRN_TRY(merge->Close());
  merge.reset();
  auto reader = std::make_unique<ArrowRowReader>(std::move(bytes), schema.fields.size());
  FIRN_TRY(reader->Open());
  return std::unique_ptr<RowReader>(std::move(reader));
}

}  // namespace firn::compaction
