// LagReader: TableLag of tables in a catalog, read as often as wanted: manifests that it has seen are not read again.
//
// One thread. Reads metadata and manifests only.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "firn/base/error.h"
#include "firn/env/clock.h"
#include "firn/env/object_store.h"
#include "firn/iceberg/catalog/catalog.h"
#include "firn/lag/table_lag.h"

namespace firn::lag {

// Files whose facts are kept, over all tables (about 30 MB; 100 where tables have delete files or an order); those of
// further tables are read anew each time.
inline constexpr size_t kFilesKeptMax = 500'000;

class LagReader {
 public:
  LagReader(iceberg::Catalog& catalog, env::ObjectStore& store, env::Clock& clock)
      : catalog_(catalog), store_(store), clock_(clock) {}

  // `options.now_ms` is set here. Errors: the catalog's, the store's, kCorruption, kUnsupported.
  Result<TableLag> Read(const iceberg::TableIdentifier& table, LagOptions options);
  // A table that is no more.
  void Forget(const iceberg::TableIdentifier& table);

 private:
  using Facts = std::map<std::string, std::shared_ptr<const ManifestFacts>>;  // by manifest path

  // What the picker wants to know of data files, beyond what it always does.
  struct Needs {
    bool paths = false;
    std::optional<int32_t> sort_field_id;
  };
  static bool Suffice(const ManifestFacts& facts, const Needs& needs);
  Result<std::shared_ptr<const ManifestFacts>> ReadFacts(const iceberg::TableMetadata& metadata,
                                                         const iceberg::ManifestFile& manifest, const Needs& needs);

  iceberg::Catalog& catalog_;
  env::ObjectStore& store_;
  env::Clock& clock_;
  std::map<iceberg::TableIdentifier, Facts> kept_;
  size_t files_kept_ = 0;
};

}  // namespace firn::lag
