#include "firn/env/curl_http_client.h"

#include <curl/curl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <mutex>
#include <utility>

namespace firn::env {
namespace {

struct EasyDeleter {
  void operator()(CURL* handle) const { curl_easy_cleanup(handle); }
};
using EasyHandle = std::unique_ptr<CURL, EasyDeleter>;

struct HeaderListDeleter {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
using HeaderList = std::unique_ptr<curl_slist, HeaderListDeleter>;

// What the callbacks of one exchange share.
struct Exchange {
  HttpResponse response;
  int64_t body_bytes_max = 0;
  int64_t header_bytes_max = 0;
  int64_t header_bytes = 0;
  int attempts = 0;         // how often libcurl was about to send
  bool repeatable = false;  // GET, HEAD
  bool too_large = false;
  bool repeat_refused = false;
};

bool IsRepeatable(std::string_view method) {
  return method == "GET" || method == "HEAD";
}

bool IsToken(std::string_view text) {
  constexpr std::string_view kOthers = "!#$%&'*+-.^_`|~";  // RFC 9110, 5.6.2
  return !text.empty() && std::ranges::all_of(text, [&](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           kOthers.find(c) != std::string_view::npos;
  });
}

// A URL fit for a message: no user info, query or fragment.
std::string ShownUrl(std::string_view url) {
  url = url.substr(0, url.find_first_of("?#"));
  size_t scheme_end = url.find("://");
  if (scheme_end == std::string_view::npos) return std::string(url.substr(url.rfind('@') + 1));
  std::string_view scheme = url.substr(0, scheme_end + 3);
  std::string_view rest = url.substr(scheme_end + 3);
  std::string_view authority = rest.substr(0, rest.find('/'));
  size_t at = authority.rfind('@');
  if (at != std::string_view::npos) rest.remove_prefix(at + 1);
  return fmt::format("{}{}", scheme, rest);
}

int OnBeforeSend(void* context, char*, char*, int, int) {
  auto& exchange = *static_cast<Exchange*>(context);
  ++exchange.attempts;
  if (exchange.attempts > 1 && !exchange.repeatable) {
    exchange.repeat_refused = true;
    return CURL_PREREQFUNC_ABORT;
  }
  return CURL_PREREQFUNC_OK;
}

size_t OnBody(char* data, size_t size, size_t count, void* context) {
  auto& exchange = *static_cast<Exchange*>(context);
  size_t bytes = size * count;
  if (static_cast<int64_t>(exchange.response.body.size() + bytes) > exchange.body_bytes_max) {
    exchange.too_large = true;
    return 0;
  }
  exchange.response.body.append(data, bytes);
  return bytes;
}

std::string_view TrimSpaces(std::string_view text) {
  constexpr std::string_view kSpaces = " \t\r\n";
  size_t first = text.find_first_not_of(kSpaces);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpaces) - first + 1);
}

size_t OnHeader(char* data, size_t size, size_t count, void* context) {
  auto& exchange = *static_cast<Exchange*>(context);
  size_t bytes = size * count;
  exchange.header_bytes += static_cast<int64_t>(bytes);
  if (exchange.header_bytes > exchange.header_bytes_max) {
    exchange.too_large = true;
    return 0;
  }
  std::string_view line(data, bytes);
  if (line.starts_with("HTTP/")) {
    // The status line of a new response: what came before belonged to an interim one (1xx) or a repeated attempt.
    exchange.response.headers.clear();
    exchange.response.body.clear();
    return bytes;
  }
  size_t colon = line.find(':');
  if (colon == std::string_view::npos) return bytes;
  std::string name(line.substr(0, colon));
  std::ranges::transform(name, name.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? char(c - 'A' + 'a') : c; });
  exchange.response.headers.emplace_back(std::move(name), std::string(TrimSpaces(line.substr(colon + 1))));
  return bytes;
}

Status CheckRequest(const HttpRequest& request) {
  if (!IsToken(request.method)) {
    return Fail(ErrorCode::kInvalidInput, fmt::format("not an HTTP method: '{}'", request.method));
  }
  if (!request.url.starts_with("http://") && !request.url.starts_with("https://")) {
    return Fail(ErrorCode::kInvalidInput,
                fmt::format("a URL must start with http:// or https://: '{}'", ShownUrl(request.url)));
  }
  for (unsigned char c : request.url) {
    if (c <= ' ' || c == 0x7f) {
      return Fail(
          ErrorCode::kInvalidInput,
          fmt::format("a space or control character in the URL; percent-encode it: '{}'", ShownUrl(request.url)));
    }
  }
  for (const auto& [name, value] : request.headers) {
    if (!IsToken(name)) return Fail(ErrorCode::kInvalidInput, fmt::format("not an HTTP header name: '{}'", name));
    if (value.find_first_of(std::string_view("\r\n\0", 3)) != std::string::npos) {
      // The value may be a secret, so only its name is told.
      return Fail(ErrorCode::kInvalidInput,
                  fmt::format("a line break or zero byte in the value of header: '{}'", name));
    }
  }
  return {};
}

bool CertainlyNotSent(CURLcode code, const Exchange& exchange) {
  switch (code) {
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CONNECT_ERROR:
      // On a second attempt the first one may have got through.
      return exchange.attempts <= (exchange.repeatable ? 1 : 0);
    default: return exchange.attempts == 0;
  }
}

std::unexpected<Error> ErrorOf(CURLcode code, const Exchange& exchange, const HttpRequest& request) {
  std::string where = fmt::format("{} '{}'", request.method, ShownUrl(request.url));
  if (exchange.too_large) {
    ErrorCode kind = exchange.repeatable ? ErrorCode::kResourceExhausted : ErrorCode::kCommitStateUnknown;
    return Fail(kind, fmt::format("the answer is larger than the limit (body {} bytes, headers {} bytes): {}",
                                  exchange.body_bytes_max, exchange.header_bytes_max, where));
  }
  if (exchange.repeat_refused) {
    return Fail(ErrorCode::kCommitStateUnknown,
                fmt::format("the connection was lost before an answer came; not sent again: {}", where));
  }
  // Only before the first attempt: libcurl gives the same codes for answers that it does not understand.
  if (exchange.attempts == 0) {
    switch (code) {
      case CURLE_URL_MALFORMAT:
      case CURLE_UNSUPPORTED_PROTOCOL: return Fail(ErrorCode::kInvalidInput, fmt::format("malformed URL: {}", where));
      case CURLE_SSL_CACERT_BADFILE:
        return Fail(ErrorCode::kInvalidInput, fmt::format("the CA file cannot be used for TLS: {}", where));
      case CURLE_OUT_OF_MEMORY: return Fail(ErrorCode::kResourceExhausted, fmt::format("out of memory: {}", where));
      default: break;
    }
  }
  // curl_easy_strerror is a fixed sentence for each code; the error buffer may quote what the peer sent.
  std::string_view reason = curl_easy_strerror(code);
  if (CertainlyNotSent(code, exchange)) {
    return Fail(ErrorCode::kUnavailable, fmt::format("the server was not reached ({}): {}", reason, where));
  }
  return Fail(ErrorCode::kCommitStateUnknown, fmt::format("no whole answer came back ({}): {}", reason, where));
}

}  // namespace

class CurlHttpClient::Impl {
 public:
  Impl(CurlHttpClientOptions options, Clock& clock) : options_(std::move(options)), clock_(clock) {}

  Result<HttpResponse> Send(const HttpRequest& request) {
    FIRN_TRY(CheckRequest(request));
    std::vector<std::pair<std::string, std::string>> signature;
    if (options_.aws_sigv4) {
      FIRN_ASSIGN(AwsSigV4 signer, options_.aws_sigv4());
      FIRN_ASSIGN(signature, AwsSignatureHeaders(request, signer, clock_.WallMs()));
    }
    EasyHandle handle = TakeHandle();
    if (handle == nullptr) return Fail(ErrorCode::kResourceExhausted, "libcurl gave no handle; free memory");
    Exchange exchange;
    exchange.body_bytes_max = options_.response_bytes_max;
    exchange.header_bytes_max = options_.response_header_bytes_max;
    exchange.repeatable = IsRepeatable(request.method);
    HeaderList headers = MakeHeaders(request, signature);
    Configure(handle.get(), request, headers.get(), exchange);
    CURLcode code = curl_easy_perform(handle.get());
    long status = 0;
    curl_easy_getinfo(handle.get(), CURLINFO_RESPONSE_CODE, &status);
    if (code != CURLE_OK) return ErrorOf(code, exchange, request);
    exchange.response.status = static_cast<int>(status);
    ReturnHandle(std::move(handle));
    return std::move(exchange.response);
  }

 private:
  EasyHandle TakeHandle() {
    {
      std::lock_guard lock(mutex_);
      if (!idle_.empty()) {
        EasyHandle handle = std::move(idle_.back());
        idle_.pop_back();
        return handle;
      }
    }
    return EasyHandle(curl_easy_init());
  }

  // Only after a whole answer: a handle with a broken connection is dropped.
  void ReturnHandle(EasyHandle handle) {
    curl_easy_reset(handle.get());  // forgets the options, keeps the live connection
    std::lock_guard lock(mutex_);
    if (idle_.size() < options_.idle_connections_max) idle_.push_back(std::move(handle));
  }

  static HeaderList MakeHeaders(const HttpRequest& request,
                                const std::vector<std::pair<std::string, std::string>>& signature) {
    HeaderList list;
    auto add = [&](const std::string& line) {
      curl_slist* longer = curl_slist_append(list.get(), line.c_str());
      if (longer == nullptr) return;
      (void)list.release();
      list.reset(longer);
    };
    bool has_content_type = false;
    for (const auto& [name, value] : request.headers) {
      // "Name;" is libcurl's spelling of a header without a value.
      add(value.empty() ? name + ";" : fmt::format("{}: {}", name, value));
      has_content_type |= name.size() == 12 && curl_strequal(name.c_str(), "content-type") != 0;
    }
    if (!has_content_type) add("Content-Type:");  // otherwise libcurl claims a form
    add("Expect:");                               // no extra round trip before large bodies
    for (const auto& [name, value] : signature) add(fmt::format("{}: {}", name, value));
    return list;
  }

  void Configure(CURL* handle, const HttpRequest& request, curl_slist* headers, Exchange& exchange) const {
    curl_easy_setopt(handle, CURLOPT_URL, request.url.c_str());
    curl_easy_setopt(handle, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(handle, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(handle, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(handle, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
    curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(handle, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(handle, CURLOPT_USERAGENT, options_.user_agent.c_str());
    curl_easy_setopt(handle, CURLOPT_ACCEPT_ENCODING, "gzip");
    curl_easy_setopt(handle, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(handle, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(options_.connect_timeout_ms));
    curl_easy_setopt(handle, CURLOPT_TIMEOUT_MS, static_cast<long>(std::max<int64_t>(request.timeout_ms, 1)));
    if (options_.direct) curl_easy_setopt(handle, CURLOPT_PROXY, "");
    if (!options_.ca_file.empty()) curl_easy_setopt(handle, CURLOPT_CAINFO, options_.ca_file.c_str());
    curl_easy_setopt(handle, CURLOPT_PREREQFUNCTION, OnBeforeSend);
    curl_easy_setopt(handle, CURLOPT_PREREQDATA, &exchange);
    curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, OnBody);
    curl_easy_setopt(handle, CURLOPT_WRITEDATA, &exchange);
    curl_easy_setopt(handle, CURLOPT_HEADERFUNCTION, OnHeader);
    curl_easy_setopt(handle, CURLOPT_HEADERDATA, &exchange);
    if (request.method == "HEAD") {
      curl_easy_setopt(handle, CURLOPT_NOBODY, 1L);
    } else if (request.body.empty() && request.method != "POST" && request.method != "PUT") {
      curl_easy_setopt(handle, CURLOPT_HTTPGET, 1L);
      curl_easy_setopt(handle, CURLOPT_CUSTOMREQUEST, request.method.c_str());
    } else {
      curl_easy_setopt(handle, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.body.size()));
      curl_easy_setopt(handle, CURLOPT_POSTFIELDS, request.body.data());
      curl_easy_setopt(handle, CURLOPT_CUSTOMREQUEST, request.method.c_str());
    }
  }

  const CurlHttpClientOptions options_;
  Clock& clock_;
  std::mutex mutex_;
  std::vector<EasyHandle> idle_;
};

Result<std::unique_ptr<CurlHttpClient>> CurlHttpClient::Create(CurlHttpClientOptions options, Clock& clock) {
  // Thread-safe since libcurl 7.84; later calls only count. Never undone: librdkafka may use libcurl as well.
  if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
    return Fail(ErrorCode::kInternal, "libcurl cannot be initialised");
  }
  if (!options.ca_file.empty() && access(options.ca_file.c_str(), R_OK) != 0) {
    return Fail(ErrorCode::kInvalidInput,
                fmt::format("the CA file cannot be read; check path and permissions: '{}'", options.ca_file));
  }
  return std::unique_ptr<CurlHttpClient>(new CurlHttpClient(std::make_unique<Impl>(std::move(options), clock)));
}

CurlHttpClient::CurlHttpClient(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
CurlHttpClient::~CurlHttpClient() = default;

Result<HttpResponse> CurlHttpClient::Send(const HttpRequest& request) {
  return impl_->Send(request);
}

}  // namespace firn::env
