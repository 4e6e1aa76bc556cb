#include "firn/maintenance/locations.h"

#include <algorithm>
#include <functional>

namespace firn::maintenance {
namespace {

std::string OneSlashEach(std::string_view path) {
  std::string out;
  out.reserve(path.size() + 1);
  if (!path.starts_with('/')) out += '/';
  for (char c : path) {
    if (c != '/' || out.empty() || out.back() != '/') out += c;
  }
  while (out.size() > 1 && out.back() == '/') out.pop_back();
  return out;
}

constexpr const char* kFolderProperties[] = {"write.data.path", "write.metadata.path", "write.folder-storage.path",
                                             "write.object-storage.path"};

}  // namespace

LocationKey KeyOf(std::string_view location) {
  if (location.starts_with("file:")) {
    location.remove_prefix(5);
    if (location.starts_with("//localhost/")) location.remove_prefix(11);
    return {"file:", OneSlashEach(location)};
  }
  const size_t colon = location.find("://");
  if (colon == std::string_view::npos) return {"file:", OneSlashEach(location)};
  std::string scheme(location.substr(0, colon));
  if (scheme == "s3a" || scheme == "s3n") scheme = "s3";
  const std::string_view rest = location.substr(colon + 3);
  const size_t slash = std::min(rest.find('/'), rest.size());
  return {scheme + "://" + std::string(rest.substr(0, slash)), OneSlashEach(rest.substr(slash))};
}

bool IsBelow(const LocationKey& location, const LocationKey& folder) {
  if (location.root != folder.root) return false;
  if (folder.path == "/" || location.path == folder.path) return true;
  return location.path.size() > folder.path.size() && location.path.starts_with(folder.path) &&
         location.path[folder.path.size()] == '/';
}

bool IsHidden(std::string_view path) {
  while (!path.empty()) {
    const size_t slash = std::min(path.find('/'), path.size());
    const std::string_view part = path.substr(0, slash);
    if (part.starts_with('.')) return true;
    if (part.starts_with('_') && part.find('=') == std::string_view::npos) return true;
    path.remove_prefix(std::min(slash + 1, path.size()));
  }
  return false;
}

std::vector<std::string> FoldersOutside(const iceberg::TableMetadata& metadata) {
  std::vector<std::string> outside;
  for (const char* name : kFolderProperties) {
    const std::optional<std::string> folder = metadata.Property(name);
    if (!folder.has_value() || IsBelow(KeyOf(*folder), KeyOf(metadata.location))) continue;
    if (std::find(outside.begin(), outside.end(), *folder) == outside.end()) outside.push_back(*folder);
  }
  return outside;
}

bool IsOfTable(const iceberg::TableMetadata& metadata, std::string_view location) {
  const LocationKey key = KeyOf(location);
  if (IsBelow(key, KeyOf(metadata.location))) return true;
  const std::vector<std::string> outside = FoldersOutside(metadata);
  return std::any_of(outside.begin(), outside.end(),
                     [&](const std::string& folder) { return IsBelow(key, KeyOf(folder)); });
}

bool LocationSet::Add(std::string_view location) {
  const LocationKey key = KeyOf(location);
  return by_root_[key.root].insert(std::hash<std::string>{}(key.path)).second;
}

bool LocationSet::Contains(std::string_view location) const {
  const LocationKey key = KeyOf(location);
  auto found = by_root_.find(key.root);
  return found != by_root_.end() && found->second.contains(std::hash<std::string>{}(key.path));
}

const std::string* LocationSet::RootElsewhere(std::string_view location) const {
  const LocationKey key = KeyOf(location);
  const uint64_t path = std::hash<std::string>{}(key.path);
  for (const auto& [root, paths] : by_root_) {
    if (root != key.root && paths.contains(path)) return &root;
  }
  return nullptr;
}

size_t LocationSet::size() const {
  size_t size = 0;
  for (const auto& [root, paths] : by_root_) size += paths.size();
  return size;
}

}  // namespace firn::maintenance
