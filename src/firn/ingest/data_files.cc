#include "firn/ingest/data_files.h"

#include <fmt/format.h>
#include <time.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <utility>

#include "firn/base/encoding.h"
#include "firn/ingest/table_rows.h"
#include "firn/parquet/file_layout.h"
#include "firn/schema/partition.h"

namespace firn::ingest {
namespace {

// What every file of this attempt shares.
struct Attempt {
  const FilePlan& plan;
  iceberg::LocationProvider locations;
  std::string name_stem;
  std::stop_token stop;
  std::atomic<int64_t> file_number{0};
};

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

// What a description holds in memory, roughly: maps by column, whose nodes are allocated one by one.
int64_t BytesOf(const iceberg::DataFile& file) {
  constexpr int64_t kCountBytes = 64;
  constexpr int64_t kBoundBytes = 80;
  int64_t bytes = static_cast<int64_t>(sizeof(file) + file.file_path.capacity());
  for (const auto* counts :
       {&file.column_sizes, &file.value_counts, &file.null_value_counts, &file.nan_value_counts}) {
    bytes += static_cast<int64_t>(counts->size()) * kCountBytes;
  }
  for (const auto* bounds : {&file.lower_bounds, &file.upper_bounds}) {
    for (const auto& [id, value] : *bounds) bytes += kBoundBytes + static_cast<int64_t>(value.capacity());
  }
  return bytes;
}

// A file that never held more leaves its encoders to the next one.
constexpr int64_t kSharedLayoutBytesMax = 1 << 20;

// Rows that are taken before they are encoded.
constexpr int64_t kTakenBytes = 256 << 10;

// Writes partitions one after another; one object of this class a thread.
class PartitionWriter {
 public:
  PartitionWriter(TableRows& rows, Attempt& attempt, env::ObjectStore& store)
      : rows_(rows),
        reader_(rows),
        plan_(attempt.plan),
        attempt_(attempt),
        store_(store),
        hold_(rows.memory(), MemoryUse::kCommitFiles),
        blocks_hold_(rows.memory(), MemoryUse::kCommitFiles),
        files_hold_(rows.memory(), MemoryUse::kCommitFiles) {}

  Status Write(uint32_t number, std::vector<iceberg::DataFile>& out) {
    FIRN_TRY(NotStopped());
    TableRows::Partition& partition = rows_.partitions()[number];
    FIRN_ASSIGN(columnar::RowSource source, reader_.Open(number));
    // Rows that came too few at a time join the file that is under construction; once it is closed they are in it.
    if (!partition.files.empty() && !partition.closed) {
      KeptFile& last = *partition.files.back();
      if (!last.closed()) {
        FIRN_TRY(FillKept(last, source));
        partition.closed = true;
      }
    }
    blocks_hold_.Set(reader_.memory_bytes());
    for (const auto& file : partition.files) FIRN_TRY(Send(*file, partition.tuple, out));
    return partition.closed ? Status() : Stream(source, partition.tuple, out);
  }

  // Of what the files that are out hold.
  MemoryHold TakeFilesHold() { return std::move(files_hold_); }
  DataFileStageTimes times() const { return {group_cpu_s_, encode_cpu_s_, upload_cpu_s_}; }

 private:
  Status NotStopped() const {
    if (!attempt_.stop.stop_requested()) return {};
    return Fail(ErrorCode::kCancelled, "stopped while data files were written");
  }

  // The next rows of the partition, of many small pieces as many as are worth looking at the clock; none at its end.
  Status Take(columnar::RowSource& source, std::vector<columnar::RowSlice>& rows) {
    rows.clear();
    const double before = ThreadCpuSeconds();
    for (int64_t bytes = 0; bytes < kTakenBytes;) {
      FIRN_ASSIGN(columnar::RowSlice next, source());
      if (next.batch == nullptr) break;
      bytes += columnar::BytesOfRows(*next.batch, next.begin, next.end);
      rows.push_back(std::move(next));
    }
    group_cpu_s_ += ThreadCpuSeconds() - before;
    return {};
  }

  Status FillKept(KeptFile& file, columnar::RowSource& source) {
    for (;;) {
      Status taken = Take(source, taken_);
      // The file has some of the rows already, and would get them twice at the next attempt.
      if (!taken.has_value()) rows_.MarkLost();
      FIRN_TRY(std::move(taken));
      const bool end = taken_.empty();
      Status status = Encode([&]() -> Status {
        if (end) return file.Close();
        for (const columnar::RowSlice& rows : taken_) FIRN_TRY(file.Write(rows));
        return {};
      });
      if (!status.has_value()) rows_.MarkLostIfTransient(status.error());  // the encoder is of no use any more
      if (end || !status.has_value()) return status;
    }
  }

  Status Send(KeptFile& file, const schema::PartitionTuple& tuple, std::vector<iceberg::DataFile>& out) {
    FIRN_TRY(OpenObject(tuple));
    bool lost = false;
    Status sent = file.SendTo([this](std::string_view bytes) { return AppendTimed(bytes); }, lost);
    if (lost) rows_.MarkLostBySpill();
    FIRN_TRY(std::move(sent));
    return CloseObject(tuple, file.metrics(), out);
  }

  Status Stream(columnar::RowSource& source, const schema::PartitionTuple& tuple, std::vector<iceberg::DataFile>& out) {
    for (;;) {
      FIRN_TRY(Take(source, taken_));
      if (taken_.empty()) break;
      if (object_ == nullptr) {
        FIRN_TRY(OpenObject(tuple));
        OpenLayout();
      }
      FIRN_TRY(Encode([&]() -> Status {
        for (const columnar::RowSlice& rows : taken_) FIRN_TRY(layout_->Write(rows));
        return {};
      }));
      taken_.clear();
      hold_.Set(layout_->bytes_buffered());
      blocks_hold_.Set(reader_.memory_bytes());
      layout_bytes_max_ = std::max(layout_bytes_max_, hold_.bytes());
      if (layout_->bytes_estimated() >= plan_.target_file_bytes) FIRN_TRY(Finish(tuple, out));
    }
    return object_ == nullptr ? Status() : Finish(tuple, out);
  }

  void OpenLayout() {
    if (layout_ != nullptr) return layout_->Reopen();
    layout_ =
        parquet::FileLayout::Create(plan_.form, [this](std::string_view bytes) { return AppendTimed(bytes); });
    layout_bytes_max_ = 0;
  }

  Status Finish(const schema::PartitionTuple& tuple, std::vector<iceberg::DataFile>& out) {
    parquet::FileMetrics metrics;
    FIRN_TRY(Encode([&]() -> Status {
      FIRN_ASSIGN(metrics, layout_->Close());
      return {};
    }));
    // Small files share one, whose memory does not count; what a large one held is given back.
    if (layout_bytes_max_ > kSharedLayoutBytesMax) layout_.reset();
    hold_.Set(0);
    return CloseObject(tuple, std::move(metrics), out);
  }

  // What is encoded goes to the store at times, from inside.
  template <typename Step>
  Status Encode(Step step) {
    const double before = ThreadCpuSeconds();
    const double upload_before = upload_cpu_s_;
    Status status = step();
    encode_cpu_s_ += ThreadCpuSeconds() - before - (upload_cpu_s_ - upload_before);
    return status;
  }

  Status OpenObject(const schema::PartitionTuple& tuple) {
    std::string path = schema::PartitionPath(*plan_.spec, *plan_.schema, tuple);
    location_ = attempt_.locations.DataLocation(
        path, fmt::format("{}-{:05}.parquet", attempt_.name_stem, ++attempt_.file_number));
    const double before = ThreadCpuSeconds();
    FIRN_ASSIGN(object_, store_.OpenWrite(location_));
    upload_cpu_s_ += ThreadCpuSeconds() - before;
    return {};
  }

  Status AppendTimed(std::string_view bytes) {
    FIRN_TRY(NotStopped());
    const double before = ThreadCpuSeconds();
    Status status = object_->Append(bytes);
    upload_cpu_s_ += ThreadCpuSeconds() - before;
    return status;
  }

  Status CloseObject(const schema::PartitionTuple& tuple, parquet::FileMetrics metrics,
                     std::vector<iceberg::DataFile>& out) {
    const double before = ThreadCpuSeconds();
    FIRN_TRY(object_->Close());
    upload_cpu_s_ += ThreadCpuSeconds() - before;
    out.push_back(DescribeFile(location_, tuple, std::move(metrics), plan_.sort_order.order_id));
    files_hold_.Set(files_hold_.bytes() + BytesOf(out.back()));
    object_.reset();
    return {};
  }

  TableRows& rows_;
  PartitionRows reader_;
  const FilePlan& plan_;
  Attempt& attempt_;
  env::ObjectStore& store_;
  MemoryHold hold_;
  MemoryHold blocks_hold_;
  MemoryHold files_hold_;
  std::string location_;
  std::unique_ptr<env::ObjectWriter> object_;
  std::unique_ptr<parquet::FileLayout> layout_;
  int64_t layout_bytes_max_ = 0;  // that it has held
  std::vector<columnar::RowSlice> taken_;
  double group_cpu_s_ = 0;
  double encode_cpu_s_ = 0;
  double upload_cpu_s_ = 0;
};

// Partitions that follow one another share blocks: a thread takes a stretch of them, so that few blocks are unpacked by
// two threads; but not so many that the others would have to wait for it at the end.
constexpr int64_t kStretchMax = 64;
constexpr int64_t kStretchesOfThread = 8;

// All partitions, by as many threads as there is room for.
class TableWriter {
 public:
  TableWriter(TableRows& rows, Attempt& attempt, env::ObjectStore& store)
      : rows_(rows), attempt_(attempt), store_(store) {}

  Result<WrittenFiles> Write(env::Threads& threads, int32_t upload_threads) {
    const auto partitions = static_cast<int64_t>(rows_.partitions().size());
    const int64_t count = std::min(partitions, rows_.memory().commit_threads(upload_threads));
    const int64_t stretch = partitions / (std::max<int64_t>(1, count) * kStretchesOfThread);
    stretch_ = static_cast<size_t>(std::clamp<int64_t>(stretch, 1, kStretchMax));
    {
      std::vector<std::unique_ptr<env::Thread>> others;
      for (int64_t i = 1; i < count; ++i) {
        others.push_back(threads.Start("firn-upload", [this](std::stop_token) { Work(); }));
      }
      Work();
    }
    FIRN_TRY(std::move(failure_));
    // The store's clock, before anything is taken: what is sent stays good for another attempt.
    for (const TableRows::Partition& partition : rows_.partitions()) {
      if (partition.sent.empty()) continue;
      FIRN_ASSIGN(env::ObjectInfo info, store_.Stat(partition.sent.front().file_path));
      written_.store_time_ms = info.modified_ms;
      break;
    }
    for (TableRows::Partition& partition : rows_.partitions()) {
      for (iceberg::DataFile& file : partition.sent) Add(std::move(file));
      partition.sent.clear();
    }
    return std::move(written_);
  }

 private:
  void Add(iceberg::DataFile file) {
    written_.rows += file.record_count;
    written_.bytes += file.file_size_in_bytes;
    written_.files.push_back(iceberg::NewDataFile{attempt_.plan.spec->spec_id, std::move(file)});
  }

  void Work() {
    PartitionWriter writer(rows_, attempt_, store_);
    Status status;
    while (status.has_value()) {
      const size_t begin = next_partition_.fetch_add(stretch_);
      const size_t end = std::min(begin + stretch_, rows_.partitions().size());
      if (begin >= end) break;
      for (size_t number = begin; number < end && status.has_value(); ++number) {
        if (!rows_.partitions()[number].sent.empty()) continue;
        std::vector<iceberg::DataFile> files;
        status = writer.Write(static_cast<uint32_t>(number), files);
        if (status.has_value()) rows_.partitions()[number].sent = std::move(files);
      }
    }
    std::lock_guard lock(mutex_);
    const DataFileStageTimes times = writer.times();
    written_.times.group_cpu_s += times.group_cpu_s;
    written_.times.encode_cpu_s += times.encode_cpu_s;
    written_.times.upload_cpu_s += times.upload_cpu_s;
    written_.holds.push_back(writer.TakeFilesHold());
    if (status.has_value()) return;
    failure_ = std::move(status);
    next_partition_ = rows_.partitions().size();
  }

  TableRows& rows_;
  Attempt& attempt_;
  env::ObjectStore& store_;
  size_t stretch_ = 1;  // partitions that a thread takes at once
  std::atomic<size_t> next_partition_{0};
  std::mutex mutex_;  // guards what follows
  WrittenFiles written_;
  Status failure_;
};

}  // namespace

double ThreadCpuSeconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

Result<WrittenFiles> WriteDataFiles(TableRows& rows, env::ObjectStore& store, env::Random& random,
                                    env::Threads& threads, int32_t upload_threads, std::stop_token stop) {
  FIRN_TRY(rows.PrepareToWrite());
  const std::string stem = fmt::format("firn-{}", FormatUuid(MakeUuidV4(random.Next64(), random.Next64())));
  Attempt attempt{rows.plan(), iceberg::LocationProvider::For(rows.plan().table->metadata), stem,
                  std::move(stop)};
  FIRN_ASSIGN(WrittenFiles written, TableWriter(rows, attempt, store).Write(threads, upload_threads));
  const PackTimes packing = rows.TakeTimes();
  written.times.group_cpu_s += packing.group_cpu_s;
  written.times.encode_cpu_s += packing.encode_cpu_s;
  return written;
}

}  // namespace firn::ingest
