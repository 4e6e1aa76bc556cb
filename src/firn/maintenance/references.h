// What a table's metadata refer to: the metadata files of its log, statistics, manifest lists, manifests, and the data
// and delete files that are live in any of its snapshots.
//
// One thread. Each manifest is read once, however many snapshots name it, and its entries pass by: no more of them is
// kept than the hashes of the paths, and of manifest lists no more than each manifest once. Anything that cannot be
// read is an error: what is not known to be unreferenced is not deleted.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "firn/base/error.h"
#include "firn/env/object_store.h"
#include "firn/iceberg/catalog/catalog.h"
#include "firn/iceberg/manifest/manifest.h"
#include "firn/maintenance/locations.h"

namespace firn::maintenance {

// Of one or several snapshots, by location as it is spelled there.
struct SnapshotFiles {
  std::set<std::string> manifest_lists;
  // Without summaries of partitions; length 0 where a v1 snapshot names them inline.
  std::map<std::string, iceberg::ManifestFile> manifests;
};

class ReferenceReader {
 public:
  explicit ReferenceReader(env::ObjectStore& store) : store_(store) {}

  // kCorruption, kUnsupported, and the store's errors.
  Result<SnapshotFiles> FilesOf(const std::vector<const iceberg::Snapshot*>& snapshots);

  struct ContentFile {
    std::string location;
    int64_t bytes = 0;
    iceberg::FileContent content = iceberg::FileContent::kData;
    bool live = false;
  };
  using EntryFn = std::function<void(ContentFile file)>;
  // Calls `each` with every entry of the manifest; an error may come after some of them.
  Status ForEachEntry(const iceberg::ManifestFile& manifest, const EntryFn& each);

 private:
  env::ObjectStore& store_;
};

// The set of all referenced files, for looking listed ones up.
class References {
 public:
  explicit References(env::ObjectStore& store) : reader_(store) {}

  // May be called again with later metadata of the table: what was referenced stays so.
  Status Add(const iceberg::LoadedTable& table);

  enum class Found : uint8_t {
    kNo,
    kYes,
    kElsewhere,  // the same path under another scheme or bucket: nobody knows whether it is the same file
  };
  Found Find(const std::string& location) const;
  size_t size() const { return referenced_.size(); }
  // The spelling that `location` was found under with kElsewhere.
  std::string RootOf(const std::string& location) const;

 private:
  Status AddStatistics(const iceberg::TableMetadata& metadata);

  ReferenceReader reader_;
  std::set<std::string> lists_added_;
  std::set<std::string> manifests_added_;
  LocationSet referenced_;
};

}  // namespace firn::maintenance
