#include "firn/iceberg/commit/attempt_store.h"

namespace firn::iceberg {

Result<std::string> AttemptStore::Read(const std::string& location) {
  if (auto kept = kept_.find(location); kept != kept_.end()) return kept->second;
  FIRN_ASSIGN(std::string bytes, store_.Read(location));
  if (bytes.size() <= kAttemptBytesKeptMax - kept_bytes_) {
    kept_bytes_ += bytes.size();
    kept_.emplace(location, bytes);
  }
  return bytes;
}

Result<std::unique_ptr<env::ObjectWriter>> AttemptStore::OpenWrite(const std::string& location) {
  return store_.OpenWrite(location);
}

Status AttemptStore::Put(const std::string& location, std::string_view bytes) {
  return store_.Put(location, bytes);
}

Status AttemptStore::PutIfAbsent(const std::string& location, std::string_view bytes) {
  return store_.PutIfAbsent(location, bytes);
}

Result<env::ObjectInfo> AttemptStore::Stat(const std::string& location) {
  return store_.Stat(location);
}

Result<std::vector<env::ObjectInfo>> AttemptStore::List(const std::string& prefix) {
  return store_.List(prefix);
}

Status AttemptStore::Delete(const std::string& location) {
  return store_.Delete(location);
}

}  // namespace firn::iceberg
