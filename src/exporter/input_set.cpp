#include "exporter/input_set.hpp"

#include <algorithm>
#include <map>

#include "exporter/input_file.hpp"
#include "lookback/exporter/importer.hpp"
#include "lookback/packet/pcapng.hpp"

namespace lookback::exporter {

namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPackings[] = {".gz", ".zst", ".zstd"};
constexpr std::string_view kFormats[] = {".pcapng", ".pcap", ".cap", ".ntar", ".dmp"};

bool is_digit(char c) { return c >= '0' && c <= '9'; }
size_t digits_at(std::string_view text, size_t at) {
  size_t end = at;
  while (end < text.size() && is_digit(text[end])) ++end;
  return end - at;
}
bool is_separator(char c) { return c == '-' || c == '_' || c == '.' || c == ':' || c == 'T' || c == ' '; }

int number_at(std::string_view text, size_t at, size_t digits) {
  int number = 0;
  for (size_t i = at; i < at + digits; ++i) number = number * 10 + (text[i] - '0');
  return number;
}
bool is_date(std::string_view text, size_t year, size_t month, size_t day) {
  const int y = number_at(text, year, 4), m = number_at(text, month, 2), d = number_at(text, day, 2);
  return y >= 1970 && y < 2100 && m >= 1 && m <= 12 && d >= 1 && d <= 31;
}

/// "12", "1200", "120000", "12:00:00", "12-00" behind a date and what parts them; its length with that.
size_t time_of_day_at(std::string_view text, size_t at) {
  if (at >= text.size() || !is_separator(text[at])) return 0;
  size_t end = at + 1;
  const size_t digits = digits_at(text, end);
  if (digits == 4 || digits == 6) return end + digits - at;
  if (digits != 2) return 0;
  end += 2;
  while (end + 3 <= text.size() && is_separator(text[end]) && digits_at(text, end + 1) == 2) end += 3;
  return end - at;
}

/// A time from here on, in the forms that people give to strftime; its length.
size_t time_at(std::string_view text, size_t at) {
  const size_t digits = digits_at(text, at);
  if ((digits == 8 || digits == 10 || digits == 12 || digits == 14) && is_date(text, at, at + 4, at + 6))
    return digits + (digits == 8 ? time_of_day_at(text, at + 8) : 0);
  if (digits == 10 && text[at] == '1') return digits;  // seconds since 1970, until 2033
  constexpr size_t kDate = 10;                          // 2026-03-01
  if (digits != 4 || text.size() < at + kDate || digits_at(text, at + 5) != 2 || digits_at(text, at + 8) != 2) return 0;
  const char between = text[at + 4];
  if ((between != '-' && between != '_' && between != '.') || text[at + 7] != between || !is_date(text, at, at + 5, at + 8)) return 0;
  return kDate + time_of_day_at(text, at + kDate);
}

/// The count of dumpcap -b, five digits at least behind a '_', or one that is filled up with zeros to as many.
size_t count_at(std::string_view text, size_t at) {
  constexpr size_t kLeast = 5;
  const size_t digits = digits_at(text, at);
  if (digits < kLeast || at == 0 || !is_separator(text[at - 1])) return 0;
  return text[at - 1] == '_' || text[at] == '0' ? digits : 0;
}

/// Takes the first of these endings away and returns it; empty where the name has none of them.
template <size_t n>
std::string_view remove_ending(std::string& name, const std::string_view (&endings)[n]) {
  for (const std::string_view ending : endings) {
    if (name.size() <= ending.size() || !name.ends_with(ending)) continue;
    name.resize(name.size() - ending.size());
    return ending;
  }
  return {};
}

std::string without_edges(std::string stem) {
  while (!stem.empty() && is_separator(stem.back()) && stem.back() != 'T') stem.pop_back();
  size_t start = 0;
  while (start < stem.size() && is_separator(stem[start]) && stem[start] != 'T') ++start;
  return stem.substr(start);
}

bool begins_as_a_capture(const fs::path& path) {
  const auto file = InputFile::open(path);
  if (!file) return false;
  return packet::CaptureReader::open([&](std::span<std::byte> out) { return (*file)->read(out); }).has_value();
}

Result<> add_folder(const fs::path& folder, std::vector<fs::path>& files, InputSet& set) {
  std::vector<fs::path> found;
  std::error_code error;
  const auto options = fs::directory_options::skip_permission_denied;
  for (auto at = fs::recursive_directory_iterator(folder, options, error); !error && at != fs::recursive_directory_iterator(); at.increment(error)) {
    std::error_code ignored;
    if (at->is_regular_file(ignored)) found.push_back(at->path());
  }
  if (error) return fail(ErrorKind::failed, "{}: {}", folder.string(), error.message());
  std::sort(found.begin(), found.end());
  for (fs::path& path : found) {
    const auto archive = is_archive_file(path);
    const bool taken = !(archive && *archive) && (!ring_name_of(path.filename().string()).format.empty() || begins_as_a_capture(path));
    if (taken)
      files.push_back(std::move(path));
    else
      set.passed_over.push_back(path.string());
  }
  return {};
}

}  // namespace

RingName ring_name_of(const std::string& file_name) {
  std::string name = file_name;
  remove_ending(name, kPackings);
  RingName ring;
  // tcpdump -C counts behind the whole name: x.pcap, x.pcap1, x.pcap02; logrotate with a point: x.pcap.1.
  std::string counted = name;
  while (!counted.empty() && is_digit(counted.back())) counted.pop_back();
  const bool has_count = counted.size() < name.size();
  if (has_count && counted.ends_with('.')) counted.pop_back();
  if (has_count) ring.format = remove_ending(counted, kFormats);
  ring.numbered = !ring.format.empty();
  if (ring.numbered)
    name = counted;
  else
    ring.format = remove_ending(name, kFormats);
  for (size_t at = 0; at < name.size();) {
    const bool starts = is_digit(name[at]) && (at == 0 || !is_digit(name[at - 1]));
    const size_t time = starts ? time_at(name, at) : 0;
    const size_t length = time != 0 ? time : starts ? count_at(name, at) : 0;
    if (length == 0) {
      ring.stem += name[at++];
      continue;
    }
    ring.numbered = true;
    at += length;
    // One separator is enough where two met.
    if (!ring.stem.empty() && at < name.size() && is_separator(name[at]) && is_separator(ring.stem.back())) ++at;
  }
  ring.stem = without_edges(std::move(ring.stem));
  return ring;
}

Result<InputSet> list_inputs(std::span<const fs::path> given, const std::string& node) {
  InputSet set;
  std::vector<fs::path> files;
  for (const fs::path& path : given) {
    std::error_code error;
    const fs::file_status status = fs::status(path, error);
    if (status.type() == fs::file_type::not_found) return fail(ErrorKind::not_found, "{} is not there", path.string());
    if (fs::is_directory(status)) {
      TRY(add_folder(path, files, set));
    } else {
      files.push_back(path);
    }
  }
  struct Group {
    size_t files = 0, unnumbered = 0;
  };
  std::map<std::string, Group> groups;
  std::vector<RingName> names;
  for (const fs::path& path : files) {
    const RingName& name = names.emplace_back(ring_name_of(path.filename().string()));
    InputSource& source = set.sources.emplace_back();
    source.path = path;
    source.group = fmt::format("{}/{}{}", path.parent_path().string(), name.stem, name.format);
    source.node = name.stem;
    Group& group = groups[source.group];
    ++group.files;
    if (!name.numbered) ++group.unnumbered;
  }
  for (size_t i = 0; i < set.sources.size(); ++i) {
    InputSource& source = set.sources[i];
    // Alone: whatever shares its name with nothing; and "x.pcap" and "x.pcap.gz", of which a ring has one.
    const Group& group = groups[source.group];
    const bool alone = group.files == 1 || (!names[i].numbered && group.unnumbered > 1);
    if (alone) source.group = source.path.string();
    if (alone || source.node.empty()) source.node = node_name_of_file(source.path);
    if (!node.empty()) source.node = node;
  }
  return set;
}

}  // namespace lookback::exporter
