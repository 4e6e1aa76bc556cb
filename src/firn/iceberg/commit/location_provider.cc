#include <fmt/format.h>

#include <bitset>

#include "firn/iceberg/commit/append.h"
#include "firn/schema/transform.h"

namespace firn::iceberg {
namespace {

std::string WithoutTrailingSlash(std::string location) {
  // "file:///" and "s3://" keep their slashes: they are the location.
  while (location.size() > 1 && location.ends_with('/') && !location.ends_with("//")) location.pop_back();
  return location;
}

std::optional<std::string> FirstProperty(const TableMetadata& metadata, std::initializer_list<const char*> keys) {
  for (const char* key : keys) {
    if (auto value = metadata.Property(key); value.has_value() && !value->empty()) return value;
  }
  return std::nullopt;
}

bool IsTrue(const std::optional<std::string>& text, bool absent) {
  if (!text.has_value()) return absent;
  std::string lower;
  for (char c : *text) lower.push_back(c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c);
  return lower == "true";
}

// The last two levels of the table's location, "db/table": what tells tables apart that share one data path.
std::string LastTwoLevels(const std::string& location) {
  const size_t last = location.rfind('/');
  if (last == std::string::npos || last == 0) return location;
  const size_t before = location.rfind('/', last - 1);
  return before == std::string::npos ? location : location.substr(before + 1);
}

// Twenty binary digits of the name's hash as three folders of four and one of eight: enough prefixes for an object
// store to spread its load, few enough folders for a listing to walk (Java: LocationProviders).
std::string HashFolders(std::string_view name) {
  const auto hash = static_cast<uint32_t>(schema::Murmur3(name));
  const std::string bits = std::bitset<20>(hash).to_string();
  return fmt::format("{}/{}/{}/{}", bits.substr(0, 4), bits.substr(4, 4), bits.substr(8, 4), bits.substr(12, 8));
}

}  // namespace

LocationProvider LocationProvider::For(const TableMetadata& metadata) {
  LocationProvider provider;
  const std::string table = WithoutTrailingSlash(metadata.location);
  provider.object_storage_ = IsTrue(metadata.Property("write.object-storage.enabled"), false);
  provider.partitioned_paths_ = IsTrue(metadata.Property("write.object-storage.partitioned-paths"), true);
  const auto data_path =
      provider.object_storage_
          ? FirstProperty(metadata, {"write.data.path", "write.object-storage.path", "write.folder-storage.path"})
          : FirstProperty(metadata, {"write.data.path", "write.folder-storage.path"});
  provider.data_root_ = WithoutTrailingSlash(data_path.value_or(table + "/data"));
  provider.metadata_root_ =
      WithoutTrailingSlash(FirstProperty(metadata, {"write.metadata.path"}).value_or(table + "/metadata"));
  if (!provider.data_root_.starts_with(table)) provider.object_storage_context_ = LastTwoLevels(table);
  return provider;
}

std::string LocationProvider::DataLocation(const std::string& partition_path, const std::string& file_name) const {
  const bool in_partition = !partition_path.empty() && (!object_storage_ || partitioned_paths_);
  const std::string name = in_partition ? partition_path + "/" + file_name : file_name;
  if (!object_storage_) return fmt::format("{}/{}", data_root_, name);
  const std::string folders = HashFolders(name);
  if (!object_storage_context_.empty()) {
    return fmt::format("{}/{}/{}/{}", data_root_, folders, object_storage_context_, name);
  }
  return fmt::format("{}/{}{}{}", data_root_, folders, partitioned_paths_ ? '/' : '-', name);
}

std::string LocationProvider::MetadataLocation(const std::string& file_name) const {
  return fmt::format("{}/{}", metadata_root_, file_name);
}

}  // namespace firn::iceberg
