#include "firn/iceberg/catalog/rest_catalog.h"

#include <gtest/gtest.h>

#include <chrono>
#include <deque>
#include <future>
#include <nlohmann/json.hpp>

#include "firn/env/testing/manual_clock.h"

namespace firn::iceberg {
namespace {

using env::HttpRequest;
using env::HttpResponse;
using nlohmann::json;

constexpr const char* kConfig = R"({"defaults": {}, "overrides": {}})";
const TableIdentifier kEvents{{"db", "raw logs"}, "ev/ents"};
constexpr const char* kEventsPath = "/v1/namespaces/db%1Fraw%20logs/tables/ev%2Fents";
const std::vector<TableUpdate> kSetA = {SetProperties{{{"a", "1"}}}};

// Gives the prepared answers in order and keeps what it was asked.
class ScriptedHttp final : public env::HttpClient {
 public:
  Result<HttpResponse> Send(const HttpRequest& request) override {
    requests.push_back(request);
    if (answers.empty()) {
      ADD_FAILURE() << "no answer is prepared for " << request.method << " " << request.url;
      return Fail(ErrorCode::kInternal, "the script is over");
    }
    Result<HttpResponse> answer = std::move(answers.front());
    answers.pop_front();
    return answer;
  }
  ScriptedHttp& Answer(int status, std::string body = "", decltype(HttpResponse::headers) headers = {}) {
    HttpResponse response;
    response.status = status;
    response.headers = std::move(headers);
    response.body = std::move(body);
    answers.emplace_back(std::move(response));
    return *this;
  }
  ScriptedHttp& Lose(ErrorCode code) {
    answers.emplace_back(Fail(code, "the wire"));
    return *this;
  }
  std::string LastHeader(std::string_view name) const {
    for (const auto& [key, value] : requests.back().headers) {
      if (key == name) return value;
    }
    return "";
  }

  std::deque<Result<HttpResponse>> answers;
  std::vector<HttpRequest> requests;
};

CreateTableRequest Request() {
  CreateTableRequest request;
  schema::Field field;
  field.id = FieldId(17);
  field.name = "a";
  field.type = schema::Type::Primitive(schema::TypeKind::kLong);
  request.schema.fields = {field};
  request.spec.fields = {{FieldId(17), FieldId(0), "a", schema::Transform{}}};
  request.properties = {{"p", "q"}};
  return request;
}

json TableAnswer(int32_t format_version = 2) {
  CreateTableRequest request = Request();
  request.location = "s3://bucket/db/events";
  TableMetadata metadata = NewTableMetadata(request, "9c12d441-03fe-4693-9a96-a0705ddf69c1", 1000).value();
  metadata.format_version = format_version;
  if (format_version == 3) metadata.next_row_id = 0;
  return {{"metadata-location", "s3://bucket/db/events/metadata/00000-a.metadata.json"},
          {"metadata", metadata.ToJson()}};
}

class RestCatalogTest : public testing::Test {
 protected:
  std::unique_ptr<RestCatalog> Open(const std::string& config = kConfig) {
    http_.Answer(200, config);
    auto made = RestCatalog::Create(options_, http_, clock_);
    EXPECT_TRUE(made.has_value()) << made.error().ToString();
    return made.has_value() ? std::move(*made) : nullptr;
  }
  void ExpectScriptOver() {
    EXPECT_TRUE(http_.answers.empty()) << http_.answers.size() << " answers were not asked for";
  }

  RestCatalogOptions options_{.uri = "https://catalog.example.com/api/"};
  ScriptedHttp http_;
  env::ManualClock clock_;
};

TEST_F(RestCatalogTest, AsksTheConfigurationFirst) {
  options_.warehouse = "s3://my wh";
  options_.access_delegation = "vended-credentials";
  options_.headers = {{"X-Tenant", "blue"}};
  auto catalog = Open();
  EXPECT_EQ(http_.requests[0].method, "GET");
  EXPECT_EQ(http_.requests[0].url, "https://catalog.example.com/api/v1/config?warehouse=s3%3A%2F%2Fmy%20wh");
  EXPECT_EQ(http_.LastHeader("X-Tenant"), "blue");
  EXPECT_EQ(http_.LastHeader("X-Iceberg-Access-Delegation"), "vended-credentials");
  EXPECT_EQ(http_.LastHeader("Authorization"), "");
  EXPECT_EQ(catalog->description(), "rest https://catalog.example.com/api");
}

TEST_F(RestCatalogTest, NoDelegationIsAskedForByItself) {
  Open();
  EXPECT_EQ(http_.LastHeader("X-Iceberg-Access-Delegation"), "");
}

TEST_F(RestCatalogTest, OverridesBeatOptionsBeatDefaults) {
  struct Case {
    const char* config;
    const char* prefix;
    const char* url;
  };
  const Case cases[] = {
      {R"({"defaults": {"prefix": "d"}, "overrides": {}})", "", "https://catalog.example.com/api/v1/d/namespaces/x"},
      {R"({"defaults": {"prefix": "d"}})", "mine", "https://catalog.example.com/api/v1/mine/namespaces/x"},
      {R"({"defaults": {"prefix": "d"}, "overrides": {"prefix": "main%7Cwh"}})", "mine",
       "https://catalog.example.com/api/v1/main%7Cwh/namespaces/x"},
      {R"({"overrides": {"uri": "http://other:1/base/"}})", "", "http://other:1/base/v1/namespaces/x"},
      {R"({})", "", "https://catalog.example.com/api/v1/namespaces/x"},
  };
  for (const Case& one : cases) {
    options_.prefix = one.prefix;
    auto catalog = Open(one.config);
    http_.Answer(200, "{}");
    EXPECT_TRUE(catalog->NamespaceExists({"x"}).value());
    EXPECT_EQ(http_.requests.back().url, one.url);
  }
}

TEST_F(RestCatalogTest, TheServerMayChangeTheNamespaceSeparator) {
  auto catalog = Open(R"({"overrides": {"namespace-separator": "%2E"}})");
  http_.Answer(404, R"({"error": {"message": "no", "type": "NoSuchNamespaceException", "code": 404}})");
  EXPECT_FALSE(catalog->NamespaceExists({"a", "b"}).value());
  EXPECT_EQ(http_.requests.back().url, "https://catalog.example.com/api/v1/namespaces/a%2Eb");
}

TEST_F(RestCatalogTest, RefusesWhatCannotBeACatalog) {
  for (const char* uri : {"", "catalog.example.com", "ftp://x"}) {
    RestCatalogOptions options{.uri = uri};
    EXPECT_EQ(RestCatalog::Create(options, http_, clock_).error().code(), ErrorCode::kInvalidInput) << uri;
  }
  const std::pair<const char*, ErrorCode> answers[] = {
      {"<html>", ErrorCode::kCorruption},
      {"", ErrorCode::kCorruption},
      {"[]", ErrorCode::kCorruption},
      {R"({"overrides": []})", ErrorCode::kCorruption},
      {R"({"endpoints": [1]})", ErrorCode::kCorruption},
      {R"({"overrides": {"uri": "file:///etc"}})", ErrorCode::kInvalidInput},
  };
  for (const auto& [body, code] : answers) {
    http_.Answer(200, body);
    auto made = RestCatalog::Create(options_, http_, clock_);
    ASSERT_FALSE(made.has_value()) << body;
    EXPECT_EQ(made.error().code(), code) << body;
  }
  http_.Answer(302, "", {{"location", "https://login.example.com/?secret=1"}});
  auto redirected = RestCatalog::Create(options_, http_, clock_);
  EXPECT_EQ(redirected.error().code(), ErrorCode::kInvalidInput);
  EXPECT_EQ(redirected.error().message().find("secret"), std::string::npos);
}

TEST_F(RestCatalogTest, EndpointsThatAreNotListedAreNotCalled) {
  auto catalog = Open(R"({"endpoints": ["GET /v1/{prefix}/namespaces/{namespace}/tables/{table}"]})");
  EXPECT_EQ(catalog->CommitTable(kEvents, {}, kSetA).error().code(), ErrorCode::kUnsupported);
  EXPECT_EQ(catalog->CreateTable(kEvents, Request()).error().code(), ErrorCode::kUnsupported);
  EXPECT_EQ(catalog->DropTable(kEvents).error().code(), ErrorCode::kUnsupported);
  EXPECT_EQ(catalog->ListTables({"a"}).error().code(), ErrorCode::kUnsupported);
  EXPECT_EQ(catalog->EnsureNamespace({"a"}).error().code(), ErrorCode::kUnsupported);
  http_.Answer(200, TableAnswer().dump());
  EXPECT_TRUE(catalog->LoadTable(kEvents).has_value());
  ExpectScriptOver();
}

TEST_F(RestCatalogTest, LoadsATableWithItsStorage) {
  auto catalog = Open(R"({"defaults": {"s3.region": "eu-1", "s3.endpoint": "http://a", "warehouse": "w"}})");
  json answer = TableAnswer();
  answer["config"] = {{"s3.endpoint", "http://b"}, {"token", "table-token"}, {"io.custom", "x"}};
  answer["storage-credentials"] = json::parse(R"([
    {"prefix": "s3://bucket/", "config": {"s3.access-key-id": "wide"}},
    {"prefix": "s3://bucket/db/events", "config": {"s3.access-key-id": "narrow", "s3.session-token": "t"}},
    {"prefix": "s3://bucket/db", "config": {"s3.access-key-id": "middle"}},
    {"prefix": "s3://bucket/db/events/elsewhere", "config": {"s3.access-key-id": "other"}},
    {"prefix": 7}, null])");
  http_.Answer(200, answer.dump());
  auto loaded = catalog->LoadTable(kEvents);
  ASSERT_TRUE(loaded.has_value()) << loaded.error().ToString();
  EXPECT_EQ(http_.requests.back().url, std::string("https://catalog.example.com/api") + kEventsPath);
  EXPECT_EQ(loaded->metadata.location, "s3://bucket/db/events");
  EXPECT_EQ(loaded->metadata_location, "s3://bucket/db/events/metadata/00000-a.metadata.json");
  EXPECT_EQ(loaded->storage, (Properties{{"io.custom", "x"},
                                         {"s3.access-key-id", "narrow"},
                                         {"s3.endpoint", "http://b"},
                                         {"s3.region", "eu-1"},
                                         {"s3.session-token", "t"}}));
}

TEST_F(RestCatalogTest, CreatesWithFreshIdsAndChecksTheVersion) {
  auto catalog = Open();
  http_.Answer(200, TableAnswer().dump());
  ASSERT_TRUE(catalog->CreateTable(kEvents, Request()).has_value());
  const HttpRequest& sent = http_.requests.back();
  EXPECT_EQ(sent.method, "POST");
  EXPECT_EQ(sent.url, "https://catalog.example.com/api/v1/namespaces/db%1Fraw%20logs/tables");
  json body = json::parse(sent.body);
  EXPECT_EQ(body["name"], "ev/ents");
  EXPECT_EQ(body["schema"]["schema-id"], 0);
  EXPECT_EQ(body["schema"]["fields"][0]["id"], 1);
  EXPECT_EQ(body["partition-spec"]["fields"][0]["source-id"], 1);
  EXPECT_EQ(body["partition-spec"]["fields"][0]["field-id"], 1000);
  EXPECT_EQ(body["write-order"]["order-id"], 0);
  EXPECT_EQ(body["properties"], (json{{"format-version", "2"}, {"p", "q"}}));
  EXPECT_EQ(body["stage-create"], false);
  EXPECT_FALSE(body.contains("location"));

  for (int32_t made_version : {1, 3}) {
    http_.Answer(200, TableAnswer(made_version).dump());
    EXPECT_EQ(catalog->CreateTable(kEvents, Request()).error().code(), ErrorCode::kUnsupported);
  }
  http_.Answer(409, R"({"error": {"message": "exists", "type": "AlreadyExistsException", "code": 409}})");
  EXPECT_EQ(catalog->CreateTable(kEvents, Request()).error().code(), ErrorCode::kAlreadyExists);
  http_.Answer(404);
  EXPECT_EQ(catalog->CreateTable(kEvents, Request()).error().code(), ErrorCode::kNotFound);
  http_.Lose(ErrorCode::kCommitStateUnknown);
  EXPECT_EQ(catalog->CreateTable(kEvents, Request()).error().code(), ErrorCode::kCommitStateUnknown);
  CreateTableRequest bad = Request();
  bad.spec.fields[0].source_id = FieldId(99);
  EXPECT_EQ(catalog->CreateTable(kEvents, bad).error().code(), ErrorCode::kInvalidInput);
  ExpectScriptOver();
}

TEST_F(RestCatalogTest, CommitsOnceWithEverythingInTheBody) {
  auto catalog = Open();
  json answer = TableAnswer();
  http_.Answer(200, answer.dump(), {{"date", "Sun, 06 Nov 1994 08:49:37 GMT"}});
  auto committed = catalog->CommitTable(kEvents, {AssertRefSnapshotId{"main", std::nullopt}}, kSetA);
  ASSERT_TRUE(committed.has_value()) << committed.error().ToString();
  EXPECT_TRUE(committed->storage.empty());
  EXPECT_EQ(catalog->ServerTimeMs(), 784111777000);
  const HttpRequest& sent = http_.requests.back();
  EXPECT_EQ(sent.url, std::string("https://catalog.example.com/api") + kEventsPath);
  EXPECT_EQ(http_.LastHeader("Content-Type"), "application/json");
  EXPECT_EQ(json::parse(sent.body), json::parse(R"({
    "identifier": {"namespace": ["db", "raw logs"], "name": "ev/ents"},
    "requirements": [{"type": "assert-ref-snapshot-id", "ref": "main", "snapshot-id": null}],
    "updates": [{"action": "set-properties", "updates": {"a": "1"}}]})"));
}

TEST_F(RestCatalogTest, EveryFailedCommitSaysWhetherItMayHaveBeenApplied) {
  struct Case {
    int status;
    ErrorCode code;
  };
  const Case statuses[] = {
      {400, ErrorCode::kInvalidInput},       {401, ErrorCode::kUnauthorized},
      {403, ErrorCode::kUnauthorized},       {404, ErrorCode::kNotFound},
      {405, ErrorCode::kInvalidInput},       {406, ErrorCode::kUnsupported},
      {408, ErrorCode::kCommitStateUnknown}, {409, ErrorCode::kConflict},
      {412, ErrorCode::kConflict},
      {419, ErrorCode::kUnauthorized},       {422, ErrorCode::kInvalidInput},
      {500, ErrorCode::kCommitStateUnknown},
      {501, ErrorCode::kUnsupported},        {502, ErrorCode::kCommitStateUnknown},
      {503, ErrorCode::kCommitStateUnknown}, {504, ErrorCode::kCommitStateUnknown},
      {307, ErrorCode::kInvalidInput},       {599, ErrorCode::kCommitStateUnknown},
  };
  auto catalog = Open();
  for (const Case& one : statuses) {
    http_.Answer(one.status, R"({"error": {"message": "because", "type": "SomeException", "code": 1}})");
    auto committed = catalog->CommitTable(kEvents, {}, kSetA);
    ASSERT_FALSE(committed.has_value()) << one.status;
    EXPECT_EQ(committed.error().code(), one.code) << one.status;
    if (one.status != 307) {
      EXPECT_NE(committed.error().message().find("SomeException: because"), std::string::npos) << one.status;
    }
    ExpectScriptOver();  // sent once
  }
  const std::pair<ErrorCode, ErrorCode> losses[] = {
      {ErrorCode::kUnavailable, ErrorCode::kUnavailable},
      {ErrorCode::kInvalidInput, ErrorCode::kInvalidInput},
      {ErrorCode::kUnauthorized, ErrorCode::kUnauthorized},
      {ErrorCode::kCommitStateUnknown, ErrorCode::kCommitStateUnknown},
      {ErrorCode::kTimeout, ErrorCode::kCommitStateUnknown},
      {ErrorCode::kResourceExhausted, ErrorCode::kCommitStateUnknown},
      {ErrorCode::kCancelled, ErrorCode::kCommitStateUnknown},
      {ErrorCode::kIoError, ErrorCode::kCommitStateUnknown},
  };
  for (const auto& [from_wire, wanted] : losses) {
    http_.Lose(from_wire);
    EXPECT_EQ(catalog->CommitTable(kEvents, {}, kSetA).error().code(), wanted);
    ExpectScriptOver();
  }
}

// Who is told to come back later has changed nothing.
TEST_F(RestCatalogTest, ACommitThatIsPutOffIsSentAgainWhenTheServerSays) {
  auto catalog = Open();
  int64_t start_ms = clock_.BootMs();
  http_.Answer(429, "", {{"retry-after", "3"}}).Answer(200, TableAnswer().dump());
  EXPECT_TRUE(catalog->CommitTable(kEvents, {}, kSetA).has_value());
  ExpectScriptOver();
  EXPECT_EQ(clock_.BootMs() - start_ms, 3000);

  // Not for longer than is good for whoever waits, and not for ever.
  start_ms = clock_.BootMs();
  http_.Answer(429, "", {{"retry-after", "86400"}}).Answer(429).Answer(429);
  EXPECT_EQ(catalog->CommitTable(kEvents, {}, kSetA).error().code(), ErrorCode::kUnavailable);
  ExpectScriptOver();
  EXPECT_EQ(clock_.BootMs() - start_ms, 10'800);

  // A date instead of seconds.
  start_ms = clock_.BootMs();
  http_.Answer(429, "", {{"date", "Tue, 14 Nov 2023 22:13:20 GMT"}, {"retry-after", "Tue, 14 Nov 2023 22:13:25 GMT"}})
      .Answer(200, TableAnswer().dump());
  EXPECT_TRUE(catalog->CommitTable(kEvents, {}, kSetA).has_value());
  EXPECT_EQ(clock_.BootMs() - start_ms, 5000);

  // Any other answer to the second request means what it always means.
  http_.Answer(429).Answer(503);
  EXPECT_EQ(catalog->CommitTable(kEvents, {}, kSetA).error().code(), ErrorCode::kCommitStateUnknown);
  ExpectScriptOver();
  http_.Answer(429).Answer(409);
  EXPECT_EQ(catalog->CommitTable(kEvents, {}, kSetA).error().code(), ErrorCode::kConflict);
  ExpectScriptOver();
}

TEST_F(RestCatalogTest, AYesThatCannotBeReadIsAnUnknownState) {
  auto catalog = Open();
  json no_uuid = TableAnswer();
  no_uuid["metadata"].erase("table-uuid");
  for (const std::string& body : {std::string(), std::string("{\"meta"), std::string("{}"), std::string("[]"),
                                  std::string("<html>"), no_uuid.dump()}) {
    http_.Answer(200, body);
    EXPECT_EQ(catalog->CommitTable(kEvents, {}, kSetA).error().code(), ErrorCode::kCommitStateUnknown) << body;
    http_.Answer(200, body);
    EXPECT_EQ(catalog->CreateTable(kEvents, Request()).error().code(), ErrorCode::kCommitStateUnknown) << body;
  }
}

TEST_F(RestCatalogTest, ReadsAreRepeatedTwiceAtMost) {
  auto catalog = Open();
  int64_t start_ms = clock_.BootMs();
  http_.Answer(503).Lose(ErrorCode::kCommitStateUnknown).Answer(200, TableAnswer().dump());
  EXPECT_TRUE(catalog->LoadTable(kEvents).has_value());
  ExpectScriptOver();
  EXPECT_EQ(clock_.BootMs() - start_ms, 1000);

  start_ms = clock_.BootMs();
  http_.Answer(429, "", {{"retry-after", "3"}}).Answer(503, "", {{"retry-after", "999999"}}).Answer(500);
  EXPECT_EQ(catalog->LoadTable(kEvents).error().code(), ErrorCode::kUnavailable);
  ExpectScriptOver();
  EXPECT_EQ(clock_.BootMs() - start_ms, 13'000);

  for (ErrorCode code : {ErrorCode::kUnavailable, ErrorCode::kTimeout, ErrorCode::kCommitStateUnknown}) {
    http_.Lose(code).Lose(code).Lose(code);
    EXPECT_EQ(catalog->Ping().error().code(), ErrorCode::kUnavailable);
  }
  http_.Lose(ErrorCode::kResourceExhausted);
  EXPECT_EQ(catalog->LoadTable(kEvents).error().code(), ErrorCode::kResourceExhausted);
  for (int status : {400, 403, 404, 409}) {
    http_.Answer(status);
    EXPECT_FALSE(catalog->LoadTable(kEvents).has_value());
  }
  http_.Answer(404);
  EXPECT_EQ(catalog->LoadTable(kEvents).error().code(), ErrorCode::kNotFound);
  http_.Answer(200, "<html>");
  EXPECT_EQ(catalog->LoadTable(kEvents).error().code(), ErrorCode::kCorruption);
  ExpectScriptOver();
}

TEST_F(RestCatalogTest, LongAnswersAreCutInMessages) {
  auto catalog = Open();
  http_.Answer(400, std::string(5000, 'x'));
  EXPECT_LT(catalog->LoadTable(kEvents).error().message().size(), 600u);
}

TEST_F(RestCatalogTest, EnsuresEachLevelAndToleratesARace) {
  auto catalog = Open();
  http_.Answer(404).Answer(503).Answer(409).Answer(404).Answer(200, "{}");
  EXPECT_TRUE(catalog->EnsureNamespace({"a", "b"}).has_value());
  ExpectScriptOver();
  EXPECT_EQ(http_.requests.back().url, "https://catalog.example.com/api/v1/namespaces");
  EXPECT_EQ(json::parse(http_.requests.back().body), json::parse(R"({"namespace": ["a", "b"], "properties": {}})"));
  http_.Answer(200, "{}").Answer(200, "{}");
  EXPECT_TRUE(catalog->EnsureNamespace({"a", "b"}).has_value());
  http_.Answer(404).Answer(403);
  EXPECT_EQ(catalog->EnsureNamespace({"a"}).error().code(), ErrorCode::kUnauthorized);
  EXPECT_EQ(catalog->EnsureNamespace({}).error().code(), ErrorCode::kInvalidInput);
  EXPECT_EQ(catalog->EnsureNamespace({"a", ""}).error().code(), ErrorCode::kInvalidInput);
  EXPECT_EQ(catalog->LoadTable({{"a"}, ""}).error().code(), ErrorCode::kInvalidInput);
  ExpectScriptOver();
}

TEST_F(RestCatalogTest, ListsPageByPage) {
  auto catalog = Open();
  http_.Answer(200, R"({"identifiers": [{"namespace": ["a"], "name": "x"}], "next-page-token": "p/2"})");
  http_.Answer(200, R"({"identifiers": [{"namespace": ["a"], "name": "y"}], "next-page-token": null})");
  EXPECT_EQ(catalog->ListTables({"a"}).value(), (std::vector<TableIdentifier>{{{"a"}, "x"}, {{"a"}, "y"}}));
  EXPECT_EQ(http_.requests.back().url, "https://catalog.example.com/api/v1/namespaces/a/tables?pageToken=p%2F2");
  http_.Answer(200, R"({"identifiers": [{"namespace": "a"}]})");
  EXPECT_EQ(catalog->ListTables({"a"}).error().code(), ErrorCode::kCorruption);
}

TEST_F(RestCatalogTest, DropsWithoutPurge) {
  auto catalog = Open();
  http_.Answer(204);
  EXPECT_TRUE(catalog->DropTable(kEvents).has_value());
  EXPECT_EQ(http_.requests.back().method, "DELETE");
  EXPECT_TRUE(http_.requests.back().url.ends_with("?purgeRequested=false"));
  http_.Answer(404);
  EXPECT_EQ(catalog->DropTable(kEvents).error().code(), ErrorCode::kNotFound);
}

TEST_F(RestCatalogTest, DescriptionHoldsNoSecret) {
  options_.uri = "https://user:pass@host/api?key=secret";
  auto catalog = Open();
  EXPECT_EQ(catalog->description(), "rest https://host/api");
}

// --- tokens ---

class RestTokenTest : public RestCatalogTest {
 protected:
  void SetUp() override { options_.auth.credential = "client:s3cr&t"; }
  ScriptedHttp& AnswerToken(const std::string& token, int64_t expires_in_seconds) {
    json body = {{"access_token", token}, {"token_type", "bearer"}, {"expires_in", expires_in_seconds}};
    return http_.Answer(200, body.dump());
  }
};

TEST_F(RestTokenTest, FetchesATokenWithClientCredentials) {
  options_.auth.scope = "PRINCIPAL_ROLE:ALL";
  options_.auth.oauth2_parameters = {{"audience", "a b"}};
  AnswerToken("tok1", 3600);
  Open();
  EXPECT_EQ(http_.requests[0].method, "POST");
  EXPECT_EQ(http_.requests[0].url, "https://catalog.example.com/api/v1/oauth/tokens");
  EXPECT_EQ(http_.requests[0].body,
            "grant_type=client_credentials&client_id=client&client_secret=s3cr%26t&scope=PRINCIPAL_ROLE%3AALL"
            "&audience=a%20b");
  EXPECT_EQ(http_.LastHeader("Authorization"), "Bearer tok1");
}

TEST_F(RestTokenTest, RenewsBeforeTheTokenExpires) {
  options_.auth.oauth2_server_uri = "https://login.example.com/token";
  AnswerToken("tok1", 600);
  auto catalog = Open();
  clock_.Advance(539'000);
  http_.Answer(200, "{}");
  ASSERT_TRUE(catalog->NamespaceExists({"x"}).has_value());
  EXPECT_EQ(http_.LastHeader("Authorization"), "Bearer tok1");
  clock_.Advance(2'000);  // a tenth of the lifetime is left
  AnswerToken("tok2", 600);
  http_.Answer(200, "{}");
  ASSERT_TRUE(catalog->NamespaceExists({"x"}).has_value());
  EXPECT_EQ(http_.requests[http_.requests.size() - 2].url, "https://login.example.com/token");
  EXPECT_EQ(http_.LastHeader("Authorization"), "Bearer tok2");
  ExpectScriptOver();
}

TEST_F(RestTokenTest, AnUnreachableTokenServerIsToleratedWhileTheTokenLives) {
  AnswerToken("tok1", 600);
  auto catalog = Open();
  clock_.Advance(550'000);
  http_.Answer(503).Answer(200, "{}");
  EXPECT_TRUE(catalog->NamespaceExists({"x"}).has_value());
  EXPECT_EQ(http_.LastHeader("Authorization"), "Bearer tok1");
  clock_.Advance(60'000);
  http_.Lose(ErrorCode::kCommitStateUnknown);
  EXPECT_EQ(catalog->CommitTable(kEvents, {}, kSetA).error().code(), ErrorCode::kUnavailable);  // nothing was sent
  ExpectScriptOver();
}

TEST_F(RestTokenTest, AFailedRenewalIsTriedAgainAfterAPause) {
  AnswerToken("tok1", 600);  // renewed 60 s before its end; a failed try is repeated after an eighth of that
  auto catalog = Open();
  auto ask = [&] {
    http_.Answer(200, "{}");
    EXPECT_TRUE(catalog->NamespaceExists({"x"}).has_value());
    ExpectScriptOver();
  };
  clock_.Advance(545'000);
  http_.Answer(503);
  ask();
  clock_.Advance(7'000);
  ask();  // no second try yet
  EXPECT_EQ(http_.LastHeader("Authorization"), "Bearer tok1");
  clock_.Advance(1'000);
  AnswerToken("tok2", 600);
  ask();
  EXPECT_EQ(http_.LastHeader("Authorization"), "Bearer tok2");
}

TEST_F(RestTokenTest, OthersDoNotWaitWhileALivingTokenIsRenewed) {
  // A token server that answers only after another thread had its token, or after too long a time.
  struct SlowHttp final : env::HttpClient {
    Result<HttpResponse> Send(const HttpRequest&) override {
      HttpResponse response;
      response.status = 200;
      response.body = R"({"access_token": "tok)" + std::to_string(++calls) + R"(", "expires_in": 600})";
      if (calls == 2) {
        other = std::async(std::launch::async, [this] { return auth->Token().value_or("none"); });
        waited = other.wait_for(std::chrono::seconds(2)) != std::future_status::ready;
      }
      return response;
    }
    RestAuth* auth = nullptr;
    std::future<std::string> other;
    bool waited = false;
    int calls = 0;
  } http;
  RestAuthOptions options;
  options.credential = "client:s3cr&t";
  options.oauth2_server_uri = "https://login.example.com/token";
  RestAuth auth(options, http, clock_);
  http.auth = &auth;
  EXPECT_EQ(auth.Token().value(), "tok1");
  clock_.Advance(545'000);
  EXPECT_EQ(auth.Token().value(), "tok2");
  EXPECT_FALSE(http.waited);
  EXPECT_EQ(http.other.get(), "tok1");
  EXPECT_EQ(http.calls, 2);
}

TEST_F(RestTokenTest, ARefusedTokenIsRenewedOnceEvenForACommit) {
  AnswerToken("tok1", 3600);
  auto catalog = Open();
  for (int status : {401, 419}) {
    http_.Answer(status);
    AnswerToken("tok" + std::to_string(status), 3600);
    http_.Answer(200, TableAnswer().dump());
    EXPECT_TRUE(catalog->CommitTable(kEvents, {}, kSetA).has_value());
    EXPECT_EQ(http_.LastHeader("Authorization"), "Bearer tok" + std::to_string(status));
    ExpectScriptOver();
  }
  http_.Answer(401);
  AnswerToken("tok4", 3600).Answer(401);
  EXPECT_EQ(catalog->CommitTable(kEvents, {}, kSetA).error().code(), ErrorCode::kUnauthorized);
  ExpectScriptOver();
  http_.Answer(401);
  AnswerToken("tok4", 3600);  // the server gives the same one again: no use
  EXPECT_EQ(catalog->CommitTable(kEvents, {}, kSetA).error().code(), ErrorCode::kUnauthorized);
  ExpectScriptOver();
  http_.Answer(401);
  AnswerToken("tok5", 3600).Lose(ErrorCode::kTimeout);  // accepted and lost
  EXPECT_EQ(catalog->CommitTable(kEvents, {}, kSetA).error().code(), ErrorCode::kCommitStateUnknown);
  ExpectScriptOver();
  http_.Answer(403);
  EXPECT_EQ(catalog->LoadTable(kEvents).error().code(), ErrorCode::kUnauthorized);
  ExpectScriptOver();
}

// A token server that is away, or says no for a while, costs requests and not the session.
TEST_F(RestTokenTest, AFailedRefreshIsTriedAgainByTheNextRequest) {
  AnswerToken("tok1", 3600);
  auto catalog = Open();
  http_.Answer(401).Answer(400, R"({"error": "invalid_client"})");
  EXPECT_EQ(catalog->CommitTable(kEvents, {}, kSetA).error().code(), ErrorCode::kUnauthorized);
  ExpectScriptOver();
  http_.Answer(419).Answer(500);
  EXPECT_EQ(catalog->CommitTable(kEvents, {}, kSetA).error().code(), ErrorCode::kUnavailable) << "nothing was applied";
  ExpectScriptOver();
  http_.Answer(401);
  AnswerToken("tok2", 3600).Answer(200, TableAnswer().dump());
  EXPECT_TRUE(catalog->CommitTable(kEvents, {}, kSetA).has_value());
  ExpectScriptOver();
  EXPECT_EQ(http_.LastHeader("Authorization"), "Bearer tok2");

  // The same when the token was at its end already.
  clock_.Advance(3'600'000);
  http_.Answer(400, R"({"error": "invalid_client"})");
  EXPECT_EQ(catalog->LoadTable(kEvents).error().code(), ErrorCode::kUnauthorized);
  ExpectScriptOver();
  AnswerToken("tok3", 3600).Answer(200, TableAnswer().dump());
  EXPECT_TRUE(catalog->LoadTable(kEvents).has_value());
  ExpectScriptOver();
}

TEST_F(RestTokenTest, RefusalsOfTheTokenServerAreUnauthorizedAndKeepSecrets) {
  struct Case {
    int status;
    std::string body;
    ErrorCode code;
    int answers;
  };
  const Case cases[] = {
      {401, R"({"error": "invalid_client", "error_description": "no s3cr&t here"})", ErrorCode::kUnauthorized, 1},
      {400, R"({"error": {"message": "bad client:s3cr&t", "type": "x", "code": 400}})", ErrorCode::kUnauthorized, 1},
      {404, "<html>", ErrorCode::kInvalidInput, 1},
      {503, "", ErrorCode::kUnavailable, 3},
      {200, R"({"token": "s3cr&t"})", ErrorCode::kUnauthorized, 1},
      {200, R"({"access_token": 7})", ErrorCode::kUnauthorized, 1},
      {200, "s3cr&t", ErrorCode::kUnauthorized, 1},
  };
  for (const Case& one : cases) {
    for (int i = 0; i < one.answers; ++i) http_.Answer(one.status, one.body);
    auto made = RestCatalog::Create(options_, http_, clock_);
    ASSERT_FALSE(made.has_value()) << one.body;
    EXPECT_EQ(made.error().code(), one.code) << made.error().ToString();
    EXPECT_EQ(made.error().message().find("s3cr&t"), std::string::npos) << made.error().message();
    ExpectScriptOver();
  }
}

TEST_F(RestTokenTest, ACatalogThatEchoesTheTokenDoesNotLeakIt) {
  AnswerToken("tok-very-secret", 3600);
  auto catalog = Open();
  http_.Answer(400, R"({"error": {"message": "bad header Bearer tok-very-secret", "type": "x", "code": 400}})");
  auto loaded = catalog->LoadTable(kEvents);
  EXPECT_EQ(loaded.error().code(), ErrorCode::kInvalidInput);
  EXPECT_EQ(loaded.error().message().find("very-secret"), std::string::npos);
}

TEST_F(RestTokenTest, AFixedTokenIsUsedUntilItIsRefused) {
  options_.auth = {};
  options_.auth.token = "fixed";
  auto catalog = Open();
  EXPECT_EQ(http_.LastHeader("Authorization"), "Bearer fixed");
  http_.Answer(401);
  EXPECT_EQ(catalog->LoadTable(kEvents).error().code(), ErrorCode::kUnauthorized);
  ExpectScriptOver();
}

TEST_F(RestTokenTest, ARotatedTokenIsReadAgain) {
  std::deque<Result<std::string>> tokens;
  tokens.emplace_back("first");
  tokens.emplace_back("second");
  tokens.emplace_back(Fail(ErrorCode::kIoError, "no file"));
  options_.auth = {};
  options_.auth.token_source = [&]() -> Result<std::string> {
    Result<std::string> out = std::move(tokens.front());
    tokens.pop_front();
    return out;
  };
  auto catalog = Open();
  EXPECT_EQ(http_.LastHeader("Authorization"), "Bearer first");
  http_.Answer(401).Answer(200, TableAnswer().dump());
  EXPECT_TRUE(catalog->LoadTable(kEvents).has_value());
  EXPECT_EQ(http_.LastHeader("Authorization"), "Bearer second");
  http_.Answer(401);
  EXPECT_EQ(catalog->CommitTable(kEvents, {}, kSetA).error().code(), ErrorCode::kUnauthorized);
  ExpectScriptOver();
}

TEST_F(RestTokenTest, AnAuthorizationHeaderOfOursIsLeftAlone) {
  options_.auth = {};
  options_.auth.token = "fixed";
  options_.headers = {{"authorization", "Basic abc"}};
  Open();
  EXPECT_EQ(http_.LastHeader("authorization"), "Basic abc");
  EXPECT_EQ(http_.LastHeader("Authorization"), "");
}

TEST(RestPaths, EncodeEverythingThatIsNotPlain) {
  EXPECT_EQ(PercentEncode("aZ09-._~"), "aZ09-._~");
  EXPECT_EQ(PercentEncode("a b/c%+é\x1f"), "a%20b%2Fc%25%2B%C3%A9%1F");
  RestPaths paths;
  paths.prefix = "p";
  EXPECT_EQ(PrintableUri("https://u:p@h:1/a@b?x=1"), "https://h:1/a@b");
  EXPECT_EQ(PrintableUri("https://h?u@x"), "https://h");
  EXPECT_EQ(PrintableUri(""), "");
  EXPECT_EQ(paths.Table({{"a.b", "c"}, "t"}), "/v1/p/namespaces/a.b%1Fc/tables/t");
}

}  // namespace
}  // namespace firn::iceberg
