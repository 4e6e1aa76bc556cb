// StoreRouter: the ObjectStore of the running program; picks the store by the location's scheme.
//
// "file:" and absolute paths go to LocalStore, "s3:", "s3a:", "s3n:" to ArrowStore, which is made at the first such
// location, so a purely local program never starts the AWS SDK. Other schemes are kUnsupported.
// Thread-safe.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "firn/env/arrow_store.h"
#include "firn/env/local_store.h"
#include "firn/env/object_store.h"

namespace firn::env {

struct StoreOptions {
  LocalStoreOptions local;
  S3StoreOptions s3;
};

class StoreRouter final : public ObjectStore {
 public:
  static Result<std::unique_ptr<StoreRouter>> Create(StoreOptions options);

  Result<std::unique_ptr<ObjectWriter>> OpenWrite(const std::string& location) override;
  Status Put(const std::string& location, std::string_view bytes) override;
  Status PutIfAbsent(const std::string& location, std::string_view bytes) override;
  Result<std::string> Read(const std::string& location) override;
  Result<ObjectInfo> Stat(const std::string& location) override;
  Result<std::vector<ObjectInfo>> List(const std::string& prefix) override;
  Status Delete(const std::string& location) override;

 private:
  explicit StoreRouter(StoreOptions options);
  Result<ObjectStore*> Choose(std::string_view location);

  const StoreOptions options_;
  LocalStore local_;
  std::mutex s3_mutex_;
  std::unique_ptr<ArrowStore> s3_;
};

}  // namespace firn::env
