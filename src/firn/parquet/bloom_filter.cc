#include "firn/parquet/bloom_filter.h"

#include <parquet/xxhasher.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <string_view>

namespace firn::parquet {
namespace {

constexpr size_t kWordsOfBlock = 8;
// The format's odd constants, one a word of a block.
constexpr uint32_t kSalts[kWordsOfBlock] = {0x47b6137bU, 0x44974d91U, 0x8824ad5bU, 0xa2b7289dU,
                                            0x705495c7U, 0x2df1424bU, 0x9efc4947U, 0x5c6bfb31U};

uint64_t HashOf(const ::parquet::XxHasher& hasher, const LeafShape& shape, const ValueSpan& span, int64_t index) {
  std::string_view bytes;
  if (shape.is_bytes()) {
    bytes = {reinterpret_cast<const char*>(span.bytes) + span.offsets[index],
             static_cast<size_t>(span.offsets[index + 1] - span.offsets[index])};
  } else {
    // A number's hash is that of its little-endian bytes.
    bytes = {reinterpret_cast<const char*>(span.bytes) + index * shape.width, static_cast<size_t>(shape.width)};
  }
  return hasher.Hash(bytes);
}

}  // namespace

int64_t BloomFilter::BytesFor(int64_t distinct, double false_positive_rate, int64_t bytes_max) {
  auto largest = static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(std::max(bytes_max, kBytesMin))));
  // Eight bits of a value are set in one block: m = -8 n / ln(1 - p^(1/8)).
  double bits = -8.0 * static_cast<double>(distinct) / std::log(1 - std::pow(false_positive_rate, 1.0 / 8));
  if (!(bits / 8 < static_cast<double>(largest))) return largest;
  auto bytes = static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(std::max(bits / 8, 1.0))));
  return std::clamp(bytes, kBytesMin, largest);
}

void BloomFilter::PutHash(uint64_t hash) {
  uint64_t blocks = words_.size() / kWordsOfBlock;
  size_t block = static_cast<size_t>((hash >> 32) * blocks >> 32);
  auto key = static_cast<uint32_t>(hash);
  for (size_t i = 0; i < kWordsOfBlock; ++i) {
    words_[block * kWordsOfBlock + i] |= uint32_t{1} << (key * kSalts[i] >> 27);
  }
}

void BloomFilter::Put(const LeafShape& shape, const ValueSpan& span) {
  ::parquet::XxHasher hasher;
  for (int64_t i = 0; i < span.count; ++i) PutHash(HashOf(hasher, shape, span, i));
}

void BloomFilter::FoldTo(int64_t bytes_wanted) {
  while (bytes() > std::max(bytes_wanted, kBytesMin)) {
    size_t blocks = words_.size() / kWordsOfBlock / 2;
    for (size_t block = 0; block < blocks; ++block) {
      for (size_t i = 0; i < kWordsOfBlock; ++i) {
        words_[block * kWordsOfBlock + i] =
            words_[2 * block * kWordsOfBlock + i] | words_[(2 * block + 1) * kWordsOfBlock + i];
      }
    }
    words_.resize(blocks * kWordsOfBlock);
  }
}

void BloomFilter::Append(ByteBuffer& out) const {
  format::AppendBloomFilterHeader(static_cast<int32_t>(bytes()), out);
  out.Append(words_.data(), words_.size() * 4);
}

}  // namespace firn::parquet
