#include "firn/ingest/data_files.h"

#include <arrow/record_batch.h>
#include <fmt/format.h>
#include <time.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <mutex>
#include <nlohmann/json.hpp>
#include <thread>

#include "firn/base/encoding.h"
#include "firn/base/log.h"
#include "firn/columnar/partitioner.h"
#include "firn/parquet/file_layout.h"
#include "firn/schema/schema_json.h"

namespace firn::ingest {
namespace {

constexpr int64_t kTargetFileBytesDefault = 512 << 20;

// What every file of the batch shares.
struct FilePlan {
  const schema::Schema& schema;
  const schema::PartitionSpec& spec;
  schema::SortOrder sort_order;
  parquet::FileLayoutOptions layout;
  std::string schema_json;
  iceberg::LocationProvider locations;
  std::string name_stem;
  int64_t target_file_bytes;
};

Result<int64_t> TargetFileBytes(const iceberg::TableMetadata& metadata) {
  std::optional<std::string> text = metadata.Property("write.target-file-size-bytes");
  if (!text.has_value()) return kTargetFileBytesDefault;
  int64_t value = 0;
  auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), value);
  if (error != std::errc() || end != text->data() + text->size() || value <= 0) {
    return Fail(ErrorCode::kInvalidInput,
                fmt::format("table property write.target-file-size-bytes is not a positive number: '{}'", *text));
  }
  return value;
}

// The order that rows are to have: the table's, or none where that cannot be computed. The order serves readers' speed
// only, and a file that does not name one is read rightly (spec: "Sorting").
schema::SortOrder UsableSortOrder(const iceberg::TableMetadata& metadata, const schema::Schema& schema) {
  const schema::SortOrder& order = metadata.DefaultSortOrder();
  return schema::CheckWritable(order, schema).has_value() ? order : schema::SortOrder{};
}

iceberg::DataFile DescribeFile(std::string location, const schema::PartitionTuple& partition,
                               parquet::FileMetrics metrics, int32_t sort_order_id) {
  iceberg::DataFile file;
  file.file_path = std::move(location);
  file.partition = partition;
  file.record_count = metrics.record_count;
  file.file_size_in_bytes = metrics.file_size_in_bytes;
  file.column_sizes = std::move(metrics.column_sizes);
  file.value_counts = std::move(metrics.value_counts);
  file.null_value_counts = std::move(metrics.null_value_counts);
  file.nan_value_counts = std::move(metrics.nan_value_counts);
  file.lower_bounds = std::move(metrics.lower_bounds);
  file.upper_bounds = std::move(metrics.upper_bounds);
  file.split_offsets = std::move(metrics.split_offsets);
  if (sort_order_id != 0) file.sort_order_id = sort_order_id;
  return file;
}

// Writes groups one after another; one object of this class a thread.
class GroupWriter {
 public:
  GroupWriter(const FilePlan& plan, env::ObjectStore& store, std::atomic<int64_t>& file_number)
      : plan_(plan), store_(store), file_number_(file_number) {}

  Status WriteGroup(const columnar::PartitionGroup& group, std::vector<iceberg::DataFile>& out) {
    for (const auto& batch : group.batches) {
      if (layout_ == nullptr) FIRN_TRY(OpenFile(group));
      double before = ThreadCpuSeconds();
      double upload_before = upload_cpu_s_;
      FIRN_TRY(layout_->Write(*batch));
      encode_cpu_s_ += ThreadCpuSeconds() - before - (upload_cpu_s_ - upload_before);
      if (layout_->bytes_estimated() >= plan_.target_file_bytes) FIRN_TRY(CloseFile(group, out));
    }
    if (layout_ != nullptr) FIRN_TRY(CloseFile(group, out));
    return {};
  }

  double encode_cpu_s() const { return encode_cpu_s_; }
  double upload_cpu_s() const { return upload_cpu_s_; }

 private:
  Status OpenFile(const columnar::PartitionGroup& group) {
    std::string path = schema::PartitionPath(plan_.spec, plan_.schema, group.partition);
    location_ = plan_.locations.DataLocation(path, fmt::format("{}-{:05}.parquet", plan_.name_stem, ++file_number_));
    double before = ThreadCpuSeconds();
    FIRN_ASSIGN(object_, store_.OpenWrite(location_));
    upload_cpu_s_ += ThreadCpuSeconds() - before;
    FIRN_ASSIGN(layout_, parquet::FileLayout::Create(plan_.schema, plan_.layout, plan_.schema_json,
                                                     [this](std::string_view bytes) { return AppendTimed(bytes); }));
    return {};
  }

  Status AppendTimed(std::string_view bytes) {
    double before = ThreadCpuSeconds();
    Status status = object_->Append(bytes);
    upload_cpu_s_ += ThreadCpuSeconds() - before;
    return status;
  }

  Status CloseFile(const columnar::PartitionGroup& group, std::vector<iceberg::DataFile>& out) {
    double before = ThreadCpuSeconds();
    double upload_before = upload_cpu_s_;
    FIRN_ASSIGN(parquet::FileMetrics metrics, layout_->Close());
    encode_cpu_s_ += ThreadCpuSeconds() - before - (upload_cpu_s_ - upload_before);
    before = ThreadCpuSeconds();
    FIRN_TRY(object_->Close());
    upload_cpu_s_ += ThreadCpuSeconds() - before;
    out.push_back(DescribeFile(location_, group.partition, std::move(metrics), plan_.sort_order.order_id));
    layout_.reset();
    object_.reset();
    return {};
  }

  const FilePlan& plan_;
  env::ObjectStore& store_;
  std::atomic<int64_t>& file_number_;
  std::string location_;
  std::unique_ptr<env::ObjectWriter> object_;
  std::unique_ptr<parquet::FileLayout> layout_;
  double encode_cpu_s_ = 0;
  double upload_cpu_s_ = 0;
};

// Names and docs come from others, and need not be UTF-8.
std::string SchemaText(const schema::Schema& schema) {
  return schema::ToJson(schema).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

Result<FilePlan> MakePlan(const iceberg::LoadedTable& table, int32_t schema_id, env::Random& random) {
  const iceberg::TableMetadata& metadata = table.metadata;
  const schema::Schema* schema = metadata.FindSchema(schema_id);
  if (schema == nullptr) {
    return Fail(ErrorCode::kConflict,
                fmt::format("schema {} was removed from table '{}'", schema_id, table.identifier.ToString()));
  }
  schema::SortOrder sort_order = UsableSortOrder(metadata, *schema);
  FIRN_ASSIGN(parquet::FileLayoutOptions layout,
              parquet::FileLayoutOptionsFromProperties(metadata.properties, *schema, sort_order));
  FIRN_ASSIGN(int64_t target, TargetFileBytes(metadata));
  std::string stem = fmt::format("firn-{}", FormatUuid(MakeUuidV4(random.Next64(), random.Next64())));
  return FilePlan{*schema,
                  metadata.DefaultSpec(),
                  std::move(sort_order),
                  std::move(layout),
                  SchemaText(*schema),
                  iceberg::LocationProvider::For(metadata),
                  std::move(stem),
                  target};
}

}  // namespace

Status CheckWriteProperties(const iceberg::TableMetadata& metadata) {
  const schema::Schema& schema = metadata.CurrentSchema();
  const schema::SortOrder sort_order = UsableSortOrder(metadata, schema);
  FIRN_ASSIGN(const parquet::FileLayoutOptions options,
              parquet::FileLayoutOptionsFromProperties(metadata.properties, schema, sort_order));
  FIRN_TRY(TargetFileBytes(metadata));
  // What this build's Parquet says to it: a file that is never finished.
  FIRN_TRY(parquet::FileLayout::Create(schema, options, "", [](std::string_view) { return Status(); }));
  if (Status usable = schema::CheckWritable(metadata.DefaultSortOrder(), schema); !usable.has_value()) {
    LogWarning("rows are written without the table's sort order",
               {{"table", metadata.location}, {"error", usable.error()}});
  }
  return {};
}

double ThreadCpuSeconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

Result<WrittenFiles> WriteDataFiles(const iceberg::LoadedTable& table, int32_t schema_id,
                                    const std::vector<std::shared_ptr<arrow::RecordBatch>>& batches,
                                    env::ObjectStore& store, env::Random& random, int32_t upload_threads) {
  WrittenFiles written;
  FIRN_ASSIGN(FilePlan plan, MakePlan(table, schema_id, random));
  double before = ThreadCpuSeconds();
  FIRN_ASSIGN(std::vector<columnar::PartitionGroup> groups,
              columnar::GroupRows(batches, plan.schema, plan.spec, plan.sort_order));
  written.times.group_cpu_s = ThreadCpuSeconds() - before;

  std::atomic<size_t> next_group{0};
  std::atomic<int64_t> file_number{0};
  std::mutex mutex;  // guards `written` and `failure`
  Status failure;
  auto work = [&] {
    GroupWriter writer(plan, store, file_number);
    std::vector<iceberg::DataFile> files;
    Status status;
    while (status.has_value()) {
      size_t index = next_group++;
      if (index >= groups.size()) break;
      status = writer.WriteGroup(groups[index], files);
      groups[index].batches.clear();
    }
    std::lock_guard lock(mutex);
    written.times.encode_cpu_s += writer.encode_cpu_s();
    written.times.upload_cpu_s += writer.upload_cpu_s();
    for (iceberg::DataFile& file : files) {
      written.rows += file.record_count;
      written.bytes += file.file_size_in_bytes;
      written.files.push_back(iceberg::NewDataFile{plan.spec.spec_id, std::move(file)});
    }
    if (!status.has_value()) {
      failure = std::move(status);
      next_group = groups.size();
    }
  };
  size_t helpers = std::min<size_t>(groups.size(), static_cast<size_t>(std::max(1, upload_threads)));
  {
    std::vector<std::jthread> threads;
    for (size_t i = 1; i < helpers; ++i) threads.emplace_back(work);
    work();
  }
  FIRN_TRY(std::move(failure));
  if (!written.files.empty()) {
    FIRN_ASSIGN(env::ObjectInfo info, store.Stat(written.files.front().file.file_path));
    written.store_time_ms = info.modified_ms;
  }
  return written;
}

}  // namespace firn::ingest
