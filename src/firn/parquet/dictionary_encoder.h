// DictionaryEncoder: the distinct values of a column chunk in the order in which they came, and each page's values as
// indices into them (RLE_DICTIONARY).
//
// Owned by one column writer and its thread; lives as long as the chunk. Equal means equal bytes: the two zeros and
// differing NaNs are different entries. Hashes are seeded once a process, so that nobody can prepare values which
// collide; the order of the entries does not depend on it.
#pragma once

#include <cstdint>
#include <memory>

#include "firn/parquet/value_encoder.h"
#include "firn/parquet/value_statistics.h"

namespace firn::parquet {

// Entries and their bytes are counted in 32 bits.
inline constexpr int64_t kDictionaryBytesLimit = INT32_MAX;

class DictionaryEncoder : public ValueEncoder {
 public:
  // Any type but boolean.
  static std::unique_ptr<DictionaryEncoder> Make(const LeafShape& shape);

  // All entries, in order; valid until the next Put.
  virtual ValueSpan Entries() const = 0;
  virtual int64_t entry_bytes() const = 0;  // of their values
  // Byte arrays and fixed-width bytes: hands each distinct value of the open page to `statistics`, which is cheaper
  // than to look at all of them. Of numbers nothing: they are looked at as they come.
  virtual void PutPageValues(ValueStatistics& statistics) const = 0;
  // The values of the open page, one after another, into another encoder; the page is empty then.
  virtual void MovePage(ValueEncoder& target) = 0;
  // Memory beside the entries, for looking them up.
  virtual int64_t table_bytes() const = 0;
  // No more Put in this chunk: gives that memory back, the entries stay. The open page is empty.
  virtual void Seal() = 0;
  // Forgets everything; another chunk may begin. The memory of a small dictionary is kept, that of a large one is not.
  virtual void Reset() = 0;

  int64_t page_values() const { return static_cast<int64_t>(indices_.size() / sizeof(uint32_t)); }
  int64_t page_bytes() const override;
  void Flush(ByteBuffer& out) override;

 protected:
  uint32_t* IndexRoom(int64_t count) {
    return reinterpret_cast<uint32_t*>(indices_.Extend(static_cast<size_t>(count) * sizeof(uint32_t)));
  }
  const uint32_t* indices() const { return reinterpret_cast<const uint32_t*>(indices_.data()); }
  virtual void ClearPage() { indices_.Clear(); }

  ByteBuffer indices_;  // uint32_t each
};

}  // namespace firn::parquet
