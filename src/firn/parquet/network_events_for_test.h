// NetworkEvents: random OCSF network activity events as record batches, 35 leaf columns; for benchmarks.
//
// One thread. The same seed gives the same events.
#pragma once

#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <string_view>

#include "firn/columnar/column_builder.h"
#include "firn/schema/type.h"

namespace firn::parquet {

schema::Schema NetworkActivity();

class NetworkEvents {
 public:
  NetworkEvents();
  const schema::Schema& schema() const { return schema_; }
  std::shared_ptr<arrow::RecordBatch> Take(int64_t rows);

 private:
  uint64_t Below(uint64_t bound) { return random_() % bound; }
  std::string Hex(int digits);
  int64_t Skewed();
  void AppendHeader(int64_t activity);
  void AppendMetadata();
  void AppendObservable(std::string_view name, int32_t type, std::string_view value);
  void AppendConnection(std::string_view source, std::string_view target, std::string_view host);
  void AppendEvent();

  schema::Schema schema_;
  columnar::RowBuilder builder_;
  std::mt19937_64 random_{42};
  std::normal_distribution<double> normal_;
  int64_t time_us_ = 1'700'000'000'000'000;
};

}  // namespace firn::parquet
