#include "firn/parquet/network_events_for_test.h"

#include <arrow/record_batch.h>
#include <fmt/format.h>

#include <cmath>

namespace firn::parquet {

using schema::Field;
using schema::Type;
using schema::TypeKind;

schema::Schema NetworkActivity() {
  int32_t id = 0;
  auto field = [&](std::string name, schema::TypePtr type) { return Field{FieldId{++id}, std::move(name), type}; };
  auto text = [&](std::string name) { return field(std::move(name), Type::Primitive(TypeKind::kString)); };
  auto number = [&](std::string name) { return field(std::move(name), Type::Primitive(TypeKind::kInt)); };
  auto count = [&](std::string name) { return field(std::move(name), Type::Primitive(TypeKind::kLong)); };
  auto time = [&](std::string name) { return field(std::move(name), Type::Primitive(TypeKind::kTimestamptz)); };
  schema::Schema schema;
  schema.fields = {time("time"), time("event_time"), number("class_uid"), text("class_name"), number("category_uid"),
                   text("category_name"), number("activity_id"), text("activity_name"), count("type_uid"),
                   text("type_name"), number("severity_id"), text("severity"), number("status_id"), text("status")};
  auto product = Type::Struct({text("name"), text("vendor_name"), text("version")});
  schema.fields.push_back(
      field("metadata", Type::Struct({text("uid"), text("version"), field("product", product), time("logged_time")})));
  schema.fields.push_back(field("unused", Type::Primitive(TypeKind::kDouble)));
  auto source = Type::Struct({text("ip"), number("port"), text("hostname")});
  schema.fields.push_back(field("src_endpoint", source));
  schema.fields.push_back(field("dst_endpoint", Type::Struct({text("ip"), number("port")})));
  schema.fields.push_back(field("connection_info", Type::Struct({text("protocol_name"), number("protocol_num"),
                                                                 number("direction_id"), text("uid")})));
  schema.fields.push_back(field("traffic", Type::Struct({count("bytes_in"), count("bytes_out"), count("packets_in"),
                                                         count("packets_out")})));
  auto observable = Type::Struct({text("name"), number("type_id"), text("value")});
  schema.fields.push_back(field("observables", Type::List(field("element", observable))));
  return schema;
}

NetworkEvents::NetworkEvents() : schema_(NetworkActivity()), builder_(schema_) {}

std::shared_ptr<arrow::RecordBatch> NetworkEvents::Take(int64_t rows) {
  for (int64_t row = 0; row < rows; ++row) AppendEvent();
  return builder_.Finish();
}

std::string NetworkEvents::Hex(int digits) {
  return fmt::format("{:016x}{:016x}", random_(), random_()).substr(0, digits);
}

int64_t NetworkEvents::Skewed() { return static_cast<int64_t>(std::exp(5 + 2 * normal_(random_))); }

void NetworkEvents::AppendHeader(int64_t activity) {
  static constexpr std::string_view kActivities[] = {"Open", "Close", "Reset", "Fail", "Refuse", "Traffic"};
  static constexpr std::string_view kSeverities[] = {"Informational", "Low", "Medium", "High"};
  uint64_t severity = Below(20) == 0 ? 1 + Below(3) : 0;
  builder_.column(0).AppendInt64(time_us_);
  builder_.column(1).AppendInt64(time_us_ + static_cast<int64_t>(Below(2'000'000)));
  builder_.column(2).AppendInt32(4001);
  builder_.column(3).AppendBytes("Network Activity");
  builder_.column(4).AppendInt32(4);
  builder_.column(5).AppendBytes("Network Activity");
  builder_.column(6).AppendInt32(static_cast<int32_t>(activity + 1));
  builder_.column(7).AppendBytes(kActivities[activity]);
  builder_.column(8).AppendInt64(400'101 + activity);
  builder_.column(9).AppendBytes(fmt::format("Network Activity: {}", kActivities[activity]));
  builder_.column(10).AppendInt32(static_cast<int32_t>(severity + 1));
  builder_.column(11).AppendBytes(kSeverities[severity]);
  bool success = Below(30) != 0;
  builder_.column(12).AppendInt32(success ? 1 : 2);
  builder_.column(13).AppendBytes(success ? "Success" : "Failure");
}

void NetworkEvents::AppendMetadata() {
  columnar::ColumnBuilder& metadata = builder_.column(14);
  metadata.child(0).AppendBytes(Hex(32));
  metadata.child(1).AppendBytes("1.3.0");
  metadata.child(2).child(0).AppendBytes("Flow Sensor");
  metadata.child(2).child(1).AppendBytes("Example Networks");
  metadata.child(2).child(2).AppendBytes(Below(2) == 0 ? "7.1.4" : "7.2.0");
  metadata.child(2).AppendStruct();
  metadata.child(3).AppendInt64(time_us_ + static_cast<int64_t>(Below(5'000)) * 1000);
  metadata.AppendStruct();
  builder_.column(15).AppendNull();
}

void NetworkEvents::AppendObservable(std::string_view name, int32_t type, std::string_view value) {
  columnar::ColumnBuilder& element = builder_.column(20).child(0);
  element.child(0).AppendBytes(name);
  element.child(1).AppendInt32(type);
  element.child(2).AppendBytes(value);
  element.AppendStruct();
}

void NetworkEvents::AppendConnection(std::string_view source, std::string_view target, std::string_view host) {
  static constexpr int32_t kPorts[] = {443, 443, 443, 80, 53, 22, 3389, 8080};
  columnar::ColumnBuilder& from = builder_.column(16);
  from.child(0).AppendBytes(source);
  from.child(1).AppendInt32(static_cast<int32_t>(1024 + Below(64'000)));
  from.child(2).AppendBytes(host);
  from.AppendStruct();
  columnar::ColumnBuilder& to = builder_.column(17);
  to.child(0).AppendBytes(target);
  to.child(1).AppendInt32(kPorts[Below(8)]);
  to.AppendStruct();
  bool udp = Below(4) == 0;
  columnar::ColumnBuilder& connection = builder_.column(18);
  connection.child(0).AppendBytes(udp ? "udp" : "tcp");
  connection.child(1).AppendInt32(udp ? 17 : 6);
  connection.child(2).AppendInt32(static_cast<int32_t>(1 + Below(2)));
  connection.child(3).AppendBytes(Hex(16));
  connection.AppendStruct();
  columnar::ColumnBuilder& traffic = builder_.column(19);
  for (size_t i = 0; i < 4; ++i) traffic.child(i).AppendInt64(i < 2 ? Skewed() : Skewed() / 800);
  traffic.AppendStruct();
}

void NetworkEvents::AppendEvent() {
  time_us_ += static_cast<int64_t>(Below(400));
  AppendHeader(static_cast<int64_t>(Below(6)));
  AppendMetadata();
  uint64_t machine = Below(20'000);
  std::string source = fmt::format("10.{}.{}.{}", machine % 4, machine / 250 % 250, machine % 250);
  std::string target = fmt::format("{}.{}.{}.{}", 11 + Below(180), Below(256), Below(256), Below(256));
  std::string host = fmt::format("host-{:05}.corp.example", machine);
  AppendConnection(source, target, host);
  AppendObservable("src_endpoint.ip", 2, source);
  AppendObservable("dst_endpoint.ip", 2, target);
  builder_.column(20).AppendList();
  builder_.CloseRow();
}

}  // namespace firn::parquet
