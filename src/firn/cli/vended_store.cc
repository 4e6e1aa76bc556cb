#include "firn/cli/vended_store.h"

#include <charconv>
#include <tuple>
#include <utility>

namespace firn::cli {
namespace {

std::string Find(const iceberg::Properties& storage, const char* key) {
  auto found = storage.find(key);
  return found == storage.end() ? std::string() : found->second;
}

// s3.session-token-expires-at-ms, as Java's vended credentials carry it.
int64_t ExpiresAtMs(const iceberg::Properties& storage) {
  std::string text = Find(storage, "s3.session-token-expires-at-ms");
  int64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() && value > 0 ? value : INT64_MAX;
}

bool SameAccess(const env::S3StoreOptions& a, const env::S3StoreOptions& b) {
  return std::tie(a.endpoint, a.region, a.path_style, a.access_key_id, a.secret_access_key, a.session_token) ==
         std::tie(b.endpoint, b.region, b.path_style, b.access_key_id, b.secret_access_key, b.session_token);
}

}  // namespace

env::S3StoreOptions MergeStorage(env::S3StoreOptions configured, const iceberg::Properties& storage) {
  if (configured.endpoint.empty()) {
    configured.endpoint = Find(storage, "s3.endpoint");
    std::string path_style = Find(storage, "s3.path-style-access");
    if (!configured.endpoint.empty() && !path_style.empty()) configured.path_style = path_style == "true";
  }
  if (configured.region.empty()) configured.region = Find(storage, "client.region");
  if (configured.region.empty()) configured.region = Find(storage, "s3.region");
  if (configured.access_key_id.empty()) {
    configured.access_key_id = Find(storage, "s3.access-key-id");
    configured.secret_access_key = Find(storage, "s3.secret-access-key");
    configured.session_token = Find(storage, "s3.session-token");
  }
  return configured;
}

VendedStore::VendedStore(env::StoreOptions configured, iceberg::Catalog& catalog,
                         std::vector<iceberg::TableIdentifier> tables, env::Clock& clock)
    : configured_(std::move(configured)), catalog_(catalog), tables_(std::move(tables)), clock_(clock) {}

std::optional<iceberg::Properties> VendedStore::AskCatalog() {
  for (const iceberg::TableIdentifier& table : tables_) {
    Result<iceberg::LoadedTable> loaded = catalog_.LoadTable(table);
    if (loaded.has_value()) return std::move(loaded->storage);
  }
  return std::nullopt;
}

Status VendedStore::RenewLocked() {
  std::optional<iceberg::Properties> storage = AskCatalog();
  asked_at_ms_ = clock_.BootMs();
  // A catalog that is away for a moment takes nothing back that it said before.
  if (!storage && store_ != nullptr) return {};
  answered_ = storage.has_value();
  env::StoreOptions options = configured_;
  if (storage) {
    options.s3 = MergeStorage(configured_.s3, *storage);
    expires_at_ms_ = ExpiresAtMs(*storage);
  }
  if (store_ != nullptr && SameAccess(options.s3, in_force_)) return {};
  FIRN_ASSIGN(store_, env::StoreRouter::Create(options));
  in_force_ = options.s3;
  return {};
}

bool VendedStore::ShouldAskLocked(const Store& refused) const {
  if (!asked_at_ms_) return true;
  int64_t since_ms = clock_.BootMs() - *asked_at_ms_;
  // Before any table exists nobody has a word on the store; soon one may be made.
  if (!answered_) return since_ms >= kUnansweredAgainMs;
  bool expiring = expires_at_ms_ != INT64_MAX && clock_.WallMs() > expires_at_ms_ - kRenewBeforeMs;
  bool was_refused = refused != nullptr && refused == store_;
  return (expiring || was_refused) && since_ms >= kAskAgainMs;
}

Result<VendedStore::Store> VendedStore::StoreFor(const std::string& location, const Store& refused) {
  std::lock_guard lock(mutex_);
  if (env::ArrowStore::IsLocation(location)) {
    if (ShouldAskLocked(refused)) FIRN_TRY(RenewLocked());
  } else if (store_ == nullptr) {
    FIRN_ASSIGN(store_, env::StoreRouter::Create(configured_));
    in_force_ = configured_.s3;
  }
  return store_;
}

template <typename Call>
auto VendedStore::WithStore(const std::string& location, Call call)
    -> decltype(call(std::declval<env::ObjectStore&>())) {
  FIRN_ASSIGN(Store store, StoreFor(location));
  auto result = call(*store);
  if (result.has_value() || result.error().code() != ErrorCode::kUnauthorized) return result;
  FIRN_ASSIGN(Store renewed, StoreFor(location, store));
  if (renewed == store) return result;
  return call(*renewed);
}

Result<std::unique_ptr<env::ObjectWriter>> VendedStore::OpenWrite(const std::string& location) {
  return WithStore(location, [&](env::ObjectStore& store) { return store.OpenWrite(location); });
}

Status VendedStore::Put(const std::string& location, std::string_view bytes) {
  return WithStore(location, [&](env::ObjectStore& store) { return store.Put(location, bytes); });
}

Status VendedStore::PutIfAbsent(const std::string& location, std::string_view bytes) {
  return WithStore(location, [&](env::ObjectStore& store) { return store.PutIfAbsent(location, bytes); });
}

Result<std::string> VendedStore::Read(const std::string& location) {
  return WithStore(location, [&](env::ObjectStore& store) { return store.Read(location); });
}

Result<env::ObjectInfo> VendedStore::Stat(const std::string& location) {
  return WithStore(location, [&](env::ObjectStore& store) { return store.Stat(location); });
}

Result<std::vector<env::ObjectInfo>> VendedStore::List(const std::string& prefix) {
  return WithStore(prefix, [&](env::ObjectStore& store) { return store.List(prefix); });
}

Status VendedStore::Delete(const std::string& location) {
  return WithStore(location, [&](env::ObjectStore& store) { return store.Delete(location); });
}

}  // namespace firn::cli
