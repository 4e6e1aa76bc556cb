#include <fmt/format.h>

#include <algorithm>
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

// File systems take names of 255 bytes and object stores keys of 1,024, while a partition value may be any text of a
// record: a long part keeps its beginning and ends in its hash. Readers see the value in the manifest, never here; two
// values that share a folder do no harm, because file names are unique.
constexpr size_t kPartitionPathBytesMax = 600;
constexpr size_t kPartitionPartBytesMax = 180;
constexpr size_t kPartitionPartBytesMin = 32;

std::string ShortenedPart(std::string_view part, size_t bytes_max) {
  if (part.size() <= bytes_max) return std::string(part);
  size_t kept = bytes_max - 9;
  // Not inside of an escape such as "%2F".
  for (size_t back = 1; back <= 2; ++back) {
    if (part[kept - back] == '%') {
      kept -= back;
      break;
    }
  }
  return fmt::format("{}-{:08x}", part.substr(0, kept), static_cast<uint32_t>(schema::Murmur3(part)));
}

std::string ShortenedPath(std::string_view path) {
  const auto parts = static_cast<size_t>(std::ranges::count(path, '/')) + 1;
  if (path.size() <= kPartitionPartBytesMax) return std::string(path);
  const size_t bytes_max = std::clamp(kPartitionPathBytesMax / parts, kPartitionPartBytesMin, kPartitionPartBytesMax);
  std::string shortened;
  for (size_t start = 0; start <= path.size();) {
    const size_t end = std::min(path.find('/', start), path.size());
    if (start > 0) shortened += '/';
    shortened += ShortenedPart(path.substr(start, end - start), bytes_max);
    start = end + 1;
  }
  return shortened;
}

}  // namespace

LocationProvider LocationProvider::For(const TableMetadata& metadata) {
  LocationProvider provider;
  const std::string table = WithoutTrailingSlash(metadata.location);
  provider.object_storage_ = metadata.BoolProperty("write.object-storage.enabled", false);
  provider.partitioned_paths_ = metadata.BoolProperty("write.object-storage.partitioned-paths", true);
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
  const std::string name = in_partition ? ShortenedPath(partition_path) + "/" + file_name : file_name;
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
