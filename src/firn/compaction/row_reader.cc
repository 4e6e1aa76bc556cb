#include "firn/compaction/row_reader.h"

#include <arrow/api.h>
#include <arrow/io/interfaces.h>
#include <arrow/io/memory.h>
#include <fmt/format.h>
#include <parquet/arrow/reader.h>
#include <parquet/file_reader.h>

#include <algorithm>
#include <exception>
#include <new>
#include <optional>

#include "firn/compaction/spilled_bytes.h"
#include "firn/env/spill_file.h"
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

// A file that was spilled, as Arrow reads files.
class SpilledFile final : public arrow::io::RandomAccessFile {
 public:
  explicit SpilledFile(std::unique_ptr<SpilledBytes> bytes) : bytes_(std::move(bytes)) {}
  ~SpilledFile() override { static_cast<void>(Close()); }

  arrow::Status Close() override {
    closed_ = true;
    return arrow::Status::OK();
  }
  bool closed() const override { return closed_; }
  arrow::Result<int64_t> Tell() const override { return at_; }
  arrow::Status Seek(int64_t position) override {
    at_ = position;
    return arrow::Status::OK();
  }
  arrow::Result<int64_t> GetSize() override { return bytes_->size(); }

  arrow::Result<int64_t> ReadAt(int64_t position, int64_t bytes, void* out) override {
    const int64_t there = std::clamp<int64_t>(bytes_->size() - position, 0, bytes);
    Status read = bytes_->ReadAt(position, static_cast<char*>(out), static_cast<size_t>(there));
    if (read.has_value()) return there;
    if (!error_.has_value()) error_ = read.error();
    return arrow::Status::IOError(read.error().ToString());
  }
  arrow::Result<std::shared_ptr<arrow::Buffer>> ReadAt(int64_t position, int64_t bytes) override {
    ARROW_ASSIGN_OR_RAISE(auto buffer, arrow::AllocateResizableBuffer(bytes));
    ARROW_ASSIGN_OR_RAISE(const int64_t read, ReadAt(position, bytes, buffer->mutable_data()));
    ARROW_RETURN_NOT_OK(buffer->Resize(read, false));
    return std::shared_ptr<arrow::Buffer>(std::move(buffer));
  }
  arrow::Result<int64_t> Read(int64_t bytes, void* out) override {
    ARROW_ASSIGN_OR_RAISE(const int64_t read, ReadAt(at_, bytes, out));
    at_ += read;
    return read;
  }
  arrow::Result<std::shared_ptr<arrow::Buffer>> Read(int64_t bytes) override {
    ARROW_ASSIGN_OR_RAISE(auto buffer, ReadAt(at_, bytes));
    at_ += buffer->size();
    return buffer;
  }

  const std::optional<Error>& error() const { return error_; }

 private:
  const std::unique_ptr<SpilledBytes> bytes_;
  int64_t at_ = 0;
  bool closed_ = false;
  std::optional<Error> error_;
};

// Bytes of a column chunk of a spilled file that are read at a time.
constexpr int64_t kSpilledReadBytes = 256 << 10;

class ArrowRowReader final : public RowReader {
 public:
  ArrowRowReader(std::string bytes, size_t columns) : bytes_(std::move(bytes)), columns_(columns) {}
  ArrowRowReader(std::shared_ptr<SpilledFile> spilled, size_t columns)
      : spilled_(std::move(spilled)), columns_(columns) {}

  Status Open() {
    return Guard([this]() -> Status {
      ::parquet::ReaderProperties source_properties;
      std::shared_ptr<arrow::io::RandomAccessFile> source = spilled_;
      if (spilled_ == nullptr) {
        source = std::make_shared<arrow::io::BufferReader>(std::make_shared<arrow::Buffer>(std::string_view(bytes_)));
      } else {
        source_properties.enable_buffered_stream();
        source_properties.set_buffer_size(kSpilledReadBytes);
      }
      ::parquet::ArrowReaderProperties properties;
      properties.set_batch_size(kReadRowsMax);
      properties.set_pre_buffer(false);  // nothing is read ahead by other threads
      ::parquet::arrow::FileReaderBuilder builder;
      arrow::Status opened = builder.Open(std::move(source), source_properties);
      if (!opened.ok()) return ErrorOf(opened);
      auto reader = builder.properties(properties)->Build();
      if (!reader.ok()) return ErrorOf(reader.status());
      reader_ = *std::move(reader);
      auto batches = reader_->GetRecordBatchReader();
      if (!batches.ok()) return ErrorOf(batches.status());
      batches_ = *std::move(batches);
      return {};
    });
  }

  Result<std::shared_ptr<arrow::RecordBatch>> Next() override {
    std::shared_ptr<arrow::RecordBatch> batch;
    FIRN_TRY(Guard([&]() -> Status {
      arrow::Status read = batches_->ReadNext(&batch);
      return read.ok() ? Status() : ErrorOf(read);
    }));
    if (batch != nullptr && static_cast<size_t>(batch->num_columns()) != columns_) {
      return Fail(ErrorCode::kUnsupported, "rows with columns that are not stored in files");
    }
    return batch;
  }

 private:
  // What the disk does is not the file's fault.
  template <typename Action>
  Status Guard(Action action) const {
    Status status;
    try {
      status = action();
    } catch (const std::bad_alloc&) {
      status = Fail(ErrorCode::kResourceExhausted, "no memory for rows");
    } catch (const std::exception& e) {
      status = Undecodable(e.what());
    }
    if (status.has_value() || spilled_ == nullptr || !spilled_->error().has_value()) return status;
    return Fail(ErrorCode::kIoError, fmt::format("a spilled file: {}", spilled_->error()->message()));
  }

  const std::string bytes_;
  const std::shared_ptr<SpilledFile> spilled_;
  const size_t columns_;
  std::unique_ptr<::parquet::arrow::FileReader> reader_;
  std::unique_ptr<arrow::RecordBatchReader> batches_;
};

}  // namespace

Result<std::unique_ptr<RowReader>> RowReader::Open(const schema::Schema& schema,
                                                   std::shared_ptr<const std::string> file, env::SpillFolder* spill) {
  std::string bytes;
  std::unique_ptr<SpilledBytes> spilled;
  if (spill != nullptr) {
    FIRN_ASSIGN(auto spill_file, spill->NewFile());
    spilled = std::make_unique<SpilledBytes>(std::move(spill_file));
  }
  auto sink = [&](std::string_view more) -> Status {
    if (spilled != nullptr) return spilled->Append(more);
    bytes.append(more);
    return {};
  };
  FIRN_ASSIGN(auto merge, parquet::FileMerge::Create(schema, {}, "{}", sink));
  FIRN_ASSIGN(std::optional<parquet::Refusal> refusal, merge->Add(std::move(file)));
  if (refusal.has_value()) return Fail(ErrorCode::kUnsupported, std::move(refusal->detail));
  FIRN_TRY(merge->Close());
  merge.reset();
  if (spilled != nullptr) FIRN_TRY(spilled->Finish());
  const size_t columns = schema.fields.size();
  auto reader = spilled == nullptr
                    ? std::make_unique<ArrowRowReader>(std::move(bytes), columns)
                    : std::make_unique<ArrowRowReader>(std::make_shared<SpilledFile>(std::move(spilled)), columns);
  FIRN_TRY(reader->Open());
  return std::unique_ptr<RowReader>(std::move(reader));
}

}  // namespace firn::compaction
