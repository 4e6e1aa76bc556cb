#include "firn/decode/json/record_decoder.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "firn/decode/iso_time.h"

namespace firn::decode::json {
namespace {

using columnar::ColumnBuilder;
using schema::TypeKind;

constexpr size_t kSampleBytesMax = 100;
// A rare huge record must not hold its scratches for ever: its map entries alone may be twelve times its size.
constexpr size_t kKeptRecordBytesMax = size_t{1} << 20;

// What a timestamp column takes of epoch milliseconds.
bool IsEpochMillis(int64_t value) { return value >= kSecondsMin * 1000 && value <= kSecondsMax * 1000 + 999; }

// Types whose map keys have one text each.
bool KeyTextIsUnique(TypeKind kind) { return kind == TypeKind::kString || kind == TypeKind::kBoolean; }

// Appends the value at `at` where it is what the column usually gets. Its end; nullptr, and nothing appended, where it
// is not.
inline const char* TakeUsual(const ValuePlan& plan, const char* at, const char* text_end, ColumnBuilder& column) {
  int64_t integer = 0;
  const char* end = nullptr;
  if (*at == 'n') [[unlikely]] {
    if (plan.required || std::memcmp(at, "null", 4) != 0 || !EndsScalar(at + 4, text_end)) return nullptr;
    column.AppendNull();
    return at + 4;
  }
  switch (plan.usual) {
    case Usual::kNothing: return nullptr;
    case Usual::kString:
      if (*at != '"') return nullptr;
      end = StringStop(at + 1);
      if (*end != '"') return nullptr;
      return column.AppendReadableBytes({at + 1, static_cast<size_t>(end - at - 1)}) ? end + 1 : nullptr;
    case Usual::kInt:
      end = ReadPlainInteger(at, text_end, integer);
      if (end == nullptr || integer != static_cast<int32_t>(integer)) return nullptr;
      column.AppendInt32(static_cast<int32_t>(integer));
      return end;
    case Usual::kLong:
      end = ReadPlainInteger(at, text_end, integer);
      if (end != nullptr) column.AppendInt64(integer);
      return end;
    case Usual::kEpochMillis:
      end = ReadPlainInteger(at, text_end, integer);
      if (end == nullptr || !IsEpochMillis(integer)) return nullptr;
      column.AppendInt64(integer * 1000);
      return end;
  }
  return nullptr;
}

}  // namespace

RecordDecoder::RecordDecoder(DecoderParts parts)
    : plan_(std::move(parts.plan)), own_(std::move(parts.own)), options_(std::move(parts.options)) {}

bool RecordDecoder::Decode(const stream::Record& record, const stream::SourcePartition& partition,
                           columnar::RowBuilder& rows, Reject& reject) {
  rows_ = &rows;
  reject_ = &reject;
  row_ = rows.row_count();
  ++record_serial_;
  element_bytes_ = 0;
  depth_ = 0;
  taken_whole_ = 0;
  kept_.clear();
  key_hashes_.clear();
  counted_.clear();
  counted_beyond_ = 0;
  map_entry_count_ = 0;
  if (!record.value.has_value()) return Fail(RejectCode::kTombstone, "the record has a null value");
  if (record.value->empty()) return Fail(RejectCode::kEmptyValue, "the record's value has no bytes");
  bool good = DecodeText(*record.value) && FillMissing() && FillOwnColumns(record, partition);
  if (good) {
    rows.CloseRow();
  } else {
    rows.DiscardRow();
  }
  if (record.value->size() > kKeptRecordBytesMax) GiveBackMemory();
  return good;
}

void RecordDecoder::GiveBackMemory() {
  // Swapped, because assigning nothing keeps the capacity.
  for (std::string* text : {&text_scratch_, &bytes_scratch_, &key_scratch_, &kept_}) std::string().swap(*text);
  std::vector<uint64_t>().swap(key_hashes_);
  std::vector<MapEntry>().swap(map_entries_);
  std::vector<uint32_t>().swap(order_);
  std::vector<Member*>().swap(counted_);
  text_.GiveBackMemory();
}

bool RecordDecoder::DecodeText(std::string_view text) {
  if (text.size() > static_cast<size_t>(options_.record_bytes_max)) {
    return Fail(RejectCode::kTooLarge, fmt::format("the record is longer than record_bytes_max ({}): {} bytes",
                                                   options_.record_bytes_max, text.size()));
  }
  cursor_ = TextCursor(text_.Load(text));
  if (IsValidUtf8(text) && DecodeRoot()) return true;
  // What is wrong with the text as a whole goes before whatever the walk has met, and such a text counts no fields.
  TextFault fault = FindTextFault(text);
  return fault != TextFault::kNone && FailText(fault);
}

void RecordDecoder::Uncount() {
  for (Member* member : counted_) --member->unknown_count;
  unknown_beyond_ -= counted_beyond_;
}

bool RecordDecoder::DecodeRoot() {
  Place root;
  if (cursor_.Peek() != '{') {
    // Whether it is JSON at all decides between the two codes.
    const uint32_t at = cursor_.at();
    if (!SkipValue(root)) return false;
    if (!cursor_.AtEnd()) return Malformed();
    return Fail(RejectCode::kNotAnObject, fmt::format("the record is JSON but no object: {}", ValueText(at)));
  }
  if (!cursor_.EndsWithObject()) return Fail(RejectCode::kMalformedJson, "not JSON: the record's object has no end");
  if (!DecodeObject(plan_.root, nullptr, root)) return false;
  return cursor_.AtEnd() || Malformed();
}

// Every key is first held against the one that followed last time, as it stands between its quotes: where the order of
// keys holds, no key is read or hashed. As long as keys and values are the usual ones, the walk's place is in a
// register and the cursor does not move.
bool RecordDecoder::DecodeObject(ObjectPlan& plan, ColumnBuilder* parent, const Place& place) {
  if (++depth_ > options_.depth_max) return FailStep(TextCursor::Step::kTooDeep, place);
  const int64_t length = parent != nullptr ? parent->length() : row_;
  const auto columns = parent != nullptr ? parent->children() : rows_->columns();
  const size_t hashes_begin = key_hashes_.size();
  const char* const text_end = cursor_.text_end();
  Member** guess = &plan.first;
  const char* at = SkipSpace(cursor_.position() + 1);
  while (*at != '}') {
    Member* member = *guess;
    const char* value = member != nullptr ? ExpectedKeyEnd(at, text_end, member->quoted) : nullptr;
    if (value != nullptr) {
      at = SkipSpace(value);
    } else {
      cursor_.Return(at);
      if (!TakeOtherKey(plan)) return Malformed();
      at = cursor_.position();
      member = other_member_;
      if (member != nullptr) *guess = member;
    }
    if (member != nullptr) guess = &member->next;
    const char* end = nullptr;
    if (member != nullptr && member->single != nullptr) {
      ColumnBuilder& column = *columns[member->single_column];
      if (column.length() == length) end = TakeUsual(*member->single, at, text_end, column);
    }
    if (end != nullptr) {
      at = SkipSpace(end);
    } else {
      cursor_.Return(at);
      const std::string_view key = value != nullptr ? member->key : other_key_;
      if (!DecodeMember(member, parent, length, {&place, key, -1})) return false;
      at = cursor_.position();
    }
    if (*at == ',') {
      at = SkipSpace(at + 1);
      if (*at != '}') continue;
    } else if (*at == '}') {
      break;
    }
    cursor_.Return(at);
    return Malformed();
  }
  cursor_.Return(at);
  cursor_.Advance();
  --depth_;
  return key_hashes_.size() == hashes_begin || CheckDuplicateHashes(hashes_begin, place);
}

// A member that is not known, or whose value is not the usual one, or that does more than to fill one column.
bool RecordDecoder::DecodeMember(Member* member, ColumnBuilder* parent, int64_t length, const Place& place) {
  if (member == nullptr || member->targets.empty()) return DecodeUnknown(member, place);
  taken_whole_ += member->is_taken_whole;
  Target& target = member->targets.front();
  bool good = parent != nullptr ? DecodeColumn(*target.value, parent->child(target.column), length, place)
                                : DecodeTargets(*member, place);
  taken_whole_ -= member->is_taken_whole;
  return good;
}

// Takes the key at hand and finds its member by hash, or makes an unknown one of it (none when no more names are kept).
// False: not JSON.
bool RecordDecoder::TakeOtherKey(ObjectPlan& plan) {
  bool has_escape = false;
  if (!cursor_.TakeKey(other_key_, has_escape)) return false;
  std::string_view key = other_key_;
  if (has_escape) [[unlikely]] {
    key_scratch_.clear();
    Escapes escapes = Unescape(other_key_, key_scratch_);
    if (escapes == Escapes::kMalformed) return false;
    // A key with a lone surrogate is no column's name; its written form stands for it.
    if (escapes == Escapes::kOk) key = key_scratch_;
    other_member_ = plan.Find(key);
  } else {
    other_member_ = plan.FindQuoted(key, cursor_.text_end());
  }
  if (other_member_ == nullptr && taken_whole_ == 0 && unknown_names_ < kUnknownFieldNamesMax) {
    ++unknown_names_;
    other_member_ = &plan.Add(key);
  }
  return true;
}

ColumnBuilder& RecordDecoder::Resolve(const Target& target) const {
  ColumnBuilder* column = &rows_->column(target.column);
  for (uint32_t child : target.below) column = &column->child(child);
  return *column;
}

// A member of an object on the way from the root: it may lead to several columns and further objects.
bool RecordDecoder::DecodeTargets(Member& member, const Place& place) {
  const uint32_t begin = cursor_.at();
  for (Target& target : member.targets) {
    cursor_.Return(begin);
    bool good = target.value != nullptr ? DecodeColumn(*target.value, Resolve(target), row_, place)
                                        : DecodeWay(target, place);
    if (!good) return false;
  }
  return true;
}

bool RecordDecoder::DecodeColumn(const ValuePlan& plan, ColumnBuilder& column, int64_t length, const Place& place) {
  bool skipped = false;
  if (column.length() != length && !MakeRoomFor(column, length, place, skipped)) return false;
  return skipped || DecodeValue(plan, column, place);
}

// Brings the column to `length` rows; `skipped`: the value at hand does not count and was stepped over.
bool RecordDecoder::MakeRoomFor(ColumnBuilder& column, int64_t length, const Place& place, bool& skipped) {
  if (column.length() > length) {  // the key was there before
    if (options_.duplicate_keys == DuplicateKeys::kReject) return FailDuplicate(place);
    if (options_.duplicate_keys == DuplicateKeys::kFirst) {
      skipped = true;
      return SkipValue(place);
    }
    column.Truncate(length);
  }
  column.FillNulls(length);  // for the rows that had no such key
  return true;
}

// An object on the way to columns.
bool RecordDecoder::DecodeWay(Target& target, const Place& place) {
  if (std::exchange(target.last_record, record_serial_) == record_serial_) {
    if (options_.duplicate_keys == DuplicateKeys::kReject) return FailDuplicate(place);
    if (options_.duplicate_keys == DuplicateKeys::kFirst) return SkipValue(place);
    if (target.assembled != nullptr) target.assembled->object_record = 0;
    Forget(*target.object);
  }
  if (cursor_.Peek() == '{') {
    if (target.assembled != nullptr) target.assembled->object_record = record_serial_;
    return DecodeObject(*target.object, nullptr, place);
  }
  uint32_t at = cursor_.at();
  bool is_null = cursor_.Peek() == 'n';
  if (!SkipValue(place)) return false;
  if (is_null) return true;
  return Fail(RejectCode::kWrongType, fmt::format("columns are filled from inside '{}', which is no object: {}",
                                                  PlaceText(place), ValueText(at)));
}

bool RecordDecoder::DecodeValue(const ValuePlan& plan, ColumnBuilder& column, const Place& place) {
  char first = cursor_.Peek();
  if (first == 'n') return DecodeNull(plan, column, place);
  switch (plan.shape) {
    case Shape::kStruct: return first == '{' ? DecodeStruct(plan, column, place) : FailType(plan, place);
    case Shape::kList: return first == '[' ? DecodeList(plan, column, place) : FailType(plan, place);
    case Shape::kMap: return first == '{' ? DecodeMap(plan, column, place) : FailType(plan, place);
    case Shape::kScalar: break;
  }
  switch (first) {
    case '"': return DecodeString(plan, column, place);
    case 't':
    case 'f': return DecodeBoolean(plan, first == 't', column, place);
    case '{':
    case '[':
      if (plan.rule.kind == TypeKind::kString) return DecodeJsonText(plan, column, place);
      return FailType(plan, place);
    default: return DecodeNumber(plan, column, place);
  }
}

bool RecordDecoder::DecodeString(const ValuePlan& plan, ColumnBuilder& column, const Place& place) {
  uint32_t at = cursor_.at();
  std::string_view text;
  bool has_escape = false;
  if (!cursor_.TakeString(text, has_escape)) return Malformed();
  if (has_escape) {
    text_scratch_.clear();
    Escapes escapes = Unescape(text, text_scratch_);
    if (escapes != Escapes::kOk) return FailEscapes(escapes, place);
    text = text_scratch_;
  }
  Conversion outcome = AppendText(plan.rule, text, bytes_scratch_, column);
  return outcome == Conversion::kDone || FailConversion(outcome, plan, at, place);
}

bool RecordDecoder::DecodeNumber(const ValuePlan& plan, ColumnBuilder& column, const Place& place) {
  JsonNumber number;
  uint32_t at = cursor_.at();
  if (!cursor_.TakeNumber(number)) return Malformed();
  Conversion outcome = AppendNumber(plan.rule, number, column);
  return outcome == Conversion::kDone || FailConversion(outcome, plan, at, place);
}

bool RecordDecoder::DecodeBoolean(const ValuePlan& plan, bool value, ColumnBuilder& column, const Place& place) {
  uint32_t at = cursor_.at();
  if (!cursor_.TakeWord(value ? "true" : "false")) return Malformed();
  Conversion outcome = AppendBoolean(plan.rule, value, column);
  return outcome == Conversion::kDone || FailConversion(outcome, plan, at, place);
}

bool RecordDecoder::DecodeNull(const ValuePlan& plan, ColumnBuilder& column, const Place& place) {
  if (!cursor_.TakeWord("null")) return Malformed();
  if (plan.required) {
    return Fail(RejectCode::kNullRequired,
                fmt::format("null in the required column '{}', at '{}'", plan.name, PlaceText(place)));
  }
  column.AppendNull();
  return true;
}

bool RecordDecoder::DecodeJsonText(const ValuePlan& plan, ColumnBuilder& column, const Place& place) {
  const uint32_t begin = cursor_.at();
  const uint32_t space_count = cursor_.space_count();
  if (!SkipValue(place)) return false;
  if (column.AppendBytes(Compact(begin, space_count))) return true;
  return FailConversion(Conversion::kColumnFull, plan, begin, place);
}

// The value that was just stepped over, without white space.
std::string_view RecordDecoder::Compact(uint32_t begin, uint32_t space_count) {
  if (space_count == cursor_.space_count()) return cursor_.Raw(begin, cursor_.at());
  return cursor_.Compact(begin, cursor_.at(), text_scratch_);
}

bool RecordDecoder::DecodeStruct(const ValuePlan& plan, ColumnBuilder& column, const Place& place) {
  if (!DecodeObject(*plan.object, &column, place)) return false;
  const int64_t length = column.length();
  for (const ObjectPlan::RequiredField& field : plan.object->required) {
    if (column.child(field.column).length() <= length) return FailMissing(field.value->name);
  }
  column.AppendStruct();
  return true;
}

bool RecordDecoder::DecodeList(const ValuePlan& plan, ColumnBuilder& column, const Place& place) {
  if (++depth_ > options_.depth_max) return FailStep(TextCursor::Step::kTooDeep, place);
  uint32_t at = cursor_.at();
  cursor_.Advance();
  if (cursor_.Peek() == ']') {
    cursor_.Advance();
  } else {
    Place here{&place, {}, 0};
    for (;; ++here.index) {
      element_bytes_ += plan.element_bytes;
      if (element_bytes_ > kElementBytesMax) return FailElements(plan, place);
      if (!DecodeValue(*plan.element, column.child(0), here)) return false;
      char separator = cursor_.Peek();
      cursor_.Advance();
      if (separator == ']') break;
      if (separator != ',') return Malformed();
    }
  }
  --depth_;
  return column.AppendList() || FailConversion(Conversion::kColumnFull, plan, at, place);
}

// Two passes, because a key that comes again must not become a second entry.
bool RecordDecoder::DecodeMap(const ValuePlan& plan, ColumnBuilder& column, const Place& place) {
  if (++depth_ > options_.depth_max) return FailStep(TextCursor::Step::kTooDeep, place);
  const size_t begin = map_entry_count_;
  const uint32_t at = cursor_.at();
  if (!ReadMapEntries(place)) return false;
  const uint32_t map_end = cursor_.at();
  const size_t end = map_entry_count_;
  if (end - begin > 1 && !DropDuplicateEntries(begin, place)) return false;
  for (size_t i = begin; i < end; ++i) {
    if (map_entries_[i].dropped) continue;
    element_bytes_ += plan.element_bytes;
    if (element_bytes_ > kElementBytesMax) return FailElements(plan, place);
    Place here{&place, map_entries_[i].key, -1};
    cursor_.Return(map_entries_[i].value_at);
    if (!AppendMapKey(plan, map_entries_[i], column.child(0), here)) return false;
    if (!DecodeValue(*plan.element, column.child(1), here)) return false;
  }
  if (!KeyTextIsUnique(plan.key_rule.kind) && !KeysAreDistinct(column, place)) return false;
  map_entry_count_ = begin;
  cursor_.Return(map_end);
  --depth_;
  return column.AppendList() || FailConversion(Conversion::kColumnFull, plan, at, place);
}

bool RecordDecoder::ReadMapEntries(const Place& place) {
  cursor_.Advance();
  if (cursor_.Peek() == '}') {
    cursor_.Advance();
    return true;
  }
  for (;;) {
    if (cursor_.Peek() != '"') return Malformed();
    if (map_entry_count_ == map_entries_.size()) map_entries_.emplace_back();
    MapEntry& entry = map_entries_[map_entry_count_++];
    entry.key_at = cursor_.at();
    entry.dropped = false;
    if (!cursor_.TakeString(entry.key, entry.has_escape)) return Malformed();
    if (entry.has_escape) {
      entry.unescaped.clear();
      Escapes escapes = Unescape(entry.key, entry.unescaped);
      if (escapes != Escapes::kOk) return FailEscapes(escapes, place);
    }
    if (cursor_.Peek() != ':') return Malformed();
    cursor_.Advance();
    entry.value_at = cursor_.at();
    if (!SkipValue(Place{&place, entry.key, -1})) return false;
    char separator = cursor_.Peek();
    cursor_.Advance();
    if (separator == '}') return true;
    if (separator != ',') return Malformed();
  }
}

bool RecordDecoder::DropDuplicateEntries(size_t begin, const Place& place) {
  order_.clear();
  for (size_t i = begin; i < map_entry_count_; ++i) order_.push_back(static_cast<uint32_t>(i));
  std::ranges::sort(order_, [&](uint32_t a, uint32_t b) {
    int compared = map_entries_[a].text().compare(map_entries_[b].text());
    return compared != 0 ? compared < 0 : a < b;
  });
  for (size_t i = 1; i < order_.size(); ++i) {
    MapEntry& earlier = map_entries_[order_[i - 1]];
    MapEntry& later = map_entries_[order_[i]];
    if (earlier.text() != later.text()) continue;
    if (options_.duplicate_keys == DuplicateKeys::kReject) return FailDuplicate(Place{&place, later.key, -1});
    (options_.duplicate_keys == DuplicateKeys::kLast ? earlier : later).dropped = true;
  }
  return true;
}

bool RecordDecoder::AppendMapKey(const ValuePlan& plan, const MapEntry& entry, ColumnBuilder& column,
                                 const Place& place) {
  Conversion outcome = AppendText(plan.key_rule, entry.text(), bytes_scratch_, column);
  if (outcome == Conversion::kDone) return true;
  ValuePlan key;  // only to say what failed
  key.name = plan.name + ".key";
  key.type_name = "map key";
  return FailConversion(outcome, key, entry.key_at, place);
}

// Keys of different text may be one value ("1" and "1.0" of an int): a map has room for one of them, and no policy says
// which is meant.
bool RecordDecoder::KeysAreDistinct(ColumnBuilder& column, const Place& place) {
  ColumnBuilder& keys = column.child(0);
  int64_t begin = keys.length() - column.open_elements();
  order_.clear();
  for (int64_t i = begin; i < keys.length(); ++i) order_.push_back(static_cast<uint32_t>(i - begin));
  std::ranges::sort(order_, [&](uint32_t a, uint32_t b) { return keys.Value(begin + a) < keys.Value(begin + b); });
  for (size_t i = 1; i < order_.size(); ++i) {
    if (keys.Value(begin + order_[i - 1]) == keys.Value(begin + order_[i])) return FailDuplicate(place);
  }
  return true;
}

bool RecordDecoder::DecodeUnknown(Member* member, const Place& place) {
  const uint32_t begin = cursor_.at();
  const uint32_t space_count = cursor_.space_count();
  if (!SkipValue(place)) return false;
  if (options_.duplicate_keys == DuplicateKeys::kReject) {
    key_scratch_.clear();
    if (Unescape(place.key, key_scratch_) != Escapes::kOk) key_scratch_ = place.key;
    key_hashes_.push_back(HashKey(key_scratch_));
  }
  if (taken_whole_ > 0 || (member != nullptr && member->is_taken)) return true;
  std::string_view raw = cursor_.Raw(begin, cursor_.at());
  unknown_seen_ = true;
  if (member == nullptr) {
    ++unknown_beyond_;
    ++counted_beyond_;
  } else {
    counted_.push_back(member);
    if (member->unknown_count++ == 0) member->sample = Shorten(raw, kSampleBytesMax);
  }
  if (options_.unknown_fields == UnknownFields::kReject) {
    return Fail(RejectCode::kUnknownField, fmt::format("no column takes the field '{}': {}", PlaceText(place),
                                                       Shorten(raw, kRejectValueBytesMax)));
  }
  if (options_.unknown_fields == UnknownFields::kKeep) {
    Keep(Compact(begin, space_count), place);
  }
  return true;
}

// The keys are as they were written, so what is between the quotes needs no escaping again.
void RecordDecoder::Keep(std::string_view value, const Place& place) {
  kept_ += kept_.empty() ? "{\"" : ",\"";
  AppendPlace(place, kept_);
  kept_ += "\":";
  kept_ += value;
}

bool RecordDecoder::SkipValue(const Place& place) {
  TextCursor::Step step = cursor_.SkipValue(options_.depth_max - depth_);
  return step == TextCursor::Step::kOk || FailStep(step, place);
}

// The object comes again and its later form holds: what the earlier one has filled is taken back.
void RecordDecoder::Forget(ObjectPlan& plan) {
  for (Member& member : plan.members) {
    for (Target& target : member.targets) {
      if (target.value != nullptr) {
        Resolve(target).Truncate(row_);
      } else {
        target.last_record = 0;
        if (target.assembled != nullptr) target.assembled->object_record = 0;
        Forget(*target.object);
      }
    }
  }
}

bool RecordDecoder::CheckDuplicateHashes(size_t begin, const Place& place) {
  auto first = key_hashes_.begin() + static_cast<std::ptrdiff_t>(begin);
  std::sort(first, key_hashes_.end());
  bool distinct = std::adjacent_find(first, key_hashes_.end()) == key_hashes_.end();
  key_hashes_.resize(begin);
  return distinct || FailDuplicate(place);
}

bool RecordDecoder::FillMissing() {
  for (CheckedColumn& checked : plan_.checked) {
    ColumnBuilder& column = rows_->column(checked.column);
    if (column.length() > row_) continue;
    bool present = false;
    if (checked.assembled != nullptr && !CloseAssembled(*checked.assembled, column, present)) return false;
    if (!present && checked.required) return FailMissing(checked.name);
  }
  return true;
}

// Closes the struct when its own object or a value of any part was there; else leaves it and its parts without a row.
bool RecordDecoder::CloseAssembled(AssembledStruct& assembled, ColumnBuilder& column, bool& present) {
  present = assembled.object_record == record_serial_;
  for (size_t i = 0; i < assembled.parts.size(); ++i) {
    AssembledStruct::Part& part = assembled.parts[i];
    bool part_present = false;
    if (part.assembled != nullptr && !CloseAssembled(*part.assembled, column.child(i), part_present)) return false;
    present = present || part_present || column.child(i).length() > row_;
  }
  if (!present) return true;
  for (size_t i = 0; i < assembled.parts.size(); ++i) {
    if (assembled.parts[i].required && column.child(i).length() <= row_) return FailMissing(assembled.parts[i].name);
  }
  column.FillNulls(row_);
  column.AppendStruct();
  return true;
}

bool RecordDecoder::FillOwnColumns(const stream::Record& record, const stream::SourcePartition& partition) {
  if (own_.kafka.has_value() &&
      !own_.kafka_column->Append(record, partition, rows_->column(*own_.kafka), *reject_)) {
    return false;
  }
  if (own_.raw.has_value() && !rows_->column(*own_.raw).AppendBytes(*record.value)) {
    return Fail(RejectCode::kTooLarge, "the batch has no room for the record's bytes; cut batches earlier");
  }
  if (!own_.unknown.has_value()) return true;
  ColumnBuilder& column = rows_->column(*own_.unknown);
  if (kept_.empty() && !own_.unknown_required) {
    column.AppendNull();
    return true;
  }
  kept_ += kept_.empty() ? "{}" : "}";
  if (column.AppendBytes(kept_)) return true;
  return Fail(RejectCode::kTooLarge, "the batch has no room for the record's unknown fields; cut batches earlier");
}

UnknownFieldCounts RecordDecoder::TakeUnknownFieldCounts() {
  UnknownFieldCounts counts;
  if (!std::exchange(unknown_seen_, false)) return counts;
  // Names that are known need no new places, and what follows them stays learned; as long as there is room for others.
  const bool forget = unknown_names_ > kUnknownFieldNamesMax / 2;
  CollectUnknown(plan_.root, forget, counts);
  counts.beyond_the_limit = std::exchange(unknown_beyond_, 0);
  if (forget) unknown_names_ = 0;
  return counts;
}

void RecordDecoder::CollectUnknown(ObjectPlan& plan, bool forget, UnknownFieldCounts& counts) {
  for (size_t i = 0; i < plan.known_count; ++i) {
    for (Target& target : plan.members[i].targets) {
      if (target.object != nullptr) CollectUnknown(*target.object, forget, counts);
      for (ValuePlan* value = target.value.get(); value != nullptr; value = value->element.get()) {
        if (value->object != nullptr) CollectUnknown(*value->object, forget, counts);
      }
    }
  }
  for (size_t i = plan.known_count; i < plan.members.size(); ++i) {
    Member& member = plan.members[i];
    if (member.unknown_count == 0) continue;
    std::string path = plan.path + member.key;
    counts.by_path[path] += std::exchange(member.unknown_count, 0);
    counts.sample_by_path.emplace(std::move(path), member.sample);
  }
  if (forget) plan.ForgetUnknown();
}

}  // namespace firn::decode::json
