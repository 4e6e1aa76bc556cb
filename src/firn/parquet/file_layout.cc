#include "firn/parquet/file_layout.h"

#include <arrow/record_batch.h>
#include <arrow/type.h>
#include <arrow/util/byte_size.h>
#include <fmt/format.h>

#include <algorithm>
#include <new>
#include <optional>
#include <utility>

#include "firn/columnar/column_builder.h"
#include "firn/parquet/column_encoding.h"
#include "firn/parquet/column_metrics.h"
#include "firn/parquet/parquet_schema.h"
#include "firn/parquet/required_values.h"
#include "firn/parquet/row_group_writer.h"

namespace firn::parquet {
namespace {

// Encodings are chosen once so many rows, or bytes, are at hand (or the file ends).
constexpr int64_t kSampleRows = 16'384;
constexpr int64_t kSampleBytesMax = 32 << 20;
// Rows written between two looks at the size of the row group.
constexpr int64_t kSliceRows = 65'536;
constexpr int64_t kSliceBytesMax = 32 << 20;
// The bloom filters of a row group together have that part of its bytes. They come on top: they are made for as many
// rows as it may have, and would end it long before.
constexpr int64_t kBloomFilterPart = 2;
// Guess of what encoding and compression leave of Arrow's bytes, until there are pages to tell.
constexpr double kCompressionGuess = 0.2;
constexpr double kPageCompressionGuess = 0.5;

format::Encoding ToParquetEncoding(Encoding encoding) {
  switch (encoding) {
    case Encoding::kDictionary: return format::Encoding::kRleDictionary;
    case Encoding::kPlain: return format::Encoding::kPlain;
    case Encoding::kRunLength: return format::Encoding::kRle;
    case Encoding::kDeltaBinaryPacked: return format::Encoding::kDeltaBinaryPacked;
    case Encoding::kDeltaLengthByteArray: return format::Encoding::kDeltaLengthByteArray;
    case Encoding::kByteStreamSplit: return format::Encoding::kByteStreamSplit;
  }
  return format::Encoding::kPlain;
}

class ParquetFileLayout final : public FileLayout {
 public:
  ParquetFileLayout(const schema::Schema& schema, const FileLayoutOptions& options, ByteSink sink)
      : schema_(schema), options_(options), sink_(std::move(sink)) {}

  Status Prepare(std::string schema_json) {
    FIRN_ASSIGN(compressor_, PageCompressor::Make(options_.compression_codec, options_.compression_level));
    FIRN_ASSIGN(shape_.parquet_schema, ToParquetSchema(schema_));
    FIRN_ASSIGN(shape_.leaves, LeafShapes(schema_, shape_.parquet_schema));
    shape_.schema_json = std::move(schema_json);
    arrow_schema_ = columnar::ToArrowSchema(schema_);
    return {};
  }

  Status Write(const arrow::RecordBatch& batch) override {
    FIRN_TRY(Usable());
    Status status = Guard([&] { return Take(batch); });
    if (!status.has_value()) error_ = status.error();
    return status;
  }

  int64_t bytes_estimated() const override {
    auto raw = static_cast<double>(pending_bytes_) * kCompressionGuess;
    if (writer_ == nullptr) return static_cast<int64_t>(raw);
    auto stored = static_cast<double>(writer_->stored_bytes());
    auto uncompressed = static_cast<double>(writer_->uncompressed_bytes());
    double ratio = uncompressed > 0 ? std::min(1.0, stored / uncompressed) : kPageCompressionGuess;
    return writer_->bytes_written() + static_cast<int64_t>(stored + ratio * static_cast<double>(writer_->open_bytes()));
  }

  int64_t bytes_buffered() const override {
    if (writer_ == nullptr) return pending_bytes_;
    return pending_bytes_ + writer_->held_bytes();
  }

  Result<FileMetrics> Close() override {
    FIRN_TRY(Usable());
    closed_ = true;
    FileMetrics metrics;
    Status status = Guard([&] { return Finish(metrics); });
    if (!status.has_value()) {
      error_ = status.error();
      return std::unexpected<Error>(*error_);
    }
    return metrics;
  }

 private:
  template <typename Action>
  static Status Guard(Action action) {
    try {
      return action();
    } catch (const std::bad_alloc&) {
      return Fail(ErrorCode::kResourceExhausted, "no memory for writing a Parquet file");
    }
  }

  Status Usable() const {
    if (error_.has_value()) return std::unexpected<Error>(*error_);
    if (closed_) return Fail(ErrorCode::kInternal, "this Parquet file is closed already");
    return {};
  }

  Status Take(const arrow::RecordBatch& batch) {
    if (batch.num_rows() == 0) return {};
    FIRN_TRY(CheckLayout(batch, *arrow_schema_));
    FIRN_TRY(CheckRequired(schema_, batch));
    record_count_ += batch.num_rows();
    if (writer_ != nullptr) return Encode(batch);
    auto bytes = arrow::util::ReferencedBufferSize(batch);
    pending_bytes_ += bytes.ok() ? *bytes : arrow::util::TotalBufferSize(batch);
    pending_rows_ += batch.num_rows();
    pending_.push_back(arrow::RecordBatch::Make(batch.schema(), batch.num_rows(), batch.column_data()));
    return pending_rows_ >= kSampleRows || pending_bytes_ >= kSampleBytesMax ? EncodePending() : Status();
  }

  Status EncodePending() {
    auto columns = ChooseColumns();
    auto batches = std::exchange(pending_, {});
    writer_ = std::make_unique<RowGroupWriter>(std::move(shape_), columns, std::move(compressor_), sink_);
    FIRN_TRY(writer_->Open());
    row_bytes_ = pending_rows_ == 0 ? 1 : std::max<int64_t>(1, pending_bytes_ / pending_rows_);
    pending_rows_ = pending_bytes_ = 0;
    for (const auto& batch : batches) FIRN_TRY(Encode(*batch));
    return {};
  }

  Status Encode(const arrow::RecordBatch& batch) {
    int64_t rows_max = std::clamp<int64_t>(kSliceBytesMax / row_bytes_, 64, kSliceRows);
    for (int64_t begin = 0; begin < batch.num_rows();) {
      int64_t room = options_.row_group_rows_max - writer_->rows();
      int64_t rows = std::min({batch.num_rows() - begin, rows_max, room});
      FIRN_TRY(writer_->Write(batch, begin, begin + rows));
      begin += rows;
      int64_t bytes = writer_->stored_bytes() + writer_->open_bytes();
      if (bytes >= options_.row_group_bytes_max || writer_->rows() >= options_.row_group_rows_max) {
        FIRN_TRY(writer_->EndRowGroup());
      }
    }
    return {};
  }

  std::vector<ColumnOptions> ChooseColumns() const {
    EncodingRules rules{options_.dictionary_bytes_max, options_.modern_encodings, options_.page_version == 2};
    auto values = CollectLeaves(schema_, pending_);
    std::vector<ColumnOptions> columns;
    for (size_t i = 0; i < shape_.leaves.size(); ++i) {
      const LeafShape& leaf = shape_.leaves[i];
      EncodingChoice choice = ChooseEncoding(*leaf.type, values[i], rules);
      ColumnOptions column;
      column.dictionary = choice.encoding == Encoding::kDictionary;
      column.encoding = ToParquetEncoding(column.dictionary ? choice.otherwise : choice.encoding);
      column.page_rows_max = options_.page_rows_max;
      column.page_bytes_max = options_.page_bytes_max;
      column.dictionary_bytes_max = options_.dictionary_bytes_max;
      column.page_version = options_.page_version;
      column.page_checksum = options_.page_checksum;
      column.bloom_filter = BloomFilterOf(leaf.field_id);
      columns.push_back(column);
    }
    return columns;
  }

  std::optional<BloomFilterSize> BloomFilterOf(int32_t id) const {
    auto fpp = options_.bloom_filter_fpp.find(id);
    if (fpp == options_.bloom_filter_fpp.end()) return std::nullopt;
    auto ndv = options_.bloom_filter_ndv.find(id);
    bool given = ndv != options_.bloom_filter_ndv.end();
    const auto filters = static_cast<int64_t>(options_.bloom_filter_fpp.size());
    return BloomFilterSize{
        fpp->second, given ? ndv->second : options_.row_group_rows_max, given,
        std::min(options_.bloom_filter_bytes_max, options_.row_group_bytes_max / (kBloomFilterPart * filters))};
  }

  Status Finish(FileMetrics& metrics) {
    if (writer_ == nullptr) FIRN_TRY(EncodePending());
    FIRN_TRY(writer_->Close());
    metrics = MetricsOf(writer_->totals(), schema_, options_);
    metrics.record_count = writer_->rows_written();
    metrics.split_offsets = writer_->row_group_offsets();
    metrics.file_size_in_bytes = writer_->bytes_written();
    if (metrics.record_count != record_count_) {
      return Fail(ErrorCode::kInternal, fmt::format("a Parquet file holds another number of rows than it was given: "
                                                    "{} instead of {}", metrics.record_count, record_count_));
    }
    return {};
  }

  const schema::Schema schema_;
  const FileLayoutOptions options_;
  ByteSink sink_;
  std::unique_ptr<PageCompressor> compressor_;     // until the writer has it, and so has the shape
  RowGroupWriter::Shape shape_;
  std::shared_ptr<arrow::Schema> arrow_schema_;
  std::unique_ptr<RowGroupWriter> writer_;         // once the encodings are chosen
  std::vector<std::shared_ptr<arrow::RecordBatch>> pending_;
  int64_t pending_rows_ = 0;
  int64_t pending_bytes_ = 0;
  int64_t row_bytes_ = 1;  // of the first batches, in Arrow's form
  int64_t record_count_ = 0;
  bool closed_ = false;
  std::optional<Error> error_;
};

}  // namespace

Result<std::unique_ptr<FileLayout>> FileLayout::Create(const schema::Schema& schema, const FileLayoutOptions& options,
                                                       std::string schema_json, ByteSink sink) {
  auto layout = std::make_unique<ParquetFileLayout>(schema, options, std::move(sink));
  FIRN_TRY(layout->Prepare(std::move(schema_json)));
  return layout;
}

}  // namespace firn::parquet
