// RandomRows: a random schema and random rows of it, together with what their metrics must be, counted while the rows
// are made and independently of any writer. Tests only; one seed, one table.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <random>
#include <string>

#include "firn/columnar/column_builder.h"
#include "firn/schema/type.h"
#include "firn/schema/value.h"

namespace firn::parquet {

// Of one leaf column: `values` counts Parquet's entries, where a null or empty list or a null struct is one null.
struct LeafTruth {
  int64_t values = 0;
  int64_t nulls = 0;
  int64_t nans = 0;
  schema::Value smallest;  // null: no value but NaN
  schema::Value largest;
};

class RandomRows {
 public:
  explicit RandomRows(uint64_t seed);
  RandomRows(uint64_t seed, schema::Schema schema);

  const schema::Schema& schema() const { return schema_; }
  std::shared_ptr<arrow::RecordBatch> MakeBatch(int64_t rows);
  const std::map<int32_t, LeafTruth>& truth() const { return truth_; }  // by field id

 private:
  int64_t Below(int64_t bound) { return static_cast<int64_t>(random_() % static_cast<uint64_t>(bound)); }
  bool Chance(double share) { return static_cast<double>(random_() >> 11) < share * 9007199254740992.0; }

  void Prepare();
  schema::TypePtr RandomPrimitive();
  schema::TypePtr RandomType(int depth);
  schema::Field RandomField(std::string name, int depth);
  schema::Value RandomValue(const schema::Type& type, int32_t variety);

  void Append(const schema::Field& field, columnar::ColumnBuilder& builder);
  void AppendPrimitive(const schema::Field& field, columnar::ColumnBuilder& builder);
  void AppendRepeated(const schema::Field& field, columnar::ColumnBuilder& builder);
  void CountNull(const schema::Field& field);  // of every leaf below
  void CountValue(const schema::Field& field, const schema::Value& value);

  std::mt19937_64 random_;
  int32_t last_id_ = 0;
  schema::Schema schema_;
  std::unique_ptr<columnar::RowBuilder> builder_;
  std::map<int32_t, LeafTruth> truth_;
  std::map<int32_t, int32_t> varieties_;  // distinct values a leaf draws from
};

}  // namespace firn::parquet
