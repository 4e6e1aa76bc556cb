#include "firn/parquet/file_merge.h"

#include <fmt/format.h>
#include <parquet/schema.h>

#include <algorithm>
#include <array>
#include <exception>
#include <map>
#include <new>
#include <set>

#include "firn/parquet/column_chunk_writer.h"
#include "firn/parquet/file_footer.h"
#include "firn/parquet/file_output.h"
#include "firn/parquet/format.h"
#include "firn/parquet/merge_bloom_filter.h"
#include "firn/parquet/parquet_schema.h"

namespace firn::parquet {
namespace {

std::optional<CodecId> CodecNamed(const std::string& name) {
  if (name == "uncompressed") return CodecId::kNone;
  if (name == "snappy") return CodecId::kSnappy;
  if (name == "gzip") return CodecId::kGzip;
  if (name == "zstd") return CodecId::kZstd;
  if (name == "lz4") return CodecId::kLz4Raw;
  if (name == "brotli") return CodecId::kBrotli;
  return std::nullopt;
}

// What files of one schema have in common; names are left out.
struct InputSchema {
  std::vector<FileNode> nodes;
  std::vector<int32_t> leaves;
  std::vector<ColumnPlan> columns;
};

bool SameColumn(const FileNode& a, const FileNode& b) {
  return a.parent == b.parent && a.repetition == b.repetition && a.field_id == b.field_id && a.is_leaf == b.is_leaf &&
         a.physical_type == b.physical_type && a.type_length == b.type_length && a.annotation == b.annotation &&
         a.precision == b.precision && a.scale == b.scale && a.integer_bits == b.integer_bits;
}

struct Input {
  std::shared_ptr<const std::string> bytes;
  std::vector<FileRowGroup> row_groups;
  std::shared_ptr<const InputSchema> schema;
  bool has_type_order = false;
  size_t number = 0;
  int64_t beside_bytes = 0;  // that it takes as long as one of its row groups waits, beside the chunks that are read
};

// A row group of an input, waiting for its place in an output row group.
struct Waiting {
  std::shared_ptr<const Input> input;
  size_t row_group = 0;

  const FileRowGroup& group() const { return input->row_groups[row_group]; }
};

std::unexpected<Refusal> Refuse(std::string_view reason, std::string detail) {
  return std::unexpected<Refusal>(Refusal{reason, std::move(detail)});
}

// Compressed bytes of the columns that are read.
int64_t BytesOf(const FileRowGroup& group, const std::vector<ColumnPlan>& columns) {
  int64_t bytes = 0;
  for (const ColumnPlan& plan : columns) {
    if (!plan.is_missing) bytes += group.chunks[static_cast<size_t>(plan.leaf)].compressed_bytes;
  }
  return bytes;
}

// Footer, page indexes and columns that are not read, and all that is made of a footer, in memory.
int64_t BesideBytes(const Input& input) {
  auto bytes = static_cast<int64_t>(input.bytes->size());
  for (const FileRowGroup& group : input.row_groups) bytes -= BytesOf(group, input.schema->columns);
  bytes = std::max<int64_t>(bytes, 0) + static_cast<int64_t>(sizeof(Input));
  for (const FileRowGroup& group : input.row_groups) {
    // The pages of one column at a time are looked at, of all inputs together.
    bytes += static_cast<int64_t>(sizeof(Waiting) + sizeof(FileRowGroup) + sizeof(SourceChunk) + sizeof(PageView) +
                                  sizeof(PageFacts));
    for (const FileChunk& chunk : group.chunks) {
      const size_t sizes = chunk.sizes.repetition_levels.capacity() + chunk.sizes.definition_levels.capacity();
      bytes += static_cast<int64_t>(sizeof(FileChunk) + sizes * sizeof(int64_t));
    }
  }
  return bytes;
}

// What the columns that are read demand of their chunks.
std::expected<void, Refusal> CheckChunks(const InputFooter& footer, const std::vector<ColumnPlan>& columns,
                                         size_t file_bytes) {
  std::set<int32_t> known_codecs;
  for (const FileRowGroup& group : footer.row_groups) {
    for (const ColumnPlan& plan : columns) {
      if (plan.leaf < 0) continue;
      const FileChunk& chunk = group.chunks[static_cast<size_t>(plan.leaf)];
      if (chunk.is_encrypted) return Refuse("encrypted", "a column is encrypted");
      if (chunk.is_elsewhere) return Refuse("other_file", "a column chunk lies in another file");
      if (static_cast<uint64_t>(chunk.compressed_bytes) > file_bytes) {
        return Refuse("damaged", fmt::format("a column chunk is larger than its file: {}", chunk.compressed_bytes));
      }
      const bool known =
          known_codecs.contains(chunk.codec) || PageCodec::Create(static_cast<CodecId>(chunk.codec), -1).has_value();
      if (known) known_codecs.insert(chunk.codec);
      if (!known) {
        return Refuse("codec", fmt::format("a column is compressed by a codec that is not read here: {}", chunk.codec));
      }
    }
  }
  return {};
}

class PageFileMerge final : public FileMerge {
 public:
  PageFileMerge(const schema::Schema& schema, const FileLayoutOptions& options, std::string schema_json, ByteSink sink)
      : schema_(schema),
        options_(options),
        output_([this, sink = std::move(sink)](std::string_view bytes) { return Send(sink, bytes); }),
        schema_json_(std::move(schema_json)),
        opener_(options.compression_level) {}

  Status Prepare() {
    const std::optional<CodecId> codec = CodecNamed(options_.compression_codec);
    if (!codec.has_value() || !PageCodec::Create(*codec, options_.compression_level).has_value()) {
      return Fail(ErrorCode::kInvalidInput,
                  fmt::format("write.parquet.compression-codec is not a codec of this build, zstd always is: '{}'",
                              options_.compression_codec));
    }
    table_codec_ = *codec;
    FIRN_ASSIGN(parquet_schema_, ToParquetSchema(schema_));
    leaves_ = OutputLeaves(schema_, parquet_schema_);
    footer_frame_ = FooterFrame::Make(*parquet_schema_, schema_json_);
    footer_.emplace(footer_frame_);
    FIRN_TRY(output_.Append(format::kMagic));
    memories_.resize(leaves_.size());
    column_bytes_.resize(leaves_.size());
    column_values_.resize(leaves_.size());
    column_nulls_.resize(leaves_.size());
    return {};
  }

  std::expected<void, Refusal> Check(std::string_view file, std::optional<int64_t> rows) const override {
    auto input = Look(file, rows);
    if (!input.has_value()) return std::unexpected<Refusal>(std::move(input.error()));
    return {};
  }

  Result<std::optional<Refusal>> Add(std::shared_ptr<const std::string> file, std::optional<int64_t> rows) override {
    FIRN_TRY(Usable());
    auto looked = Look(*file, rows);
    if (!looked.has_value()) return std::optional<Refusal>(std::move(looked.error()));
    auto input = std::make_shared<Input>(*std::move(looked));
    known_schema_ = input->schema;
    input->bytes = std::move(file);
    input->number = inputs_++;
    input->beside_bytes = BesideBytes(*input);
    for (size_t i = 0; i < input->row_groups.size(); ++i) {
      Waiting next{input, i};
      if (next.group().num_rows == 0) continue;
      const int64_t bytes = BytesOf(next.group(), input->schema->columns);
      const bool is_held = !waiting_.empty() && waiting_.back().input == input;
      const int64_t held = bytes + (is_held ? 0 : input->beside_bytes);
      const bool full = waiting_rows_ + next.group().num_rows > options_.row_group_rows_max ||
                        held_bytes_ + held > options_.row_group_bytes_max;
      if (full && !waiting_.empty()) FIRN_TRY(Remember(WriteRowGroup()));
      waiting_rows_ += next.group().num_rows;
      held_bytes_ += waiting_.empty() ? bytes + input->beside_bytes : held;
      waiting_.push_back(std::move(next));
    }
    return std::optional<Refusal>();
  }

  Result<FileMetrics> Close() override {
    FIRN_TRY(Usable());
    closed_ = true;
    if (!waiting_.empty()) FIRN_TRY(Remember(WriteRowGroup()));
    FIRN_TRY(Remember(footer_->Write(output_)));
    return Metrics();
  }

  int64_t bytes_written() const override { return output_.position(); }
  int64_t held_bytes() const override { return held_bytes_; }
  const MergeCounts& counts() const override { return counts_; }
  std::optional<size_t> failed_input() const override { return sink_failed_ ? std::nullopt : failed_input_; }

 private:
  Status Usable() const {
    if (error_.has_value()) return std::unexpected<Error>(*error_);
    if (closed_) return Fail(ErrorCode::kInternal, "this merge is closed already");
    return {};
  }

  Status Remember(Status status) {
    if (!status.has_value()) error_ = status.error();
    return status;
  }

  std::expected<Input, Refusal> Look(std::string_view file, std::optional<int64_t> rows) const {
    auto footer = ReadFooter(file);
    if (!footer.has_value()) {
      const bool damaged = footer.error().code() == ErrorCode::kCorruption;
      return Refuse(damaged ? "damaged" : "encrypted", footer.error().message());
    }
    auto schema = SchemaOf(*footer);
    if (!schema.has_value()) return std::unexpected<Refusal>(std::move(schema.error()));
    if (auto checked = CheckChunks(*footer, (*schema)->columns, file.size()); !checked.has_value()) {
      return std::unexpected<Refusal>(std::move(checked.error()));
    }
    if (rows.has_value() && *rows != footer->num_rows) {
      return Refuse("row_count_differs",
                    fmt::format("the file has {} rows, its manifest entry says: {}", footer->num_rows, *rows));
    }
    return Input{nullptr, std::move(footer->row_groups), *std::move(schema), footer->has_type_order, 0, 0};
  }

  // Files come from few writers: mostly that of the file before.
  std::expected<std::shared_ptr<const InputSchema>, Refusal> SchemaOf(InputFooter& footer) const {
    if (known_schema_ != nullptr && known_schema_->leaves == footer.leaves &&
        std::ranges::equal(known_schema_->nodes, footer.nodes, SameColumn)) {
      return known_schema_;
    }
    auto columns = PlanColumns(footer, leaves_);
    if (!columns.has_value()) return std::unexpected<Refusal>(std::move(columns.error()));
    for (FileNode& node : footer.nodes) node.name = {};
    return std::make_shared<const InputSchema>(std::move(footer.nodes), std::move(footer.leaves), *std::move(columns));
  }

  Status Send(const ByteSink& sink, std::string_view bytes) {
    Status sent = sink(bytes);
    sink_failed_ = sink_failed_ || !sent.has_value();
    return sent;
  }

  SourceChunk SourceOf(const Waiting& waiting, size_t column) const {
    const InputSchema& schema = *waiting.input->schema;
    const ColumnPlan& plan = schema.columns[column];
    SourceChunk source;
    source.file = *waiting.input->bytes;
    source.row_group = static_cast<int32_t>(waiting.row_group);
    source.rows = waiting.group().num_rows;
    source.plan = &plan;
    source.has_type_order = waiting.input->has_type_order;
    if (plan.leaf >= 0) {
      const auto leaf = static_cast<size_t>(plan.leaf);
      source.chunk = &waiting.group().chunks[leaf];
      source.node = &schema.nodes[static_cast<size_t>(schema.leaves[leaf])];
    }
    return source;
  }

  // The codec of most of the bytes, so that they can stay as they are; the deprecated LZ4 is never written.
  CodecId CodecOf(const std::vector<SourceChunk>& sources) const {
    std::map<int32_t, int64_t> bytes;
    for (const SourceChunk& source : sources) {
      if (!source.plan->is_missing) bytes[source.chunk->codec] += source.chunk->compressed_bytes;
    }
    CodecId chosen = table_codec_;
    int64_t most = bytes[static_cast<int32_t>(table_codec_)];
    for (const auto& [codec, count] : bytes) {
      if (codec == static_cast<int32_t>(CodecId::kLz4Hadoop) || count <= most) continue;
      chosen = static_cast<CodecId>(codec);
      most = count;
    }
    return chosen;
  }

  Status WriteRowGroup() {
    std::vector<ColumnChunkWriter::Finished> finished;
    try {
      for (size_t column = 0; column < leaves_.size(); ++column) {
        FIRN_ASSIGN(FinishedChunk merged, MergeColumn(column));
        ColumnChunkWriter::Finished chunk;
        chunk.chunk = std::move(merged.chunk);
        chunk.offset_index = std::move(merged.offset_index);
        if (!merged.column_index.null_pages.empty()) chunk.column_index = std::move(merged.column_index);
        finished.push_back(std::move(chunk));
      }
      for (size_t column = 0; column < leaves_.size(); ++column) {
        FIRN_TRY(WriteBloomFilter(column, finished[column].chunk));
      }
    } catch (const std::bad_alloc&) {
      return Fail(ErrorCode::kResourceExhausted, "no memory for a row group");
    } catch (const std::exception& e) {
      return Fail(ErrorCode::kInternal, e.what());
    }
    split_offsets_.push_back(finished.front().chunk.start());
    footer_->AddRowGroup(waiting_rows_, std::move(finished));
    rows_ += waiting_rows_;
    waiting_.clear();
    waiting_rows_ = held_bytes_ = 0;
    return {};
  }

  Result<FinishedChunk> MergeColumn(size_t column) {
    const OutputLeaf& leaf = leaves_[column];
    std::vector<SourceChunk> sources;
    for (const Waiting& waiting : waiting_) sources.push_back(SourceOf(waiting, column));
    const std::string context = fmt::format("column '{}'", fmt::join(leaf.names, "."));
    for (size_t i = 0; i < sources.size(); ++i) {
      failed_input_ = waiting_[i].input->number;
      if (sources[i].plan->is_missing) continue;
      FIRN_TRY(WithContext(PreparePages(opener_, leaf, sources[i]), context));
      if (sources[i].chunk->has_bloom_filter && !options_.bloom_filter_fpp.contains(leaf.field_id)) {
        ++counts_.bloom_filters_dropped;
      }
    }
    failed_input_ = waiting_.size() == 1 ? std::optional(waiting_[0].input->number) : std::nullopt;
    ChunkMerger merger(leaf, options_, opener_, memories_[column], counts_);
    const ByteSink append = [this](std::string_view bytes) { return output_.Append(bytes); };
    auto merged = merger.Merge(sources, CodecOf(sources), append, output_.position());
    if (!merged.has_value()) {
      if (auto failed = merger.failed_source(sources); failed.has_value()) {
        failed_input_ = waiting_[*failed].input->number;
      }
      return WithContext(std::move(merged), context);
    }
    failed_input_.reset();
    column_bytes_[column] += merged->chunk.compressed_bytes;
    column_values_[column] += merged->chunk.num_values;
    column_nulls_[column] += merged->chunk.statistics.null_count;
    return merged;
  }

  Status WriteBloomFilter(size_t column, format::ColumnChunk& chunk) {
    const OutputLeaf& leaf = leaves_[column];
    auto fpp = options_.bloom_filter_fpp.find(leaf.field_id);
    if (fpp == options_.bloom_filter_fpp.end()) return {};
    MergedBloomFilter filter(options_, leaf.field_id, fpp->second, chunk.num_values - chunk.statistics.null_count);
    const ValueType type{leaf.physical_type, leaf.value_bytes};
    for (const Waiting& waiting : waiting_) {
      const SourceChunk source = SourceOf(waiting, column);
      if (source.plan->is_missing) continue;
      failed_input_ = waiting.input->number;
      FIRN_TRY(DecodeChunk(source.file, source.row_group, source.plan->leaf, [&](const DecodedRows& rows) -> Status {
        ByteBuffer plain;
        FIRN_TRY(AppendConverted(source.plan->conversion, source.type(), type, rows.plain.view(), plain));
        return filter.Add(type, plain.view(), rows.values);
      }));
    }
    failed_input_.reset();
    FIRN_ASSIGN(const std::string bytes, filter.Bytes());
    chunk.bloom_filter_offset = output_.position();
    chunk.bloom_filter_bytes = static_cast<int32_t>(bytes.size());
    ++counts_.bloom_filters_made;
    return output_.Append(bytes);
  }

  FileMetrics Metrics() const {
    FileMetrics metrics;
    metrics.record_count = rows_;
    metrics.file_size_in_bytes = output_.position();
    metrics.split_offsets = split_offsets_;
    for (size_t i = 0; i < leaves_.size(); ++i) {
      const int32_t id = leaves_[i].field_id;
      metrics.column_sizes[id] = column_bytes_[i];
      metrics.value_counts[id] = column_values_[i];
      metrics.null_value_counts[id] = column_nulls_[i];
    }
    return metrics;
  }

  const schema::Schema schema_;
  const FileLayoutOptions options_;
  FileOutput output_;
  bool sink_failed_ = false;
  const std::string schema_json_;
  CodecId table_codec_ = CodecId::kZstd;
  std::shared_ptr<::parquet::schema::GroupNode> parquet_schema_;
  std::vector<OutputLeaf> leaves_;
  PageOpener opener_;
  std::vector<DictionaryMemory> memories_;
  MergeCounts counts_;
  std::vector<Waiting> waiting_;
  int64_t waiting_rows_ = 0;
  int64_t held_bytes_ = 0;
  std::shared_ptr<const InputSchema> known_schema_;  // of the last input
  size_t inputs_ = 0;
  int64_t rows_ = 0;
  FooterFrame footer_frame_;
  std::optional<FileFooter> footer_;
  std::vector<int64_t> split_offsets_;
  std::vector<int64_t> column_bytes_;
  std::vector<int64_t> column_values_;
  std::vector<int64_t> column_nulls_;
  std::optional<size_t> failed_input_;
  std::optional<Error> error_;
  bool closed_ = false;
};

}  // namespace

Result<std::unique_ptr<FileMerge>> FileMerge::Create(const schema::Schema& schema, const FileLayoutOptions& options,
                                                     std::string schema_json, ByteSink sink) {
  auto merge = std::make_unique<PageFileMerge>(schema, options, std::move(schema_json), std::move(sink));
  FIRN_TRY(merge->Prepare());
  return merge;
}

}  // namespace firn::parquet
