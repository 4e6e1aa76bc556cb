#include "firn/sim/scale_store.h"

#include <utility>

#include "firn/iceberg/manifest/manifest_avro.h"

namespace firn::sim {
namespace {

bool IsDataFile(std::string_view location) {
  return location.find("/data/") != std::string_view::npos;
}

}  // namespace

// Takes the bytes of a data file and keeps their number.
class ScaleStore::Writer final : public env::ObjectWriter {
 public:
  Writer(ScaleStore& store, std::string location, std::unique_ptr<env::ObjectWriter> empty)
      : store_(store), location_(std::move(location)), empty_(std::move(empty)) {}
  Status Append(std::string_view bytes) override {
    bytes_written_ += static_cast<int64_t>(bytes.size());
    return {};
  }
  Status Close() override {
    store_.NoteWritten(location_);
    return empty_->Close();
  }
  int64_t bytes_written() const override { return bytes_written_; }

 private:
  ScaleStore& store_;
  const std::string location_;
  std::unique_ptr<env::ObjectWriter> empty_;
  int64_t bytes_written_ = 0;
};

Result<std::unique_ptr<env::ObjectWriter>> ScaleStore::OpenWrite(const std::string& location) {
  FIRN_ASSIGN(std::unique_ptr<env::ObjectWriter> truth, truth_.OpenWrite(location));
  if (!IsDataFile(location)) return truth;
  return std::unique_ptr<env::ObjectWriter>(new Writer(*this, location, std::move(truth)));
}

Status ScaleStore::Put(const std::string& location, std::string_view bytes) {
  NoteWritten(location);
  return truth_.Put(location, IsDataFile(location) ? std::string_view() : bytes);
}

Status ScaleStore::PutIfAbsent(const std::string& location, std::string_view bytes) {
  NoteWritten(location);
  return truth_.PutIfAbsent(location, bytes);
}

void ScaleStore::ForgetOld() {
  while (!written_.empty() && written_.front().at_ms + kScaleKeptMs < clock_.BootMs()) {
    if (!kept_.contains(written_.front().location)) (void)truth_.Delete(written_.front().location);
    written_.pop_front();
  }
}

Status ScaleStore::SeeList(Manifests& manifests, const iceberg::Snapshot& snapshot) {
  if (!manifests.list.empty()) {
    kept_.erase(manifests.list);
    NoteWritten(manifests.list);
  }
  manifests.list = snapshot.manifest_list;
  kept_.insert(manifests.list);
  FIRN_ASSIGN(const std::string bytes, truth_.Read(snapshot.manifest_list));
  FIRN_ASSIGN(const iceberg::ManifestListContents list, iceberg::ReadManifestList(bytes));
  for (const iceberg::ManifestFile& manifest : list.manifests) {
    manifests.listed[manifest.manifest_path] = snapshot.sequence_number;
    kept_.insert(manifest.manifest_path);
  }
  std::erase_if(manifests.listed, [&](const auto& each) {
    if (each.second == snapshot.sequence_number) return false;
    manifests.dropped.emplace(each.second, each.first);
    return true;
  });
  return {};
}

Status ScaleStore::OnCommit(const std::string& table, const iceberg::TableMetadata& before,
                            const iceberg::TableMetadata& after) {
  ForgetOld();
  Manifests& manifests = manifests_[table];
  const iceberg::Snapshot* current = after.CurrentSnapshot();
  if (current == nullptr) return {};
  if (before.current_snapshot_id != after.current_snapshot_id) FIRN_TRY(SeeList(manifests, *current));
  const iceberg::Snapshot& oldest = after.snapshots.front();
  auto& dropped = manifests.dropped;
  while (!dropped.empty() && dropped.begin()->first < oldest.sequence_number) {
    kept_.erase(dropped.begin()->second);
    (void)truth_.Delete(dropped.begin()->second);
    dropped.erase(dropped.begin());
  }
  return {};
}

}  // namespace firn::sim
