#include "firn/parquet/merge_bloom_filter.h"

#include <arrow/buffer.h>
#include <arrow/io/memory.h>
#include <parquet/bloom_filter.h>
#include <parquet/types.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <exception>

#include "firn/parquet/merge_dictionary.h"

namespace firn::parquet {
namespace {

namespace pq = ::parquet;

constexpr size_t kLengthBytes = 4;

template <typename T>
T Load(std::string_view bytes) {
  T value;
  std::memcpy(&value, bytes.data(), sizeof(T));
  return value;
}

}  // namespace

MergedBloomFilter::MergedBloomFilter(const FileLayoutOptions& options, int32_t field_id, double fpp, int64_t values)
    : filter_(std::make_unique<pq::BlockSplitBloomFilter>()) {
  auto given = options.bloom_filter_ndv.find(field_id);
  const int64_t distinct = given != options.bloom_filter_ndv.end() ? given->second : std::max<int64_t>(values, 1);
  const uint32_t wanted = pq::BlockSplitBloomFilter::OptimalNumOfBytes(static_cast<uint64_t>(distinct), fpp);
  const auto allowed = std::bit_floor(static_cast<uint32_t>(std::clamp<int64_t>(
      options.bloom_filter_bytes_max, pq::BlockSplitBloomFilter::kMinimumBloomFilterBytes, INT32_MAX)));
  filter_->Init(std::min(wanted, allowed));
}

MergedBloomFilter::~MergedBloomFilter() = default;

uint64_t MergedBloomFilter::HashOf(ValueType type, std::string_view value) const {
  const auto* bytes = reinterpret_cast<const uint8_t*>(value.data());
  switch (type.physical_type) {
    case pq::Type::INT32: return filter_->Hash(Load<int32_t>(value));
    case pq::Type::INT64: return filter_->Hash(Load<int64_t>(value));
    case pq::Type::FLOAT: return filter_->Hash(Load<float>(value));
    case pq::Type::DOUBLE: return filter_->Hash(Load<double>(value));
    case pq::Type::BYTE_ARRAY: {
      const pq::ByteArray array(static_cast<uint32_t>(value.size() - kLengthBytes), bytes + kLengthBytes);
      return filter_->Hash(&array);
    }
    default: {
      const pq::FLBA fixed(bytes);
      return filter_->Hash(&fixed, static_cast<uint32_t>(value.size()));
    }
  }
}

Status MergedBloomFilter::Add(ValueType type, std::string_view plain, int64_t count) {
  const bool is_bytes = type.physical_type == pq::Type::BYTE_ARRAY;
  FIRN_ASSIGN(const auto offsets, PlainOffsets(plain, count, is_bytes ? 0 : type.value_bytes));
  for (size_t i = 0; i < static_cast<size_t>(count); ++i) {
    filter_->InsertHash(HashOf(type, plain.substr(offsets[i], offsets[i + 1] - offsets[i])));
  }
  return {};
}

Result<std::string> MergedBloomFilter::Bytes() const {
  try {
    auto stream = arrow::io::BufferOutputStream::Create();
    if (!stream.ok()) return Fail(ErrorCode::kResourceExhausted, stream.status().message());
    filter_->WriteTo(stream->get());
    auto buffer = (*stream)->Finish();
    if (!buffer.ok()) return Fail(ErrorCode::kResourceExhausted, buffer.status().message());
    return (*buffer)->ToString();
  } catch (const std::exception& e) {
    return Fail(ErrorCode::kInternal, e.what());
  }
}

}  // namespace firn::parquet
