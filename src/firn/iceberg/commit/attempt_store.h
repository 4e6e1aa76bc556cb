// AttemptStore: a store for the attempts of one commit. What one attempt has read the next one has at hand: manifests
// never change, and an attempt that merges a hundred of them would lose to other writers again and again if each
// reading took as long as the first.
//
// Everything but Read goes through as it is. Not thread-safe; lives as long as the commit.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "firn/env/object_store.h"

namespace firn::iceberg {

// Beyond that, later reads are not kept; they are read again.
inline constexpr size_t kAttemptBytesKeptMax = 32 << 20;

class AttemptStore final : public env::ObjectStore {
 public:
  explicit AttemptStore(env::ObjectStore& store) : store_(store) {}

  Result<std::unique_ptr<env::ObjectWriter>> OpenWrite(const std::string& location) override;
  Status Put(const std::string& location, std::string_view bytes) override;
  Status PutIfAbsent(const std::string& location, std::string_view bytes) override;
  Result<std::string> Read(const std::string& location) override;
  Result<env::ObjectInfo> Stat(const std::string& location) override;
  Result<std::vector<env::ObjectInfo>> List(const std::string& prefix) override;
  Status Delete(const std::string& location) override;

 private:
  env::ObjectStore& store_;
  std::map<std::string, std::string> kept_;
  size_t kept_bytes_ = 0;
};

}  // namespace firn::iceberg
