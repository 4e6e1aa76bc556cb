#include "firn/compaction/packed_metrics.h"

#include <map>
#include <string_view>
#include <utility>

namespace firn::compaction {
namespace {

// Only ever read by this process: no form for others, no checks.
void Put(uint64_t number, std::string& out) {
  for (; number >= 0x80; number >>= 7) out.push_back(static_cast<char>(number | 0x80));
  out.push_back(static_cast<char>(number));
}

uint64_t Take(std::string_view& packed) {
  uint64_t number = 0;
  for (int shift = 0;; shift += 7) {
    const auto byte = static_cast<uint8_t>(packed.front());
    packed.remove_prefix(1);
    number |= static_cast<uint64_t>(byte & 0x7F) << shift;
    if (byte < 0x80) return number;
  }
}

void PutValue(int64_t value, std::string& out) { Put(static_cast<uint64_t>(value), out); }

void PutValue(const std::string& value, std::string& out) {
  Put(value.size(), out);
  out += value;
}

void TakeValue(std::string_view& packed, int64_t& value) { value = static_cast<int64_t>(Take(packed)); }

void TakeValue(std::string_view& packed, std::string& value) {
  const auto size = static_cast<size_t>(Take(packed));
  value.assign(packed.substr(0, size));
  packed.remove_prefix(size);
}

template <typename Value>
void PutMap(const std::map<int32_t, Value>& map, std::string& out) {
  Put(map.size(), out);
  int64_t before = 0;
  for (const auto& [id, value] : map) {
    Put(static_cast<uint64_t>(id - before), out);
    PutValue(value, out);
    before = id;
  }
}

template <typename Value>
void TakeMap(std::string_view& packed, std::map<int32_t, Value>& map) {
  uint64_t id = 0;
  for (uint64_t count = Take(packed); count > 0; --count) {
    id += Take(packed);
    Value value{};
    TakeValue(packed, value);
    map.insert_or_assign(map.end(), static_cast<int32_t>(static_cast<uint32_t>(id)), std::move(value));
  }
}

}  // namespace

std::string PackMetrics(iceberg::DataFile& file, std::optional<int32_t> kept) {
  std::string packed;
  PutMap(file.column_sizes, packed);
  PutMap(file.value_counts, packed);
  PutMap(file.null_value_counts, packed);
  PutMap(file.nan_value_counts, packed);
  PutMap(file.lower_bounds, packed);
  PutMap(file.upper_bounds, packed);
  packed.shrink_to_fit();
  file.column_sizes.clear();
  const auto keep = [&](auto& map) { std::erase_if(map, [&](const auto& each) { return each.first != kept; }); };
  keep(file.value_counts);
  keep(file.null_value_counts);
  keep(file.nan_value_counts);
  keep(file.lower_bounds);
  keep(file.upper_bounds);
  return packed;
}

void UnpackMetrics(const std::string& packed, iceberg::DataFile& file) {
  std::string_view left = packed;
  TakeMap(left, file.column_sizes);
  TakeMap(left, file.value_counts);
  TakeMap(left, file.null_value_counts);
  TakeMap(left, file.nan_value_counts);
  TakeMap(left, file.lower_bounds);
  TakeMap(left, file.upper_bounds);
}

}  // namespace firn::compaction
