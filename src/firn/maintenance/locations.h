// Locations as maintenance compares them: what one table spells "file:/a" and a listing "file:///a" is one file.
//
// Pure.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "firn/iceberg/spec/table_metadata.h"

namespace firn::maintenance {

// Scheme and authority apart from the path. "file:", "file://", "file://localhost" and none are one scheme; s3, s3a and
// s3n too. Doubled slashes in the path count once: on a disk they are the same file, and in a bucket two keys that
// differ by them are better both kept.
struct LocationKey {
  std::string root;  // "file:", "s3://bucket", "gs://bucket"
  std::string path;  // "/lake/t/data/a.parquet", no slash at the end
  std::string text() const { return root + path; }
};
LocationKey KeyOf(std::string_view location);

// Is it `folder` itself, or below it?
bool IsBelow(const LocationKey& location, const LocationKey& folder);

// Java's rule for what belongs to other programs: a part of the path below the table's that begins with '.' or '_', a
// partition folder ("_day=1") excepted. `path` is relative to the table's location.
bool IsHidden(std::string_view path);

// Folders outside of the table's location that its properties send files to.
std::vector<std::string> FoldersOutside(const iceberg::TableMetadata& metadata);

// Below the table's location or a folder that its properties name?
bool IsOfTable(const iceberg::TableMetadata& metadata, std::string_view location);

// Many locations, each kept as a hash of 64 bits: of a million files not their paths. Two that collide are taken for
// one, which can only keep a file that might go.
class LocationSet {
 public:
  // False: it was there.
  bool Add(std::string_view location);
  bool Contains(std::string_view location) const;
  // The root of another location with the same path, of none with the same root; nullptr: there is none.
  const std::string* RootElsewhere(std::string_view location) const;
  size_t size() const;

 private:
  std::map<std::string, std::unordered_set<uint64_t>> by_root_;
};

}  // namespace firn::maintenance
