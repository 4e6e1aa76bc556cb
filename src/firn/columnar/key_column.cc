#include "firn/columnar/key_column.h"

#include <arrow/array.h>
#include <arrow/record_batch.h>
#include <arrow/type.h>
#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "firn/columnar/column_builder.h"
#include "firn/schema/bounds.h"
#include "firn/schema/calendar.h"

namespace firn::columnar {
namespace {

using schema::FloorDivide;
using schema::TransformKind;
using schema::TypeKind;
using Batches = std::vector<std::shared_ptr<arrow::RecordBatch>>;

uint64_t Mix(uint64_t a, uint64_t b) {
  auto product = static_cast<unsigned __int128>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

uint64_t HashBytes(std::string_view bytes) {
  uint64_t hash = 0x9E3779B97F4A7C15ULL ^ bytes.size();
  for (; bytes.size() >= 8; bytes.remove_prefix(8)) {
    uint64_t word;
    std::memcpy(&word, bytes.data(), sizeof(word));
    hash = Mix(hash ^ word, 0xA0761D6478BD642FULL);
  }
  uint64_t tail = 0;
  if (!bytes.empty()) std::memcpy(&tail, bytes.data(), bytes.size());
  return Mix(hash ^ tail, 0xE7037ED1A0B428DBULL);
}

// An involution: the bits of an IEEE number to a signed integer of the same order (-NaN < -inf < -0 < +0 < inf < NaN).
int64_t OrderedBits(int64_t bits) { return bits ^ ((bits >> 63) & std::numeric_limits<int64_t>::max()); }
int32_t OrderedBits(int32_t bits) { return bits ^ ((bits >> 31) & std::numeric_limits<int32_t>::max()); }

// Partition values know only one NaN (spec, "Partition Transforms").
int64_t ToOrdered(double value) {
  return OrderedBits(std::isnan(value) ? int64_t{0x7ff8000000000000} : std::bit_cast<int64_t>(value));
}
int64_t ToOrdered(float value) { return OrderedBits(std::isnan(value) ? 0x7fc00000 : std::bit_cast<int32_t>(value)); }

// The columns from the root down to the source, of one batch.
using Chain = std::vector<std::shared_ptr<arrow::Array>>;

Result<std::vector<int>> ChildIndexes(const schema::Schema& schema, const std::vector<const schema::Field*>& path) {
  std::vector<int> indexes;
  const std::vector<schema::Field>* siblings = &schema.fields;
  for (const schema::Field* field : path) {
    auto found = std::find_if(siblings->begin(), siblings->end(), [&](const auto& s) { return s.id == field->id; });
    if (found == siblings->end()) return Fail(ErrorCode::kInternal, "a path through the schema leaves it");
    indexes.push_back(static_cast<int>(found - siblings->begin()));
    bool is_struct = field->type->kind() == TypeKind::kStruct;
    if (field != path.back() && !is_struct) {
      return Fail(ErrorCode::kInvalidInput,
                  fmt::format("a partition or sort field cannot come from within a list or map: {} (id {})",
                              schema.NameOf(path.back()->id), path.back()->id));
    }
    siblings = &field->type->fields();
  }
  return indexes;
}

Result<Chain> FindColumns(const arrow::RecordBatch& batch, const std::vector<int>& indexes,
                          const schema::Field& source) {
  auto wrong = [&](const std::string& found) {
    return Fail(ErrorCode::kInvalidInput, fmt::format("a batch does not hold column {} (id {}) as its schema says: {}",
                                                      source.name, source.id, found));
  };
  Chain chain;
  if (indexes[0] >= batch.num_columns()) return wrong("too few columns");
  chain.push_back(batch.column(indexes[0]));
  for (size_t i = 1; i < indexes.size(); ++i) {
    const auto& parent = *chain.back();
    if (parent.type_id() != arrow::Type::STRUCT || indexes[i] >= parent.num_fields()) {
      return wrong(parent.type()->ToString());
    }
    chain.push_back(static_cast<const arrow::StructArray&>(parent).field(indexes[i]));
  }
  auto expected = ToArrowField(source);
  if (!chain.back()->type()->Equals(*expected->type())) return wrong(chain.back()->type()->ToString());
  return chain;
}

template <typename T>
const T* RawValues(const arrow::Array& array) {
  return array.data()->GetValues<T>(1);
}

int32_t Bucket(std::string_view bytes, int32_t count) {
  return (schema::Murmur3(bytes) & std::numeric_limits<int32_t>::max()) % count;
}

int32_t BucketOfLong(int64_t value, int32_t count) {
  char bytes[sizeof(value)];
  std::memcpy(bytes, &value, sizeof(value));
  return Bucket({bytes, sizeof(bytes)}, count);
}

int64_t MonthsSince1970(int64_t days) {
  auto date = schema::CivilFromDays(days);
  return (date.year - 1970) * 12 + date.month - 1;
}

}  // namespace

// Appends the transformed values of one batch after another.
class KeyColumn::Reader {
 public:
  Reader(KeyColumn& out, const schema::Type& source, const schema::Transform& transform)
      : out_(out), source_(source), transform_(transform) {}

  void Reserve(size_t rows) {
    if (out_.form_ == Form::kNumber) out_.numbers_.reserve(rows);
    if (out_.form_ == Form::kWide) out_.wides_.reserve(rows);
    if (out_.form_ == Form::kBytes) out_.bytes_.reserve(rows);
  }

  void AppendNulls(const Chain& chain, size_t rows_before) {
    int64_t rows = chain.back()->length();
    for (const auto& array : chain) {
      if (array->null_count() == 0) continue;
      out_.null_.resize(rows_before + static_cast<size_t>(rows), 0);
      for (int64_t row = 0; row < rows; ++row) out_.null_[rows_before + static_cast<size_t>(row)] |= array->IsNull(row);
    }
    if (!out_.null_.empty()) out_.null_.resize(rows_before + static_cast<size_t>(rows), 0);
  }

  // Values under nulls are transformed too: every loop must stand any bits.
  void AppendValues(const arrow::Array& array) {
    switch (source_.kind()) {
      case TypeKind::kBoolean:
        for (int64_t row = 0; row < array.length(); ++row) {
          out_.numbers_.push_back(static_cast<const arrow::BooleanArray&>(array).Value(row));
        }
        return;
      case TypeKind::kInt:
      case TypeKind::kDate: return AppendIntegers(RawValues<int32_t>(array), array.length());
      case TypeKind::kLong:
      case TypeKind::kTime:
      case TypeKind::kTimestamp:
      case TypeKind::kTimestamptz:
      case TypeKind::kTimestampNs:
      case TypeKind::kTimestamptzNs: return AppendIntegers(RawValues<int64_t>(array), array.length());
      case TypeKind::kFloat: return AppendFloats(RawValues<float>(array), array.length());
      case TypeKind::kDouble: return AppendFloats(RawValues<double>(array), array.length());
      case TypeKind::kDecimal: return AppendDecimals(array);
      case TypeKind::kString:
      case TypeKind::kBinary: {
        const auto& strings = static_cast<const arrow::BinaryArray&>(array);
        return AppendBytes(array.length(), [&](int64_t row) { return strings.GetView(row); });
      }
      default: {
        const auto& fixed = static_cast<const arrow::FixedSizeBinaryArray&>(array);
        return AppendBytes(array.length(), [&](int64_t row) { return fixed.GetView(row); });
      }
    }
  }

 private:
  template <typename T, typename Map>
  void Numbers(const T* values, int64_t count, Map map) {
    for (int64_t row = 0; row < count; ++row) out_.numbers_.push_back(map(static_cast<int64_t>(values[row])));
  }

  template <typename T>
  void AppendIntegers(const T* values, int64_t count) {
    int64_t width = transform_.parameter;
    int32_t buckets = transform_.parameter;
    bool is_nanos = source_.kind() == TypeKind::kTimestampNs || source_.kind() == TypeKind::kTimestamptzNs;
    bool is_date = source_.kind() == TypeKind::kDate;
    int64_t units_per_micro = is_nanos ? schema::kNanosPerMicro : 1;
    int64_t units_per_day = is_date ? 1 : schema::kMicrosPerDay * units_per_micro;
    switch (transform_.kind) {
      case TransformKind::kBucket:
        return Numbers(values, count, [=](int64_t v) {
          return BucketOfLong(is_nanos ? FloorDivide(v, units_per_micro) : v, buckets);
        });
      case TransformKind::kTruncate:
        // Wraps at the lower end in the width of the column, as Apply does.
        return Numbers(values, count, [=](int64_t v) {
          int64_t remainder = (v % width + width) % width;
          return static_cast<T>(static_cast<uint64_t>(v) - static_cast<uint64_t>(remainder));
        });
      case TransformKind::kYear:
        return Numbers(values, count,
                       [=](int64_t v) { return FloorDivide(MonthsSince1970(FloorDivide(v, units_per_day)), 12); });
      case TransformKind::kMonth:
        return Numbers(values, count, [=](int64_t v) { return MonthsSince1970(FloorDivide(v, units_per_day)); });
      case TransformKind::kDay:
        return Numbers(values, count, [=](int64_t v) { return FloorDivide(v, units_per_day); });
      case TransformKind::kHour:
        return Numbers(values, count, [=](int64_t v) {
          return std::clamp<int64_t>(FloorDivide(v, schema::kMicrosPerHour * units_per_micro),
                                     std::numeric_limits<int32_t>::min(), std::numeric_limits<int32_t>::max());
        });
      default: return Numbers(values, count, [](int64_t v) { return v; });
    }
  }

  template <typename T>
  void AppendFloats(const T* values, int64_t count) {
    for (int64_t row = 0; row < count; ++row) out_.numbers_.push_back(ToOrdered(values[row]));
  }

  void AppendDecimals(const arrow::Array& array) {
    const auto& decimals = static_cast<const arrow::FixedSizeBinaryArray&>(array);
    for (int64_t row = 0; row < array.length(); ++row) {
      __int128 unscaled;
      std::memcpy(&unscaled, decimals.GetValue(row), sizeof(unscaled));
      if (transform_.kind == TransformKind::kBucket) {
        int32_t hash = schema::BucketHash(source_, schema::Decimal128{unscaled});
        out_.numbers_.push_back((hash & std::numeric_limits<int32_t>::max()) % transform_.parameter);
        continue;
      }
      if (transform_.kind == TransformKind::kTruncate) {
        __int128 width = transform_.parameter;
        auto remainder = static_cast<unsigned __int128>((unscaled % width + width) % width);
        unscaled = static_cast<__int128>(static_cast<unsigned __int128>(unscaled) - remainder);
      }
      out_.wides_.push_back(unscaled);
    }
  }

  template <typename View>
  void AppendBytes(int64_t count, View view) {
    int32_t parameter = transform_.parameter;
    for (int64_t row = 0; row < count; ++row) {
      std::string_view bytes = view(row);
      if (transform_.kind == TransformKind::kBucket) {
        out_.numbers_.push_back(Bucket(bytes, parameter));
      } else if (transform_.kind == TransformKind::kTruncate) {
        bool is_text = source_.kind() == TypeKind::kString;
        out_.bytes_.push_back(is_text ? schema::CodePointPrefix(bytes, parameter)
                                      : bytes.substr(0, static_cast<size_t>(parameter)));
      } else {
        out_.bytes_.push_back(bytes);
      }
    }
  }

  KeyColumn& out_;
  const schema::Type& source_;
  const schema::Transform& transform_;
};

Result<KeyColumn> KeyColumn::Compute(const Batches& batches, const schema::Schema& schema, FieldId source_id,
                                     const schema::Transform& transform) {
  if (transform.kind == TransformKind::kUnknown) {
    return Fail(ErrorCode::kUnsupported, fmt::format("rows cannot be written by an unknown transform: '{}'",
                                                     transform.text));
  }
  size_t rows = 0;
  for (const auto& batch : batches) rows += static_cast<size_t>(batch->num_rows());
  KeyColumn column;
  if (transform.kind == TransformKind::kVoid) {
    column.null_.assign(rows, 1);
    return column;
  }
  auto path = schema.PathTo(source_id);
  if (path.empty()) {
    return Fail(ErrorCode::kInvalidInput,
                fmt::format("a partition or sort field has no source column in the schema; transform {}, source id {}",
                            transform.ToString(), source_id));
  }
  const schema::Type& source = *path.back()->type;
  FIRN_ASSIGN(column.result_type_, transform.ResultType(source));
  FIRN_ASSIGN(auto indexes, ChildIndexes(schema, path));
  switch (column.result_type_->kind()) {
    case TypeKind::kDecimal: column.form_ = Form::kWide; break;
    case TypeKind::kString:
    case TypeKind::kBinary:
    case TypeKind::kUuid:
    case TypeKind::kFixed: column.form_ = Form::kBytes; break;
    case TypeKind::kUnknown:
      return Fail(ErrorCode::kUnsupported, fmt::format("rows cannot be partitioned or sorted by a column of type "
                                                       "unknown: {}", path.back()->name));
    default: column.form_ = Form::kNumber;
  }
  Reader reader(column, source, transform);
  reader.Reserve(rows);
  size_t rows_before = 0;
  for (const auto& batch : batches) {
    FIRN_ASSIGN(auto chain, FindColumns(*batch, indexes, *path.back()));
    reader.AppendNulls(chain, rows_before);
    reader.AppendValues(*chain.back());
    rows_before += static_cast<size_t>(batch->num_rows());
  }
  return column;
}

uint64_t KeyColumn::Hash(uint32_t row) const {
  if (IsNull(row)) return 0x8E5B1D3FA7C4926BULL;
  switch (form_) {
    case Form::kNumber: return Mix(static_cast<uint64_t>(numbers_[row]) ^ 0xE7037ED1A0B428DBULL, 0x9E3779B97F4A7C15ULL);
    case Form::kWide: return HashBytes({reinterpret_cast<const char*>(&wides_[row]), sizeof(__int128)});
    case Form::kBytes: return HashBytes(bytes_[row]);
    case Form::kNothing: return 0;
  }
  return 0;
}

schema::Value KeyColumn::ValueAt(uint32_t row) const {
  if (IsNull(row) || form_ == Form::kNothing) return std::monostate{};
  if (form_ == Form::kBytes) return std::string(bytes_[row]);
  if (form_ == Form::kWide) return schema::Decimal128{wides_[row]};
  int64_t number = numbers_[row];
  switch (result_type_->kind()) {
    case TypeKind::kBoolean: return number != 0;
    case TypeKind::kInt:
    case TypeKind::kDate: return static_cast<int32_t>(number);
    case TypeKind::kFloat: return std::bit_cast<float>(OrderedBits(static_cast<int32_t>(number)));
    case TypeKind::kDouble: return std::bit_cast<double>(OrderedBits(number));
    default: return number;
  }
}

}  // namespace firn::columnar
