#include "firn/iceberg/commit/append.h"

namespace firn::iceberg {
namespace {

// A table's manifest lists share its metadata folder, so the folder stands for the table.
std::string FolderOf(const std::string& location) {
  return location.substr(0, location.rfind('/'));
}

}  // namespace

std::shared_ptr<const std::vector<ManifestFile>> ManifestListCache::Find(const std::string& manifest_list_location) {
  std::lock_guard lock(mutex_);
  auto found = newest_.find(FolderOf(manifest_list_location));
  return found != newest_.end() && found->second.location == manifest_list_location ? found->second.manifests : nullptr;
}

void ManifestListCache::Put(const std::string& manifest_list_location,
                            std::shared_ptr<const std::vector<ManifestFile>> manifests) {
  std::lock_guard lock(mutex_);
  const std::string folder = FolderOf(manifest_list_location);
  // Beyond the limit any table makes room: what is lost is one read of its list.
  if (newest_.size() >= kCachedTablesMax && !newest_.contains(folder)) newest_.erase(newest_.begin());
  newest_[folder] = {manifest_list_location, std::move(manifests)};
}

}  // namespace firn::iceberg
