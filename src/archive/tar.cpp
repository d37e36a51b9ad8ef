#include "lookback/archive/tar.hpp"

#include <algorithm>
#include <cstring>
#include <optional>

#include "lookback/base/fd.hpp"

namespace lookback::archive {

namespace {

/// The header block of POSIX.1-2017, pax "ustar Interchange Format".
struct UstarBlock {
  char name[100];
  char mode[8];
  char uid[8];
  char gid[8];
  char size[12];
  char mtime[12];
  char checksum[8];
  char type;
  char link_name[100];
  char magic[6];
  char version[2];
  char user[32];
  char group[32];
  char device_major[8];
  char device_minor[8];
  char prefix[155];
  char unused[12];
};
static_assert(sizeof(UstarBlock) == kTarBlock);

constexpr char kRegular = '0', kPax = 'x';
constexpr uint64_t kMaxOctalSize = (uint64_t{1} << 33) - 1;  // eleven octal digits

/// Octal digits that fill the field up to its closing NUL.
void put_octal(std::span<char> field, uint64_t value) {
  for (size_t i = field.size() - 1; i > 0; --i) {
    field[i - 1] = static_cast<char>('0' + (value & 7));
    value >>= 3;
  }
  field[field.size() - 1] = '\0';
}

std::optional<uint64_t> get_octal(std::span<const char> field) {
  uint64_t value = 0;
  for (const char c : field.first(field.size() - 1)) {
    if (c < '0' || c > '7') return std::nullopt;
    value = value << 3 | static_cast<uint64_t>(c - '0');
  }
  if (field.back() != '\0') return std::nullopt;
  return value;
}

/// The sum of the block's bytes with the checksum field taken as spaces.
uint32_t checksum_of(const UstarBlock& block) {
  UstarBlock copy = block;
  std::memset(copy.checksum, ' ', sizeof copy.checksum);
  uint32_t sum = 0;
  for (const std::byte b : std::as_bytes(std::span(&copy, 1))) sum += std::to_integer<uint32_t>(b);
  return sum;
}

UstarBlock make_block(std::string_view name, std::string_view prefix, uint64_t size, uint64_t mtime, char type) {
  UstarBlock block;
  std::memset(&block, 0, sizeof block);
  std::copy(name.begin(), name.end(), block.name);
  std::copy(prefix.begin(), prefix.end(), block.prefix);
  put_octal(block.mode, 0444);
  put_octal(block.uid, 0);
  put_octal(block.gid, 0);
  put_octal(block.size, size);
  put_octal(block.mtime, mtime);
  block.type = type;
  std::memcpy(block.magic, "ustar", 6);
  std::memcpy(block.version, "00", 2);
  put_octal(block.device_major, 0);
  put_octal(block.device_minor, 0);
  put_octal(std::span(block.checksum).first(7), checksum_of(block));
  block.checksum[7] = ' ';
  return block;
}

void append_block(std::vector<std::byte>& out, const UstarBlock& block) {
  const auto bytes = std::as_bytes(std::span(&block, 1));
  out.insert(out.end(), bytes.begin(), bytes.end());
}

/// One pax record, "LENGTH KEYWORD=VALUE\n", where LENGTH counts itself.
std::string pax_record(std::string_view keyword, std::string_view value) {
  const size_t rest = keyword.size() + value.size() + 3;
  size_t length = rest + 1;
  while (length != rest + std::to_string(length).size()) length = rest + std::to_string(length).size();
  return fmt::format("{} {}={}\n", length, keyword, value);
}

/// Where ustar can say the name: the position of the slash between prefix and name, 0 when it needs no prefix.
std::optional<size_t> split_name(std::string_view name) {
  if (name.size() <= sizeof(UstarBlock::name)) return 0;
  const size_t slash = name.rfind('/', sizeof(UstarBlock::prefix));
  if (slash == std::string_view::npos || slash == 0 || name.size() - slash - 1 > sizeof(UstarBlock::name)) return std::nullopt;
  return slash;
}

/// A text field: up to the first NUL or its end.
std::string_view field_text(std::span<const char> field) {
  return {field.data(), static_cast<size_t>(std::find(field.begin(), field.end(), '\0') - field.begin())};
}

Result<UstarBlock> read_block(std::span<const std::byte> bytes, char type) {
  UstarBlock block;
  std::memcpy(&block, bytes.data(), sizeof block);
  const auto sum = get_octal(std::span(block.checksum).first(7));
  if (!sum || *sum != checksum_of(block)) return fail(ErrorKind::corrupt, "a tar header whose checksum does not hold");
  if (std::memcmp(block.magic, "ustar", 6) != 0 || std::memcmp(block.version, "00", 2) != 0)
    return fail(ErrorKind::corrupt, "a tar header that is not ustar");
  if (block.type != type) return fail(ErrorKind::corrupt, "a tar header of type '{}'", block.type >= ' ' && block.type < 0x7f ? block.type : '?');
  return block;
}

struct PaxFields {
  std::optional<std::string> path;
  std::optional<uint64_t> size;
};

Result<uint64_t> parse_decimal(std::string_view text) {
  uint64_t value = 0;
  if (text.empty() || text.size() > 18) return fail(ErrorKind::corrupt, "a pax number of {} digits", text.size());
  for (const char c : text) {
    if (c < '0' || c > '9') return fail(ErrorKind::corrupt, "a pax number that is none");
    value = value * 10 + static_cast<uint64_t>(c - '0');
  }
  return value;
}

Result<PaxFields> parse_pax(std::string_view records) {
  PaxFields fields;
  while (!records.empty()) {
    const size_t space = records.find(' ');
    if (space == std::string_view::npos) return fail(ErrorKind::corrupt, "a pax record without length");
    TRY_ASSIGN(const uint64_t length, parse_decimal(records.substr(0, space)));
    if (length <= space + 1 || length > records.size() || records[length - 1] != '\n')
      return fail(ErrorKind::corrupt, "a pax record of a wrong length");
    const std::string_view record = records.substr(space + 1, length - space - 2);
    const size_t equals = record.find('=');
    if (equals == std::string_view::npos) return fail(ErrorKind::corrupt, "a pax record without value");
    const std::string_view keyword = record.substr(0, equals), value = record.substr(equals + 1);
    if (keyword == "path") {
      fields.path = value;
    } else if (keyword == "size") {
      TRY_ASSIGN(fields.size, parse_decimal(value));
    } else {
      return fail(ErrorKind::corrupt, "a pax record that does not belong here");
    }
    records.remove_prefix(length);
  }
  return fields;
}

}  // namespace

Result<> check_member_name(std::string_view name) {
  if (name.empty() || name.size() > kMaxMemberName)
    return fail(ErrorKind::corrupt, "a member name of {} characters", name.size());
  for (const char c : name) {
    if (c < ' ' || c >= 0x7f || c == '\\') return fail(ErrorKind::corrupt, "a member name with forbidden characters");
  }
  for (size_t at = 0; at <= name.size();) {
    const size_t slash = std::min(name.find('/', at), name.size());
    const std::string_view component = name.substr(at, slash - at);
    if (component.empty() || component == "." || component == "..")
      return fail(ErrorKind::corrupt, "the member name '{}' may leave the archive's folder", name);
    at = slash + 1;
  }
  return {};
}

std::vector<std::byte> encode_tar_header(const TarHeader& header) {
  LOOKBACK_CHECK(check_member_name(header.name).has_value());
  const auto mtime = static_cast<uint64_t>(std::clamp<int64_t>(header.mtime_seconds, 0, static_cast<int64_t>(kMaxOctalSize)));
  const auto split = split_name(header.name);
  std::string records;
  if (!split) records += pax_record("path", header.name);
  if (header.size > kMaxOctalSize) records += pax_record("size", std::to_string(header.size));

  std::vector<std::byte> blocks;
  // What a reader without pax would take: the name's end and no size.
  const std::string_view name = header.name;
  const std::string_view shown = split ? name.substr(*split == 0 ? 0 : *split + 1)
                                       : name.substr(name.size() - std::min(name.size(), sizeof(UstarBlock::name)));
  if (!records.empty()) {
    append_block(blocks, make_block("PaxHeaders/member", {}, records.size(), mtime, kPax));
    const auto bytes = as_bytes(records);
    blocks.insert(blocks.end(), bytes.begin(), bytes.end());
    blocks.resize(blocks.size() + tar_padding(records.size()));
  }
  append_block(blocks, make_block(shown, split ? name.substr(0, *split) : std::string_view(),
                                  header.size > kMaxOctalSize ? 0 : header.size, mtime, kRegular));
  return blocks;
}

Result<TarHeader> parse_tar_header(std::span<const std::byte> blocks) {
  if (blocks.size() % kTarBlock != 0 || blocks.empty() || blocks.size() > kMaxTarHeader)
    return fail(ErrorKind::corrupt, "tar headers of {} bytes", blocks.size());
  PaxFields pax;
  std::span<const std::byte> rest = blocks;
  if (static_cast<char>(rest[offsetof(UstarBlock, type)]) == kPax) {
    TRY_ASSIGN(const UstarBlock block, read_block(rest, kPax));
    rest = rest.subspan(kTarBlock);
    const auto size = get_octal(block.size);
    if (!size || *size == 0 || *size > rest.size()) return fail(ErrorKind::corrupt, "pax records of a wrong size");
    TRY_ASSIGN(pax, parse_pax(as_text(rest.first(*size))));
    rest = rest.subspan(std::min(rest.size(), *size + tar_padding(*size)));
  }
  if (rest.size() != kTarBlock) return fail(ErrorKind::corrupt, "more or fewer tar headers than one member needs");
  TRY_ASSIGN(const UstarBlock block, read_block(rest, kRegular));
  const auto size = get_octal(block.size), mtime = get_octal(block.mtime);
  if (!size || !mtime) return fail(ErrorKind::corrupt, "a tar header whose numbers do not parse");

  TarHeader header;
  if (pax.path) {
    header.name = *pax.path;
  } else {
    header.name = field_text(block.prefix);
    if (!header.name.empty()) header.name += '/';
    header.name += field_text(block.name);
  }
  header.size = pax.size.value_or(*size);
  header.mtime_seconds = static_cast<int64_t>(*mtime);
  TRY(check_member_name(header.name));
  // Whatever is left to vary (owners, modes, links, a second way to say the same) has no place in our archives.
  if (!std::ranges::equal(encode_tar_header(header), blocks))
    return fail(ErrorKind::corrupt, "a tar header that Lookback does not write ('{}')", header.name);
  return header;
}

}  // namespace lookback::archive
