// VendedStore: an ObjectStore whose S3 endpoint and credentials come from a REST catalog (LoadedTable::storage).
//
// The catalog is asked at the first S3 location, again before the credentials expire, and once after a refusal
// (kUnauthorized), at most every kAskAgainMs (every kUnansweredAgainMs while no table exists). What the configuration
// says wins over the catalog. Writers that are open keep the store they began with. Thread-safe; catalog and clock
// outlive it.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "firn/env/clock.h"
#include "firn/env/object_store.h"
#include "firn/env/store_router.h"
#include "firn/iceberg/catalog/catalog.h"

namespace firn::cli {

class VendedStore final : public env::ObjectStore {
 public:
  static constexpr int64_t kAskAgainMs = 30'000;
  static constexpr int64_t kUnansweredAgainMs = 1'000;
  static constexpr int64_t kRenewBeforeMs = 300'000;

  // `tables`: whose storage is asked for; the first that exists answers for all (one warehouse, one store).
  VendedStore(env::StoreOptions configured, iceberg::Catalog& catalog, std::vector<iceberg::TableIdentifier> tables,
              env::Clock& clock);

  Result<std::unique_ptr<env::ObjectWriter>> OpenWrite(const std::string& location) override;
  Status Put(const std::string& location, std::string_view bytes) override;
  Status PutIfAbsent(const std::string& location, std::string_view bytes) override;
  Result<std::string> Read(const std::string& location) override;
  Result<env::ObjectInfo> Stat(const std::string& location) override;
  Result<std::vector<env::ObjectInfo>> List(const std::string& prefix) override;
  Status Delete(const std::string& location) override;

 private:
  using Store = std::shared_ptr<env::ObjectStore>;

  // The store for a location; `refused`: the one that has just been refused and should be replaced.
  Result<Store> StoreFor(const std::string& location, const Store& refused = nullptr);
  Status RenewLocked();
  bool ShouldAskLocked(const Store& refused) const;
  std::optional<iceberg::Properties> AskCatalog();  // nullopt: no table exists, or the catalog does not answer
  // Does `call` on the store, and once more on a renewed one when it was kUnauthorized.
  template <typename Call>
  auto WithStore(const std::string& location, Call call) -> decltype(call(std::declval<env::ObjectStore&>()));

  const env::StoreOptions configured_;
  iceberg::Catalog& catalog_;
  const std::vector<iceberg::TableIdentifier> tables_;
  env::Clock& clock_;
  std::mutex mutex_;
  Store store_;
  env::S3StoreOptions in_force_;
  bool answered_ = false;               // a table's storage is known
  std::optional<int64_t> asked_at_ms_;  // boot clock
  int64_t expires_at_ms_ = INT64_MAX;   // wall clock
};

// What a catalog's storage properties (s3.endpoint, s3.access-key-id, client.region, ...) add to the configured
// options.
env::S3StoreOptions MergeStorage(env::S3StoreOptions configured, const iceberg::Properties& storage);

}  // namespace firn::cli
