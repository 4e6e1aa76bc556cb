#include "firn/parquet/file_layout.h"

#include <arrow/record_batch.h>
#include <arrow/type.h>
#include <fmt/format.h>

#include <algorithm>
#include <new>
#include <optional>
#include <span>
#include <utility>

#include "firn/base/check.h"
#include "firn/columnar/column_builder.h"
#include "firn/parquet/column_encoding.h"
#include "firn/parquet/column_metrics.h"
#include "firn/parquet/file_form.h"
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
  ParquetFileLayout(std::shared_ptr<const FileForm> form, ByteSink sink)
      : form_(std::move(form)), options_(form_->options), sink_(std::move(sink)), samples_(form_->leaves.size()) {}

  Status Write(const columnar::RowSlice& rows) override {
    FIRN_TRY(Usable());
    Status status = Guard([&] { return Take(rows); });
    if (!status.has_value()) error_ = status.error();
    return status;
  }

  int64_t bytes_estimated() const override {
    auto raw = static_cast<double>(pending_bytes_) * kCompressionGuess;
    if (!opened_) return static_cast<int64_t>(raw);
    auto stored = static_cast<double>(writer_->stored_bytes());
    auto uncompressed = static_cast<double>(writer_->uncompressed_bytes());
    double ratio = uncompressed > 0 ? std::min(1.0, stored / uncompressed) : kPageCompressionGuess;
    return writer_->bytes_written() + static_cast<int64_t>(stored + ratio * static_cast<double>(writer_->open_bytes()));
  }

  int64_t bytes_buffered() const override {
    if (!opened_) return pending_bytes_;
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

  void Reopen() override {
    FIRN_CHECK(closed_ && !error_.has_value(), "only a file that was closed may be followed by another");
    closed_ = opened_ = false;
    record_count_ = 0;
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

  Status Take(const columnar::RowSlice& rows) {
    if (rows.end == rows.begin) return {};
    if (rows.batch->schema() != checked_schema_) {
      FIRN_TRY(CheckLayout(*rows.batch, *form_->arrow_schema));
      checked_schema_ = rows.batch->schema();
    }
    FIRN_TRY(CheckRequired(form_->schema, form_->required_columns, rows));
    record_count_ += rows.end - rows.begin;
    if (opened_) return Encode(rows);
    pending_bytes_ += columnar::BytesOfRows(*rows.batch, rows.begin, rows.end);
    pending_rows_ += rows.end - rows.begin;
    pending_.push_back(rows);
    return pending_rows_ >= kSampleRows || pending_bytes_ >= kSampleBytesMax ? EncodePending() : Status();
  }

  Status EncodePending() {
    if (writer_ == nullptr) {
      FIRN_ASSIGN(auto compressor, PageCompressor::Make(options_.compression_codec, options_.compression_level));
      writer_ = std::make_unique<RowGroupWriter>(*form_, std::move(compressor), sink_);
    }
    opened_ = true;
    FIRN_TRY(writer_->Open(ChooseColumns()));
    row_bytes_ = pending_rows_ == 0 ? 1 : std::max<int64_t>(1, pending_bytes_ / pending_rows_);
    pending_rows_ = pending_bytes_ = 0;
    for (columnar::RowSlice& rows : pending_) {
      FIRN_TRY(Encode(rows));
      rows.batch.reset();
    }
    pending_.clear();
    return {};
  }

  Status Encode(const columnar::RowSlice& rows) {
    const int64_t rows_max = std::clamp<int64_t>(kSliceBytesMax / row_bytes_, 64, kSliceRows);
    for (int64_t begin = rows.begin; begin < rows.end;) {
      const int64_t room = options_.row_group_rows_max - writer_->rows();
      const int64_t end = begin + std::min({rows.end - begin, rows_max, room});
      FIRN_TRY(writer_->Write(*rows.batch, begin, end));
      begin = end;
      const int64_t bytes = writer_->stored_bytes() + writer_->open_bytes();
      if (bytes >= options_.row_group_bytes_max || writer_->rows() >= options_.row_group_rows_max) {
        FIRN_TRY(writer_->EndRowGroup());
      }
    }
    return {};
  }

  std::span<const ColumnOptions> ChooseColumns() {
    EncodingRules rules{options_.dictionary_bytes_max, options_.modern_encodings, options_.page_version == 2};
    CollectLeaves(form_->schema, pending_, samples_);
    columns_.clear();
    for (size_t i = 0; i < form_->leaves.size(); ++i) {
      const LeafShape& leaf = form_->leaves[i];
      EncodingChoice choice = ChooseEncoding(*leaf.type, samples_[i], rules);
      ColumnOptions column;
      column.dictionary = choice.encoding == Encoding::kDictionary;
      column.encoding = ToParquetEncoding(column.dictionary ? choice.otherwise : choice.encoding);
      column.page_rows_max = options_.page_rows_max;
      column.page_bytes_max = options_.page_bytes_max;
      column.dictionary_bytes_max = options_.dictionary_bytes_max;
      column.page_version = options_.page_version;
      column.bloom_filter = BloomFilterOf(leaf.field_id);
      columns_.push_back(column);
    }
    return columns_;
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
    if (!opened_) FIRN_TRY(EncodePending());
    FIRN_TRY(writer_->Close());
    metrics = MetricsOf(writer_->totals(), form_->columns, options_);
    metrics.record_count = writer_->rows_written();
    metrics.split_offsets = writer_->row_group_offsets();
    metrics.file_size_in_bytes = writer_->bytes_written();
    if (metrics.record_count != record_count_) {
      return Fail(ErrorCode::kInternal, fmt::format("a Parquet file holds another number of rows than it was given: "
                                                    "{} instead of {}", metrics.record_count, record_count_));
    }
    return {};
  }

  const std::shared_ptr<const FileForm> form_;
  const FileLayoutOptions& options_;
  ByteSink sink_;
  std::unique_ptr<RowGroupWriter> writer_;
  bool opened_ = false;                            // the encodings are chosen, rows go to the writer
  std::shared_ptr<arrow::Schema> checked_schema_;  // of the batches, which mostly share one
  std::vector<columnar::RowSlice> pending_;
  std::vector<LeafValues> samples_;
  std::vector<ColumnOptions> columns_;
  int64_t pending_rows_ = 0;
  int64_t pending_bytes_ = 0;
  int64_t row_bytes_ = 1;  // of the first batches, in Arrow's form
  int64_t record_count_ = 0;
  bool closed_ = false;
  std::optional<Error> error_;
};

}  // namespace

Result<std::shared_ptr<const FileForm>> MakeFileForm(const schema::Schema& schema, const FileLayoutOptions& options,
                                                     const std::string& schema_json) {
  FIRN_TRY(PageCompressor::Make(options.compression_codec, options.compression_level));
  auto form = std::make_shared<FileForm>();
  form->schema = schema;
  form->options = options;
  FIRN_ASSIGN(auto parquet_schema, ToParquetSchema(schema));
  FIRN_ASSIGN(form->leaves, LeafShapes(schema, parquet_schema));
  form->columns = schema::LeafColumns(form->schema);
  form->required_columns = RequiredColumns(schema);
  form->arrow_schema = columnar::ToArrowSchema(schema);
  form->footer = FooterFrame::Make(*parquet_schema, schema_json);
  return std::shared_ptr<const FileForm>(std::move(form));
}

Status FileLayout::Write(const arrow::RecordBatch& batch) {
  auto kept = arrow::RecordBatch::Make(batch.schema(), batch.num_rows(), batch.column_data());
  return Write(columnar::RowSlice{std::move(kept), 0, batch.num_rows()});
}

std::unique_ptr<FileLayout> FileLayout::Create(std::shared_ptr<const FileForm> form, ByteSink sink) {
  return std::make_unique<ParquetFileLayout>(std::move(form), std::move(sink));
}

Result<std::unique_ptr<FileLayout>> FileLayout::Create(const schema::Schema& schema, const FileLayoutOptions& options,
                                                       std::string schema_json, ByteSink sink) {
  FIRN_ASSIGN(auto form, MakeFileForm(schema, options, schema_json));
  return Create(std::move(form), std::move(sink));
}

}  // namespace firn::parquet
