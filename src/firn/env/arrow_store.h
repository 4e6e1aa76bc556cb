// ArrowStore: an ObjectStore over S3 and what speaks its protocol, through Arrow's S3 file system.
//
// Locations: "s3://bucket/key", and "s3a://", "s3n://" as Hadoop spells it; the key is taken literally (no percent
// decoding) and has no empty segments. List spells locations with the scheme and prefix it was given.
// Objects up to Arrow's part size (10 MB) are one PutObject at Close; larger ones a multipart upload that Close
// completes and destruction aborts. OpenWrite and Put replace an existing object (S3 cannot tell); Firn's names are
// unique. PutIfAbsent is one conditional PutObject (If-None-Match: *), atomic on AWS and on servers that know it; a
// server that ignores the header replaces silently. PutIfAbsent may also give kCommitStateUnknown: look before you try
// again. Each request is tried `attempts_max` times inside (connection errors, 5xx, throttling); all are harmless to
// repeat.
// Thread-safe. The AWS SDK is initialised by the first Create and shut down at exit. Messages never hold credentials.
// The program ignores SIGPIPE (the SDK's sockets can raise it).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "firn/env/clock.h"
#include "firn/env/object_store.h"

namespace firn::env {

struct S3StoreOptions {
  std::string endpoint;    // "http://host:port", "https://host" or "host:port" (https); empty: Amazon S3
  std::string region;      // empty: AWS_REGION, the profile, us-east-1
  // With an endpoint: endpoint/bucket/key; false: bucket.endpoint/key. Without one always the latter.
  bool path_style = true;
  std::string access_key_id;  // empty: the SDK's default chain (environment, profile, web identity, instance role)
  std::string secret_access_key;
  std::string session_token;
  std::string ca_file;  // PEM; empty: the system's
  int64_t connect_timeout_ms = 10'000;
  int64_t request_timeout_ms = 60'000;  // without a byte moving
  int attempts_max = 4;
  int64_t read_bytes_max = int64_t{2} << 30;  // a larger object is kResourceExhausted
  int64_t list_objects_max = 10'000'000;      // a longer list is kResourceExhausted
};

class ArrowStore final : public ObjectStore {
 public:
  // kInvalidInput for half a key pair or a malformed endpoint. Makes no request, except that with neither keys nor
  // region the SDK may look for them. The clock must outlive the store.
  static Result<std::unique_ptr<ArrowStore>> Create(const S3StoreOptions& options, Clock& clock = SystemClock());
  static bool IsLocation(std::string_view location);  // by scheme
  ~ArrowStore() override;

  Result<std::unique_ptr<ObjectWriter>> OpenWrite(const std::string& location) override;
  Status Put(const std::string& location, std::string_view bytes) override;
  Status PutIfAbsent(const std::string& location, std::string_view bytes) override;
  Result<std::string> Read(const std::string& location) override;
  Result<ObjectInfo> Stat(const std::string& location) override;
  Result<std::vector<ObjectInfo>> List(const std::string& prefix) override;
  Status Delete(const std::string& location) override;

 private:
  class Impl;
  explicit ArrowStore(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace firn::env
