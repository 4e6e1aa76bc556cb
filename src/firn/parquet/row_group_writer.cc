#include "firn/parquet/row_group_writer.h"

#include <arrow/io/interfaces.h>
#include <arrow/memory_pool.h>
#include <arrow/record_batch.h>
#include <arrow/util/key_value_metadata.h>
#include <fmt/format.h>
#include <parquet/arrow/writer.h>
#include <parquet/exception.h>
#include <parquet/file_writer.h>

#include <exception>
#include <new>
#include <optional>
#include <utility>

namespace firn::parquet {
namespace {

namespace pq = ::parquet;

// Hands bytes to the sink and keeps its error, which Arrow's Status would flatten. Mute once the file is given up:
// Arrow's writer writes a footer when it is destroyed.
class SinkStream final : public arrow::io::OutputStream {
 public:
  explicit SinkStream(ByteSink sink) : sink_(std::move(sink)) {}

  arrow::Status Write(const void* data, int64_t length) override {
    if (muted_) return arrow::Status::OK();
    if (error_.has_value()) return arrow::Status::IOError("the sink failed before");
    auto status = sink_(std::string_view(static_cast<const char*>(data), static_cast<size_t>(length)));
    if (!status.has_value()) {
      error_ = std::move(status).error();
      return arrow::Status::IOError(error_->message());
    }
    position_ += length;
    return arrow::Status::OK();
  }
  arrow::Status Close() override { return arrow::Status::OK(); }
  arrow::Result<int64_t> Tell() const override { return position_; }
  bool closed() const override { return false; }

  void Mute() { muted_ = true; }
  int64_t position() const { return position_; }
  const std::optional<Error>& error() const { return error_; }

 private:
  ByteSink sink_;
  int64_t position_ = 0;
  bool muted_ = false;
  std::optional<Error> error_;
};

// Passes everything on to Arrow's own file writer and remembers the row group that it opened last.
class ObservedContents final : public pq::ParquetFileWriter::Contents {
 public:
  ObservedContents(std::unique_ptr<pq::ParquetFileWriter> inner, std::shared_ptr<pq::schema::GroupNode> schema)
      : Contents(std::move(schema), nullptr), inner_(std::move(inner)) {}

  void Close() override {
    row_group_ = nullptr;
    inner_->Close();
    file_metadata_ = inner_->metadata();
  }
  pq::RowGroupWriter* AppendRowGroup() override { return row_group_ = inner_->AppendRowGroup(); }
  pq::RowGroupWriter* AppendBufferedRowGroup() override { return row_group_ = inner_->AppendBufferedRowGroup(); }
  int64_t num_rows() const override { return inner_->num_rows(); }
  int num_columns() const override { return inner_->num_columns(); }
  int num_row_groups() const override { return inner_->num_row_groups(); }
  const std::shared_ptr<pq::WriterProperties>& properties() const override { return inner_->properties(); }
  void AddKeyValueMetadata(const std::shared_ptr<const pq::KeyValueMetadata>& metadata) override {
    inner_->AddKeyValueMetadata(metadata);
  }

  const pq::RowGroupWriter* row_group() const { return row_group_; }

 private:
  std::unique_ptr<pq::ParquetFileWriter> inner_;
  pq::RowGroupWriter* row_group_ = nullptr;
};

ErrorCode CodeOf(const arrow::Status& status) {
  if (status.IsOutOfMemory() || status.IsCapacityError()) return ErrorCode::kResourceExhausted;
  if (status.IsInvalid() || status.IsTypeError()) return ErrorCode::kInvalidInput;
  if (status.IsNotImplemented()) return ErrorCode::kUnsupported;
  if (status.IsIOError()) return ErrorCode::kIoError;
  return ErrorCode::kInternal;
}

class ArrowRowGroupWriter final : public RowGroupWriter {
 public:
  explicit ArrowRowGroupWriter(ByteSink sink) : stream_(std::make_shared<SinkStream>(std::move(sink))) {}
  ~ArrowRowGroupWriter() override {
    stream_->Mute();
    auto ignored = Guard([&] {
      writer_.reset();
      return arrow::Status::OK();
    });
    (void)ignored;
  }

  Status Open(Shape shape) {
    return Guard([&]() -> arrow::Status {
      auto metadata = arrow::key_value_metadata({"iceberg.schema"}, {std::move(shape.schema_json)});
      auto inner = pq::ParquetFileWriter::Open(stream_, shape.parquet_schema, shape.properties, std::move(metadata));
      auto contents = std::make_unique<ObservedContents>(std::move(inner), shape.parquet_schema);
      contents_ = contents.get();
      auto outer = std::make_unique<pq::ParquetFileWriter>();
      outer->Open(std::move(contents));
      return pq::arrow::FileWriter::Make(arrow::default_memory_pool(), std::move(outer), shape.arrow_schema,
                                         pq::default_arrow_writer_properties(), &writer_);
    });
  }

  Status Write(const arrow::RecordBatch& batch) override {
    return Guard([&]() -> arrow::Status {
      if (std::exchange(new_row_group_, false)) ARROW_RETURN_NOT_OK(writer_->NewBufferedRowGroup());
      return writer_->WriteRecordBatch(batch);
    });
  }

  void EndRowGroup() override { new_row_group_ = true; }

  Result<std::shared_ptr<pq::FileMetaData>> Close() override {
    std::shared_ptr<pq::FileMetaData> metadata;
    FIRN_TRY(Guard([&]() -> arrow::Status {
      contents_ = nullptr;
      ARROW_RETURN_NOT_OK(writer_->Close());
      metadata = writer_->metadata();
      return arrow::Status::OK();
    }));
    if (metadata == nullptr) return Fail(ErrorCode::kInternal, "the Parquet writer closed without a footer");
    return metadata;
  }

  int64_t bytes_written() const override { return stream_->position(); }
  int64_t row_group_rows() const override { return OfRowGroup([](auto& group) { return group.num_rows(); }); }
  int64_t row_group_page_bytes() const override {
    return OfRowGroup(
        [](auto& group) { return group.total_compressed_bytes() + group.total_compressed_bytes_written(); });
  }
  int64_t row_group_plain_bytes() const override {
    return OfRowGroup([](auto& group) { return group.total_bytes_written(); });
  }
  int64_t row_group_value_bytes() const override {
    return OfRowGroup([](auto& group) {
      auto stats = group.estimated_buffered_stats();
      return stats.def_level_bytes + stats.rep_level_bytes + stats.value_bytes + stats.dict_bytes;
    });
  }

 private:
  template <typename Ask>
  int64_t OfRowGroup(Ask ask) const {
    bool none = contents_ == nullptr || contents_->row_group() == nullptr || new_row_group_;
    return none ? 0 : ask(*contents_->row_group());
  }

  // Arrow's edge: statuses and exceptions become Errors; the sink's own error comes back as it was.
  template <typename Action>
  Status Guard(Action action) {
    arrow::Status status;
    try {
      status = action();
    } catch (const pq::ParquetStatusException& e) {
      status = e.status();
    } catch (const std::bad_alloc&) {
      status = arrow::Status::OutOfMemory("no memory for the Parquet writer");
    } catch (const std::exception& e) {
      status = arrow::Status::UnknownError(e.what());
    }
    if (status.ok()) return {};
    if (stream_->error().has_value()) return std::unexpected<Error>(*stream_->error());
    return Fail(CodeOf(status), fmt::format("writing Parquet: {}", status.message()));
  }

  std::shared_ptr<SinkStream> stream_;
  std::unique_ptr<pq::arrow::FileWriter> writer_;
  ObservedContents* contents_ = nullptr;  // owned by writer_
  bool new_row_group_ = true;
};

}  // namespace

Result<std::unique_ptr<RowGroupWriter>> RowGroupWriter::Open(Shape shape, ByteSink sink) {
  auto writer = std::make_unique<ArrowRowGroupWriter>(std::move(sink));
  FIRN_TRY(writer->Open(std::move(shape)));
  return writer;
}

}  // namespace firn::parquet
