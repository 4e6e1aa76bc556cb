// PacedStore: a store before each reading of which its thread may be made to wait; for maintenance that keeps to a
// share of one core.
//
// One thread reads; others may delete, and are not held up: they wait for the store most of their time.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "firn/base/error.h"
#include "firn/env/object_store.h"

namespace firn::maintenance {

class PacedStore final : public env::ObjectStore {
 public:
  // `pause`: false when a stop was requested; then nothing is read any more (kCancelled).
  PacedStore(env::ObjectStore& store, std::function<bool()> pause) : store_(store), pause_(std::move(pause)) {}

  Result<std::unique_ptr<env::ObjectWriter>> OpenWrite(const std::string& location) override {
    return store_.OpenWrite(location);
  }
  Status Put(const std::string& location, std::string_view bytes) override { return store_.Put(location, bytes); }
  Status PutIfAbsent(const std::string& location, std::string_view bytes) override {
    return store_.PutIfAbsent(location, bytes);
  }
  Result<std::string> Read(const std::string& location) override {
    FIRN_TRY(Pause());
    return store_.Read(location);
  }
  Result<env::ObjectInfo> Stat(const std::string& location) override { return store_.Stat(location); }
  Result<std::vector<env::ObjectInfo>> List(const std::string& prefix) override {
    FIRN_TRY(Pause());
    return store_.List(prefix);
  }
  Status Delete(const std::string& location) override { return store_.Delete(location); }

 private:
  Status Pause() {
    if (pause_()) return {};
    return Fail(ErrorCode::kCancelled, "stopped before it was done");
  }

  env::ObjectStore& store_;
  const std::function<bool()> pause_;
};

}  // namespace firn::maintenance
