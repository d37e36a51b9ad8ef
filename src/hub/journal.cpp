#include "journal.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <variant>

#include "json_text.hpp"
#include "lookback/base/file.hpp"
#include "lookback/base/log.hpp"

namespace lookback::hub {

namespace {

constexpr uint64_t kMaxJournal = 4ULL << 30;

std::string line_of(const JournalLine& line) {
  Json json = {{"node", line.node}, {"index", line.index}, {"outcome", to_string(line.outcome)}};
  if (!line.reason.empty()) json["reason"] = line.reason;
  std::string text = to_text(json);
  if (line.member) {
    // The member's own text goes in as it is: parsing it to embed it would cost more than writing
    // it.
    text.resize(text.size() - 2);  // "}\n"
    text += ",\"member\":" + archive::member_to_json(*line.member) + "}\n";
  }
  return text;
}

/// A line about a member, or how many of the `known` lines before it are about durable bytes.
using ParsedLine = std::variant<JournalLine, size_t>;

Result<ParsedLine> parse_line(std::string_view text, size_t known) {
  TRY_ASSIGN(const Json json, parse_json(text, "a line of the journal"));
  if (json.is_object() && json.contains("durable")) {
    TRY_ASSIGN(const uint64_t durable, json_get<uint64_t>(json, "durable"));
    if (durable > known) return fail(ErrorKind::corrupt, "{} durable lines of {}", durable, known);
    return static_cast<size_t>(durable);
  }
  JournalLine line;
  TRY_ASSIGN(line.node, json_get<std::string>(json, "node"));
  TRY_ASSIGN(line.index, json_get<uint32_t>(json, "index"));
  TRY_ASSIGN(line.reason, json_get_or<std::string>(json, "reason", ""));
  TRY_ASSIGN(const std::string outcome, json_get<std::string>(json, "outcome"));
  for (const MemberOutcome one : {MemberOutcome::stored, MemberOutcome::empty,
                                  MemberOutcome::given_up, MemberOutcome::dropped}) {
    if (outcome != to_string(one)) continue;
    line.outcome = one;
    if (one != MemberOutcome::stored) return line;
    const auto member = json.find("member");
    if (member == json.end()) return fail(ErrorKind::corrupt, "'member' is missing");
    TRY_ASSIGN(line.member, archive::member_from_json(dump_json(*member)));
    return line;
  }
  return fail(ErrorKind::corrupt, "an outcome '{}'", outcome);
}

}  // namespace

std::string_view to_string(MemberOutcome outcome) {
  switch (outcome) {
    case MemberOutcome::stored:
      return "stored";
    case MemberOutcome::empty:
      return "empty";
    case MemberOutcome::given_up:
      return "given_up";
    case MemberOutcome::dropped:
      return "dropped";
  }
  return "dropped";
}

Result<Journal> Journal::open(const std::filesystem::path& path, std::vector<JournalLine>& lines) {
  lines.clear();
  std::string text;
  if (auto read = read_file(path, kMaxJournal)) {
    text = std::move(*read);
  } else if (read.error().kind != ErrorKind::not_found) {
    return tl::make_unexpected(read.error());
  }
  size_t good = 0, durable = 0;
  while (good < text.size()) {
    const size_t end = text.find('\n', good);
    if (end == std::string::npos) break;
    auto parsed = parse_line(std::string_view(text).substr(good, end - good), lines.size());
    if (!parsed) {
      log_warning("{} is damaged at byte {} ({}): the members from there on are fetched again",
                  path.string(), good, parsed.error().message);
      break;
    }
    if (auto* line = std::get_if<JournalLine>(&*parsed)) {
      lines.push_back(std::move(*line));
    } else {
      durable = std::get<size_t>(*parsed);
    }
    good = end + 1;
  }
  TRY_ASSIGN(Fd fd, open_file(path, O_RDWR | O_CREAT, 0600));
  Journal journal(std::move(fd), good, durable);
  if (::ftruncate(journal.fd_.get(), static_cast<off_t>(good)) != 0)
    return fail_errno(errno, path.string());
  TRY(journal.sync());
  TRY(sync_directory(path.parent_path()));
  return journal;
}

Result<> Journal::put(std::string_view text) {
  auto written = pwrite_all(fd_.get(), as_bytes(text), size_);
  if (!written) {
    // Half a line must not stand before the next ones.
    if (::ftruncate(fd_.get(), static_cast<off_t>(size_)) != 0)
      log_warning("cannot cut the journal back: {}", written.error().message);
    return written;
  }
  size_ += text.size();
  return {};
}

Result<> Journal::append(const JournalLine& line) { return put(line_of(line)); }

Result<> Journal::mark_durable(size_t lines) { return put(fmt::format("{{\"durable\":{}}}\n", lines)); }

Result<> Journal::rewrite(std::span<const JournalLine> lines) {
  if (::ftruncate(fd_.get(), 0) != 0) return fail_errno(errno, "cannot empty the journal");
  size_ = 0;
  for (const JournalLine& line : lines) TRY(append(line));
  return sync();
}

Result<> Journal::sync() const { return sync_data(fd_.get()); }

}  // namespace lookback::hub
