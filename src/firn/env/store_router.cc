#include "firn/env/store_router.h"

#include <fmt/format.h>

#include <utility>

namespace firn::env {

Result<std::unique_ptr<StoreRouter>> StoreRouter::Create(StoreOptions options) {
  if (options.local.read_bytes_max <= 0 || options.s3.read_bytes_max <= 0) {
    return Fail(ErrorCode::kInvalidInput, fmt::format("read_bytes_max must be above 0: {} and {}",
                                                      options.local.read_bytes_max, options.s3.read_bytes_max));
  }
  return std::unique_ptr<StoreRouter>(new StoreRouter(std::move(options)));
}

StoreRouter::StoreRouter(StoreOptions options) : options_(std::move(options)), local_(options_.local) {}

Result<ObjectStore*> StoreRouter::Choose(std::string_view location) {
  if (location.starts_with('/') || location.starts_with("file:")) return &local_;
  if (ArrowStore::IsLocation(location)) {
    std::lock_guard lock(s3_mutex_);
    if (s3_ == nullptr) {
      FIRN_ASSIGN(s3_, ArrowStore::Create(options_.s3));
    }
    return s3_.get();
  }
  size_t scheme_end = location.find("://");
  if (scheme_end == std::string_view::npos) {
    return Fail(ErrorCode::kInvalidInput,
                fmt::format("not a location; write file:///path, an absolute path or s3://bucket/key: '{}'", location));
  }
  return Fail(ErrorCode::kUnsupported, fmt::format("no store for the scheme '{}'; Firn knows file and s3: '{}'",
                                                   location.substr(0, scheme_end), location));
}

Result<std::unique_ptr<ObjectWriter>> StoreRouter::OpenWrite(const std::string& location) {
  FIRN_ASSIGN(ObjectStore * store, Choose(location));
  return store->OpenWrite(location);
}

Status StoreRouter::Put(const std::string& location, std::string_view bytes) {
  FIRN_ASSIGN(ObjectStore * store, Choose(location));
  return store->Put(location, bytes);
}

Status StoreRouter::PutIfAbsent(const std::string& location, std::string_view bytes) {
  FIRN_ASSIGN(ObjectStore * store, Choose(location));
  return store->PutIfAbsent(location, bytes);
}

Result<std::string> StoreRouter::Read(const std::string& location) {
  FIRN_ASSIGN(ObjectStore * store, Choose(location));
  return store->Read(location);
}

Result<ObjectInfo> StoreRouter::Stat(const std::string& location) {
  FIRN_ASSIGN(ObjectStore * store, Choose(location));
  return store->Stat(location);
}

Result<std::vector<ObjectInfo>> StoreRouter::List(const std::string& prefix) {
  FIRN_ASSIGN(ObjectStore * store, Choose(prefix));
  return store->List(prefix);
}

Status StoreRouter::Delete(const std::string& location) {
  FIRN_ASSIGN(ObjectStore * store, Choose(location));
  return store->Delete(location);
}

}  // namespace firn::env
