// ArrowStore against nothing (errors), and against a real S3 server when FIRN_TEST_S3_ENDPOINT names one:
//   FIRN_TEST_S3_ENDPOINT=http://127.0.0.1:9000 FIRN_TEST_S3_BUCKET=firn-test FIRN_TEST_S3_ACCESS_KEY_ID=test
//   FIRN_TEST_S3_SECRET_ACCESS_KEY=testtest firn_env_test --gtest_filter='S3*'
// The bucket is made when it is missing; the last three have the defaults shown. The server should check signatures
// (versitygw, SeaweedFS, MinIO do; moto does not, which makes the test of wrong keys fail unless
// FIRN_TEST_S3_UNSIGNED=1 says so).
#include "firn/env/arrow_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <thread>

#include "firn/base/encoding.h"
#include "firn/env/curl_http_client.h"
#include "firn/env/s3_object_requests.h"
#include "firn/env/s3_status.h"
#include "firn/env/store_router.h"
#include "firn/env/testing/manual_clock.h"

namespace firn::env {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

template <typename T>
ErrorCode CodeOf(const Result<T>& result) {
  EXPECT_FALSE(result.has_value());
  return result.has_value() ? ErrorCode::kInternal : result.error().code();
}

S3StoreOptions OptionsFor(const std::string& endpoint) {
  return {.endpoint = endpoint,
          .region = "us-east-1",
          .access_key_id = "AKIDEXAMPLE",
          .secret_access_key = "verysecretvalue",
          .connect_timeout_ms = 1'000,
          .request_timeout_ms = 1'000,
          .attempts_max = 2};
}

TEST(S3StatusTest, CodesOfSdkMessages) {
  auto in_operation = [](std::string_view error) {
    return "When reading information for key 'k' in bucket 'b': AWS Error " + std::string(error) + " during HeadObject "
           "operation: reason";
  };
  EXPECT_EQ(S3ErrorCodeOf(in_operation("ACCESS_DENIED")), ErrorCode::kUnauthorized);
  EXPECT_EQ(S3ErrorCodeOf(in_operation("UNKNOWN (HTTP status 403)")), ErrorCode::kUnauthorized);
  EXPECT_EQ(S3ErrorCodeOf(in_operation("NO_SUCH_BUCKET")), ErrorCode::kNotFound);
  EXPECT_EQ(S3ErrorCodeOf(in_operation("UNKNOWN (HTTP status 500)")), ErrorCode::kUnavailable);
  EXPECT_EQ(S3ErrorCodeOf(in_operation("UNKNOWN (HTTP status 301)")), ErrorCode::kInvalidInput);
  EXPECT_EQ(S3ErrorCodeOf(in_operation("NETWORK_CONNECTION") + " curlCode: 28, Timeout was reached"),
            ErrorCode::kTimeout);
  EXPECT_EQ(S3ErrorCodeOf(in_operation("NETWORK_CONNECTION") + " curlCode: 7, Couldn't connect"),
            ErrorCode::kUnavailable);
  EXPECT_EQ(S3ErrorCodeOf(in_operation("NO_SUCH_UPLOAD")), ErrorCode::kUnavailable);
  // HEAD has no body: nothing but the status says what is wrong.
  EXPECT_EQ(S3ErrorCodeOf(in_operation("UNKNOWN (HTTP status 400)")), ErrorCode::kUnauthorized);
  const std::string put = "AWS Error UNKNOWN (HTTP status 400) during PutObject operation: Unable to parse "
                          "ExceptionName: ";
  EXPECT_EQ(S3ErrorCodeOf(put + "ExpiredToken Message: x"), ErrorCode::kUnauthorized);
  EXPECT_EQ(S3ErrorCodeOf(put + "InvalidToken Message: x"), ErrorCode::kUnauthorized);
  EXPECT_EQ(S3ErrorCodeOf(put + "RequestTimeout Message: x"), ErrorCode::kTimeout);
  EXPECT_EQ(S3ErrorCodeOf(put + "EntityTooLarge Message: x"), ErrorCode::kInvalidInput);
  EXPECT_EQ(S3ErrorCodeOf("(HTTP status "), ErrorCode::kIoError);
  EXPECT_EQ(S3ErrorCodeOf("something else"), ErrorCode::kIoError);
}

TEST(S3StatusTest, SecretsAndLineBreaksLeaveTheMessage) {
  EXPECT_EQ(RedactedLine("key AKID said shh\nand shh again", {"AKID", "shh", ""}), "key *** said *** and *** again");
  EXPECT_LT(RedactedLine(std::string(100'000, 'x'), {}).size(), 1'000u);
}

TEST(S3ObjectUrlTest, AddressesAndEncodings) {
  S3Address amazon{.region = "eu-central-1"};
  EXPECT_EQ(S3ObjectUrl(amazon, "lake", "t/a b%20=+\xc3\xa9~.parquet"),
            "https://lake.s3.eu-central-1.amazonaws.com/t/a%20b%2520%3D%2B%C3%A9~.parquet");
  EXPECT_EQ(S3ObjectUrl(amazon, "my.lake", "k"), "https://s3.eu-central-1.amazonaws.com/my.lake/k");
  S3Address own{.endpoint = "http://127.0.0.1:9000", .region = "r"};
  EXPECT_EQ(S3ObjectUrl(own, "lake", "a/b"), "http://127.0.0.1:9000/lake/a/b");
  own.path_style = false;
  EXPECT_EQ(S3ObjectUrl(own, "lake", "a/b"), "http://lake.127.0.0.1:9000/a/b");
}

// Answers from a script; an entry of 0 stands for the Error `lost`.
class ScriptedClient final : public HttpClient {
 public:
  Result<HttpResponse> Send(const HttpRequest& request) override {
    requests.push_back(request);
    int status = script.at(requests.size() - 1);
    if (status == 0) return Fail(lost, "scripted");
    return HttpResponse{.status = status, .body = "<Error><Code>" + name + "</Code></Error>"};
  }
  std::vector<int> script;
  std::string name = "Scripted";
  ErrorCode lost = ErrorCode::kUnavailable;
  std::vector<HttpRequest> requests;
};

class S3ObjectRequestsTest : public ::testing::Test {
 protected:
  Status Put(std::vector<int> script, ErrorCode lost = ErrorCode::kUnavailable, std::string name = "Scripted") {
    client_ = ScriptedClient();
    client_.name = std::move(name);
    client_.script = std::move(script);
    client_.lost = lost;
    return Requests().PutIfAbsent("b", "k", "bytes");
  }
  Status Delete(std::vector<int> script, ErrorCode lost = ErrorCode::kUnavailable) {
    client_ = ScriptedClient();
    client_.script = std::move(script);
    client_.lost = lost;
    return Requests().Delete("b", "k");
  }
  S3ObjectRequests Requests() {
    return S3ObjectRequests(client_, clock_, {.endpoint = "http://h", .region = "r"}, 3, 1'000);
  }
  ManualClock clock_;
  ScriptedClient client_;
};

TEST_F(S3ObjectRequestsTest, PutIfAbsentAsksForAbsence) {
  ASSERT_TRUE(Put({200}).has_value());
  ASSERT_EQ(client_.requests.size(), 1u);
  EXPECT_EQ(client_.requests[0].method, "PUT");
  EXPECT_EQ(client_.requests[0].url, "http://h/b/k");
  EXPECT_EQ(client_.requests[0].body, "bytes");
  std::pair<std::string, std::string> condition("If-None-Match", "*");
  EXPECT_THAT(client_.requests[0].headers, ::testing::Contains(condition));
}

TEST_F(S3ObjectRequestsTest, PutIfAbsentTellsItsOutcome) {
  EXPECT_EQ(CodeOf(Put({412})), ErrorCode::kAlreadyExists);
  EXPECT_EQ(CodeOf(Put({403})), ErrorCode::kUnauthorized);
  EXPECT_EQ(CodeOf(Put({404})), ErrorCode::kNotFound);
  EXPECT_EQ(CodeOf(Put({501})), ErrorCode::kUnsupported);
  EXPECT_EQ(CodeOf(Put({301})), ErrorCode::kInvalidInput);
  EXPECT_TRUE(Put({409, 200}).has_value());
  EXPECT_TRUE(Put({0, 503, 200}).has_value());
  EXPECT_EQ(CodeOf(Put({0, 0, 0})), ErrorCode::kUnavailable);
  EXPECT_EQ(CodeOf(Put({503, 503, 503})), ErrorCode::kUnavailable);
  // Not sent or not accepted before: the object there is somebody else's.
  EXPECT_EQ(CodeOf(Put({0, 503, 412})), ErrorCode::kAlreadyExists);
  // A 500 may have made the object: from then on "exists" is no verdict.
  EXPECT_EQ(CodeOf(Put({500, 412})), ErrorCode::kCommitStateUnknown);
  EXPECT_EQ(CodeOf(Put({500, 500, 500})), ErrorCode::kCommitStateUnknown);
  EXPECT_TRUE(Put({500, 200}).has_value());
  // So is not reaching the server any more, or being refused by it.
  EXPECT_EQ(CodeOf(Put({500, 0, 0})), ErrorCode::kCommitStateUnknown);
  EXPECT_EQ(CodeOf(Put({500, 403})), ErrorCode::kCommitStateUnknown);
  // A lost answer is not tried again.
  EXPECT_EQ(CodeOf(Put({0, 200}, ErrorCode::kCommitStateUnknown)), ErrorCode::kCommitStateUnknown);
  EXPECT_EQ(client_.requests.size(), 1u);
}

TEST_F(S3ObjectRequestsTest, TheNameInTheBodyDecidesWhatABadRequestIs) {
  constexpr ErrorCode kLost = ErrorCode::kUnavailable;
  EXPECT_EQ(CodeOf(Put({400}, kLost, "ExpiredToken")), ErrorCode::kUnauthorized);
  EXPECT_EQ(CodeOf(Put({400}, kLost, "InvalidToken")), ErrorCode::kUnauthorized);
  EXPECT_EQ(CodeOf(Put({400}, kLost, "InvalidRequest")), ErrorCode::kInvalidInput);
  EXPECT_TRUE(Put({400, 200}, kLost, "RequestTimeout").has_value());
  EXPECT_EQ(CodeOf(Put({400, 400, 400}, kLost, "RequestTimeout")), ErrorCode::kTimeout);
  EXPECT_EQ(CodeOf(Put({408, 408, 408})), ErrorCode::kTimeout);
  // None of these has made the object.
  EXPECT_EQ(CodeOf(Put({400, 412}, kLost, "RequestTimeout")), ErrorCode::kAlreadyExists);
}

TEST_F(S3ObjectRequestsTest, DeleteIsRepeatedUntilItIsSo) {
  EXPECT_TRUE(Delete({204}).has_value());
  EXPECT_TRUE(Delete({404}).has_value());
  EXPECT_TRUE(Delete({500, 0, 204}, ErrorCode::kCommitStateUnknown).has_value());
  EXPECT_EQ(CodeOf(Delete({403})), ErrorCode::kUnauthorized);
  EXPECT_EQ(CodeOf(Delete({503, 503, 503})), ErrorCode::kUnavailable);
  EXPECT_EQ(CodeOf(Delete({0, 0, 0}, ErrorCode::kCommitStateUnknown)), ErrorCode::kTimeout);
  EXPECT_EQ(CodeOf(Delete({0, 0, 0})), ErrorCode::kUnavailable);
}

TEST(S3StoreOptionsTest, HalfCredentialsAndBadEndpointsAreInvalidInput) {
  S3StoreOptions options = OptionsFor("http://127.0.0.1:1");
  options.secret_access_key.clear();
  EXPECT_EQ(CodeOf(ArrowStore::Create(options)), ErrorCode::kInvalidInput);
  options = OptionsFor("http://127.0.0.1:1");
  options.access_key_id.clear();
  options.secret_access_key.clear();
  options.session_token = "t";
  EXPECT_EQ(CodeOf(ArrowStore::Create(options)), ErrorCode::kInvalidInput);
  for (std::string endpoint : {"ftp://h", "http://", "http://user:hush@h", "http://h/path", "http://h?x", "a b"}) {
    auto created = ArrowStore::Create(OptionsFor(endpoint));
    ASSERT_EQ(CodeOf(created), ErrorCode::kInvalidInput) << endpoint;
    EXPECT_THAT(created.error().message(), Not(HasSubstr("hush")));
  }
}

TEST(S3LocationTest, MalformedLocationsAreInvalidInput) {
  auto store = ArrowStore::Create(OptionsFor("http://127.0.0.1:1")).value();
  for (std::string location : {"", "s3:/b/k", "s3://", "s3://b", "s3://b/", "s3:///k", "s3://b//k", "s3://b/k//l",
                               "s3://b/k/", "file:///a", "gs://b/k"}) {
    EXPECT_EQ(CodeOf(store->Read(location)), ErrorCode::kInvalidInput) << location;
    EXPECT_EQ(CodeOf(store->OpenWrite(location)), ErrorCode::kInvalidInput) << location;
    EXPECT_EQ(CodeOf(store->PutIfAbsent(location, "")), ErrorCode::kInvalidInput) << location;
    EXPECT_EQ(CodeOf(store->Delete(location)), ErrorCode::kInvalidInput) << location;
  }
  EXPECT_EQ(CodeOf(store->List("s3://")), ErrorCode::kInvalidInput);
}

TEST(S3UnreachableTest, ARefusedConnectionIsUnavailable) {
  auto store = ArrowStore::Create(OptionsFor("http://127.0.0.1:1")).value();
  auto read = store->Read("s3://b/k");
  EXPECT_EQ(CodeOf(read), ErrorCode::kUnavailable) << read.error().message();
  EXPECT_THAT(read.error().message(), Not(HasSubstr("verysecretvalue")));
  EXPECT_THAT(read.error().message(), Not(HasSubstr("AKIDEXAMPLE")));
  EXPECT_EQ(CodeOf(store->Put("s3://b/k", "x")), ErrorCode::kUnavailable);
  EXPECT_EQ(CodeOf(store->PutIfAbsent("s3://b/k", "x")), ErrorCode::kUnavailable);
  EXPECT_EQ(CodeOf(store->List("s3://b/k")), ErrorCode::kUnavailable);
  EXPECT_EQ(CodeOf(store->Delete("s3://b/k")), ErrorCode::kUnavailable);
}

TEST(S3UnreachableTest, AServerThatNeverAnswersIsATimeout) {
  // Connections are taken by the kernel's queue and nobody reads them.
  int listener = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(address);
  ASSERT_EQ(bind(listener, reinterpret_cast<sockaddr*>(&address), length), 0);
  ASSERT_EQ(listen(listener, 16), 0);
  ASSERT_EQ(getsockname(listener, reinterpret_cast<sockaddr*>(&address), &length), 0);
  auto store = ArrowStore::Create(OptionsFor("http://127.0.0.1:" + std::to_string(ntohs(address.sin_port)))).value();
  auto stat = store->Stat("s3://b/k");
  EXPECT_EQ(CodeOf(stat), ErrorCode::kTimeout) << stat.error().message();
  EXPECT_EQ(CodeOf(store->Delete("s3://b/k")), ErrorCode::kTimeout);
  EXPECT_EQ(CodeOf(store->PutIfAbsent("s3://b/k", "x")), ErrorCode::kCommitStateUnknown);
  close(listener);
}

TEST(StoreRouterTest, ChoosesByScheme) {
  std::string pattern = (std::filesystem::temp_directory_path() / "firn-router-XXXXXX").string();
  ASSERT_NE(mkdtemp(pattern.data()), nullptr);
  auto router = StoreRouter::Create({.s3 = OptionsFor("http://127.0.0.1:1")}).value();
  ASSERT_TRUE(router->Put("file://" + pattern + "/a", "x").has_value());
  EXPECT_EQ(router->Read(pattern + "/a").value(), "x");
  EXPECT_EQ(router->Stat("file:" + pattern + "/a")->size, 1);
  EXPECT_EQ(router->List("file://" + pattern).value().size(), 1u);
  EXPECT_EQ(CodeOf(router->PutIfAbsent(pattern + "/a", "y")), ErrorCode::kAlreadyExists);
  EXPECT_TRUE(router->Delete(pattern + "/a").has_value());
  EXPECT_EQ(CodeOf(router->Read("s3a://b/k")), ErrorCode::kUnavailable);
  for (std::string location : {"gs://b/k", "abfss://c@a.dfs.core.windows.net/k", "hdfs://h/k", "S3://b/k"}) {
    auto read = router->Read(location);
    EXPECT_EQ(CodeOf(read), ErrorCode::kUnsupported) << location;
    EXPECT_THAT(read.error().message(), HasSubstr(location.substr(0, location.find(':'))));
  }
  EXPECT_EQ(CodeOf(router->OpenWrite("relative/path")), ErrorCode::kInvalidInput);
  EXPECT_EQ(CodeOf(router->Delete("")), ErrorCode::kInvalidInput);
  rmdir(pattern.c_str());
}

std::string Setting(const char* name, const std::string& otherwise) {
  const char* value = std::getenv(name);
  return value == nullptr ? otherwise : value;
}

class S3ServerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string endpoint = Setting("FIRN_TEST_S3_ENDPOINT", "");
    if (endpoint.empty()) GTEST_SKIP() << "FIRN_TEST_S3_ENDPOINT names no S3 server (see the top of this file)";
    options_ = {.endpoint = endpoint,
                .region = "us-east-1",
                .access_key_id = Setting("FIRN_TEST_S3_ACCESS_KEY_ID", "test"),
                .secret_access_key = Setting("FIRN_TEST_S3_SECRET_ACCESS_KEY", "testtest"),
                .request_timeout_ms = 20'000};
    std::string bucket = Setting("FIRN_TEST_S3_BUCKET", "firn-test");
    MakeBucket(endpoint + "/" + bucket);
    store_ = ArrowStore::Create(options_).value();
    prefix_ = "s3://" + bucket + "/run-" + HexEncode(std::to_string(SystemRandom().Next64()));
  }

  void MakeBucket(const std::string& url) {
    auto client = CurlHttpClient::Create({.aws_sigv4 = [this]() -> Result<AwsSigV4> {
                    return AwsSigV4{options_.region, "s3", options_.access_key_id, options_.secret_access_key};
                  }}).value();
    auto made = client->Send({.method = "PUT", .url = url});
    ASSERT_TRUE(made.has_value()) << made.error().ToString();
    ASSERT_TRUE(made->status == 200 || made->status == 409) << made->status << made->body;
  }

  std::vector<std::string> Locations(const std::string& prefix) {
    std::vector<std::string> locations;
    auto listed = store_->List(prefix);
    EXPECT_TRUE(listed.has_value()) << listed.error().ToString();
    for (const ObjectInfo& object : *listed) locations.push_back(object.location);
    return locations;
  }

  S3StoreOptions options_;
  std::unique_ptr<ArrowStore> store_;
  std::string prefix_;
};

TEST_F(S3ServerTest, SmallObjects) {
  std::string location = prefix_ + "/data/day=1/a b%20+\xc3\xa9.parquet";
  ASSERT_TRUE(store_->Put(location, "hello").has_value());
  EXPECT_EQ(store_->Read(location).value(), "hello");
  auto info = store_->Stat(location);
  ASSERT_TRUE(info.has_value());
  EXPECT_EQ(info->size, 5);
  EXPECT_EQ(info->location, location);
  EXPECT_NEAR(static_cast<double>(info->modified_ms), static_cast<double>(SystemClock().WallMs()), 120'000);
  ASSERT_TRUE(store_->Put(prefix_ + "/empty", "").has_value());
  EXPECT_EQ(store_->Read(prefix_ + "/empty").value(), "");
  EXPECT_EQ(CodeOf(store_->Read(prefix_ + "/none")), ErrorCode::kNotFound);
  EXPECT_EQ(CodeOf(store_->Stat(prefix_ + "/none")), ErrorCode::kNotFound);
  EXPECT_EQ(CodeOf(store_->Stat(prefix_ + "/data")), ErrorCode::kNotFound);
}

TEST_F(S3ServerTest, LargeObjectsAreMultipartUploads) {
  std::string bytes(23 << 20, '\0');
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i * 2654435761u >> 13);
  auto writer = store_->OpenWrite(prefix_ + "/large").value();
  for (size_t at = 0; at < bytes.size(); at += 1 << 20) {
    ASSERT_TRUE(writer->Append(std::string_view(bytes).substr(at, 1 << 20)).has_value());
  }
  EXPECT_EQ(writer->bytes_written(), 23 << 20);
  EXPECT_EQ(CodeOf(store_->Stat(prefix_ + "/large")), ErrorCode::kNotFound);
  ASSERT_TRUE(writer->Close().has_value());
  EXPECT_EQ(store_->Stat(prefix_ + "/large")->size, 23 << 20);
  EXPECT_TRUE(store_->Read(prefix_ + "/large").value() == bytes);
}

TEST_F(S3ServerTest, AbandonedWritersLeaveNothing) {
  {
    auto small = store_->OpenWrite(prefix_ + "/small").value();
    ASSERT_TRUE(small->Append("x").has_value());
    auto large = store_->OpenWrite(prefix_ + "/large").value();
    ASSERT_TRUE(large->Append(std::string(12 << 20, 'x')).has_value());
  }
  EXPECT_TRUE(Locations(prefix_).empty());
}

TEST_F(S3ServerTest, ListsRecursivelyInTheSpellingOfThePrefix) {
  for (std::string name : {"t/data/a=1/1", "t/data/b", "t/metadata/v1.json", "tt/other"}) {
    ASSERT_TRUE(store_->Put(prefix_ + "/" + name, name).has_value());
  }
  EXPECT_THAT(Locations(prefix_ + "/t"), ElementsAre(prefix_ + "/t/data/a=1/1", prefix_ + "/t/data/b",
                                                     prefix_ + "/t/metadata/v1.json"));
  std::string hadoop = "s3a" + prefix_.substr(2);
  EXPECT_THAT(Locations(hadoop + "/t/metadata/"), ElementsAre(hadoop + "/t/metadata/v1.json"));
  EXPECT_EQ(store_->Read(hadoop + "/t/data/b").value(), "t/data/b");
  EXPECT_TRUE(Locations(prefix_ + "/missing").empty());
  EXPECT_EQ(store_->List(prefix_ + "/t").value()[1].size, 8);
}

TEST_F(S3ServerTest, ListsManyPages) {
  std::vector<std::jthread> writers;
  std::atomic<int> good = 0;
  for (int w = 0; w < 4; ++w) {
    writers.emplace_back([&, w] {
      for (int i = 0; i < 260; ++i) {
        good += store_->Put(prefix_ + "/" + std::to_string(w) + "/" + std::to_string(i), "x").has_value() ? 1 : 0;
      }
    });
  }
  writers.clear();
  EXPECT_EQ(good, 1040);
  EXPECT_EQ(Locations(prefix_).size(), 1040u);
  options_.list_objects_max = 1'000;
  auto limited = ArrowStore::Create(options_).value();
  EXPECT_EQ(CodeOf(limited->List(prefix_)), ErrorCode::kResourceExhausted);
}

TEST_F(S3ServerTest, PutIfAbsentHasOneWinner) {
  ASSERT_TRUE(store_->PutIfAbsent(prefix_ + "/once +\xc3\xa9%", "first").has_value());
  EXPECT_EQ(CodeOf(store_->PutIfAbsent(prefix_ + "/once +\xc3\xa9%", "second")), ErrorCode::kAlreadyExists);
  EXPECT_EQ(store_->Read(prefix_ + "/once +\xc3\xa9%").value(), "first");
  for (int round = 0; round < 5; ++round) {
    std::atomic<int> winners = 0;
    std::atomic<int> losers = 0;
    std::vector<std::jthread> racers;
    for (int i = 0; i < 8; ++i) {
      racers.emplace_back([&, i] {
        Status put = store_->PutIfAbsent(prefix_ + "/race" + std::to_string(round), std::to_string(i));
        if (put.has_value()) ++winners;
        if (!put.has_value() && put.error().code() == ErrorCode::kAlreadyExists) ++losers;
      });
    }
    racers.clear();
    EXPECT_EQ(winners, 1);
    EXPECT_EQ(losers, 7);
  }
}

TEST_F(S3ServerTest, DeleteTakesTheObjectAndNothingElse) {
  ASSERT_TRUE(store_->Put(prefix_ + "/only/one +\xc3\xa9%", "x").has_value());
  ASSERT_TRUE(store_->Delete(prefix_ + "/only/one +\xc3\xa9%").has_value());
  EXPECT_TRUE(store_->Delete(prefix_ + "/only/one +\xc3\xa9%").has_value());
  EXPECT_TRUE(Locations(prefix_).empty());
  EXPECT_EQ(CodeOf(store_->Read(prefix_ + "/only/one +\xc3\xa9%")), ErrorCode::kNotFound);
}

TEST_F(S3ServerTest, AMissingBucketIsNotFound) {
  std::string bucket = "s3://firn-missing-" + HexEncode(std::to_string(SystemRandom().Next64())).substr(0, 24);
  EXPECT_EQ(CodeOf(store_->Read(bucket + "/k")), ErrorCode::kNotFound);
  Status put = store_->PutIfAbsent(bucket + "/k", "x");
  if (put.has_value()) GTEST_SKIP() << "this server makes buckets as they are named";
  EXPECT_EQ(CodeOf(put), ErrorCode::kNotFound);
  EXPECT_EQ(CodeOf(store_->Put(bucket + "/k", "x")), ErrorCode::kNotFound);
}

TEST_F(S3ServerTest, WrongKeysAreUnauthorized) {
  if (Setting("FIRN_TEST_S3_UNSIGNED", "") == "1") GTEST_SKIP() << "FIRN_TEST_S3_UNSIGNED: the server checks no keys";
  options_.secret_access_key = "not-the-secret";
  auto stranger = ArrowStore::Create(options_).value();
  auto put = stranger->Put(prefix_ + "/a", "x");
  EXPECT_EQ(CodeOf(put), ErrorCode::kUnauthorized) << put.error().message();
  EXPECT_THAT(put.error().message(), Not(HasSubstr("not-the-secret")));
  EXPECT_EQ(CodeOf(stranger->Read(prefix_ + "/a")), ErrorCode::kUnauthorized);
  EXPECT_EQ(CodeOf(stranger->List(prefix_)), ErrorCode::kUnauthorized);
  EXPECT_EQ(CodeOf(stranger->PutIfAbsent(prefix_ + "/a", "x")), ErrorCode::kUnauthorized);
  EXPECT_EQ(CodeOf(stranger->Delete(prefix_ + "/a")), ErrorCode::kUnauthorized);
}

}  // namespace
}  // namespace firn::env
