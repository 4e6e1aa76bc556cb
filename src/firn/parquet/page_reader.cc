#include "firn/parquet/page_reader.h"

#include <fmt/format.h>
#include <zlib.h>

#include <cstring>
#include <limits>

#include "firn/parquet/thrift_compact.h"

namespace firn::parquet {
namespace {

constexpr std::string_view kMagic = "PAR1";
constexpr std::string_view kEncryptedMagic = "PARE";
constexpr size_t kTailBytes = 8;  // length of the footer, magic

std::unexpected<Error> Corrupt(std::string message) {
  return Fail(ErrorCode::kCorruption, std::move(message));
}

// Walks the fields of one struct. `take` gets each field and says whether it has read it; the others are passed over.
template <typename Take>
Status ReadFields(ThriftReader& reader, Take take) {
  for (;;) {
    FIRN_ASSIGN(const ThriftReader::FieldHeader field, reader.NextField());
    if (field.type == ThriftType::kStop) return {};
    FIRN_ASSIGN(const bool taken, take(field));
    if (!taken) FIRN_TRY(reader.Skip(field.type));
  }
}

template <typename Take>
Status ReadStruct(ThriftReader& reader, Take take) {
  FIRN_TRY(reader.BeginStruct());
  return ReadFields(reader, take);
}

template <typename Number>
Result<bool> TakeNumber(ThriftReader& reader, ThriftReader::FieldHeader field, Number& out) {
  if (field.type != ThriftType::kI16 && field.type != ThriftType::kI32 && field.type != ThriftType::kI64) return false;
  FIRN_ASSIGN(const int64_t value, reader.Number());
  if (value < std::numeric_limits<Number>::min() || value > std::numeric_limits<Number>::max()) {
    return Corrupt(fmt::format("a number beyond its type in field {}: {}", field.id, value));
  }
  out = static_cast<Number>(value);
  return true;
}

template <typename Number>
Result<bool> TakeNumber(ThriftReader& reader, ThriftReader::FieldHeader field, std::optional<Number>& out) {
  Number value = 0;
  FIRN_ASSIGN(const bool taken, TakeNumber(reader, field, value));
  if (taken) out = value;
  return taken;
}

Result<bool> TakeText(ThriftReader& reader, ThriftReader::FieldHeader field, std::string_view& out) {
  if (field.type != ThriftType::kBinary) return false;
  FIRN_ASSIGN(out, reader.Binary());
  return true;
}

Result<bool> TakeText(ThriftReader& reader, ThriftReader::FieldHeader field, std::optional<std::string_view>& out) {
  std::string_view text;
  FIRN_ASSIGN(const bool taken, TakeText(reader, field, text));
  if (taken) out = text;
  return taken;
}

bool TakeBool(ThriftReader::FieldHeader field, bool& out) {
  if (field.type != ThriftType::kTrue && field.type != ThriftType::kFalse) return false;
  out = field.type == ThriftType::kTrue;
  return true;
}

template <typename Element>
Result<bool> TakeList(ThriftReader& reader, ThriftReader::FieldHeader field, Element element) {
  if (field.type != ThriftType::kList) return false;
  FIRN_ASSIGN(const ThriftReader::ListHeader list, reader.BeginList());
  for (uint32_t i = 0; i < list.count; ++i) FIRN_TRY(element(list.element));
  return true;
}

Result<bool> TakeNumbers(ThriftReader& reader, ThriftReader::FieldHeader field, std::vector<int64_t>& out) {
  return TakeList(reader, field, [&](ThriftType type) -> Status {
    if (type != ThriftType::kI64) return Corrupt("a list of numbers holds something else");
    FIRN_ASSIGN(const int64_t value, reader.Number());
    out.push_back(value);
    return {};
  });
}

Result<bool> TakeTexts(ThriftReader& reader, ThriftReader::FieldHeader field, std::vector<std::string_view>& out) {
  return TakeList(reader, field, [&](ThriftType type) -> Status {
    if (type != ThriftType::kBinary) return Corrupt("a list of texts holds something else");
    FIRN_ASSIGN(const std::string_view text, reader.Binary());
    out.push_back(text);
    return {};
  });
}

// Schema -------------------------------------------------------------------------------------------------------------

struct SchemaElement {
  FileNode node;
  int32_t children = 0;
  bool has_logical_type = false;
};

// ConvertedType, the annotation of old.
void AnnotateConverted(int32_t converted, FileNode& node) {
  constexpr int32_t kSignedBits[] = {8, 16, 32, 64};
  switch (converted) {
    case 0: node.annotation = Annotation::kText; break;
    case 5: node.annotation = Annotation::kDecimal; break;
    case 6: node.annotation = Annotation::kDate; break;
    case 8: node.annotation = Annotation::kTimeMicros; break;
    case 10: node.annotation = Annotation::kTimestampMicros; break;
    case 15:
    case 16:
    case 17:
    case 18:
      node.annotation = Annotation::kSignedInteger;
      node.integer_bits = kSignedBits[converted - 15];
      break;
    case 4:
    case 19: node.annotation = Annotation::kText; break;  // ENUM, JSON: bytes of text
    default: node.annotation = Annotation::kOther; break;
  }
}

// TimeUnit: 1 milliseconds, 2 microseconds, 3 nanoseconds.
Result<int16_t> ReadTimeUnit(ThriftReader& reader) {
  int16_t unit = 0;
  FIRN_TRY(ReadStruct(reader, [&](ThriftReader::FieldHeader field) -> Result<bool> {
    if (field.id != 2 || field.type != ThriftType::kStruct) return false;
    FIRN_TRY(ReadStruct(reader, [&](ThriftReader::FieldHeader choice) -> Result<bool> {
      unit = choice.id;
      return false;
    }));
    return true;
  }));
  return unit;
}

Status ReadIntegerAnnotation(ThriftReader& reader, FileNode& node) {
  bool is_signed = false;
  FIRN_TRY(ReadStruct(reader, [&](ThriftReader::FieldHeader field) -> Result<bool> {
    if (field.id == 1 && field.type == ThriftType::kByte) {
      FIRN_ASSIGN(const int64_t bits, reader.Byte());
      node.integer_bits = static_cast<int32_t>(bits);
      return true;
    }
    return field.id == 2 && TakeBool(field, is_signed);
  }));
  node.annotation = is_signed ? Annotation::kSignedInteger : Annotation::kOther;
  return {};
}

Result<bool> ReadLogicalType(ThriftReader& reader, FileNode& node) {
  FIRN_TRY(ReadStruct(reader, [&](ThriftReader::FieldHeader field) -> Result<bool> {
    node.annotation = Annotation::kOther;
    if (field.type != ThriftType::kStruct) return false;
    switch (field.id) {
      case 1:
      case 4:
      case 12: node.annotation = Annotation::kText; return false;  // STRING, ENUM, JSON
      case 5:
        node.annotation = Annotation::kDecimal;
        FIRN_TRY(ReadStruct(reader, [&](ThriftReader::FieldHeader part) -> Result<bool> {
          if (part.id == 1) return TakeNumber(reader, part, node.scale);
          return part.id == 2 ? TakeNumber(reader, part, node.precision) : Result<bool>(false);
        }));
        return true;
      case 6: node.annotation = Annotation::kDate; return false;
      case 7: {
        FIRN_ASSIGN(const int16_t unit, ReadTimeUnit(reader));
        if (unit == 2) node.annotation = Annotation::kTimeMicros;
        return true;
      }
      case 8: {
        FIRN_ASSIGN(const int16_t unit, ReadTimeUnit(reader));
        if (unit == 2) node.annotation = Annotation::kTimestampMicros;
        if (unit == 3) node.annotation = Annotation::kTimestampNanos;
        return true;
      }
      case 10: FIRN_TRY(ReadIntegerAnnotation(reader, node)); return true;
      case 14: node.annotation = Annotation::kUuid; return false;
      default: return false;
    }
  }));
  return true;
}

Result<SchemaElement> ReadSchemaElement(ThriftReader& reader) {
  SchemaElement element;
  FileNode& node = element.node;
  FileNode logical;
  int32_t repetition = 0;
  int32_t converted = -1;
  FIRN_TRY(ReadStruct(reader, [&](ThriftReader::FieldHeader field) -> Result<bool> {
    switch (field.id) {
      case 1: return TakeNumber(reader, field, node.physical_type);
      case 2: return TakeNumber(reader, field, node.type_length);
      case 3: return TakeNumber(reader, field, repetition);
      case 4: return TakeText(reader, field, node.name);
      case 5: return TakeNumber(reader, field, element.children);
      case 6: return TakeNumber(reader, field, converted);
      case 7: return TakeNumber(reader, field, node.scale);
      case 8: return TakeNumber(reader, field, node.precision);
      case 9: return TakeNumber(reader, field, node.field_id);
      case 10:
        element.has_logical_type = field.type == ThriftType::kStruct;
        return element.has_logical_type ? ReadLogicalType(reader, logical) : Result<bool>(false);
      default: return false;
    }
  }));
  if (repetition < 0 || repetition > 2 || element.children < 0) return Corrupt("a schema element that cannot be");
  node.repetition = static_cast<Repetition>(repetition);
  if (element.has_logical_type) {
    node.annotation = logical.annotation;
    node.integer_bits = logical.integer_bits;
    if (logical.annotation == Annotation::kDecimal) {
      node.scale = logical.scale;
      node.precision = logical.precision;
    }
  } else if (converted >= 0) {
    AnnotateConverted(converted, node);
  }
  return element;
}

// Parents, levels and leaves from the depth-first list with its counts of children.
class SchemaTree {
 public:
  explicit SchemaTree(InputFooter& footer) : footer_(footer) {}

  Status Add(SchemaElement element) {
    FileNode& node = element.node;
    const auto index = static_cast<int32_t>(footer_.nodes.size());
    if (index > 0) {
      while (!open_.empty() && open_.back().left == 0) open_.pop_back();
      if (open_.empty()) return Corrupt("the schema has elements outside its root");
      node.parent = open_.back().node;
      --open_.back().left;
      const FileNode& parent = footer_.nodes[static_cast<size_t>(node.parent)];
      node.definition_level = parent.definition_level;
      node.repetition_level = parent.repetition_level;
      if (node.repetition != Repetition::kRequired) ++node.definition_level;
      if (node.repetition == Repetition::kRepeated) ++node.repetition_level;
    }
    node.is_leaf = index > 0 && element.children == 0;
    if (node.is_leaf && node.physical_type < 0) return Corrupt("a column of the schema has no type");
    if (node.is_leaf) footer_.leaves.push_back(index);
    if (!node.is_leaf) open_.push_back({index, element.children});
    if (open_.size() > static_cast<size_t>(kFileSchemaDepthMax)) return Corrupt("the schema is nested too deeply");
    footer_.nodes.push_back(node);
    return {};
  }

  Status Finish() const {
    for (const Open& open : open_) {
      if (open.left != 0) return Corrupt("the schema ends early");
    }
    return {};
  }

 private:
  struct Open {
    int32_t node;
    int32_t left;
  };
  InputFooter& footer_;
  std::vector<Open> open_;
};

// Row groups ---------------------------------------------------------------------------------------------------------

Status ReadStatistics(ThriftReader& reader, FileStatistics& out) {
  return ReadStruct(reader, [&](ThriftReader::FieldHeader field) -> Result<bool> {
    switch (field.id) {
      case 3: return TakeNumber(reader, field, out.null_count);
      case 5: return TakeText(reader, field, out.max);
      case 6: return TakeText(reader, field, out.min);
      case 7: return TakeBool(field, out.max_is_exact);
      case 8: return TakeBool(field, out.min_is_exact);
      default: return false;
    }
  });
}

Status ReadSizes(ThriftReader& reader, FileSizes& out) {
  return ReadStruct(reader, [&](ThriftReader::FieldHeader field) -> Result<bool> {
    switch (field.id) {
      case 1: return TakeNumber(reader, field, out.unencoded_bytes);
      case 2: return TakeNumbers(reader, field, out.repetition_levels);
      case 3: return TakeNumbers(reader, field, out.definition_levels);
      default: return false;
    }
  });
}

Status ReadColumnMetaData(ThriftReader& reader, FileChunk& chunk) {
  return ReadStruct(reader, [&](ThriftReader::FieldHeader field) -> Result<bool> {
    const bool is_struct = field.type == ThriftType::kStruct;
    switch (field.id) {
      case 1: return TakeNumber(reader, field, chunk.physical_type);
      case 4: return TakeNumber(reader, field, chunk.codec);
      case 5: return TakeNumber(reader, field, chunk.num_values);
      case 7: return TakeNumber(reader, field, chunk.compressed_bytes);
      case 9: return TakeNumber(reader, field, chunk.data_page_offset);
      case 11: return TakeNumber(reader, field, chunk.dictionary_page_offset);
      case 12:
        if (is_struct) FIRN_TRY(ReadStatistics(reader, chunk.statistics));
        return is_struct;
      case 14: chunk.has_bloom_filter = true; return false;
      case 16:
        if (is_struct) FIRN_TRY(ReadSizes(reader, chunk.sizes));
        return is_struct;
      default: return false;
    }
  });
}

std::optional<ByteSpan> SpanOf(std::optional<int64_t> offset, int32_t length) {
  if (!offset.has_value() || length <= 0) return std::nullopt;
  return ByteSpan{*offset, length};
}

Result<FileChunk> ReadChunk(ThriftReader& reader) {
  FileChunk chunk;
  std::optional<int64_t> offset_index;
  std::optional<int64_t> column_index;
  int32_t offset_index_bytes = 0;
  int32_t column_index_bytes = 0;
  bool has_metadata = false;
  FIRN_TRY(ReadStruct(reader, [&](ThriftReader::FieldHeader field) -> Result<bool> {
    switch (field.id) {
      case 1: chunk.is_elsewhere = true; return false;
      case 3:
        has_metadata = field.type == ThriftType::kStruct;
        if (has_metadata) FIRN_TRY(ReadColumnMetaData(reader, chunk));
        return has_metadata;
      case 4: return TakeNumber(reader, field, offset_index);
      case 5: return TakeNumber(reader, field, offset_index_bytes);
      case 6: return TakeNumber(reader, field, column_index);
      case 7: return TakeNumber(reader, field, column_index_bytes);
      case 8:
      case 9: chunk.is_encrypted = true; return false;
      default: return false;
    }
  }));
  if (!has_metadata && !chunk.is_encrypted) return Corrupt("a column chunk without metadata");
  chunk.offset_index = SpanOf(offset_index, offset_index_bytes);
  chunk.column_index = SpanOf(column_index, column_index_bytes);
  return chunk;
}

Result<FileRowGroup> ReadRowGroup(ThriftReader& reader) {
  FileRowGroup group;
  FIRN_TRY(ReadStruct(reader, [&](ThriftReader::FieldHeader field) -> Result<bool> {
    if (field.id == 1) {
      return TakeList(reader, field, [&](ThriftType type) -> Status {
        if (type != ThriftType::kStruct) return Corrupt("a list of column chunks holds something else");
        FIRN_ASSIGN(FileChunk chunk, ReadChunk(reader));
        group.chunks.push_back(std::move(chunk));
        return {};
      });
    }
    return field.id == 3 ? TakeNumber(reader, field, group.num_rows) : Result<bool>(false);
  }));
  return group;
}

// Every column has to say TYPE_ORDER, the first and so far only member of the union.
Result<bool> ReadColumnOrders(ThriftReader& reader, ThriftReader::FieldHeader field, InputFooter& footer) {
  size_t typed = 0;
  FIRN_ASSIGN(const bool taken, TakeList(reader, field, [&](ThriftType type) -> Status {
                if (type != ThriftType::kStruct) return Corrupt("a list of column orders holds something else");
                return ReadStruct(reader, [&](ThriftReader::FieldHeader choice) -> Result<bool> {
                  if (choice.id == 1) ++typed;
                  return false;
                });
              }));
  footer.has_type_order = taken && typed == footer.leaves.size() && typed > 0;
  return taken;
}

Status CheckFooter(const InputFooter& footer) {
  if (footer.leaves.empty()) return Corrupt("the file has no column");
  int64_t rows = 0;
  for (const FileRowGroup& group : footer.row_groups) {
    if (group.chunks.size() != footer.leaves.size()) return Corrupt("a row group has not the columns of the schema");
    if (group.num_rows < 0 || __builtin_add_overflow(rows, group.num_rows, &rows)) {
      return Corrupt("a row group with a number of rows that cannot be");
    }
    for (size_t i = 0; i < group.chunks.size(); ++i) {
      const FileChunk& chunk = group.chunks[i];
      const FileNode& leaf = footer.nodes[static_cast<size_t>(footer.leaves[i])];
      if (chunk.is_encrypted) continue;
      if (chunk.physical_type != leaf.physical_type) return Corrupt("a column chunk of another type than the schema's");
      if (chunk.num_values < 0 || chunk.compressed_bytes < 0) return Corrupt("a column chunk with a negative count");
    }
  }
  if (rows != footer.num_rows) {
    return Corrupt(fmt::format("row groups have {} rows, the footer says: {}", rows, footer.num_rows));
  }
  return {};
}

Result<std::string_view> FooterBytes(std::string_view file) {
  if (file.size() < kMagic.size() + kTailBytes) return Corrupt("too short for a Parquet file");
  const std::string_view magic = file.substr(file.size() - kMagic.size());
  if (magic == kEncryptedMagic) return Fail(ErrorCode::kUnsupported, "the file is encrypted");
  if (magic != kMagic || !file.starts_with(kMagic)) return Corrupt("not a Parquet file");
  uint32_t length = 0;
  std::memcpy(&length, file.data() + file.size() - kTailBytes, sizeof(length));
  if (length > file.size() - kTailBytes - kMagic.size()) return Corrupt("the footer is longer than the file");
  return file.substr(file.size() - kTailBytes - length, length);
}

// Pages --------------------------------------------------------------------------------------------------------------

struct HeaderParts {
  PageView page;
  int32_t uncompressed = -1;
  int32_t compressed = -1;
  std::optional<int32_t> crc;
};

Status ReadPlainHeader(ThriftReader& reader, bool is_data, PageView& page) {
  return ReadStruct(reader, [&](ThriftReader::FieldHeader field) -> Result<bool> {
    switch (field.id) {
      case 1: return TakeNumber(reader, field, page.num_values);
      case 2: return TakeNumber(reader, field, page.encoding);
      case 3: return is_data ? TakeNumber(reader, field, page.definition_encoding) : Result<bool>(false);
      case 4: return is_data ? TakeNumber(reader, field, page.repetition_encoding) : Result<bool>(false);
      default: return false;
    }
  });
}

Status ReadHeaderV2(ThriftReader& reader, PageView& page) {
  return ReadStruct(reader, [&](ThriftReader::FieldHeader field) -> Result<bool> {
    switch (field.id) {
      case 1: return TakeNumber(reader, field, page.num_values);
      case 2: return TakeNumber(reader, field, page.num_nulls);
      case 3: return TakeNumber(reader, field, page.num_rows);
      case 4: return TakeNumber(reader, field, page.encoding);
      case 5: return TakeNumber(reader, field, page.definition_bytes);
      case 6: return TakeNumber(reader, field, page.repetition_bytes);
      case 7: return TakeBool(field, page.is_compressed);
      default: return false;
    }
  });
}

Result<HeaderParts> ReadPageHeader(ThriftReader& reader) {
  HeaderParts parts;
  int type = -1;
  int header = -1;
  FIRN_TRY(ReadFields(reader, [&](ThriftReader::FieldHeader field) -> Result<bool> {
    switch (field.id) {
      case 1: return TakeNumber(reader, field, type);
      case 2: return TakeNumber(reader, field, parts.uncompressed);
      case 3: return TakeNumber(reader, field, parts.compressed);
      case 4: return TakeNumber(reader, field, parts.crc);
      case 5:
      case 7:
        if (field.type != ThriftType::kStruct) return false;
        header = field.id == 5 ? 0 : 2;
        FIRN_TRY(ReadPlainHeader(reader, field.id == 5, parts.page));
        return true;
      case 8:
        if (field.type != ThriftType::kStruct) return false;
        header = 3;
        FIRN_TRY(ReadHeaderV2(reader, parts.page));
        return true;
      default: return false;
    }
  }));
  if (type != 0 && type != 2 && type != 3) {
    return Fail(ErrorCode::kUnsupported, fmt::format("a page of a type that Firn does not read: {}", type));
  }
  if (header != type) return Corrupt("a page header of another kind than its type");
  parts.page.type = type;
  return parts;
}

Status CheckPage(const HeaderParts& parts) {
  const PageView& page = parts.page;
  const int64_t levels = int64_t{page.definition_bytes} + page.repetition_bytes;
  if (parts.uncompressed < 0 || parts.compressed < 0 || page.num_values < 0 || page.num_nulls < 0 ||
      page.num_rows < 0 || page.definition_bytes < 0 || page.repetition_bytes < 0) {
    return Corrupt("a page header with a negative count");
  }
  if (levels > parts.compressed || levels > parts.uncompressed || page.num_nulls > page.num_values ||
      page.num_rows > page.num_values) {
    return Corrupt("a page header that contradicts itself");
  }
  if (parts.uncompressed > kPageBytesMax) {
    return Fail(ErrorCode::kUnsupported,
                fmt::format("a page of more than {} bytes: {}", kPageBytesMax, parts.uncompressed));
  }
  if (parts.crc.has_value()) {
    const auto* bytes = reinterpret_cast<const Bytef*>(page.body.data());
    const uLong sum = crc32(crc32(0, nullptr, 0), bytes, static_cast<uInt>(page.body.size()));
    if (static_cast<uint32_t>(sum) != static_cast<uint32_t>(*parts.crc)) return Corrupt("a page's checksum is wrong");
  }
  return {};
}

Result<std::string_view> Slice(std::string_view file, int64_t offset, int64_t length) {
  const auto size = static_cast<int64_t>(file.size());
  if (offset < 0 || length < 0 || offset > size || length > size - offset) {
    return Corrupt(fmt::format("a part of the file lies outside of it: offset {}, length {}", offset, length));
  }
  return file.substr(static_cast<size_t>(offset), static_cast<size_t>(length));
}

}  // namespace

Result<InputFooter> ReadFooter(std::string_view file) {
  FIRN_ASSIGN(const std::string_view bytes, FooterBytes(file));
  ThriftReader reader(bytes);
  InputFooter footer;
  SchemaTree tree(footer);
  FIRN_TRY(ReadFields(reader, [&](ThriftReader::FieldHeader field) -> Result<bool> {
    switch (field.id) {
      case 2:
        return TakeList(reader, field, [&](ThriftType type) -> Status {
          if (type != ThriftType::kStruct) return Corrupt("the schema holds something else than elements");
          FIRN_ASSIGN(SchemaElement element, ReadSchemaElement(reader));
          return tree.Add(std::move(element));
        });
      case 3: return TakeNumber(reader, field, footer.num_rows);
      case 4:
        return TakeList(reader, field, [&](ThriftType type) -> Status {
          if (type != ThriftType::kStruct) return Corrupt("a list of row groups holds something else");
          FIRN_ASSIGN(FileRowGroup group, ReadRowGroup(reader));
          footer.row_groups.push_back(std::move(group));
          return {};
        });
      case 6: return TakeText(reader, field, footer.created_by);
      case 7: return ReadColumnOrders(reader, field, footer);
      default: return false;
    }
  }));
  FIRN_TRY(tree.Finish());
  FIRN_TRY(CheckFooter(footer));
  return footer;
}

Result<InputPages> ReadPages(std::string_view file, const FileChunk& chunk) {
  InputPages pages;
  int64_t start = chunk.data_page_offset;
  // Some writers state a dictionary at 0, or behind the data pages, where there is none.
  if (chunk.dictionary_page_offset.has_value() && *chunk.dictionary_page_offset > 0) {
    start = std::min(start, *chunk.dictionary_page_offset);
  }
  FIRN_ASSIGN(const std::string_view bytes, Slice(file, start, chunk.compressed_bytes));
  size_t at = 0;
  while (at < bytes.size() && pages.num_values < chunk.num_values) {
    ThriftReader reader(bytes.substr(at));
    FIRN_ASSIGN(HeaderParts parts, ReadPageHeader(reader));
    const size_t header = reader.position();
    FIRN_ASSIGN(parts.page.body, Slice(bytes.substr(at + header), 0, parts.compressed));
    parts.page.whole = bytes.substr(at, header + parts.page.body.size());
    parts.page.uncompressed_bytes = parts.uncompressed;
    parts.page.offset = start + static_cast<int64_t>(at);
    FIRN_TRY(CheckPage(parts));
    at += parts.page.whole.size();
    if (parts.page.type == 2) {
      if (pages.dictionary.has_value() || !pages.data.empty())
        return Corrupt("a dictionary page that is not the first");
      pages.dictionary = parts.page;
      continue;
    }
    if (parts.page.num_values == 0) continue;
    pages.num_values += parts.page.num_values;
    pages.data.push_back(parts.page);
  }
  if (pages.num_values != chunk.num_values) {
    return Corrupt(
        fmt::format("pages of a column chunk hold {} values, the footer says: {}", pages.num_values, chunk.num_values));
  }
  return pages;
}

Result<FileColumnIndex> ReadColumnIndex(std::string_view file, ByteSpan where) {
  FIRN_ASSIGN(const std::string_view bytes, Slice(file, where.offset, where.length));
  ThriftReader reader(bytes);
  FileColumnIndex index;
  FIRN_TRY(ReadFields(reader, [&](ThriftReader::FieldHeader field) -> Result<bool> {
    switch (field.id) {
      case 1:
        return TakeList(reader, field, [&](ThriftType) -> Status {
          FIRN_ASSIGN(const bool is_null, reader.BoolElement());
          index.null_pages.push_back(is_null);
          return {};
        });
      case 2: return TakeTexts(reader, field, index.min_values);
      case 3: return TakeTexts(reader, field, index.max_values);
      case 5: return TakeNumbers(reader, field, index.null_counts);
      default: return false;
    }
  }));
  const size_t pages = index.null_pages.size();
  if (index.min_values.size() != pages || index.max_values.size() != pages ||
      (!index.null_counts.empty() && index.null_counts.size() != pages)) {
    return Corrupt("a column index whose lists differ in length");
  }
  return index;
}

Result<std::vector<FilePageLocation>> ReadOffsetIndex(std::string_view file, ByteSpan where) {
  FIRN_ASSIGN(const std::string_view bytes, Slice(file, where.offset, where.length));
  ThriftReader reader(bytes);
  std::vector<FilePageLocation> pages;
  FIRN_TRY(ReadFields(reader, [&](ThriftReader::FieldHeader field) -> Result<bool> {
    if (field.id != 1) return false;
    return TakeList(reader, field, [&](ThriftType type) -> Status {
      if (type != ThriftType::kStruct) return Corrupt("a list of page locations holds something else");
      FilePageLocation page;
      FIRN_TRY(ReadStruct(reader, [&](ThriftReader::FieldHeader part) -> Result<bool> {
        if (part.id == 1) return TakeNumber(reader, part, page.offset);
        return part.id == 3 ? TakeNumber(reader, part, page.first_row) : Result<bool>(false);
      }));
      pages.push_back(page);
      return {};
    });
  }));
  return pages;
}

}  // namespace firn::parquet
