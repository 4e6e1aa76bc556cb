// ObjectStore: where data files, manifests and metadata live (a local folder tree, S3).
//
// Locations are absolute URIs, spelled as the table spells them: "file:///lake/t/data/a.parquet", "s3://bucket/key".
// Implementations are thread-safe. An object becomes visible whole or not at all, and is durable once Close or Put has
// returned (local: file and folder are fsynced). Nothing here retries silently beyond what the implementation states.
// Errors: kNotFound, kAlreadyExists, kUnauthorized, kUnavailable, kTimeout, kResourceExhausted (disk full), kIoError.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "firn/base/error.h"

namespace firn::env {

struct ObjectInfo {
  std::string location;
  int64_t size = 0;
  int64_t modified_ms = 0;  // by the store's clock
};

// One object being written, by one thread. Destroying it before Close abandons it: nothing becomes visible.
class ObjectWriter {
 public:
  virtual ~ObjectWriter() = default;
  virtual Status Append(std::string_view bytes) = 0;
  // Makes the object visible and durable. No other member may be called afterwards.
  virtual Status Close() = 0;
  virtual int64_t bytes_written() const = 0;
};

class ObjectStore {
 public:
  virtual ~ObjectStore() = default;
  // Creates the folders on the way. An existing object at the location is kAlreadyExists where the store can tell
  // (local: always); Firn's names are unique, so it never counts on it except through PutIfAbsent.
  virtual Result<std::unique_ptr<ObjectWriter>> OpenWrite(const std::string& location) = 0;
  virtual Status Put(const std::string& location, std::string_view bytes) = 0;
  // Atomic create: kAlreadyExists when an object is there (S3: If-None-Match: *).
  virtual Status PutIfAbsent(const std::string& location, std::string_view bytes) = 0;
  virtual Result<std::string> Read(const std::string& location) = 0;
  virtual Result<ObjectInfo> Stat(const std::string& location) = 0;
  // All objects whose location starts with `prefix` followed by '/', any depth; a missing prefix is an empty list.
  virtual Result<std::vector<ObjectInfo>> List(const std::string& prefix) = 0;
  virtual Status Delete(const std::string& location) = 0;  // a missing object is no error
};

}  // namespace firn::env
