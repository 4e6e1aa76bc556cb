// MemoryStore: an ObjectStore in memory, for tests and the simulation.
//
// Any location is taken as a plain string. An object appears whole at Close or Put. CrashClone gives the store that a
// process finds after this one died: what was closed is there, open writers have left nothing.
// Thread-safe. The clock must outlive the store; writers may outlive it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "firn/env/clock.h"
#include "firn/env/object_store.h"

namespace firn::env {

struct MemoryStoreOptions {
  // True: OpenWrite and Put refuse an existing location, as a local disk does. False: they replace it, as S3 does.
  bool refuses_replacing = true;
};

class MemoryStore final : public ObjectStore {
 public:
  explicit MemoryStore(Clock& clock = SystemClock(), MemoryStoreOptions options = {});
  ~MemoryStore() override;

  Result<std::unique_ptr<ObjectWriter>> OpenWrite(const std::string& location) override;
  Status Put(const std::string& location, std::string_view bytes) override;
  Status PutIfAbsent(const std::string& location, std::string_view bytes) override;
  Result<std::string> Read(const std::string& location) override;
  Result<ObjectInfo> Stat(const std::string& location) override;
  Result<std::vector<ObjectInfo>> List(const std::string& prefix) override;
  Status Delete(const std::string& location) override;

  // A new store with what is visible now; from here on the two share nothing.
  std::unique_ptr<MemoryStore> CrashClone() const;
  // Replaces or makes an object without any rule, for tests that damage bytes.
  void Overwrite(const std::string& location, std::string bytes);
  size_t object_count() const;
  int64_t total_bytes() const;

 private:
  struct State;
  class Writer;
  std::shared_ptr<State> state_;
};

}  // namespace firn::env
