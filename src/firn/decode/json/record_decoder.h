// RecordDecoder: walks one JSON record along the plan and appends its values; the one implementation of JsonDecoder.
//
// Owned by one worker thread. No allocation per record or value once its buffers have grown to the records' size; after
// a huge record they are given back.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "firn/decode/json/decode_plan.h"
#include "firn/decode/json/json_decoder.h"
#include "firn/decode/json/json_string.h"
#include "firn/decode/json/kafka_column.h"
#include "firn/decode/json/padded_text.h"
#include "firn/decode/json/text_check.h"
#include "firn/decode/json/text_cursor.h"

namespace firn::decode::json {

inline constexpr size_t kRejectValueBytesMax = 200;  // of a value or place in a reject's message

// Columns that the decoder fills from something else than a JSON path.
struct OwnColumns {
  std::optional<uint32_t> unknown;
  bool unknown_required = false;
  std::optional<uint32_t> raw;
  std::optional<uint32_t> kafka;
  std::optional<KafkaColumn> kafka_column;
};

// What a decoder is made of.
struct DecoderParts {
  DecodePlan plan;
  OwnColumns own;
  JsonDecoderOptions options;
};
// Errors as JsonDecoder::Create has them.
Result<DecoderParts> CompileDecoder(const schema::Schema& schema, JsonDecoderOptions options);

class RecordDecoder : public JsonDecoder {
 public:
  explicit RecordDecoder(DecoderParts parts);

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
    uint32_t key_at = 0;
    uint32_t value_at = 0;
    bool has_escape = false;
    bool dropped = false;
    std::string_view text() const { return has_escape ? std::string_view(unescaped) : key; }
  };

  bool DecodeText(std::string_view text);
  bool DecodeRoot();
  bool DecodeObject(ObjectPlan& plan, columnar::ColumnBuilder* parent, const Place& place);
  bool TakeOtherKey(ObjectPlan& plan);
  bool DecodeMember(Member* member, columnar::ColumnBuilder* parent, int64_t length, const Place& place);
  bool MakeRoomFor(columnar::ColumnBuilder& column, int64_t length, const Place& place, bool& skipped);
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
  std::string_view Compact(uint32_t begin, uint32_t space_count);
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
  bool FailText(TextFault fault);
  void Uncount();
  bool FailStep(TextCursor::Step step, const Place& place);
  bool FailEscapes(Escapes escapes, const Place& place);
  bool FailConversion(Conversion outcome, const ValuePlan& plan, uint32_t at, const Place& place);
  bool FailType(const ValuePlan& plan, const Place& place);
  bool FailDuplicate(const Place& place);
  bool FailMissing(std::string_view column);
  bool FailElements(const ValuePlan& plan, const Place& place);
  std::string ValueText(uint32_t at) const;  // the value that begins there, shortened
  void CollectUnknown(ObjectPlan& plan, bool forget, UnknownFieldCounts& counts);
  static std::string PlaceText(const Place& place);
  static void AppendPlace(const Place& place, std::string& out);

  DecodePlan plan_;
  OwnColumns own_;
  JsonDecoderOptions options_;
  PaddedText text_;
  TextCursor cursor_;
  std::string_view other_key_;        // what TakeOtherKey has taken, as written
  Member* other_member_ = nullptr;
  columnar::RowBuilder* rows_ = nullptr;
  Reject* reject_ = nullptr;
  int64_t row_ = 0;              // index of the row at hand
  uint64_t record_serial_ = 0;
  int64_t element_bytes_ = 0;    // of the record so far
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
  size_t unknown_names_ = 0;           // that the plan holds
  bool unknown_seen_ = false;          // since the counts were taken
  uint64_t unknown_beyond_ = 0;
  std::vector<Member*> counted_;       // the unknown fields that this record has counted
  uint64_t counted_beyond_ = 0;
};

}  // namespace firn::decode::json
