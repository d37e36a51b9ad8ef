#pragma once
// Where tokens come from. A daemon that is given none uses the machine's: made at random at the first start, readable by its
// user only, and kept in the data directory as well. A client of the same user, or root beside root's daemons, finds it there
// by itself.

#include <cstdint>
#include <filesystem>
#include <string>

#include "cli/command.hpp"
#include "lookback/base/result.hpp"

namespace lookback::cli {

struct TokenFile {
  std::string token;
  std::string warning;  ///< others can read the file; empty otherwise
};

/// The first line of a token file. invalid: it is empty, or others may write it.
[[nodiscard]] Result<TokenFile> read_token_file(const std::filesystem::path& path);

/// The token that was given: a file named by flag or variable, else LOOKBACK_TOKEN, else a file named in the settings. Empty
/// where none was. A warning is handed on as TokenFile has it.
[[nodiscard]] Result<TokenFile> given_token(const std::string& token_file, Origin origin);

/// invalid: it is a node's or a client's, which a hub cannot take for its own, and from which no other is made.
[[nodiscard]] Result<> check_hub_token(const std::string& token);

/// LOOKBACK_STATE_DIR/token; /var/lib/lookback/token for root, ~/.local/share/lookback/token (XDG_DATA_HOME) for others;
/// empty where there is no such place.
[[nodiscard]] std::filesystem::path machine_token_file();

/// For a client: the machine's token where `url` is of this machine, nobody else's process listens there, and the file can be
/// read. Empty otherwise.
[[nodiscard]] std::string machine_token_for(const std::string& url);

struct DaemonToken {
  std::string token;
  std::filesystem::path file;  ///< DIR/token; empty where one was given
  bool found_by_clients = true;  ///< of the same user, by themselves
};

/// For a daemon with this data directory: the one given, which has to be long enough, or else the one in DIR/token, or else
/// the machine's, made where there is none. Warnings go to the log.
[[nodiscard]] Result<DaemonToken> daemon_token(const std::string& token_file, Origin origin,
                                               const std::filesystem::path& data_dir);

}  // namespace lookback::cli
