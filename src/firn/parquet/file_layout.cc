#include "firn/parquet/file_layout.h"

#include <arrow/record_batch.h>
#include <arrow/type.h>
#include <arrow/util/byte_size.h>
#include <arrow/util/compression.h>
#include <fmt/format.h>
#include <parquet/bloom_filter.h>
#include <parquet/metadata.h>
#include <parquet/properties.h>
#include <parquet/schema.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "firn/columnar/column_builder.h"
#include "firn/parquet/column_encoding.h"
#include "firn/parquet/column_metrics.h"
#include "firn/parquet/parquet_schema.h"
#include "firn/parquet/row_group_writer.h"
#include "firn/parquet/value_scan.h"

namespace firn::parquet {
namespace {

namespace pq = ::parquet;

// Encodings are chosen once so many rows, or bytes, are at hand (or the file ends).
constexpr int64_t kSampleRows = 16'384;
constexpr int64_t kSampleBytesMax = 32 << 20;
// Rows written between two looks at the size of the row group.
constexpr int64_t kSliceRows = 65'536;
constexpr int64_t kSliceBytesMax = 32 << 20;
// Values that Arrow's writer takes before it looks at the size of a page; fewer where values are long.
constexpr int64_t kWriteBatchValues = 1024;
constexpr int64_t kWriteBatchValuesMin = 8;
// Guess of what encoding and compression leave of Arrow's bytes, until there are pages to tell.
constexpr double kCompressionGuess = 0.2;
constexpr double kPageCompressionGuess = 0.5;
constexpr int32_t kZstdLevelDefault = 1;
constexpr int32_t kGzipLevelDefault = 6;  // zlib's own; Arrow would take 9

std::optional<pq::Compression::type> CodecOf(const std::string& name) {
  if (name == "uncompressed") return pq::Compression::UNCOMPRESSED;
  if (name == "snappy") return pq::Compression::SNAPPY;
  if (name == "gzip") return pq::Compression::GZIP;
  if (name == "zstd") return pq::Compression::ZSTD;
  if (name == "lz4") return pq::Compression::LZ4;  // stored as LZ4_RAW; the framed LZ4 of old is deprecated
  if (name == "brotli") return pq::Compression::BROTLI;
  return std::nullopt;
}

std::optional<pq::Encoding::type> ToParquetEncoding(Encoding encoding) {
  switch (encoding) {
    case Encoding::kDictionary: return std::nullopt;
    case Encoding::kPlain: return pq::Encoding::PLAIN;
    case Encoding::kRunLength: return pq::Encoding::RLE;
    case Encoding::kDeltaBinaryPacked: return pq::Encoding::DELTA_BINARY_PACKED;
    case Encoding::kDeltaLengthByteArray: return pq::Encoding::DELTA_LENGTH_BYTE_ARRAY;
    case Encoding::kByteStreamSplit: return pq::Encoding::BYTE_STREAM_SPLIT;
  }
  return pq::Encoding::PLAIN;
}

// The largest number of distinct values for which a filter of this false-positive rate stays within the bytes allowed.
pq::BloomFilterOptions BloomFilterOf(const FileLayoutOptions& options, int32_t id, double fpp) {
  auto given = options.bloom_filter_ndv.find(id);
  int64_t ndv = given != options.bloom_filter_ndv.end() ? given->second : options.row_group_rows_max;
  auto bytes = [&] { return pq::BlockSplitBloomFilter::OptimalNumOfBytes(static_cast<uint64_t>(ndv), fpp); };
  auto allowed = static_cast<uint64_t>(options.bloom_filter_bytes_max);
  while (ndv > 1 && bytes() > allowed) ndv -= std::max<int64_t>(1, ndv / 8);
  pq::BloomFilterOptions bloom_filter;
  bloom_filter.ndv = ndv;
  bloom_filter.fpp = fpp;
  return bloom_filter;
}

class ArrowFileLayout final : public FileLayout {
 public:
  ArrowFileLayout(const schema::Schema& schema, const FileLayoutOptions& options, std::string schema_json,
                  ByteSink sink)
      : schema_(schema), options_(options), scan_(schema_), sink_(std::move(sink)) {
    shape_.schema_json = std::move(schema_json);
  }

  Status Prepare() {
    auto codec = CodecOf(options_.compression_codec);
    if (!codec.has_value() || !arrow::util::Codec::IsAvailable(*codec)) {
      return Fail(ErrorCode::kInvalidInput,
                  fmt::format("write.parquet.compression-codec is not a codec of this build, zstd always is: '{}'",
                              options_.compression_codec));
    }
    codec_ = *codec;
    FIRN_ASSIGN(shape_.parquet_schema, ToParquetSchema(schema_));
    shape_.arrow_schema = columnar::ToArrowSchema(schema_);
    return {};
  }

  Status Write(const arrow::RecordBatch& batch) override {
    FIRN_TRY(Usable());
    return Remember(Take(batch));
  }

  int64_t bytes_estimated() const override {
    auto raw = static_cast<double>(pending_bytes_) * kCompressionGuess;
    if (writer_ == nullptr) return static_cast<int64_t>(raw);
    auto pages = static_cast<double>(writer_->row_group_page_bytes());
    auto plain = static_cast<double>(writer_->row_group_plain_bytes());
    double ratio = plain > 0 ? std::min(1.0, pages / plain) : kPageCompressionGuess;
    return writer_->bytes_written() + static_cast<int64_t>(pages + ratio * static_cast<double>(BufferedValueBytes()));
  }

  int64_t bytes_buffered() const override {
    if (writer_ == nullptr) return pending_bytes_;
    return pending_bytes_ + writer_->row_group_page_bytes() + BufferedValueBytes();
  }

  Result<FileMetrics> Close() override {
    FIRN_TRY(Usable());
    closed_ = true;
    auto metrics = Finish();
    if (!metrics.has_value()) error_ = metrics.error();
    return metrics;
  }

 private:
  int64_t BufferedValueBytes() const { return writer_->row_group_value_bytes(); }

  Status Usable() const {
    if (error_.has_value()) return std::unexpected<Error>(*error_);
    if (closed_) return Fail(ErrorCode::kInternal, "this Parquet file is closed already");
    return {};
  }

  Status Remember(Status status) {
    if (!status.has_value()) error_ = status.error();
    return status;
  }

  Status Take(const arrow::RecordBatch& batch) {
    if (batch.num_rows() == 0) return {};
    FIRN_TRY(CheckLayout(batch, *shape_.arrow_schema));
    FIRN_TRY(scan_.Add(batch));
    auto conformed = WithWriteTypes(batch, shape_.arrow_schema);
    record_count_ += batch.num_rows();
    if (writer_ != nullptr) return Encode(*conformed);
    auto bytes = arrow::util::ReferencedBufferSize(*conformed);
    pending_bytes_ += bytes.ok() ? *bytes : arrow::util::TotalBufferSize(*conformed);
    pending_rows_ += batch.num_rows();
    pending_.push_back(std::move(conformed));
    return pending_rows_ >= kSampleRows || pending_bytes_ >= kSampleBytesMax ? EncodePending() : Status();
  }

  Status EncodePending() {
    shape_.properties = Properties();
    FIRN_ASSIGN(writer_, RowGroupWriter::Open(shape_, sink_));
    auto batches = std::exchange(pending_, {});
    row_bytes_ = pending_rows_ == 0 ? 1 : std::max<int64_t>(1, pending_bytes_ / pending_rows_);
    pending_rows_ = pending_bytes_ = 0;
    for (const auto& batch : batches) FIRN_TRY(Encode(*batch));
    return {};
  }

  Status Encode(const arrow::RecordBatch& batch) {
    int64_t rows_max = std::clamp<int64_t>(kSliceBytesMax / row_bytes_, 64, kSliceRows);
    for (int64_t begin = 0; begin < batch.num_rows();) {
      int64_t room = options_.row_group_rows_max - writer_->row_group_rows();
      int64_t rows = std::min({batch.num_rows() - begin, rows_max, room});
      bool whole = begin == 0 && rows == batch.num_rows();
      FIRN_TRY(writer_->Write(whole ? batch : *batch.Slice(begin, rows)));
      begin += rows;
      int64_t bytes = writer_->row_group_page_bytes() + BufferedValueBytes();
      if (bytes >= options_.row_group_bytes_max || writer_->row_group_rows() >= options_.row_group_rows_max) {
        writer_->EndRowGroup();
      }
    }
    return {};
  }

  std::shared_ptr<pq::WriterProperties> Properties() const {
    pq::WriterProperties::Builder builder;
    builder.compression(codec_);
    if (options_.compression_level >= 0) {
      builder.compression_level(options_.compression_level);
    } else if (codec_ == pq::Compression::ZSTD) {
      builder.compression_level(kZstdLevelDefault);
    } else if (codec_ == pq::Compression::GZIP) {
      builder.compression_level(kGzipLevelDefault);
    }
    builder.data_page_version(options_.page_version == 2 ? pq::ParquetDataPageVersion::V2
                                                         : pq::ParquetDataPageVersion::V1);
    builder.data_pagesize(options_.page_bytes_max);
    builder.max_rows_per_page(options_.page_rows_max);
    builder.dictionary_pagesize_limit(options_.dictionary_bytes_max);
    builder.max_row_group_length(options_.row_group_rows_max);
    builder.enable_write_page_index();
    builder.set_size_statistics_level(pq::SizeStatisticsLevel::ColumnChunk);
    if (options_.page_checksum) builder.enable_page_checksum();

    EncodingRules rules{options_.dictionary_bytes_max, options_.modern_encodings, options_.page_version == 2};
    auto leaves = schema::LeafColumns(schema_);
    auto values = CollectLeaves(schema_, pending_);
    double value_bytes_max = 1;
    pq::SchemaDescriptor descriptor;
    descriptor.Init(shape_.parquet_schema);
    for (size_t i = 0; i < leaves.size(); ++i) {
      auto choice = ChooseEncoding(*leaves[i].field->type, values[i], rules);
      value_bytes_max = std::max(value_bytes_max, choice.value_bytes);
      auto path = descriptor.Column(static_cast<int>(i))->path();
      if (auto encoding = ToParquetEncoding(choice.encoding)) {
        builder.disable_dictionary(path);
        builder.encoding(path, *encoding);
      }
      int32_t id = leaves[i].field->id.value();
      auto fpp = options_.bloom_filter_fpp.find(id);
      if (fpp != options_.bloom_filter_fpp.end()) {
        builder.enable_bloom_filter(path, BloomFilterOf(options_, id, fpp->second));
      }
    }
    auto fitting = static_cast<int64_t>(static_cast<double>(options_.page_bytes_max) / 4 / value_bytes_max);
    int64_t write_batch = std::clamp(fitting, kWriteBatchValuesMin, kWriteBatchValues);
    builder.write_batch_size(std::min(write_batch, options_.page_rows_max));
    return builder.build();
  }

  Result<FileMetrics> Finish() {
    if (writer_ == nullptr) FIRN_TRY(EncodePending());
    FIRN_ASSIGN(auto metadata, writer_->Close());
    FIRN_ASSIGN(auto metrics, MetricsOf(*metadata, schema_, options_, scan_));
    if (metrics.record_count != record_count_) {
      return Fail(ErrorCode::kInternal, fmt::format("a Parquet file holds another number of rows than it was given: "
                                                    "{} instead of {}", metrics.record_count, record_count_));
    }
    metrics.file_size_in_bytes = writer_->bytes_written();
    return metrics;
  }

  const schema::Schema schema_;
  const FileLayoutOptions options_;
  ValueScan scan_;
  ByteSink sink_;
  pq::Compression::type codec_ = pq::Compression::ZSTD;
  RowGroupWriter::Shape shape_;
  std::unique_ptr<RowGroupWriter> writer_;  // once the encodings are chosen
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
  auto layout = std::make_unique<ArrowFileLayout>(schema, options, std::move(schema_json), std::move(sink));
  FIRN_TRY(layout->Prepare());
  return layout;
}

}  // namespace firn::parquet
