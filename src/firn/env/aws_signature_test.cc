#include "firn/env/aws_signature.h"

#include <gtest/gtest.h>

#include <map>

namespace firn::env {
namespace {

using Headers = std::map<std::string, std::string>;

Headers Sign(const HttpRequest& request, const AwsSigV4& signer, int64_t wall_ms) {
  auto added = AwsSignatureHeaders(request, signer, wall_ms);
  EXPECT_TRUE(added.has_value());
  return added.has_value() ? Headers(added->begin(), added->end()) : Headers();
}

std::string SignatureOf(const Headers& headers) {
  auto found = headers.find("Authorization");
  if (found == headers.end()) return "";
  return found->second.substr(found->second.find("Signature=") + 10);
}

// The examples of "Signature Calculations for the Authorization Header" in the Amazon S3 API reference.
class AwsS3ExampleTest : public ::testing::Test {
 protected:
  std::string Signature(const HttpRequest& request) { return SignatureOf(Sign(request, signer_, 1369353600000)); }
  const AwsSigV4 signer_{"us-east-1", "s3", "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", ""};
};

TEST_F(AwsS3ExampleTest, GetObject) {
  EXPECT_EQ(Signature({.url = "https://examplebucket.s3.amazonaws.com/test.txt", .headers = {{"Range", "bytes=0-9"}}}),
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
}

TEST_F(AwsS3ExampleTest, PutObject) {
  EXPECT_EQ(Signature({.method = "PUT",
                       .url = "https://examplebucket.s3.amazonaws.com/test%24file.text",
                       .headers = {{"Date", "Fri, 24 May 2013 00:00:00 GMT"},
                                   {"x-amz-storage-class", "REDUCED_REDUNDANCY"}},
                       .body = "Welcome to Amazon S3."}),
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd");
}

TEST_F(AwsS3ExampleTest, QueryParameters) {
  EXPECT_EQ(Signature({.url = "https://examplebucket.s3.amazonaws.com?lifecycle"}),
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");
  EXPECT_EQ(Signature({.url = "https://examplebucket.s3.amazonaws.com/?prefix=J&max-keys=2"}),
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
}

TEST_F(AwsS3ExampleTest, OneSpellingOfHostAndValues) {
  std::string plain = Signature({.url = "https://h.example/k", .headers = {{"X-A", "a b"}}});
  EXPECT_EQ(Signature({.url = "https://user@h.example:443/k#part", .headers = {{"x-a", "  a \t b "}}}), plain);
  EXPECT_NE(Signature({.url = "https://h.example:8443/k", .headers = {{"X-A", "a b"}}}), plain);
  EXPECT_NE(Signature({.url = "https://h.example/k", .headers = {{"X-A", "ab"}}}), plain);
}

// Expected values: botocore 1.x (SigV4Auth), at 2024-02-29T23:59:59Z.
TEST(AwsSignatureTest, OtherServicesEncodeThePathOnceMore) {
  AwsSigV4 signer{"eu-west-1", "s3tables", "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "TOKEN=="};
  HttpRequest request{.method = "POST",
                      .url = "https://s3tables.eu-west-1.amazonaws.com/iceberg/v1/arn%3Aaws%3As3tables/namespaces/"
                             "a%1Fb/tables/t",
                      .headers = {{"Content-Type", "application/json"}},
                      .body = "{\"x\":1}"};
  Headers headers = Sign(request, signer, 1709251199000);
  EXPECT_EQ(headers["x-amz-date"], "20240229T235959Z");
  EXPECT_EQ(headers["x-amz-security-token"], "TOKEN==");
  EXPECT_EQ(headers["Authorization"],
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20240229/eu-west-1/s3tables/aws4_request, "
            "SignedHeaders=content-type;host;x-amz-content-sha256;x-amz-date;x-amz-security-token, "
            "Signature=7da5f89450f997318d2294c1971c592aa91dbd71dc7da18df23d606f8c71477c");
}

TEST(AwsSignatureTest, QueryIsSortedAndThePortSigned) {
  AwsSigV4 signer{"eu-west-1", "execute-api", "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", ""};
  Headers headers = Sign({.url = "http://127.0.0.1:8181/v1/namespaces?parent=a%1Fb&pageToken=&Z=1&a=2&a=1"}, signer,
                         1709251199000);
  EXPECT_EQ(SignatureOf(headers), "535dbb8f1ef3acd378e6460bb3a2f04ec1c0be136abdf1627847746b30bb48d7");
  EXPECT_FALSE(headers.contains("x-amz-security-token"));
}

TEST(AwsSignatureTest, BadInputIsAnError) {
  const AwsSigV4 good{"r", "s", "AKID", "secret", ""};
  auto code = [](const HttpRequest& request, const AwsSigV4& signer) {
    auto added = AwsSignatureHeaders(request, signer, 0);
    EXPECT_FALSE(added.has_value());
    return added.has_value() ? ErrorCode::kInternal : added.error().code();
  };
  EXPECT_EQ(code({.url = "h/path"}, good), ErrorCode::kInvalidInput);
  AwsSigV4 signer = good;
  signer.secret_access_key.clear();
  EXPECT_EQ(code({.url = "http://h/"}, signer), ErrorCode::kUnauthorized);
  signer = good;
  signer.region.clear();
  EXPECT_EQ(code({.url = "http://h/"}, signer), ErrorCode::kInvalidInput);
  signer = good;
  signer.session_token = "a\nX-Evil: 1";
  EXPECT_EQ(code({.url = "http://h/"}, signer), ErrorCode::kInvalidInput);
}

}  // namespace
}  // namespace firn::env
