// LocalStore: an ObjectStore over the file system of this machine.
//
// Locations: "file:///abs", "file:/abs" (Java's spelling), "file://localhost/abs" and bare "/abs". The path is taken
// literally, as Java, PyIceberg and DuckDB take it: "file:///a%20b" names the file "a%20b"; nothing is decoded, since
// the table compares locations as strings. Paths with "." or ".." segments are refused for the same reason. For table
// locations use "file:///" without '?' and '#': PyIceberg cuts a path at these and does not know "file://localhost".
// An object is written as "firn-<16 hex digits>.tmp" in the same folder, fsynced, moved to its name without replacing
// anything, and the folder is fsynced. A crash leaves at most such a .tmp file; List shows it, so that orphan removal
// finds it, and no reader's pattern (*.parquet, *.avro) matches it. Put is therefore as strict as PutIfAbsent.
// Thread-safe; stateless apart from its options and a bounded set of folders that are known to be durable.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "firn/env/object_store.h"

namespace firn::env {

struct LocalStoreOptions {
  int64_t read_bytes_max = int64_t{2} << 30;   // a larger object is kResourceExhausted
  int64_t list_objects_max = 10'000'000;       // a longer list is kResourceExhausted
};

class LocalStore final : public ObjectStore {
 public:
  explicit LocalStore(LocalStoreOptions options = {});
  ~LocalStore() override;

  // The absolute path of a location; kInvalidInput for what is no local location.
  static Result<std::string> PathOf(std::string_view location);

  Result<std::unique_ptr<ObjectWriter>> OpenWrite(const std::string& location) override;
  Status Put(const std::string& location, std::string_view bytes) override;
  Status PutIfAbsent(const std::string& location, std::string_view bytes) override;
  Result<std::string> Read(const std::string& location) override;
  Result<ObjectInfo> Stat(const std::string& location) override;
  // Objects only, in the order of their locations; each location is spelled with the prefix as given.
  Result<std::vector<ObjectInfo>> List(const std::string& prefix) override;
  // Leaves the folder, empty or not. Not fsynced: a deleted object may come back after a power cut.
  Status Delete(const std::string& location) override;

 private:
  class DurableFolders;

  LocalStoreOptions options_;
  std::unique_ptr<DurableFolders> folders_;
};

}  // namespace firn::env
