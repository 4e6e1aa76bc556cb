// IndexedDecoder: the reference that the decoder is held against: the same plan, walked over simdjson's index of
// tokens, every key looked up by hash, every number and string by its column's rule, without a learned order and
// shortcuts.
//
// Owned by one thread. Not fast, and only for tests: whatever it makes of a record, JsonDecoder must make too.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "firn/decode/json/decode_plan.h"
#include "firn/decode/json/json_decoder.h"
#include "firn/decode/json/kafka_column.h"
#include "firn/decode/json/record_decoder.h"
#include "firn/decode/json/testing/structural_index.h"
#include "firn/decode/json/testing/token_cursor.h"

namespace firn::decode::json::testing {

class IndexedDecoder : public JsonDecoder {
 public:
  explicit IndexedDecoder(DecoderParts parts);

  bool Decode(const stream::Record& record, const stream::SourcePartition& partition, columnar::RowBuilder& rows,
              Reject& reject) override;
  UnknownFieldCounts TakeUnknownFieldCounts() override;

 private:
  // Where the walk is, as a chain on the stack; only written out for people and for kept unknown fields.
  struct Place {
    const Place* above = nullptr;
    std::string_view key;   // as written, escapes included
    int64_t index = -1;     // of a list's element; -1: a key
  };
  struct MapEntry {
    std::string_view key;   // as written
    std::string unescaped;  // only when `key` has escapes
    uint32_t value_at = 0;
    bool has_escape = false;
    bool dropped = false;
    std::string_view text() const { return has_escape ? std::string_view(unescaped) : key; }
  };

  bool DecodeText(std::string_view text);
  bool DecodeRoot();
  bool DecodeObject(ObjectPlan& plan, columnar::ColumnBuilder* parent, const Place& place);
  bool FindMember(ObjectPlan& plan, std::string_view raw, Member*& member);
  bool DecodeTargets(Member& member, const Place& place);
  bool DecodeColumn(const ValuePlan& plan, columnar::ColumnBuilder& column, int64_t length, const Place& place);
  bool DecodeWay(Target& target, const Place& place);
  bool DecodeValue(const ValuePlan& plan, columnar::ColumnBuilder& column, const Place& place);
  bool DecodeString(const ValuePlan& plan, columnar::ColumnBuilder& column, const Place& place);
  bool DecodeNumber(const ValuePlan& plan, columnar::ColumnBuilder& column, const Place& place);
  bool DecodeBoolean(const ValuePlan& plan, bool value, columnar::ColumnBuilder& column, const Place& place);
  bool DecodeNull(const ValuePlan& plan, columnar::ColumnBuilder& column, const Place& place);
  bool DecodeJsonText(const ValuePlan& plan, columnar::ColumnBuilder& column, const Place& place);
  bool DecodeStruct(const ValuePlan& plan, columnar::ColumnBuilder& column, const Place& place);
  bool DecodeList(const ValuePlan& plan, columnar::ColumnBuilder& column, const Place& place);
  bool DecodeMap(const ValuePlan& plan, columnar::ColumnBuilder& column, const Place& place);
  bool ReadMapEntries(const Place& place);
  bool DropDuplicateEntries(size_t begin, const Place& place);
  bool AppendMapKey(const ValuePlan& plan, const MapEntry& entry, columnar::ColumnBuilder& column, const Place& place);
  bool KeysAreDistinct(columnar::ColumnBuilder& column, const Place& place);
  bool DecodeUnknown(Member* member, const Place& place);
  void Keep(std::string_view value, const Place& place);
  bool SkipValue(const Place& place);
  void Forget(ObjectPlan& plan);
  void GiveBackMemory();
  bool CheckDuplicateHashes(size_t begin, const Place& place);
  bool FillMissing();
  bool CloseAssembled(AssembledStruct& assembled, columnar::ColumnBuilder& column, bool& present);
  bool FillOwnColumns(const stream::Record& record, const stream::SourcePartition& partition);

  columnar::ColumnBuilder& Resolve(const Target& target) const;

  // All of these fill the reject and return false.
  bool Fail(RejectCode code, std::string message);
  bool Malformed();
  bool FailStep(TokenCursor::Step step, const Place& place);
  bool FailEscapes(Escapes escapes, const Place& place);
  bool FailConversion(Conversion outcome, const ValuePlan& plan, uint32_t token, const Place& place);
  bool FailType(const ValuePlan& plan, const Place& place);
  bool FailDuplicate(const Place& place);
  bool FailMissing(std::string_view column);
  std::string ValueText(uint32_t token) const;  // the value that begins there, shortened
  void CollectUnknown(ObjectPlan& plan, UnknownFieldCounts& counts);
  static std::string PlaceText(const Place& place);
  static void AppendPlace(const Place& place, std::string& out);

  DecodePlan plan_;
  OwnColumns own_;
  JsonDecoderOptions options_;
  StructuralIndex index_;
  TokenCursor cursor_;
  columnar::RowBuilder* rows_ = nullptr;
  Reject* reject_ = nullptr;
  int64_t row_ = 0;              // index of the row at hand
  uint64_t record_serial_ = 0;
  int32_t depth_ = 0;
  int32_t taken_whole_ = 0;      // above 0: a column takes all that is here, so nothing is unknown
  std::string text_scratch_;     // unescaped strings, compacted JSON
  std::string bytes_scratch_;    // decoded binary
  std::string key_scratch_;      // unescaped keys
  std::string kept_;             // unknown fields of this record, without the braces
  std::vector<uint64_t> key_hashes_;   // of unknown keys, when duplicates are rejected
  std::vector<MapEntry> map_entries_;  // a stack: maps nest
  std::vector<uint32_t> order_;
  size_t map_entry_count_ = 0;         // entries in use; the rest keep their memory
  size_t unknown_names_ = 0;
  uint64_t unknown_beyond_ = 0;
};

}  // namespace firn::decode::json::testing
