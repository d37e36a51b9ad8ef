#include "cli/token.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <sstream>

#include "lookback/base/file.hpp"
#include "lookback/base/hash.hpp"
#include "lookback/base/log.hpp"
#include "lookback/http/own_host.hpp"
#include "lookback/http/roles.hpp"
#include "lookback/http/url.hpp"

namespace lookback::cli {

namespace {

namespace fs = std::filesystem;

constexpr size_t kLeastToken = 16, kTokenBytes = 32;
constexpr uint64_t kMaxTokenFile = 64 << 10;

std::string first_line(std::string text) {
  text.erase(std::min(text.find_first_of("\r\n"), text.size()));
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.pop_back();
  return text;
}

Result<> check_strength(const std::string& token, std::string_view where) {
  if (token.size() >= kLeastToken) return {};
  return fail(ErrorKind::invalid,
              "the token {} has {} characters, at least {} are needed: make one with 'openssl rand -hex 32'", where,
              token.size(), kLeastToken);
}

/// Puts a token where there is none yet; whoever comes second gets the first one's.
Result<std::string> make_token_file(const fs::path& path, const std::string& token) {
  TRY(make_directories(path.parent_path(), 0700));
  const fs::path temporary = path.parent_path() / fmt::format(".token.{}", random_hex(6));
  TRY(write_file_atomically(temporary, token + "\n", 0600));
  const auto renamed = rename_exclusively(temporary, path);
  if (renamed) return token;
  ::unlink(temporary.c_str());
  if (renamed.error().kind != ErrorKind::conflict) return tl::make_unexpected(renamed.error());
  TRY_ASSIGN(TokenFile file, read_token_file(path));
  return std::move(file.token);
}

Result<std::string> machine_token() {
  const fs::path path = machine_token_file();
  if (path.empty()) return fail(ErrorKind::not_found, "there is no place for it without HOME");
  const auto file = read_token_file(path);
  if (file) return file->token;
  if (file.error().kind != ErrorKind::not_found) return tl::make_unexpected(file.error());
  return make_token_file(path, random_hex(kTokenBytes));
}

/// Whether a process of a user besides root and this one listens on the port: the kernel tells the owners of sockets
/// (proc(5), /proc/net/tcp). The machine's token is nothing for it.
bool stranger_listens(uint16_t port) {
  for (const char* path : {"/proc/net/tcp", "/proc/net/tcp6"}) {
    const auto text = read_file(path);
    if (!text) continue;
    std::istringstream lines(*text);
    std::string line;
    while (std::getline(lines, line)) {
      std::istringstream fields(line);
      std::string slot, local, remote, state, queues, timer, retransmits;
      uint64_t user = 0;
      if (!(fields >> slot >> local >> remote >> state >> queues >> timer >> retransmits >> user)) continue;
      const size_t colon = local.rfind(':');
      if (state != "0A" || colon == std::string::npos) continue;
      if (std::strtoul(local.c_str() + colon + 1, nullptr, 16) == port && user != 0 && user != ::geteuid()) return true;
    }
  }
  return false;
}

}  // namespace

Result<TokenFile> read_token_file(const fs::path& path) {
  TRY_ASSIGN(const std::string text, read_file(path, kMaxTokenFile));
  TokenFile file{first_line(text), ""};
  if (file.token.empty()) return fail(ErrorKind::invalid, "{} has no token on its first line", path.string());
  struct stat st {};
  if (::stat(path.c_str(), &st) != 0 || !S_ISREG(st.st_mode)) return file;  // a pipe is nobody else's
  if ((st.st_mode & (S_IWGRP | S_IWOTH)) != 0)
    return fail(ErrorKind::invalid, "{} can be written by other users (mode {:04o}): chmod 600 {}", path.string(),
                st.st_mode & 07777, path.string());
  if ((st.st_mode & (S_IRGRP | S_IROTH)) != 0)
    file.warning = fmt::format("the token file {} can be read by other users (mode {:04o}), who may then do everything: "
                               "chmod 600 {}",
                               path.string(), st.st_mode & 07777, path.string());
  return file;
}

Result<TokenFile> given_token(const std::string& token_file, Origin origin) {
  const char* token = std::getenv("LOOKBACK_TOKEN");
  const bool has_token = token != nullptr && *token != '\0';
  const bool file_first = origin == Origin::command_line || origin == Origin::environment;
  if (!token_file.empty() && (file_first || !has_token)) return read_token_file(token_file);
  return TokenFile{has_token ? token : "", ""};
}

Result<> check_hub_token(const std::string& token) {
  const http::Role role = http::role_of(token);
  if (role == http::Role::admin) return {};
  return fail(ErrorKind::invalid, "this is the token of a {}, but the hub's own is needed (lookback token create --help)",
              role == http::Role::node ? "node" : "client");
}

fs::path machine_token_file() {
  if (const char* state = std::getenv("LOOKBACK_STATE_DIR"); state != nullptr && *state == '/') return fs::path(state) / "token";
  if (::geteuid() == 0) return "/var/lib/lookback/token";
  if (const char* data = std::getenv("XDG_DATA_HOME"); data != nullptr && *data == '/')
    return fs::path(data) / "lookback/token";
  if (const char* home = std::getenv("HOME"); home != nullptr && *home == '/')
    return fs::path(home) / ".local/share/lookback/token";
  return {};
}

std::string machine_token_for(const std::string& url) {
  const auto daemon = http::parse_url(url, "daemon");
  const auto host = daemon ? http::authority_host(daemon->host) : std::nullopt;
  if (!host || !http::is_own_host(*host) || stranger_listens(daemon->port)) return {};
  const fs::path path = machine_token_file();
  if (path.empty()) return {};
  auto file = read_token_file(path);
  return file ? std::move(file->token) : std::string();
}

Result<DaemonToken> daemon_token(const std::string& token_file, Origin origin, const fs::path& data_dir) {
  TRY_ASSIGN(const TokenFile given, given_token(token_file, origin));
  if (!given.warning.empty()) log_warning("{}", given.warning);
  if (!given.token.empty()) {
    TRY(check_strength(given.token, token_file.empty() ? "in LOOKBACK_TOKEN" : "in " + token_file));
    return DaemonToken{given.token, {}, false};
  }
  const auto machine = machine_token();
  DaemonToken token;
  token.file = data_dir / "token";
  auto own = read_token_file(token.file);
  if (own) {
    if (!own->warning.empty()) log_warning("{}", own->warning);
    TRY(check_strength(own->token, "in " + token.file.string()));
    token.token = std::move(own->token);
  } else if (own.error().kind == ErrorKind::not_found) {
    TRY_ASSIGN(token.token, make_token_file(token.file, machine ? *machine : random_hex(kTokenBytes)));
    log_info("the API needs a token: it is in {}", token.file.string());
  } else {
    return tl::make_unexpected(own.error());
  }
  token.found_by_clients = machine && *machine == token.token;
  if (!token.found_by_clients)
    log_warning("the token in {} is not this machine's ({}): clients need --token-file {}", token.file.string(),
                machine ? machine_token_file().string() : machine.error().message, token.file.string());
  return token;
}

}  // namespace lookback::cli
