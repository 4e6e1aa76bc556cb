#include "firn/env/arrow_store.h"

#include <arrow/buffer.h>
#include <arrow/filesystem/s3fs.h>
#include <arrow/io/interfaces.h>
#include <arrow/util/future.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <mutex>
#include <utility>

#include "firn/env/curl_http_client.h"
#include "firn/env/s3_object_requests.h"
#include "firn/env/s3_status.h"

namespace firn::env {
namespace {

constexpr std::array<std::string_view, 3> kSchemes = {"s3://", "s3a://", "s3n://"};

struct S3Location {
  std::string_view scheme;  // with "://"
  std::string bucket;
  std::string key;  // may be empty for a prefix

  std::string path() const { return key.empty() ? bucket : bucket + "/" + key; }
};

Result<S3Location> ParseLocation(std::string_view location, bool is_prefix) {
  auto bad = [&](std::string_view reason) {
    return Fail(ErrorCode::kInvalidInput, fmt::format("{}: '{}'", reason, location));
  };
  const auto* scheme = std::ranges::find_if(kSchemes, [&](std::string_view s) { return location.starts_with(s); });
  if (scheme == kSchemes.end()) return bad("not an s3://, s3a:// or s3n:// location");
  std::string_view rest = location.substr(scheme->size());
  if (is_prefix && rest.ends_with('/')) rest.remove_suffix(1);
  size_t slash = std::min(rest.find('/'), rest.size());
  S3Location parsed{*scheme, std::string(rest.substr(0, slash)),
                    std::string(rest.substr(std::min(slash + 1, rest.size())))};
  if (parsed.bucket.empty()) return bad("no bucket in the location");
  if (parsed.key.empty() && !is_prefix) return bad("no key in the location");
  bool has_empty_segment = parsed.key.starts_with('/') || parsed.key.ends_with('/') ||
                           parsed.key.find("//") != std::string::npos;
  if (has_empty_segment) return bad("a key with an empty segment ('//' or '/' at an end) is not supported");
  if (parsed.key.find('\0') != std::string::npos) return bad("a location with a zero byte");
  return parsed;
}

int64_t MillisecondsOf(arrow::fs::TimePoint time) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(time.time_since_epoch()).count();
}

// The AWS SDK's state belongs to the process, and Arrow wants it shut down before its static objects go. One of these,
// the list of clients, comes into being with the first file system, so the exit handler (exit runs handlers and
// destructors in reverse order of registration) must be registered after that.
class SdkLifetime {
 public:
  static Status Begin() {
    std::lock_guard lock(mutex_);
    arrow::Status status = arrow::fs::EnsureS3Initialized();
    if (status.ok()) return {};
    return Fail(ErrorCode::kInternal, "the AWS SDK cannot be initialised: " + status.message());
  }
  static void EndAtExit() {
    std::lock_guard lock(mutex_);
    if (!registered_) std::atexit([] { (void)arrow::fs::EnsureS3Finalized(); });
    registered_ = true;
  }

 private:
  static inline std::mutex mutex_;
  static inline bool registered_ = false;
};

Status RequireBucket(arrow::fs::FileSystem& file_system, const std::string& bucket, std::string_view prefix,
                     const S3Access& access) {
  auto info = file_system.GetFileInfo(bucket);
  if (!info.ok()) return S3Error(info.status(), "look at the bucket", prefix, access);
  if (info->type() != arrow::fs::FileType::NotFound) return {};
  return Fail(ErrorCode::kNotFound, fmt::format("no such bucket; make it, or mend the location: '{}'", prefix));
}

struct Endpoint {
  std::string scheme = "https";
  std::string authority;  // host[:port]
};

Result<Endpoint> ParseEndpoint(std::string_view text) {
  Endpoint endpoint;
  std::string_view rest = text;
  size_t scheme_end = rest.find("://");
  if (scheme_end != std::string_view::npos) {
    endpoint.scheme = rest.substr(0, scheme_end);
    rest.remove_prefix(scheme_end + 3);
  }
  if (rest.ends_with('/')) rest.remove_suffix(1);
  bool known_scheme = endpoint.scheme == "http" || endpoint.scheme == "https";
  if (!known_scheme || rest.empty() || rest.find_first_of("/@?# ") != std::string_view::npos) {
    // User info in it could be a secret, so the value is not shown.
    return Fail(ErrorCode::kInvalidInput, "the S3 endpoint must be http:// or https://, a host and a port, no more");
  }
  endpoint.authority = rest;
  return endpoint;
}

class S3Writer final : public ObjectWriter {
 public:
  S3Writer(std::shared_ptr<arrow::io::OutputStream> stream, std::string location, const S3Access& access)
      : stream_(std::move(stream)), location_(std::move(location)), access_(access) {}

  // Arrow completes the upload of a stream that is merely destroyed: an abandoned object would become visible.
  ~S3Writer() override {
    if (!done_) (void)stream_->Abort();
  }

  Status Append(std::string_view bytes) override {
    FIRN_TRY(RefuseAfterFailure());
    arrow::Status status = stream_->Write(bytes.data(), static_cast<int64_t>(bytes.size()));
    if (!status.ok()) {
      failed_ = true;
      return S3Error(status, "write the object", location_, access_);
    }
    bytes_written_ += static_cast<int64_t>(bytes.size());
    return {};
  }

  Status Close() override {
    FIRN_TRY(RefuseAfterFailure());
    arrow::Status status = stream_->Close();
    if (!status.ok()) {
      failed_ = true;
      return S3Error(status, "complete the object", location_, access_);
    }
    done_ = true;
    return {};
  }

  int64_t bytes_written() const override { return bytes_written_; }

 private:
  Status RefuseAfterFailure() const {
    if (!failed_) return {};
    return Fail(ErrorCode::kIoError, fmt::format("an earlier write failed; write the object anew: '{}'", location_));
  }

  std::shared_ptr<arrow::io::OutputStream> stream_;
  const std::string location_;
  const S3Access access_;
  int64_t bytes_written_ = 0;
  bool failed_ = false;
  bool done_ = false;
};

}  // namespace

class ArrowStore::Impl {
 public:
  // The credentials that Arrow would use now, rotated ones included.
  static Result<AwsSigV4> CurrentSigner(const arrow::fs::S3Options& options, const std::string& region) {
    AwsSigV4 signer{.region = region, .service = "s3"};
    do {
      // Three reads of a provider that may rotate between them; a mixed triple would be refused.
      signer.access_key_id = options.GetAccessKey();
      signer.secret_access_key = options.GetSecretKey();
      signer.session_token = options.GetSessionToken();
    } while (signer.access_key_id != options.GetAccessKey());
    return signer;
  }

  std::shared_ptr<arrow::fs::S3FileSystem> file_system;
  S3StoreOptions options;
  S3Access access;
  std::unique_ptr<CurlHttpClient> client;
  std::unique_ptr<S3ObjectRequests> requests;
};

Result<std::unique_ptr<ArrowStore>> ArrowStore::Create(const S3StoreOptions& options, Clock& clock) {
  if (options.access_key_id.empty() != options.secret_access_key.empty()) {
    return Fail(ErrorCode::kInvalidInput, "S3 access key id and secret access key go together; set both or none");
  }
  if (options.access_key_id.empty() && !options.session_token.empty()) {
    return Fail(ErrorCode::kInvalidInput, "an S3 session token needs its access key id and secret; set all three");
  }
  Endpoint endpoint;
  if (!options.endpoint.empty()) {
    FIRN_ASSIGN(endpoint, ParseEndpoint(options.endpoint));
  }
  FIRN_TRY(SdkLifetime::Begin());
  arrow::fs::S3Options s3;
  if (options.access_key_id.empty()) {
    s3.ConfigureDefaultCredentials();
  } else {
    s3.ConfigureAccessKey(options.access_key_id, options.secret_access_key, options.session_token);
  }
  S3Address address{.path_style = options.path_style};
  if (!options.endpoint.empty()) {
    s3.scheme = endpoint.scheme;
    s3.endpoint_override = endpoint.authority;
    s3.force_virtual_addressing = !options.path_style;
    address.endpoint = endpoint.scheme + "://" + endpoint.authority;
  }
  s3.region = options.region;
  s3.tls_ca_file_path = options.ca_file;
  s3.connect_timeout = static_cast<double>(options.connect_timeout_ms) / 1000;
  s3.request_timeout = static_cast<double>(options.request_timeout_ms) / 1000;
  s3.background_writes = false;
  s3.allow_delayed_open = true;  // small objects are one PutObject
  s3.retry_strategy = arrow::fs::S3RetryStrategy::GetAwsStandardRetryStrategy(options.attempts_max);
  auto impl = std::make_unique<Impl>();
  impl->options = options;
  impl->access = {.endpoint = options.endpoint,
                  .secrets = {options.access_key_id, options.secret_access_key, options.session_token}};
  auto made = arrow::fs::S3FileSystem::Make(s3);
  if (!made.ok()) return S3Error(made.status(), "set up S3", options.endpoint, impl->access);
  SdkLifetime::EndAtExit();
  impl->file_system = *made;
  address.region = impl->file_system->region();
  CurlHttpClientOptions client_options;
  client_options.ca_file = options.ca_file;
  client_options.connect_timeout_ms = options.connect_timeout_ms;
  client_options.aws_sigv4 = [s3, region = address.region] { return Impl::CurrentSigner(s3, region); };
  FIRN_ASSIGN(impl->client, CurlHttpClient::Create(std::move(client_options)));
  impl->requests = std::make_unique<S3ObjectRequests>(*impl->client, clock, std::move(address), options.attempts_max,
                                                      options.request_timeout_ms);
  return std::unique_ptr<ArrowStore>(new ArrowStore(std::move(impl)));
}

ArrowStore::ArrowStore(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ArrowStore::~ArrowStore() = default;

bool ArrowStore::IsLocation(std::string_view location) {
  return std::ranges::any_of(kSchemes, [&](std::string_view scheme) { return location.starts_with(scheme); });
}

Result<std::unique_ptr<ObjectWriter>> ArrowStore::OpenWrite(const std::string& location) {
  FIRN_ASSIGN(S3Location parsed, ParseLocation(location, false));
  auto stream = impl_->file_system->OpenOutputStream(parsed.path());
  if (!stream.ok()) return S3Error(stream.status(), "create the object", location, impl_->access);
  return std::make_unique<S3Writer>(*stream, location, impl_->access);
}

Status ArrowStore::Put(const std::string& location, std::string_view bytes) {
  FIRN_ASSIGN(auto writer, OpenWrite(location));
  FIRN_TRY(writer->Append(bytes));
  return writer->Close();
}

Status ArrowStore::PutIfAbsent(const std::string& location, std::string_view bytes) {
  FIRN_ASSIGN(S3Location parsed, ParseLocation(location, false));
  return impl_->requests->PutIfAbsent(parsed.bucket, parsed.key, bytes);
}

Result<std::string> ArrowStore::Read(const std::string& location) {
  FIRN_ASSIGN(S3Location parsed, ParseLocation(location, false));
  auto failed = [&](const arrow::Status& status) {
    return S3Error(status, "read the object", location, impl_->access);
  };
  auto file = impl_->file_system->OpenInputFile(parsed.path());
  if (!file.ok()) return failed(file.status());
  auto size = (*file)->GetSize();
  if (!size.ok()) return failed(size.status());
  if (*size > impl_->options.read_bytes_max) {
    return Fail(ErrorCode::kResourceExhausted, fmt::format("the object has {} bytes, more than the limit of {}: '{}'",
                                                           *size, impl_->options.read_bytes_max, location));
  }
  std::string bytes(static_cast<size_t>(*size), '\0');
  if (*size == 0) return bytes;
  auto got = (*file)->ReadAt(0, *size, bytes.data());
  if (!got.ok()) return failed(got.status());
  if (*got != *size) {
    return Fail(ErrorCode::kIoError,
                fmt::format("got {} of {} bytes; try again: '{}'", *got, *size, location));
  }
  return bytes;
}

Result<ObjectInfo> ArrowStore::Stat(const std::string& location) {
  FIRN_ASSIGN(S3Location parsed, ParseLocation(location, false));
  auto info = impl_->file_system->GetFileInfo(parsed.path());
  if (!info.ok()) return S3Error(info.status(), "look at the object", location, impl_->access);
  if (!info->IsFile()) return Fail(ErrorCode::kNotFound, fmt::format("no object: '{}'", location));
  return ObjectInfo{location, info->size(), MillisecondsOf(info->mtime())};
}

Result<std::vector<ObjectInfo>> ArrowStore::List(const std::string& prefix) {
  FIRN_ASSIGN(S3Location parsed, ParseLocation(prefix, true));
  arrow::fs::FileSelector selector;
  selector.base_dir = parsed.path();
  selector.allow_not_found = true;
  selector.recursive = true;
  std::vector<ObjectInfo> objects;
  auto next_page = impl_->file_system->GetFileInfoGenerator(selector);
  while (true) {
    auto page = next_page().result();
    if (!page.ok()) return S3Error(page.status(), "list the objects", prefix, impl_->access);
    if (page->empty()) break;
    for (const arrow::fs::FileInfo& info : *page) {
      if (!info.IsFile()) continue;
      if (static_cast<int64_t>(objects.size()) >= impl_->options.list_objects_max) {
        return Fail(ErrorCode::kResourceExhausted, fmt::format("more than {} objects; list a narrower prefix: '{}'",
                                                               impl_->options.list_objects_max, prefix));
      }
      objects.push_back({std::string(parsed.scheme) + info.path(), info.size(), MillisecondsOf(info.mtime())});
    }
  }
  // A missing bucket lists as an empty one. That is a wrong configuration, and not an empty table.
  if (objects.empty()) FIRN_TRY(RequireBucket(*impl_->file_system, parsed.bucket, prefix, impl_->access));
  std::ranges::sort(objects, {}, &ObjectInfo::location);
  return objects;
}

Status ArrowStore::Delete(const std::string& location) {
  FIRN_ASSIGN(S3Location parsed, ParseLocation(location, false));
  return impl_->requests->Delete(parsed.bucket, parsed.key);
}

}  // namespace firn::env
