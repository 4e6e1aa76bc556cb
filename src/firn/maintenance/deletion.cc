#include "firn/maintenance/deletion.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <thread>

namespace firn::maintenance {

void DeletionReport::Add(const DeletionReport& other) {
  files += other.files;
  bytes += other.bytes;
  failed += other.failed;
  stopped = stopped || other.stopped;
  if (!first_error.has_value()) first_error = other.first_error;
}

DeletionReport DeleteFiles(env::ObjectStore& store, const std::vector<DoomedFile>& files, std::stop_token stop) {
  DeletionReport report;
  std::mutex mutex;  // guards report
  std::atomic<size_t> next = 0;
  std::atomic<bool> hopeless = false;
  auto work = [&] {
    for (;;) {
      const size_t index = next.fetch_add(1);
      if (index >= files.size()) return;
      if (stop.stop_requested() || hopeless) {
        std::lock_guard lock(mutex);
        report.stopped = true;
        return;
      }
      Status done = store.Delete(files[index].location);
      std::lock_guard lock(mutex);
      if (done.has_value()) {
        ++report.files;
        report.bytes += files[index].bytes;
        continue;
      }
      ++report.failed;
      const ErrorCode code = done.error().code();
      if (code == ErrorCode::kUnauthorized || code == ErrorCode::kUnavailable) hopeless = true;
      if (!report.first_error.has_value()) report.first_error = std::move(done.error());
    }
  };
  {
    std::vector<std::jthread> threads;
    const size_t count = std::min(kDeletionThreads, files.size());
    for (size_t i = 1; i < count; ++i) threads.emplace_back(work);
    work();
  }
  return report;
}

Status CheckMayDelete(const iceberg::TableMetadata& metadata) {
  if (metadata.BoolProperty("gc.enabled", true)) return {};
  return Fail(ErrorCode::kUnsupported,
              "the table's property gc.enabled is false: its files may belong to others too (a clone, a catalog that "
              "keeps history itself), so none is deleted; clean up with the program that owns them, or set gc.enabled "
              "to true when nobody else has them");
}

}  // namespace firn::maintenance
