#include "observe/proc_files.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include <charconv>
#include <memory>

#include "lookback/base/fd.hpp"
#include "lookback/base/time.hpp"

namespace lookback::observe {
namespace {

constexpr size_t kMostArgv = 1024, kMostStat = 4096;

int64_t clock_ns(clockid_t id) {
  timespec now{};
  clock_gettime(id, &now);
  return now.tv_sec * kNsPerSecond + now.tv_nsec;
}

template <class T>
bool parse_number(std::string_view text, T& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

}  // namespace

ClockBase ClockBase::now() {
  // The shortest of a few tries: between the two readings the thread may have been put aside.
  ClockBase base;
  int64_t shortest = INT64_MAX;
  for (int i = 0; i < 3; ++i) {
    const int64_t before = clock_ns(CLOCK_MONOTONIC);
    const int64_t real = clock_ns(CLOCK_REALTIME), boot = clock_ns(CLOCK_BOOTTIME);
    const int64_t after = clock_ns(CLOCK_MONOTONIC);
    if (after - before >= shortest) continue;
    shortest = after - before;
    base.monotonic_to_real_ns = real - before - shortest / 2;
    base.boot_to_real_ns = real - boot;
  }
  return base;
}

Result<std::string> read_small_file(const std::string& path, size_t limit) {
  TRY_ASSIGN(const Fd file, open_file(path, O_RDONLY));
  std::string text(limit, '\0');
  size_t length = 0;
  while (length < limit) {
    const ssize_t got = read(file.get(), text.data() + length, limit - length);
    if (got < 0) return fail_errno(errno, path);
    if (got == 0) break;
    length += static_cast<size_t>(got);
  }
  text.resize(length);
  return text;
}

std::vector<uint32_t> list_processes() {
  std::vector<uint32_t> pids;
  const std::unique_ptr<DIR, int (*)(DIR*)> folder(opendir("/proc"), closedir);
  if (!folder) return pids;
  while (const dirent* entry = readdir(folder.get())) {
    uint32_t pid = 0;
    if (parse_number<uint32_t>(entry->d_name, pid)) pids.push_back(pid);
  }
  return pids;
}

std::map<uint32_t, Fd> open_network_namespaces(const std::vector<uint32_t>& pids) {
  std::map<uint32_t, Fd> spaces;
  for (const uint32_t pid : pids) {
    const std::string path = fmt::format("/proc/{}/ns/net", pid);
    struct stat info {};
    if (stat(path.c_str(), &info) != 0 || spaces.contains(static_cast<uint32_t>(info.st_ino)))
      continue;
    if (auto space = open_file(path, O_RDONLY))
      spaces.emplace(static_cast<uint32_t>(info.st_ino), std::move(*space));
  }
  return spaces;
}

void open_named_namespaces(const std::string& folder, std::map<uint32_t, Fd>& spaces) {
  const std::unique_ptr<DIR, int (*)(DIR*)> names(opendir(folder.c_str()), closedir);
  if (!names) return;
  while (const dirent* entry = readdir(names.get())) {
    auto space = open_file(folder + "/" + entry->d_name, O_RDONLY);
    struct stat info {};
    struct statfs system {};
    // What is mounted there no more is an empty file.
    if (!space || fstatfs(space->get(), &system) != 0 || system.f_type != NSFS_MAGIC ||
        fstat(space->get(), &info) != 0)
      continue;
    spaces.try_emplace(static_cast<uint32_t>(info.st_ino), std::move(*space));
  }
}

std::optional<ProcessStat> parse_stat(std::string_view text) {
  // "pid (comm) state ppid …": the name may have parentheses and blanks in it, nothing behind it
  // has.
  const size_t open = text.find('('), close = text.rfind(')');
  if (open == std::string_view::npos || close == std::string_view::npos || close < open)
    return std::nullopt;
  ProcessStat stat;
  stat.comm = text.substr(open + 1, close - open - 1);
  std::string_view rest = text.substr(close + 1);
  constexpr int kPpid = 2, kStart = 20;  // behind the name, from 1
  for (int field = 1; field <= kStart; ++field) {
    const size_t begin = rest.find_first_not_of(' ');
    if (begin == std::string_view::npos) return std::nullopt;
    rest.remove_prefix(begin);
    const auto value = rest.substr(0, std::min(rest.find(' '), rest.size()));
    if (field == kPpid && !parse_number(value, stat.ppid)) return std::nullopt;
    if (field == kStart && !parse_number(value, stat.start_ticks)) return std::nullopt;
    rest.remove_prefix(value.size());
  }
  return stat;
}

std::string name_of_file(std::string_view link, const std::string& folder) {
  constexpr std::string_view kDeleted = " (deleted)";
  if (!link.ends_with(kDeleted)) return std::string(link);
  // A file may be called so. What the process runs is it only if it is there, and the same.
  struct stat named {}, running {};
  if (stat((folder + "/root" + std::string(link)).c_str(), &named) == 0 &&
      stat((folder + "/exe").c_str(), &running) == 0 && named.st_dev == running.st_dev &&
      named.st_ino == running.st_ino)
    return std::string(link);
  link.remove_suffix(kDeleted.size());
  return std::string(link);
}

std::optional<Event> read_process(uint32_t pid, const ClockBase& clock) {
  const std::string folder = fmt::format("/proc/{}", pid);
  const auto stat_text = read_small_file(folder + "/stat", kMostStat);
  struct stat info {};
  if (!stat_text || stat(folder.c_str(), &info) != 0) return std::nullopt;
  const auto parsed = parse_stat(*stat_text);
  if (!parsed) return std::nullopt;
  Event event;
  event.kind = Kind::process;
  event.pid = pid;
  event.ppid = parsed->ppid;
  event.comm = parsed->comm;
  event.uid = info.st_uid;
  static const int64_t tick_ns = kNsPerSecond / sysconf(_SC_CLK_TCK);
  event.start_ns = clock.boot_to_real_ns + static_cast<int64_t>(parsed->start_ticks) * tick_ns;
  if (auto argv = read_small_file(folder + "/cmdline", kMostArgv + 1)) {
    event.argv_cut = argv->size() > kMostArgv;
    if (event.argv_cut) argv->resize(kMostArgv);
    event.argv = std::move(*argv);
  }
  char exe[4096];
  if (const ssize_t length = readlink((folder + "/exe").c_str(), exe, sizeof exe); length > 0)
    event.exe = name_of_file({exe, static_cast<size_t>(length)}, folder);
  return event;
}

}  // namespace lookback::observe
